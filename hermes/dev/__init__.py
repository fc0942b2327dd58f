"""What only ``--dev`` has."""
