"""The built-in backend: torch itself."""

from __future__ import annotations

import torch

from conformance.backends.module import TORCH_STORED, ModuleBackend

backend = ModuleBackend("torch", stored=TORCH_STORED)


def count_devices() -> None:
    """Let autograd count the devices, which it does at its first backward pass.

    torch for CUDA, without a GPU, pretends one to fake tensors. If they come first, autograd starts
    a thread for it, and a copy of the process computes no gradients.
    """
    torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
