"""The JSON API for services and operators: who calls, and what closes sockets."""
