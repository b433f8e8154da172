"""Planted bugs of layers in regions of `torch.autocast`."""
