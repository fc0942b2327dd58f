"""HTTP/1.1 beneath Tornado's handlers, and what all handlers have in common."""
