"""Cases of normalisations."""
