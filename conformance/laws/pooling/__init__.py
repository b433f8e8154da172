"""Laws of pooling."""
