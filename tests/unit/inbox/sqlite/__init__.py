"""Tests of hermes/inbox/sqlite."""
