"""Planted bugs of several families."""
