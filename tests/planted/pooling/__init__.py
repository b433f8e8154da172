"""Planted bugs of pooling."""
