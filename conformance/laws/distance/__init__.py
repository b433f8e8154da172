"""Laws of distances."""
