"""Helpers of all adapters of array libraries: unsupported arguments, states, ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.model.case import Unsupported
from conformance.model.formats import format_of

State = Mapping[str, Any]

SINGLE_LAYER_OPTIONS = ("num_layers", "dropout", "bidirectional", "proj_size")
"""Arguments of `require_single_layer`."""


def require_supported(**arguments: tuple[Any, Any]) -> None:
    """Decline arguments whose value differs from the only supported one.

    Args:
        arguments: argument → (its value, the supported value).

    Raises:
        Unsupported: for the first argument with another value.
    """
    for name, (value, supported) in arguments.items():
        if value != supported:
            raise Unsupported(f"{name}={value!r}")


def require_single_layer(num_layers: int = 1, **options: Any) -> None:
    """Decline recurrent modules with several layers, or with any other of these options set.

    Raises:
        Unsupported: for the first such option.
    """
    for name, value in {"num_layers": num_layers - 1, **options}.items():
        if value:
            raise Unsupported(name)


def check_rank(layer: str, x: Any, *ranks: int) -> None:
    """Refuse an input of another rank, for libraries with one class for all ranks.

    Raises:
        ValueError: if the rank is not one of `ranks`.
    """
    if x.ndim not in ranks:
        raise ValueError(f"{layer}: an input of {x.ndim} axes")


def attention_projections(
    state: State, split: Callable[..., Any]
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Matrices and biases of attention's query, key and value; torch may store each in one tensor.

    Args:
        split: the library's function that splits the first axis into equal parts.
    """
    packed = state.get("in_proj_weight")
    matrices = [state[f"{x}_proj_weight"] for x in "qkv"] if packed is None else split(packed, 3)
    return matrices, split(state["in_proj_bias"], 3) if "in_proj_bias" in state else ()


def default_epsilon(dtype: str) -> float:
    """RMSNorm's eps for None: the machine epsilon of the dtype in which the call is computed."""
    return 2 * format_of("float64" if dtype == "float64" else "float32").unit
