"""Planted bugs of kernels in place of torch's operators."""
