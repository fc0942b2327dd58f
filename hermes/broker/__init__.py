"""The embedded mosquitto broker."""
