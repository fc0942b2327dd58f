"""HTTP handlers and WebSocket routes."""
