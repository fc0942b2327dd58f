"""The embedded broker: mosquitto as a child process, and the accounts of devices."""
