"""Package auth."""
