"""Settings: model, sources and rules."""
