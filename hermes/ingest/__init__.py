"""From an MQTT message to device messages, on the event loop."""
