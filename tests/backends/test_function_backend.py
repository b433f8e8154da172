"""`FunctionBackend` on torch's functions: modes, buffers, inputs without gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from support import first_failure

from conformance import Updated
from conformance.backends import FunctionBackend, implements
from conformance.checks import CHECKS
from conformance.checks.trial import Trial
from conformance.items.planning import Item, plan_items
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case, Unsupported
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

functional = torch.nn.functional


class TorchFunctions(FunctionBackend):
    """torch's functions, and their gradients."""

    name = "functions"

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        super().put(array, layout, dtype, device)  # declines other layouts
        return torch.tensor(array, dtype=getattr(torch, dtype))

    def get(self, native: Any) -> np.ndarray:
        return super().get(native.detach().numpy())

    def dtype(self, native: Any) -> str:
        return str(native.dtype).removeprefix("torch.")

    def vjp(self, fn: Any, primals: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
        leaves = [primal.detach().requires_grad_() for primal in primals]
        outputs = [y for y in fn(*leaves) if y.requires_grad]
        if not outputs:
            return [torch.zeros_like(leaf) for leaf in leaves]
        return torch.autograd.grad(
            outputs, leaves, list(cotangents), allow_unused=True, materialize_grads=True
        )

    @implements("functional.linear")
    def linear(self, state: Any, input: Any, weight: Any, bias: Any = None) -> Any:
        return functional.linear(input, weight, bias)

    @implements("Dropout", "functional.dropout")
    def dropout(
        self,
        state: Any,
        input: Any,
        *,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Any:
        y = functional.dropout(input, p, training).clone()
        return Updated(y, {"input": y}) if inplace else y

    @implements("BatchNorm2d", ignores=("num_features", "affine", "track_running_stats", "bias"))
    def batch_norm(
        self,
        state: Mapping[str, Any],
        input: Any,
        *,
        training: bool,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
    ) -> Any:
        new_state = {k: x.clone() for k, x in state.items() if x.dim() == 0 or "running" in k}
        if training and new_state:
            new_state["num_batches_tracked"] += 1
            if momentum is None:
                momentum = 1 / float(new_state["num_batches_tracked"])
        statistics = (new_state.get("running_mean"), new_state.get("running_var"))
        affine = state.get("weight"), state.get("bias")
        uses_batch = training or not new_state
        y = functional.batch_norm(input, *statistics, *affine, uses_batch, momentum or 0.0, eps)
        return Updated(y, new_state) if new_state else y

    @implements("functional.batch_norm", passes=("training", "momentum", "eps"))
    def functional_batch_norm(
        self,
        state: Mapping[str, Any],
        input: Any,
        running_mean: Any,
        running_var: Any,
        weight: Any = None,
        bias: Any = None,
        **arguments: Any,
    ) -> Any:
        return functional.batch_norm(input, running_mean, running_var, weight, bias, **arguments)

    @implements("CrossEntropyLoss", passes=("ignore_index", "reduction", "label_smoothing"))
    def cross_entropy(
        self, state: Mapping[str, Any], input: Any, target: Any, **arguments: Any
    ) -> Any:
        return functional.cross_entropy(input, target, state.get("weight"), **arguments)

    @implements("functional.cross_entropy", passes=("ignore_index", "reduction", "label_smoothing"))
    def functional_cross_entropy(
        self,
        state: Mapping[str, Any],
        input: Any,
        target: Any,
        weight: Any = None,
        **arguments: Any,
    ) -> Any:
        return functional.cross_entropy(input, target, weight, **arguments)

    @implements(
        "functional.scaled_dot_product_attention", passes=("is_causal", "scale", "enable_gqa")
    )
    def attention(
        self,
        state: Mapping[str, Any],
        query: Any,
        key: Any,
        value: Any,
        mask: Any = None,
        *,
        dropout_p: float = 0.0,
        **arguments: Any,
    ) -> Any:
        return functional.scaled_dot_product_attention(
            query, key, value, mask, dropout_p, **arguments
        )


backend = TorchFunctions()


@pytest.mark.parametrize(
    "layer",
    [
        "Dropout", "functional.dropout", "BatchNorm2d", "functional.batch_norm",
        "CrossEntropyLoss", "functional.cross_entropy",
    ],
)  # fmt: skip
@pytest.mark.parametrize("check", ["values", "gradients", "repeat"])
def test_modes_buffers_and_inputs_without_gradients(layer: str, check: str) -> None:
    search = first_failure(backend, layer, check, examples=60)
    assert search.passed, search.message


@pytest.mark.parametrize(
    "layer", ["Dropout", "functional.dropout", "functional.scaled_dot_product_attention"]
)
def test_random_numbers_are_drawn_where_the_mode_or_an_argument_says_so(layer: str) -> None:
    search = first_failure(backend, layer, "random", examples=60)
    assert search.passed, search.message


def test_what_is_given_twice_has_one_gradient() -> None:
    x = np.arange(4.0).reshape(2, 2)
    case = Case(Call("functional.linear", {}, {}, "float32", "cpu"), (x, x, None))
    evidence = CHECKS["gradients"].run(Trial(backend, CATALOGUE["functional.linear"], case))
    assert evidence.comparisons


class WaitingFunctions(TorchFunctions):
    """Records the arguments of `wait`."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[Any] = []

    def wait(self, outputs: Any) -> None:
        self.waited.append(outputs)


def test_outputs_and_gradients_are_waited_for() -> None:
    waiting = WaitingFunctions()
    layer = waiting.build(Call("functional.linear", {}, {}, "float32", "cpu"))
    x, weight = layer.put(np.ones((2, 3))), layer.put(np.ones((4, 3)))
    y = layer(x, weight, None)
    layer.vjp([x, weight, None], [y])  # type: ignore[attr-defined]
    call_outputs, gradients = waiting.waited
    assert call_outputs is y
    assert [tuple(gradient.shape) for gradient in gradients] == [(2, 3), (4, 3)]


def test_of_updated_the_outputs_are_waited_for() -> None:
    waiting = WaitingFunctions()
    layer = waiting.build(Call("Dropout", {"inplace": True}, {}, "float32", "cpu"))
    y = layer(layer.put(np.ones(3)))
    assert len(waiting.waited) == 1
    assert waiting.waited[0] is y


def test_what_no_function_implements_is_asked_for_in_one_dtype() -> None:
    layers = ("functional.linear", "Fold")
    items = plan_items(
        TorchFunctions(), layers=layers, checks=("values",), dtypes=("float32", "float64"),
        devices=("cpu",), every_dtype=False,
    )  # fmt: skip
    assert [(item.layer, item.dtype) for item in items] == [
        ("functional.linear", "float32"),
        ("functional.linear", "float64"),
        ("Fold", "float32"),
    ]


class SelfBuilding(TorchFunctions):
    """A backend with a `build` of its own, so that no function need implement a layer."""

    def build(self, call: Call) -> Any:
        return super().build(Call("functional.linear", {}, {}, call.dtype, call.device))


def test_a_backend_that_builds_itself_is_asked_for_every_layer() -> None:
    assert not TorchFunctions().offers("Fold", "float64", "cpu")
    assert SelfBuilding().offers("Fold", "float64", "cpu")


class _TransformedFunctions(TorchFunctions):
    """Functions that torch.func differentiates in both modes and maps over batches."""

    name = "transformed"

    def vjp(self, fn: Any, primals: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
        return torch.func.vjp(fn, *primals)[1](tuple(cotangents))

    def jvp(self, fn: Any, primals: Sequence[Any], tangents: Sequence[Any]) -> Sequence[Any]:
        return torch.func.jvp(fn, tuple(primals), tuple(tangents))[1]

    def vmap(self, fn: Any, in_dims: tuple[int, ...], out_dim: int) -> Any:
        return torch.func.vmap(fn, in_dims, out_dim)

    @implements("Bilinear", ignores=("in1_features", "in2_features", "out_features", "bias"))
    def bilinear(self, state: Mapping[str, Any], x: Any, y: Any) -> Any:
        return functional.bilinear(x, y, state["weight"], state.get("bias"))

    @implements("functional.silu")
    def silu(self, state: Any, input: Any, *, inplace: bool = False) -> Any:
        return functional.silu(input)


@pytest.mark.parametrize("layer", ["Bilinear", "functional.silu"])
def test_functions_are_transformed_by_what_transforms_functions(layer: str) -> None:
    backend = _TransformedFunctions()
    verdict = Engine(backend, 60, 0).run(Item(layer, "transforms", "float64", "cpu"))
    assert verdict.status == "passed", verdict.message


def test_a_wrong_transform_of_functions_fails() -> None:
    class Stacked(_TransformedFunctions):
        """Each slice of a batch has the numbers of the first."""

        def vmap(self, fn: Any, in_dims: tuple[int, ...], out_dim: int) -> Any:
            mapped = super().vmap(fn, in_dims, out_dim)
            return lambda *operands: tuple(
                torch.stack([y.select(out_dim, 0)] * y.shape[out_dim], out_dim)
                for y in mapped(*operands)
            )

    verdict = Engine(Stacked(), 60, 0).run(Item("Bilinear", "transforms", "float64", "cpu"))
    assert verdict.status == "failed"
    assert "in a slice of vmap over" in str(verdict.message)


class _FewArguments(FunctionBackend):
    """Functions that name few of their layers' arguments."""

    name = "few-arguments"

    @implements("ReLU", "Hardtanh", "AvgPool2d", "utils.rnn.pad_sequence")
    def call_without_arguments(self, state: Any, x: Any) -> Any:
        return np.maximum(x, 0)

    @implements("Embedding", ignores=("num_embeddings", "embedding_dim"))
    def embedding(self, state: Mapping[str, Any], input: Any, *, padding_idx: Any = -1) -> Any:
        assert padding_idx == -1 or padding_idx is None
        return state["weight"][input]


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        ("ReLU", {"inplace": False}),
        ("Hardtanh", {"min_val": -1, "max_val": 1.0}),
        ("AvgPool2d", {"padding": (0, 0), "divisor_override": None}),
        ("utils.rnn.pad_sequence", {"padding_value": 0.0}),
    ],
)
def test_an_argument_with_its_default_is_dropped_if_the_function_does_not_name_it(
    layer: str, arguments: Mapping[str, Any]
) -> None:
    built = _FewArguments().build(Call(layer, arguments, {}, "float32", "cpu"))
    assert built(np.array([-1.0])) == 0


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        ("ReLU", {"inplace": True}),
        ("Hardtanh", {"min_val": -2}),
        ("AvgPool2d", {"padding": (0, 1)}),
        ("AvgPool2d", {"padding": (0, 0, 0)}),
        ("AvgPool2d", {"unknown": None}),
        ("utils.rnn.pad_sequence", {"padding_value": -0.0}),
    ],
)
def test_any_other_value_of_an_argument_that_the_function_does_not_name_is_declined(
    layer: str, arguments: Mapping[str, Any]
) -> None:
    with pytest.raises(Unsupported, match=next(reversed(arguments))):
        _FewArguments().build(Call(layer, arguments, {}, "float32", "cpu"))


def test_an_argument_that_the_function_names_arrives_as_written() -> None:
    state = {"weight": np.ones((2, 3))}
    call = Call("Embedding", {"padding_idx": None, "max_norm": None}, state, "float32", "cpu")
    assert _FewArguments().build(call)(np.array([1])).shape == (1, 3)


def test_a_function_of_an_unknown_layer_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"implements\('Liner'\): no such layer; nearest: Linear"):

        class Misspelt(FunctionBackend):
            @implements("Linear", "Liner")
            def linear(self, state: Any, input: Any) -> Any:
                return input
