"""Package ingest."""
