"""Inputs of a hostile but fair user: backends that misbehave, and malformed files."""
