"""Unit tests of hermes/net."""
