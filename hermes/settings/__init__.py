"""Package settings."""
