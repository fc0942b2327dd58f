"""Package topics."""
