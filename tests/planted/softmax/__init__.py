"""Planted bugs of softmax and its kin."""
