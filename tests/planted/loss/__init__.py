"""Planted bugs of losses."""
