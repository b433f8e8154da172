"""Laws of activations."""
