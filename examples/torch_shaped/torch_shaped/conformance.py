"""The plug-in: all that nn-conformance needs."""

import torch_shaped
from conformance.backends import ModuleBackend

backend = ModuleBackend("torch-shaped", nn=torch_shaped)
