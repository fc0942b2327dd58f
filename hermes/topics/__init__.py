"""Topic templates and presets."""
