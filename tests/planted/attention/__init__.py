"""Planted bugs of attention."""
