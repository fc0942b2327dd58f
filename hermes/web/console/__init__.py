"""The operator's console page and its translations."""
