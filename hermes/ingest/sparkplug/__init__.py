"""Sparkplug B, an extra: the payloads of edge nodes and their devices."""
