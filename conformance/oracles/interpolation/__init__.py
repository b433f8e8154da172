"""What must come out of interpolation."""
