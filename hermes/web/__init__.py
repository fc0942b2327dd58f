"""Floor 3, the browsers' and services' door: WebSockets, ``/notify``, the console, the status pages."""
