"""Draw the cases of a layer, store them, and make variants of them."""
