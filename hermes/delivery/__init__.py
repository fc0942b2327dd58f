"""Floor 2: from a validated message to the bytes on each socket that wants it."""
