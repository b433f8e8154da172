"""Strategies: Hypothesis draws cases that are valid by construction."""
