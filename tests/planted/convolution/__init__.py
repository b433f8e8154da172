"""Planted bugs of convolutions."""
