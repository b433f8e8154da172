"""What must come out of attention."""
