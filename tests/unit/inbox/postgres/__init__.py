"""Tests of hermes/inbox/postgres."""
