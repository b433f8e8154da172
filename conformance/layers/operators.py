"""Oracles of the torch operators that layers call, built from the catalogue's oracles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded, exactly, multilinear
from conformance.layers import CATALOGUE
from conformance.model.case import Updated

Given = Mapping[str, Any]
Answer = Rounded | Choices | None
Oracle = Callable[[Given], Sequence[Answer]]
"""Arguments by the schema's names, tensors as `Rounded` → the results; None = unknown."""


class UnknownFormError(LookupError):
    """A known operator, called in a form that its oracle does not cover."""


def _as(layer: str, *inputs: str, **arguments: str) -> Oracle:
    """Oracle of an operator that equals a function of the catalogue.

    Args:
        inputs: the operator's names of the function's inputs; empty for an absent one.
        arguments: the function's argument → the operator's name of it.
    """

    def oracle(given: Given) -> Sequence[Answer]:
        row = CATALOGUE[f"functional.{layer}"]
        operands = [given.get(name) if name else None for name in inputs]
        written = {name: _value(given[theirs]) for name, theirs in arguments.items()}
        return _results(row.oracle.values({}, *operands, **written))

    return oracle


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _results(found: Any) -> Sequence[Answer]:
    found = found.outputs if isinstance(found, Updated) else found
    return found if isinstance(found, tuple) else (found,)


def _first(oracle: Oracle) -> Oracle:
    """Keep the first result only: the others are what a kernel saves for its backward."""
    return lambda given: (oracle(given)[0],)


def _product(formula: str, left: str, right: str, plus: str = "") -> Oracle:
    """A matrix product, given in einsum notation with `k` summed, plus an optional addend."""

    def oracle(given: Given) -> Sequence[Answer]:
        if given.get("beta", 1) != 1 or given.get("alpha", 1) != 1:
            raise UnknownFormError("beta or alpha that is not 1")
        a, b = given[left], given[right]
        names = formula.partition(",")[0]
        return (
            multilinear(
                lambda x, y: np.asarray(np.einsum(formula, x, y)),
                a,
                b,
                plus=given[plus] if plus else None,
                terms=a.shape[names.index("k")],
                wide=True,
            ),
        )

    return oracle


def _convolution(given: Given) -> Sequence[Answer]:
    dims = len(given["input"].shape) - 2
    same = {name: tuple(given[name]) for name in ("stride", "padding", "dilation")}
    layer = f"functional.conv{dims}d"
    if given["transposed"]:
        layer = f"functional.conv_transpose{dims}d"
        same["output_padding"] = tuple(given["output_padding"])
    operands = (given["input"], given["weight"], given["bias"])
    return _results(CATALOGUE[layer].oracle.values({}, *operands, **same, groups=given["groups"]))


_WINDOW = ("kernel_size", "stride", "padding", "ceil_mode")


def _windows(layer: str, *names: str, **more: Any) -> Oracle:
    """Oracle of pooling. An absent stride is the window's size.

    Args:
        layer: name of the function.
        names: its arguments besides those of every window.
        more: values of further arguments.
    """

    def oracle(given: Given) -> Sequence[Answer]:
        written = {name: _value(given[name]) for name in (*_WINDOW, *names) if name in given}
        written["stride"] = written["stride"] or written["kernel_size"]
        row = CATALOGUE[f"functional.{layer}"]
        return _results(row.oracle.values({}, given["self"], **written, **more))

    return oracle


def _elu(given: Given) -> Sequence[Answer]:
    if given["scale"] != 1 or given["input_scale"] != 1:
        raise UnknownFormError("scale that is not 1")
    return _as("elu", "self", alpha="alpha")(given)


def _softmaxed(layer: str) -> Oracle:
    def oracle(given: Given) -> Sequence[Answer]:
        if given["half_to_float"]:
            raise UnknownFormError("half_to_float")
        return _as(layer, "self", dim="dim")(given)

    return oracle


def _attention(given: Given) -> Sequence[Answer]:
    if given["dropout_p"]:
        raise UnknownFormError("dropout")
    names = {"is_causal": "is_causal", "scale": "scale"}
    places = ("query", "key", "value", "attn_mask")
    return _first(_as("scaled_dot_product_attention", *places, **names))(given)


def _sum_of_two(sign: int) -> Oracle:
    def oracle(given: Given) -> Sequence[Answer]:
        if given.get("alpha", 1) != 1:
            raise UnknownFormError("alpha that is not 1")
        one, other = _both(given)
        return (one + other if sign > 0 else one - other,)

    return oracle


def _both(given: Given) -> tuple[Rounded, Rounded]:
    one, other = given["self"], given["other"]
    if not isinstance(other, Rounded):
        other = exactly(np.asarray(float(other)), one.precision)
    return one, other


def _multiplied(given: Given) -> Sequence[Answer]:
    one, other = _both(given)
    return (one * other,)


def _divided(given: Given) -> Sequence[Answer]:
    one, other = _both(given)
    return (one / other,)


OPERATORS: Mapping[str, Oracle] = {
    "mm": _product("ik,kj->ij", "self", "mat2"),
    "bmm": _product("bik,bkj->bij", "self", "mat2"),
    "mv": _product("ik,k->i", "self", "vec"),
    "addmm": _product("ik,kj->ij", "mat1", "mat2", "self"),
    "baddbmm": _product("bik,bkj->bij", "batch1", "batch2", "self"),
    "addmv": _product("ik,k->i", "mat", "vec", "self"),
    "linear": _as("linear", "input", "weight", "bias"),
    "convolution": _convolution,
    "convolution_overrideable": _convolution,
    "add": _sum_of_two(1),
    "sub": _sum_of_two(-1),
    "mul": _multiplied,
    "div": _divided,
    "relu": _as("relu", "self"),
    "gelu": _as("gelu", "self", approximate="approximate"),
    "silu": _as("silu", "self"),
    "mish": _as("mish", "self"),
    "hardswish": _as("hardswish", "self"),
    "hardsigmoid": _as("hardsigmoid", "self"),
    "hardtanh": _as("hardtanh", "self", min_val="min_val", max_val="max_val"),
    "hardshrink": _as("hardshrink", "self", lambd="lambd"),
    "softshrink": _as("softshrink", "self", lambd="lambd"),
    "softplus": _as("softplus", "self", beta="beta", threshold="threshold"),
    "leaky_relu": _as("leaky_relu", "self", negative_slope="negative_slope"),
    "threshold": _as("threshold", "self", threshold="threshold", value="value"),
    "elu": _elu,
    "glu": _as("glu", "self", dim="dim"),
    "sigmoid": _as("sigmoid", "self"),
    "tanh": _as("tanh", "self"),
    "log_sigmoid_forward": _first(_as("logsigmoid", "self")),
    "_softmax": _softmaxed("softmax"),
    "_log_softmax": _softmaxed("log_softmax"),
    "native_layer_norm": _first(
        _as("layer_norm", "input", "weight", "bias", normalized_shape="normalized_shape", eps="eps")
    ),
    "native_group_norm": _first(
        _as("group_norm", "input", "weight", "bias", num_groups="group", eps="eps")
    ),
    "native_batch_norm": _first(
        _as(
            "batch_norm",
            "input",
            "running_mean",
            "running_var",
            "weight",
            "bias",
            training="training",
            momentum="momentum",
            eps="eps",
        )
    ),
    "avg_pool1d": _windows("avg_pool1d", "count_include_pad", "divisor_override"),
    "avg_pool2d": _windows("avg_pool2d", "count_include_pad", "divisor_override"),
    "avg_pool3d": _windows("avg_pool3d", "count_include_pad", "divisor_override"),
    "_adaptive_avg_pool2d": _as("adaptive_avg_pool2d", "self", output_size="output_size"),
    "_adaptive_avg_pool3d": _as("adaptive_avg_pool3d", "self", output_size="output_size"),
    "max_pool2d_with_indices": _windows("max_pool2d", "dilation", return_indices=True),
    "max_pool3d_with_indices": _windows("max_pool3d", "dilation", return_indices=True),
    "embedding": _as("embedding", "indices", "weight"),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
}
"""Oracles of the operators in `aten`, by name; `name_` writes what `name` returns."""
MOVES = frozenset(
    (
        *("view", "_unsafe_view", "reshape", "t", "transpose", "permute", "expand", "select"),
        *("slice", "squeeze", "unsqueeze", "clone", "detach", "alias", "as_strided", "contiguous"),
        *("cat", "stack", "split", "unsafe_split", "chunk", "unbind", "copy_", "lift_fresh"),
        *("_to_copy", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
        *("split_with_sizes", "unsafe_chunk", "unfold", "diagonal", "flip", "narrow"),
    )
)
"""Operators that move numbers and compute nothing."""


def oracle_of(name: str) -> Oracle | None:
    """The oracle of an operator; None where it has none.

    Args:
        name: name within `aten`, without the overload: `"addmm"`, `"relu_"`.
    """
    return OPERATORS.get(name) or OPERATORS.get(name.removesuffix("_"))
