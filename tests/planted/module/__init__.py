"""Planted bugs of copies, conversions, loads and hooks of modules."""
