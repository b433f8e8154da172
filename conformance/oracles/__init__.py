"""Expected shapes, values and error bounds, in NumPy, from torch's documentation."""
