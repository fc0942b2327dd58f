"""Random input for everything that strangers can write; `make fuzz` runs these tests for longer."""
