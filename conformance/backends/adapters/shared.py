"""What the adapters of array libraries share: arguments that they lack, states, ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from conformance.model.case import Unsupported
from conformance.model.formats import format_of

State = Mapping[str, Any]

LACKED: Mapping[str, Any] = {
    "inplace": False, "dtype": None, "beta": 1, "threshold": 20,  # activations
    "return_indices": False, "ceil_mode": False, "divisor_override": None,  # pooling
    "count_include_pad": True, "padding_mode": "zeros", "recompute_scale_factor": None,
    "padding_idx": None, "max_norm": None, "scale_grad_by_freq": False, "sparse": False,
    "bias": True, "elementwise_affine": True, "track_running_stats": False,  # normalization
    "add_bias_kv": False, "add_zero_attn": False, "dropout_p": 0.0, "scale": None,  # attention
    "ignore_index": -100,
}  # fmt: skip
"""`FunctionBackend.lacks` of all of them."""

ONE_LAYER = ("num_layers", "dropout", "bidirectional", "proj_size")
"""Arguments of `one_layer`."""


def only(**given: tuple[Any, Any]) -> None:
    """Decline arguments, given with the one value that changes nothing, for any other.

    Raises:
        Unsupported: for the first that is another.
    """
    for name, (value, plain) in given.items():
        if value != plain:
            raise Unsupported(f"{name}={value!r}")


def one_layer(num_layers: int = 1, **others: Any) -> None:
    """Decline recurrent layers of more than one layer, or with anything else that is true.

    Raises:
        Unsupported: for the first.
    """
    for name, value in {"num_layers": num_layers - 1, **others}.items():
        if value:
            raise Unsupported(name)


def ranked(layer: str, x: Any, *ranks: int) -> None:
    """Refuse an input of another rank, where a library has one class for all ranks.

    Raises:
        ValueError: for it.
    """
    if x.ndim not in ranks:
        raise ValueError(f"{layer}: an input of {x.ndim} axes")


def projections(state: State, split: Callable[..., Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Attention's matrices and biases of query, key and value, which torch has in one or three.

    Args:
        split: the library's, into equal parts of the first axis.
    """
    packed = state.get("in_proj_weight")
    matrices = [state[f"{x}_proj_weight"] for x in "qkv"] if packed is None else split(packed, 3)
    return matrices, split(state["in_proj_bias"], 3) if "in_proj_bias" in state else ()


def own_epsilon(dtype: str) -> float:
    """RMSNorm's eps where it is None: that of the dtype in which a call of another is computed."""
    return 2 * format_of("float64" if dtype == "float64" else "float32").unit
