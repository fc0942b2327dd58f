"""MQTT messages become device messages."""
