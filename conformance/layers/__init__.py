"""The catalogue: one row a layer, one module a family."""
