"""The built-in backend: torch itself."""

from __future__ import annotations

import torch

from conformance.backends.module import TORCH_STORED, ModuleBackend

backend = ModuleBackend("torch", stored=TORCH_STORED)


def initialize_autograd() -> None:
    """Run a backward pass, at the first of which autograd counts the devices.

    torch for CUDA, without a GPU, pretends one to fake tensors. If they come first, autograd starts
    a thread for it, and a copy of the process computes no gradients.
    """
    torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
