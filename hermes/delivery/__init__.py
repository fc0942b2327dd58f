"""Delivery from a message to the sockets."""
