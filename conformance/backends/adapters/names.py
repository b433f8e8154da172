"""torch's layers by name: of one to three dimensions, as a module and as a function."""

from __future__ import annotations

from conformance.model.case import bare_name

BATCH_NORM_RANKS = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,)}
_WITH_UNDERSCORE = {"LeakyReLU": "leaky_relu", "LogSoftmax": "log_softmax"}


def of_ranks(*names: str) -> tuple[str, ...]:
    """Names of layers in one, two and three dimensions, such as `"Conv{}d"`."""
    return tuple(name.format(dims) for name in names for dims in (1, 2, 3))


def dims_of(layer: str) -> int:
    """Dimensions of space by a layer's name: 2 of `"Conv2d"`."""
    return int(layer[-2])


def function_name(layer: str) -> str:
    """torch's name of an activation's function: `"leaky_relu"` of `"LeakyReLU"` and of itself."""
    name = bare_name(layer)
    return _WITH_UNDERSCORE.get(name, name.lower())


def with_functions(*modules: str) -> tuple[str, ...]:
    """Activations and their functions."""
    return (*modules, *(f"functional.{function_name(module)}" for module in modules))
