"""Normalisations as plain loops."""

from brute_force.normalization.batch_and_layer import reference

__all__ = ["reference"]
