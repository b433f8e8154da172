"""Cases of distances."""
