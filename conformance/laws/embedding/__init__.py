"""Laws of embeddings."""
