"""Planted bugs of the gated linear unit."""
