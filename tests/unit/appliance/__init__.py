"""Unit tests of `hermes.appliance`."""
