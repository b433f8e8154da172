"""Brute-force references: the documented formulas as plain loops."""
