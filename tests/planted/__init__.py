"""Planted bugs: look-alikes of torch's layers, each wrong in exactly one way.

`BUGS` is the catalogue. A conformance suite that passes one of them has a hole. The bugs come
from the public history of torch and its ports, and from what goes wrong when these layers are
written anew.

To add a bug, write the look-alike in the module of its family and decorate it:

    @plant("conv1d-replicate-padded-with-zeros", "Conv1d", "values")
    class Conv1dReplicatePaddedWithZeros(nn.Conv1d):
        '''Replicate padding becomes zero padding, as in converters.'''

The arguments are a unique name led by the layer, the layer, and the check expected to notice;
the docstring is the story. A class subclasses torch's own and overrides as little as it can, a
function has torch's signature; either must do just what torch does wherever the bug is not
triggered. Run by hand it must differ from torch on one call and agree on another, unless the bug
is always on. In place of torch it is run as a namespace: `SimpleNamespace(Conv1d=implementation)`.

`KERNELS` is a second catalogue, of functions that replace an operator of torch below autograd: one
correct kernel an operator, written in blocks, and its wrong relatives. Each stands with calls that
it gets right and calls that it gets wrong, on which `tools/kernel_check.py` proves it.
"""

from __future__ import annotations

import importlib
import pkgutil

from planted.bug import CHECKS, PLANTED, Bug
from planted.kernels import kernel

# A family plants its bugs when it is imported.
for module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(module.name)

BUGS: tuple[Bug, ...] = tuple(PLANTED)
KERNELS: tuple[kernel.Kernel, ...] = tuple(kernel.KERNELS)

__all__ = ["BUGS", "CHECKS", "KERNELS", "Bug"]
