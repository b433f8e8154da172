"""Laws of normalisations."""
