"""What must come out of pooling."""
