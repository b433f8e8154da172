"""Planted bugs of padding."""
