"""Planted bugs of embeddings."""
