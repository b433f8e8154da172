"""Laws of transformers."""
