"""Planted bugs of dropout."""
