"""A client of NATS: one connection, and one dispatch for all its subscriptions."""
