"""Planted bugs of interpolation."""
