"""Frozen data and the interfaces that everything else is written against."""
