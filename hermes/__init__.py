"""Hermes: the gateway between an on-prem site's MQTT devices and its browsers."""

__version__ = "0.1.0"
