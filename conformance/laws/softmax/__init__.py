"""Laws of softmax and its kin."""
