"""What must come out of activations."""
