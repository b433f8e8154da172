"""Planted bugs of sequences."""
