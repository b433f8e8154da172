"""Laws of LayerNorm and BatchNorm: modules and functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.model.case import Call
from conformance.model.formats import round_to
from conformance.oracles.normalization.modes import uses_batch_statistics
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    large_size,
    law,
    move_elements,
    outputs_with_bounds,
    scale_exactly,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

MAX_NUMBERS = 1 << 16  # a case with more numbers is not enlarged


@dataclass(frozen=True, eq=False)
class Norm:
    """The operands of a call.

    Args:
        trial: the case that they were read from.
        kind: `"layer"` or `"batch"`.
        function: whether it is the function.
        x: the input.
        weight, bias: γ and β, or None.
        centre, spread: the running mean and variance, or None.
        eps: written out or the default.
        sizes: normalized_shape of a layer normalisation.
        batch: whether a batch normalisation uses the batch's statistics.
        lazy: whether the module infers its number of channels.
        shared: whether the module is SyncBatchNorm.
    """

    trial: Trial
    kind: str
    function: bool
    x: np.ndarray
    weight: np.ndarray | None
    bias: np.ndarray | None
    centre: np.ndarray | None = None
    spread: np.ndarray | None = None
    eps: float = 1e-5
    sizes: tuple[int, ...] = ()
    batch: bool = True
    lazy: bool = False
    shared: bool = False

    @classmethod
    def of(cls, trial: Trial) -> Norm:
        """Read a case."""
        case, spec = trial.case, trial.spec
        argument, call = case.call.arguments.get, case.call
        tensors = dict(zip(spec.signature.input_names, case.inputs, strict=False)) | dict(
            call.state
        )
        x, eps = tensors["input"], float(argument("eps", 1e-5))
        assert x is not None
        weights = (tensors.get("weight"), tensors.get("bias"))
        sizes = argument("normalized_shape")
        if sizes is not None:
            sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
            return cls(trial, "layer", spec.is_function, x, *weights, eps=eps, sizes=sizes)
        batch_statistics = uses_batch_statistics(case)
        statistics = (tensors.get("running_mean"), tensors.get("running_var"))
        return cls(
            trial,
            "batch",
            spec.is_function,
            x,
            *weights,
            *statistics,
            eps=eps,
            batch=batch_statistics,
            lazy=spec.lazy is not None,
            shared=spec.name.startswith("Sync"),
        )

    @property
    def has_module(self) -> bool:
        """Whether a module can make the same call."""
        has_weight_of_bias = self.bias is None or self.weight is not None
        return has_weight_of_bias and (self.kind == "layer" or 2 <= self.x.ndim <= 5)

    @property
    def name(self) -> str:
        """Name of the function, or of the module for the input's dimensions."""
        if self.function:
            return f"functional.{self.kind}_norm"
        if self.kind == "layer":
            return "LayerNorm"
        if self.shared:
            return "SyncBatchNorm"
        return f"{'Lazy' * self.lazy}BatchNorm{max(self.x.ndim - 2, 1)}d"

    def call(self) -> Trial:
        """The call on the same backend."""
        arguments: dict[str, Any] = {"eps": self.eps}
        if self.kind == "layer":
            arguments["normalized_shape"] = self.sizes
        statistics = (self.centre, self.spread) if self.kind == "batch" else ()
        if self.function:
            inputs = (self.x, *statistics, self.weight, self.bias)
            if self.kind == "batch":
                arguments["training"] = self.batch
            return self._call(arguments, {}, inputs)
        affine, tracked = self.weight is not None, self.centre is not None
        arguments["bias"] = self.bias is not None or not affine
        state = {"weight": self.weight, "bias": self.bias}
        if self.kind == "layer":
            arguments["elementwise_affine"] = affine
        else:
            arguments |= {"affine": affine, "track_running_stats": tracked}
            if not self.lazy:
                arguments["num_features"] = self.x.shape[1]
            state |= {"running_mean": self.centre, "running_var": self.spread}
            state["num_batches_tracked"] = np.array(0, np.int64) if tracked else None
        return self._call(arguments, state, (self.x,))

    def _call(
        self,
        arguments: dict[str, Any],
        state: dict[str, np.ndarray | None],
        inputs: tuple[np.ndarray | None, ...],
    ) -> Trial:
        case = self.trial.case
        arrays = {k: x for k, x in state.items() if x is not None}
        training = self.kind == "batch" and self.batch and not self.function
        call = Call(self.name, arguments, arrays, case.call.dtype, case.call.device, training)
        return self.trial.trial_of(replace(case, call=call, inputs=inputs, layouts=()))

    def rows(self) -> np.ndarray:
        """The input of a layer normalisation as rows, (rows, *sizes)."""
        before = self.x.shape[: self.x.ndim - len(self.sizes)]
        return self.x.reshape(math.prod(before), *self.sizes)


def is_exact(dtype: str, *arrays: np.ndarray) -> bool:
    """Whether the dtype can represent all numbers."""
    return all(np.array_equal(round_to(x, dtype), x) and np.isfinite(x).all() for x in arrays)


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    op = Norm.of(trial)
    flat = op.rows()
    if not op.x.size or op.x.size > MAX_NUMBERS:
        return
    chosen = generator.integers(len(flat), size=large_size(generator))
    large = replace(op, x=flat[chosen]).call()
    yield equality_claim(large, trial, wanted_moves=lambda y: y.reshape(flat.shape)[chosen])


@law("flattened", "the shape of what is normalised means nothing")
def flattened(trial: Trial, generator: Generator) -> Claims:
    """The normalised dimensions merged into one; a single dimension split in two."""
    op = Norm.of(trial)
    before = op.x.shape[: op.x.ndim - len(op.sizes)]
    sizes = (math.prod(op.sizes),) if len(op.sizes) > 1 else (1, *op.sizes)
    weight, bias = (None if w is None else w.reshape(sizes) for w in (op.weight, op.bias))
    other = replace(op, x=op.x.reshape(*before, *sizes), sizes=sizes, weight=weight, bias=bias)
    yield equality_claim(other.call(), trial, got_moves=lambda y: y.reshape(op.x.shape))


@law("permuted", "the numbers of a row may come in any order")
def permuted(trial: Trial, generator: Generator) -> Claims:
    """Rows, weight and bias in the same new order."""
    op = Norm.of(trial)
    order = generator.permutation(math.prod(op.sizes))

    def reorder(array: np.ndarray) -> np.ndarray:
        leading = array.shape[: array.ndim - len(op.sizes)]
        return array.reshape(*leading, len(order))[..., order].reshape(array.shape)

    if not op.x.size:
        return
    weight, bias = (None if w is None else reorder(w) for w in (op.weight, op.bias))
    other = replace(op, x=reorder(op.x), weight=weight, bias=bias)
    yield equality_claim(other.call(), trial, wanted_moves=reorder)


@law(
    "shifted",
    "a number added to all that is normalised together means nothing",
    WITHIN_SUM_OF_BOUNDS,
)
def shifted(trial: Trial, generator: Generator) -> Claims:
    """A power of two added to the input, where no sum rounds."""
    op = Norm.of(trial)
    if not op.batch:
        return
    step = float(generator.choice([-1.0, 2.0, -4.0, 16.0]))
    x = op.x + step
    if not is_exact(trial.case.call.dtype, x) or not np.array_equal(x - step, op.x):
        return
    other = replace(op, x=x).call()
    yield claim(other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial)))


@law(
    "scaled",
    "f(c·x; c²·ε) = f(x; ε), c a power of two, given statistics scaled along",
    WITHIN_SUM_OF_BOUNDS,
)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """Input and running mean times c, running variance and eps times c²."""
    op, dtype = Norm.of(trial), trial.case.call.dtype
    factor = float(generator.choice([0.5, 2.0, 4.0, 8.0]))
    x, centre, spread = op.x * factor, op.centre, op.spread
    pairs = [(op.x, x, factor)]
    if centre is not None and spread is not None:
        pairs += [(centre, centre * factor, factor), (spread, spread * factor**2, factor**2)]
        centre, spread = centre * factor, spread * factor**2
    if not all(
        is_exact(dtype, new) and np.array_equal(new / ratio, old) for old, new, ratio in pairs
    ):
        return
    other = replace(op, x=x, centre=centre, spread=spread, eps=op.eps * factor**2).call()
    yield claim(other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial)))


@law("function", "the module is the function of the same backend, with its own tensors")
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    op = Norm.of(trial)
    if op.has_module:
        yield equality_claim(replace(op, function=not op.function).call(), trial)


@law("channels", "channels are normalised each by itself")
def channels(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels drawn from the case's."""
    op = Norm.of(trial)
    if not op.x.size or op.x.size > MAX_NUMBERS:
        return
    chosen = generator.integers(op.x.shape[1], size=large_size(generator))
    tensors = (op.weight, op.bias, op.centre, op.spread)
    weight, bias, centre, spread = (None if t is None else t[chosen] for t in tensors)
    x = op.x[:, chosen]
    wide = replace(op, x=x, weight=weight, bias=bias, centre=centre, spread=spread)
    yield equality_claim(wide.call(), trial, wanted_moves=lambda y: y[:, chosen])


@law("places", "the numbers of a channel may come in any order")
def places(trial: Trial, generator: Generator) -> Claims:
    """Samples, and the numbers within them, permuted."""
    op = Norm.of(trial)
    batch, features, *spatial = op.x.shape
    samples, order = generator.permutation(batch), generator.permutation(math.prod(spatial))

    def reorder(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(batch, features, math.prod(spatial))
        return flat[samples][..., order].reshape(array.shape)

    yield equality_claim(replace(op, x=reorder(op.x)).call(), trial, wanted_moves=reorder)


@law(
    "repeated",
    "a batch several times over has the mean and the variance of the batch",
    WITHIN_SUM_OF_BOUNDS,
)
def repeated(trial: Trial, generator: Generator) -> Claims:
    """The batch two to nine times."""
    op = Norm.of(trial)
    if not op.batch or not op.x.size or op.x.size > MAX_NUMBERS:
        return
    copies = int(generator.integers(2, 9, endpoint=True))

    def repeat(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array] * copies)

    other = replace(op, x=repeat(op.x)).call()
    yield claim(
        other,
        outputs_with_bounds(other),
        Side(trial.text(), move_elements(outputs_with_bounds(trial), repeat)),
    )


@law("samples", "with given statistics each sample of a large batch is that of a small one")
def samples(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 samples drawn from the case's, and a single one."""
    op = Norm.of(trial)
    if op.batch or not op.x.size or op.x.size > MAX_NUMBERS:
        return
    for count in (large_size(generator), 1):
        chosen = generator.integers(len(op.x), size=count)
        other = replace(op, x=op.x[chosen]).call()
        yield equality_claim(other, trial, wanted_moves=lambda y, chosen=chosen: y[chosen])  # type: ignore[misc]


@law(
    "twin",
    "without weights layer_norm of rows is batch_norm of them as channels",
    WITHIN_SUM_OF_BOUNDS,
)
def twin(trial: Trial, generator: Generator) -> Claims:
    """layer_norm with the channels as rows, compared with batch_norm."""
    op = Norm.of(trial)
    if not op.batch or not op.x.size:
        return
    unweighted = replace(op, weight=None, bias=None, centre=None, spread=None, function=True)
    by_channel = np.moveaxis(op.x, 1, 0)
    x = np.ascontiguousarray(by_channel.reshape(len(by_channel), op.x.size // len(by_channel)))
    batch_call, layer_call = (
        unweighted.call(),
        replace(unweighted, kind="layer", x=x, sizes=x.shape[1:]).call(),
    )

    def to_channels(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array.reshape(by_channel.shape), 0, 1)

    yield claim(
        batch_call,
        outputs_with_bounds(batch_call),
        Side(layer_call.text(), move_elements(outputs_with_bounds(layer_call), to_channels)),
    )


@law("affine", "with given statistics even steps have results in even steps", WITHIN_SUM_OF_BOUNDS)
def affine(trial: Trial, generator: Generator) -> Claims:
    """f(x) + f(x + 2h) = 2·f(x + h), h a power of two."""
    op = Norm.of(trial)
    step = float(generator.choice([-1.0, 0.5, 2.0, 16.0]))
    x, last_input = op.x + step, op.x + 2 * step
    if op.batch or not is_exact(trial.case.call.dtype, x, last_input):
        return
    if not (np.array_equal(x - step, op.x) and np.array_equal(last_input - step, x)):
        return
    middle, last = replace(op, x=x).call(), replace(op, x=last_input).call()
    (y,), (z,), (first,) = (
        outputs_with_bounds(middle),
        outputs_with_bounds(last),
        outputs_with_bounds(trial),
    )
    ends = in_float64(first) + in_float64(z)
    yield claim(
        middle,
        (scale_exactly(in_float64(y), 2.0),),
        Side(f"{trial.text()}, {last.text()}", (ends,)),
    )


@law("lazy", "the lazy layer equals the one that is given its input's number of channels")
def lazy(trial: Trial, generator: Generator) -> Claims:
    """A lazy layer as an eager one, or the reverse."""
    op = Norm.of(trial)
    yield equality_claim(replace(op, lazy=not op.lazy).call(), trial)


@law("alone", "on one process SyncBatchNorm is BatchNorm")
def alone(trial: Trial, generator: Generator) -> Claims:
    """BatchNorm of the input's dimensions."""
    yield equality_claim(replace(Norm.of(trial), shared=False).call(), trial)


LAYER = (rows, flattened, permuted, shifted, scaled, function)
BATCH = (channels, places, repeated, samples, shifted, scaled, affine, function, twin)
