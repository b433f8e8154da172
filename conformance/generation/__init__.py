"""Drawing the cases of a layer, keeping them, and making others of them."""
