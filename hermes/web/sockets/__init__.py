"""Package sockets."""
