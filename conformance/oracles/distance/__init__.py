"""What must come out of distances."""
