"""The ``hermes`` command, a module for each verb."""
