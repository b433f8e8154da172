"""What must come out of normalisations."""
