"""Several nodes: how a node reaches the sockets of the others."""
