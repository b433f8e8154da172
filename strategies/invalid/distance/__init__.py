"""Ways to break a valid call of distances."""
