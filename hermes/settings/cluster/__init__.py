"""Settings of several nodes."""
