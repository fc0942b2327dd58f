"""Sockets of the link to the broker."""
