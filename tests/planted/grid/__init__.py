"""Planted bugs of grids and sampling."""
