"""Ways to break a valid call of normalisations."""
