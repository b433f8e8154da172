"""Planted bugs of distances."""
