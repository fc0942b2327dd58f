"""What other nodes send to this one, and ask of it."""
