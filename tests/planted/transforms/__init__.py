"""Planted bugs of transforms."""
