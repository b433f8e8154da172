"""Cases of embeddings."""
