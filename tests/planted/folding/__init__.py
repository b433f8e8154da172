"""Planted bugs of folding."""
