"""The laws, one module a family; a layer's row says which of them hold of it."""
