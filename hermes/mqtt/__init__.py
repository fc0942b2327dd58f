"""Floor 3, the devices' door: MQTT in, device messages out."""
