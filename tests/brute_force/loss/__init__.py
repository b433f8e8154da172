"""Losses as plain loops."""
