"""Planted bugs of initial values."""
