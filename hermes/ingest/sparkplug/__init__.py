"""Sparkplug B payloads."""
