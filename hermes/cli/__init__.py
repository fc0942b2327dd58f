"""The ``hermes`` command, with a module for each of its commands."""
