"""Planted bugs of a module's life."""
