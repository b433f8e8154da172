"""Names of torch's layers: in one to three dimensions, as modules and as functions."""

from __future__ import annotations

from conformance.model.case import bare_name

BATCH_NORM_RANKS = {"BatchNorm1d": (2, 3), "BatchNorm2d": (4,), "BatchNorm3d": (5,)}
_WITH_UNDERSCORE = {"LeakyReLU": "leaky_relu", "LogSoftmax": "log_softmax"}


def names_for_dims(*names: str) -> tuple[str, ...]:
    """Names of layers in one, two and three dimensions, such as `"Conv{}d"`."""
    return tuple(name.format(dims) for name in names for dims in (1, 2, 3))


def spatial_dims(layer: str) -> int:
    """Number of spatial dimensions in a layer's name: 2 for `"Conv2d"`."""
    return int(layer[-2])


def function_name(layer: str) -> str:
    """Function name of an activation, which may be a module: `"leaky_relu"` for `"LeakyReLU"`."""
    name = bare_name(layer)
    return _WITH_UNDERSCORE.get(name, name.lower())


def with_functions(*modules: str) -> tuple[str, ...]:
    """Names of activation modules, and of the functions that compute the same."""
    return (*modules, *(f"functional.{function_name(module)}" for module in modules))
