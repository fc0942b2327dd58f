"""The link to the MQTT broker."""
