"""Diagnose failures: the smallest case, what its failure needs, and a script that shows it."""
