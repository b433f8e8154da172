"""Items run in a process of their own: what kills or stops it costs one verdict."""
