"""Revoked users, tenants and tokens."""
