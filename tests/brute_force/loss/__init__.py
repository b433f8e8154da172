"""Losses as plain loops."""

from brute_force.loss.references import reference

__all__ = ["reference"]
