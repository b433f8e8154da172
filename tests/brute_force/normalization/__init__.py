"""Normalisations as plain loops."""
