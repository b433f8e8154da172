"""Embeddings as plain loops."""
