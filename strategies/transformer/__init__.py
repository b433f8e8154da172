"""Cases of transformers."""
