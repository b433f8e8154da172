"""Planted bugs of threads."""
