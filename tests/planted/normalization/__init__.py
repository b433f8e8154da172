"""Planted bugs of normalisations."""
