"""Kernels in NumPy, a file for each operator of torch: `right` ones, and the same gone `wrong`."""
