"""Planted bugs of fused weights."""
