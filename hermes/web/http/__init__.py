"""Plain HTTP: error responses of all URLs that are not a JSON endpoint."""
