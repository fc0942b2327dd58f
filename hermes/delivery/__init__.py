"""From a message to the sockets that subscribe to it."""
