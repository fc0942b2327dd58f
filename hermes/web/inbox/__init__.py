"""The HTTP endpoints of the inbox, for readers and for senders."""
