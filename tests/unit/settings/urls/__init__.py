"""URLs of servers."""
