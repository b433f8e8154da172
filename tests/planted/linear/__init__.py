"""Planted bugs of linear layers."""
