"""Oracles of tensor operators that stand between the layers of a network."""
