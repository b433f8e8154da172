"""Embeddings as plain loops."""

from brute_force.embedding.embedding import reference

__all__ = ["reference"]
