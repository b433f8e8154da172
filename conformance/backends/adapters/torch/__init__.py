"""The built-in backend: torch itself."""

from __future__ import annotations

import torch

from conformance.backends.module import TORCH_STORED, ModuleBackend

# Autograd counts the devices at its first backward pass. torch for CUDA, without a GPU, pretends
# one to fake tensors; if they come first, a copy of the process computes no gradients.
torch.ones(1, requires_grad=True).sum().backward()
backend = ModuleBackend("torch", stored=TORCH_STORED)
