"""Planted bugs of reshaping."""
