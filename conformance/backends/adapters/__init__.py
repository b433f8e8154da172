"""The backends that are shipped, one module each."""
