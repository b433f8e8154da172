"""Planted bugs of activations."""
