"""Planted bugs of clipping of gradients."""
