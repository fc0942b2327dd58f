"""The WebSocket routes."""
