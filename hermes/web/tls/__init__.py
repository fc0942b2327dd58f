"""TLS of Hermes' own: the certificate, the handshakes, and the sockets."""
