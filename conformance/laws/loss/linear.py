"""Laws of the cross entropy of a linear map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.loss.cross_entropy import Loss, classes_law, dropped_law, mean_divisor
from conformance.laws.loss.reductions import call_on, reductions
from conformance.laws.loss.reductions import unbatched_law as single
from conformance.model.case import is_function
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    law,
    outputs_with_bounds,
    with_bounds_of,
)

if TYPE_CHECKING:
    from typing import Self

    from conformance.spec.trial_protocol import TrialLike as Trial

_MODULE, _FUNCTION = "LinearCrossEntropyLoss", "functional.linear_cross_entropy"
# Arguments of the module that follow from a function's arrays.
_SIZES = ("in_features", "num_classes", "out_features", "bias")
MAX_CHUNKS = 1000
"""Most chunks of a case: torch loops over them, forward and backward."""


@dataclass(frozen=True, eq=False)
class Map(Loss):
    """The operands of a call, of the module or the function.

    Args:
        trial: the case that they were read from.
        x, target: features, and class indices or probabilities.
        weight: weights of the classes, or None.
        arguments: the written arguments without the sizes.
        linear: (C, d_1, …, d_K, in_features).
        bias: (C, d_1, …, d_K), or None.
    """

    linear: np.ndarray
    bias: np.ndarray | None

    @classmethod
    def of(cls, trial: Trial) -> Map:
        """Read a case."""
        call = trial.case.call
        arguments = {k: v for k, v in call.arguments.items() if k not in _SIZES}
        if is_function(call.layer):
            x, linear, target, bias, weight = (*trial.case.inputs, None, None)[:5]
            assert linear is not None
        else:
            x, target = trial.case.inputs
            all_arguments = {**trial.spec.signature.defaults, **call.arguments}
            shape = (all_arguments["num_classes"], *all_arguments["out_features"])
            linear = call.state["linear.weight"].reshape(*shape, -1)
            flat_bias = call.state.get("linear.bias")
            bias = None if flat_bias is None else flat_bias.reshape(shape)
            weight = call.state.get("weight")
        assert x is not None
        assert target is not None
        return cls(trial, x, target, weight, arguments, linear, bias)

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.linear)

    def permute_classes(self, order: np.ndarray) -> Self:
        """Permute the classes, with weight and bias of the linear map.

        Args:
            order: order[k] is the class that moves to index k.
        """
        other, bias = self._permute_targets(order), self.bias
        linear = self.linear[order]
        return replace(other, linear=linear, bias=None if bias is None else bias[order])

    def call(self, layer: str | None = None, **changes: Any) -> Trial:
        """The call on the same backend.

        Args:
            layer: the module or the function; None = the case's own.
            changes: changed arguments.
        """
        name = layer or self.trial.case.call.layer
        arguments, state = {**self.arguments, **changes}, {}
        inputs: tuple[np.ndarray | None, ...] = (
            self.x, self.linear, self.target, self.bias, self.weight
        )  # fmt: skip
        if not is_function(name):
            classes, *places, features = self.linear.shape
            inputs = (self.x, self.target)
            sizes = {"in_features": features, "num_classes": classes}
            arguments = {**sizes, "out_features": tuple(places), **arguments}
            arguments["bias"] = self.bias is not None
            state = {} if self.weight is None else {"weight": self.weight}
            state["linear.weight"] = self.linear.reshape(-1, features)
            if self.bias is not None:
                state["linear.bias"] = self.bias.reshape(-1)
        return call_on(self.trial, inputs, layer=name, state=state, only=arguments)


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for the module, or the reverse."""
    other = _MODULE if is_function(trial.case.call.layer) else _FUNCTION
    yield equality_claim(Map.of(trial).call(other), trial)


@law("unbatched", "a sample without a batch dimension is a batch of one")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """Only without positions: a K-dimensional loss has no unbatched form."""
    if Map.of(trial).linear.ndim == 2:
        yield from single(2).claims(trial, generator)


@law("composed", "it is the cross entropy of the linear map", WITHIN_SUM_OF_BOUNDS)
def composed(trial: Trial, generator: Generator) -> Claims:
    """functional.linear followed by functional.cross_entropy, as the page defines it."""
    op = Map.of(trial)
    classes, *places, features = op.linear.shape
    flat = op.linear.reshape(-1, features)
    bias = None if op.bias is None else op.bias.reshape(-1)
    linear_call = call_on(trial, (op.x, flat, bias), layer="functional.linear", state={}, only={})
    logits = linear_call.answer[0].reshape(*op.x.shape[:-1], classes, *places)
    arguments = {k: v for k, v in op.arguments.items() if k != "options" and v is not None}
    inputs, name = (logits, op.target, op.weight), "functional.cross_entropy"
    cross_entropy_call = call_on(trial, inputs, layer=name, state={}, only=arguments)
    composed_losses = with_bounds_of(cross_entropy_call.answer, trial.expected)
    side = Side(f"{cross_entropy_call.text()} of {linear_call.text()}", composed_losses)
    yield claim(trial, outputs_with_bounds(trial), side)


@law("chunked", "chunks of any size are as good as none")
def chunked(trial: Trial, generator: Generator) -> Claims:
    """The call with two chunk sizes, with empty options, and without options."""
    op = Map.of(trial)
    count = max(len(op.x) if op.x.ndim == 2 else 1, 1)
    sizes = generator.integers(-(-count // MAX_CHUNKS), count, size=2, endpoint=True)
    chunk_options = [(("batch_chunk_size", int(size)),) for size in sizes]
    for options in (None, (), *chunk_options):
        yield equality_claim(op.call(options=options), trial)


@law("features", "features may change their places, and have others of weight zero among them")
def features(trial: Trial, generator: Generator) -> Claims:
    """Features permuted among others of weight 0."""
    op = Map.of(trial)
    count = op.x.shape[-1]
    width = count + int(generator.integers(34))
    new_places = generator.permutation(width)[:count]
    linear = np.zeros((*op.linear.shape[:-1], width))
    linear[..., new_places] = op.linear
    x = np.zeros((*op.x.shape[:-1], width))
    x[..., new_places] = op.x
    yield equality_claim(replace(op, x=x, linear=linear).call(), trial)


LAWS = (
    form,
    *reductions({"mean": partial(mean_divisor, read_case=Map.of)}),
    unbatched,
    composed,
    chunked,
    classes_law(Map.of),
    features,
    dropped_law(Map.of),
)
