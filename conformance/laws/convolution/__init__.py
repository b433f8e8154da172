"""Laws of convolutions."""
