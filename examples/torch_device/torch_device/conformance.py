"""The plug-in: torch's own layers on the device."""

from types import SimpleNamespace

import numpy as np
import torch

import torch_device  # noqa: F401 - registers the device
from conformance.backends import ModuleBackend

# torch's lazy parameters cannot be made of a tensor class of one's own.
NN = SimpleNamespace(Linear=torch.nn.Linear, Identity=torch.nn.Identity)


class OnDevice(ModuleBackend):
    """Layers whose tensors lie on the device."""

    def info(self):
        """Versions, the device's included."""
        return {**super().info(), "npy device": f"NumPy {np.__version__}"}

    def devices(self):
        """The only one: `--conformance-device=npy:0`, or `all`."""
        return ("npy:0",)

    def offers(self, layer, dtype, device):
        """The dtypes that NumPy has and BLAS computes in."""
        return dtype in ("float32", "float64")


backend = OnDevice("torch-device", nn=NN)
