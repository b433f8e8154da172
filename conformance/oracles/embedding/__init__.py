"""What must come out of embeddings."""
