"""URLs of servers that Hermes connects to."""
