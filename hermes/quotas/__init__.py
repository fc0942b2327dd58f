"""Limits that tenants, devices and users share fairly."""
