"""The served console page."""
