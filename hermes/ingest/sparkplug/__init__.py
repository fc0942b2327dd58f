"""Package sparkplug."""
