"""Tests of hermes/inbox."""
