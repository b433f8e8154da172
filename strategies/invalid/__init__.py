"""Invalid cases, one module a family: a valid case with exactly one constraint broken."""
