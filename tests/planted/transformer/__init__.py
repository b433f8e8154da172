"""Planted bugs of transformers."""
