"""Planted bugs of computed weights."""
