"""The maths, in NumPy, from torch's documentation: expected shapes, values and error bounds."""
