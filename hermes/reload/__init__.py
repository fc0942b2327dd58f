"""Apply changed settings and files to a running gateway."""
