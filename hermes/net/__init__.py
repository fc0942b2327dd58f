"""What every connection to another server needs."""
