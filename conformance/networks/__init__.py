"""Bounds of modules and functions that are made of several layers and tensor operators."""
