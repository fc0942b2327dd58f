"""The clients: no library per socket, only what must be read of each frame, so that they cost less than a server."""
