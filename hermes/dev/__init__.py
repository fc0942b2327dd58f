"""Floor 3, what only ``--dev`` has: kept secrets, ready tokens, simulated devices."""
