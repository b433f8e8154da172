"""Oracles of the torch operators that layers call, built from the catalogue's oracles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded, exact_operand, multilinear
from conformance.layers import CATALOGUE
from conformance.model.case import Updated

OperatorArguments = Mapping[str, Any]
OperatorResult = Rounded | Choices | None
Oracle = Callable[[OperatorArguments], Sequence[OperatorResult]]
"""Arguments by the schema's names, tensors as `Rounded` → the results; None = unknown."""


class UnknownFormError(LookupError):
    """A known operator, called in a form that its oracle does not cover."""


def _function_oracle(layer: str, *inputs: str, **arguments: str) -> Oracle:
    """Oracle of an operator that equals a function of the catalogue.

    Args:
        inputs: the operator's names of the function's inputs; empty for an absent one.
        arguments: the function's argument → the operator's name of it.
    """

    def oracle(operator_arguments: OperatorArguments) -> Sequence[OperatorResult]:
        spec = CATALOGUE[f"functional.{layer}"]
        operands = [operator_arguments.get(name) if name else None for name in inputs]
        function_arguments = {
            name: _as_tuple(operator_arguments[operator_name])
            for name, operator_name in arguments.items()
        }
        return _result_tuple(spec.oracle.values({}, *operands, **function_arguments))

    return oracle


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _result_tuple(results: Any) -> Sequence[OperatorResult]:
    results = results.outputs if isinstance(results, Updated) else results
    return results if isinstance(results, tuple) else (results,)


def _first_result(oracle: Oracle) -> Oracle:
    """Keep the first result only: the others are what a kernel saves for its backward."""
    return lambda given: (oracle(given)[0],)


def _matrix_product(formula: str, left: str, right: str, addend: str = "") -> Oracle:
    """A matrix product, given in einsum notation with `k` summed, plus an optional addend."""

    def oracle(arguments: OperatorArguments) -> Sequence[OperatorResult]:
        if arguments.get("beta", 1) != 1 or arguments.get("alpha", 1) != 1:
            raise UnknownFormError("beta or alpha that is not 1")
        a, b = arguments[left], arguments[right]
        names = formula.partition(",")[0]
        return (
            multilinear(
                lambda x, y: np.asarray(np.einsum(formula, x, y)),
                a,
                b,
                addend=arguments[addend] if addend else None,
                terms=a.shape[names.index("k")],
                wide=True,
            ),
        )

    return oracle


def _convolution(arguments: OperatorArguments) -> Sequence[OperatorResult]:
    dims = len(arguments["input"].shape) - 2
    function_arguments = {
        name: tuple(arguments[name]) for name in ("stride", "padding", "dilation")
    }
    layer = f"functional.conv{dims}d"
    if arguments["transposed"]:
        layer = f"functional.conv_transpose{dims}d"
        function_arguments["output_padding"] = tuple(arguments["output_padding"])
    operands = (arguments["input"], arguments["weight"], arguments["bias"])
    return _result_tuple(
        CATALOGUE[layer].oracle.values(
            {}, *operands, **function_arguments, groups=arguments["groups"]
        )
    )


_WINDOW = ("kernel_size", "stride", "padding", "ceil_mode")


def _pooling(layer: str, *names: str, **extra_arguments: Any) -> Oracle:
    """Oracle of pooling. An absent stride is the window's size.

    Args:
        layer: name of the function.
        names: its arguments besides those of every window.
        extra_arguments: values of further arguments.
    """

    def oracle(arguments: OperatorArguments) -> Sequence[OperatorResult]:
        function_arguments = {
            name: _as_tuple(arguments[name]) for name in (*_WINDOW, *names) if name in arguments
        }
        function_arguments["stride"] = (
            function_arguments["stride"] or function_arguments["kernel_size"]
        )
        spec = CATALOGUE[f"functional.{layer}"]
        return _result_tuple(
            spec.oracle.values({}, arguments["self"], **function_arguments, **extra_arguments)
        )

    return oracle


def _elu(arguments: OperatorArguments) -> Sequence[OperatorResult]:
    if arguments["scale"] != 1 or arguments["input_scale"] != 1:
        raise UnknownFormError("scale that is not 1")
    return _function_oracle("elu", "self", alpha="alpha")(arguments)


def _softmax(layer: str) -> Oracle:
    def oracle(arguments: OperatorArguments) -> Sequence[OperatorResult]:
        if arguments["half_to_float"]:
            raise UnknownFormError("half_to_float")
        return _function_oracle(layer, "self", dim="dim")(arguments)

    return oracle


def _attention(arguments: OperatorArguments) -> Sequence[OperatorResult]:
    if arguments["dropout_p"]:
        raise UnknownFormError("dropout")
    argument_names = {"is_causal": "is_causal", "scale": "scale"}
    input_names = ("query", "key", "value", "attn_mask")
    return _first_result(
        _function_oracle("scaled_dot_product_attention", *input_names, **argument_names)
    )(arguments)


def _sum(sign: int) -> Oracle:
    def oracle(arguments: OperatorArguments) -> Sequence[OperatorResult]:
        if arguments.get("alpha", 1) != 1:
            raise UnknownFormError("alpha that is not 1")
        left, right = _operands(arguments)
        return (left + right if sign > 0 else left - right,)

    return oracle


def _operands(arguments: OperatorArguments) -> tuple[Rounded, Rounded]:
    left, right = arguments["self"], arguments["other"]
    if not isinstance(right, Rounded):
        right = exact_operand(np.asarray(float(right)), left.precision)
    return left, right


def _elementwise_product(arguments: OperatorArguments) -> Sequence[OperatorResult]:
    left, right = _operands(arguments)
    return (left * right,)


def _quotient(arguments: OperatorArguments) -> Sequence[OperatorResult]:
    left, right = _operands(arguments)
    return (left / right,)


OPERATORS: Mapping[str, Oracle] = {
    "mm": _matrix_product("ik,kj->ij", "self", "mat2"),
    "bmm": _matrix_product("bik,bkj->bij", "self", "mat2"),
    "mv": _matrix_product("ik,k->i", "self", "vec"),
    "addmm": _matrix_product("ik,kj->ij", "mat1", "mat2", "self"),
    "baddbmm": _matrix_product("bik,bkj->bij", "batch1", "batch2", "self"),
    "addmv": _matrix_product("ik,k->i", "mat", "vec", "self"),
    "linear": _function_oracle("linear", "input", "weight", "bias"),
    "convolution": _convolution,
    "convolution_overrideable": _convolution,
    "add": _sum(1),
    "sub": _sum(-1),
    "mul": _elementwise_product,
    "div": _quotient,
    "relu": _function_oracle("relu", "self"),
    "gelu": _function_oracle("gelu", "self", approximate="approximate"),
    "silu": _function_oracle("silu", "self"),
    "mish": _function_oracle("mish", "self"),
    "hardswish": _function_oracle("hardswish", "self"),
    "hardsigmoid": _function_oracle("hardsigmoid", "self"),
    "hardtanh": _function_oracle("hardtanh", "self", min_val="min_val", max_val="max_val"),
    "hardshrink": _function_oracle("hardshrink", "self", lambd="lambd"),
    "softshrink": _function_oracle("softshrink", "self", lambd="lambd"),
    "softplus": _function_oracle("softplus", "self", beta="beta", threshold="threshold"),
    "leaky_relu": _function_oracle("leaky_relu", "self", negative_slope="negative_slope"),
    "threshold": _function_oracle("threshold", "self", threshold="threshold", value="value"),
    "elu": _elu,
    "glu": _function_oracle("glu", "self", dim="dim"),
    "sigmoid": _function_oracle("sigmoid", "self"),
    "tanh": _function_oracle("tanh", "self"),
    "log_sigmoid_forward": _first_result(_function_oracle("logsigmoid", "self")),
    "_softmax": _softmax("softmax"),
    "_log_softmax": _softmax("log_softmax"),
    "native_layer_norm": _first_result(
        _function_oracle(
            "layer_norm", "input", "weight", "bias", normalized_shape="normalized_shape", eps="eps"
        )
    ),
    "native_group_norm": _first_result(
        _function_oracle("group_norm", "input", "weight", "bias", num_groups="group", eps="eps")
    ),
    "native_batch_norm": _first_result(
        _function_oracle(
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
    "avg_pool1d": _pooling("avg_pool1d", "count_include_pad", "divisor_override"),
    "avg_pool2d": _pooling("avg_pool2d", "count_include_pad", "divisor_override"),
    "avg_pool3d": _pooling("avg_pool3d", "count_include_pad", "divisor_override"),
    "_adaptive_avg_pool2d": _function_oracle(
        "adaptive_avg_pool2d", "self", output_size="output_size"
    ),
    "_adaptive_avg_pool3d": _function_oracle(
        "adaptive_avg_pool3d", "self", output_size="output_size"
    ),
    "max_pool2d_with_indices": _pooling("max_pool2d", "dilation", return_indices=True),
    "max_pool3d_with_indices": _pooling("max_pool3d", "dilation", return_indices=True),
    "embedding": _function_oracle("embedding", "indices", "weight"),
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


def find_operator_oracle(name: str) -> Oracle | None:
    """The oracle of an operator; None where it has none.

    Args:
        name: name within `aten`, without the overload: `"addmm"`, `"relu_"`.
    """
    return OPERATORS.get(name) or OPERATORS.get(name.removesuffix("_"))
