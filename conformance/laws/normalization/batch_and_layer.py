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
    SUMMED,
    Claims,
    Generator,
    Side,
    claim,
    law,
    many,
    measured,
    moved,
    on_host,
    same,
    times,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

LARGE = 1 << 16  # a case with more numbers is not enlarged


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
        case, row = trial.case, trial.row
        given, call = case.call.arguments.get, case.call
        tensors = dict(zip(row.signature.input_names, case.inputs, strict=False)) | dict(call.state)
        x, eps = tensors["input"], float(given("eps", 1e-5))
        assert x is not None
        weights = (tensors.get("weight"), tensors.get("bias"))
        sizes = given("normalized_shape")
        if sizes is not None:
            sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
            return cls(trial, "layer", row.function, x, *weights, eps=eps, sizes=sizes)
        batch = uses_batch_statistics(case)
        statistics = (tensors.get("running_mean"), tensors.get("running_var"))
        return cls(
            trial,
            "batch",
            row.function,
            x,
            *weights,
            *statistics,
            eps=eps,
            batch=batch,
            lazy=row.lazy is not None,
            shared=row.name.startswith("Sync"),
        )

    @property
    def module(self) -> bool:
        """Whether a module can make the same call."""
        whole = self.bias is None or self.weight is not None
        return whole and (self.kind == "layer" or 2 <= self.x.ndim <= 5)

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

    def run(self) -> Trial:
        """The call on the same backend."""
        arguments: dict[str, Any] = {"eps": self.eps}
        if self.kind == "layer":
            arguments["normalized_shape"] = self.sizes
        statistics = (self.centre, self.spread) if self.kind == "batch" else ()
        if self.function:
            inputs = (self.x, *statistics, self.weight, self.bias)
            if self.kind == "batch":
                arguments["training"] = self.batch
            return self._trial(arguments, {}, inputs)
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
        return self._trial(arguments, state, (self.x,))

    def _trial(
        self,
        arguments: dict[str, Any],
        state: dict[str, np.ndarray | None],
        inputs: tuple[np.ndarray | None, ...],
    ) -> Trial:
        case = self.trial.case
        arrays = {k: x for k, x in state.items() if x is not None}
        training = self.kind == "batch" and self.batch and not self.function
        call = Call(self.name, arguments, arrays, case.call.dtype, case.call.device, training)
        return self.trial.other(replace(case, call=call, inputs=inputs, layouts=()))

    def flat(self) -> np.ndarray:
        """The input of a layer normalisation as rows, (rows, *sizes)."""
        before = self.x.shape[: self.x.ndim - len(self.sizes)]
        return self.x.reshape(math.prod(before), *self.sizes)


def exact(dtype: str, *arrays: np.ndarray) -> bool:
    """Whether the dtype can represent all numbers."""
    return all(np.array_equal(round_to(x, dtype), x) and np.isfinite(x).all() for x in arrays)


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    op = Norm.of(trial)
    flat = op.flat()
    if not op.x.size or op.x.size > LARGE:
        return
    chosen = generator.integers(len(flat), size=many(generator))
    large = replace(op, x=flat[chosen]).run()
    yield same(large, trial, wanted_moves=lambda y: y.reshape(flat.shape)[chosen])


@law("flattened", "the shape of what is normalised means nothing")
def flattened(trial: Trial, generator: Generator) -> Claims:
    """The normalised dimensions merged into one; a single dimension split in two."""
    op = Norm.of(trial)
    before = op.x.shape[: op.x.ndim - len(op.sizes)]
    sizes = (math.prod(op.sizes),) if len(op.sizes) > 1 else (1, *op.sizes)
    weight, bias = (None if w is None else w.reshape(sizes) for w in (op.weight, op.bias))
    other = replace(op, x=op.x.reshape(*before, *sizes), sizes=sizes, weight=weight, bias=bias)
    yield same(other.run(), trial, got_moves=lambda y: y.reshape(op.x.shape))


@law("permuted", "the numbers of a row may come in any order")
def permuted(trial: Trial, generator: Generator) -> Claims:
    """Rows, weight and bias in the same new order."""
    op = Norm.of(trial)
    order = generator.permutation(math.prod(op.sizes))

    def taken(array: np.ndarray) -> np.ndarray:
        leading = array.shape[: array.ndim - len(op.sizes)]
        return array.reshape(*leading, len(order))[..., order].reshape(array.shape)

    if not op.x.size:
        return
    weight, bias = (None if w is None else taken(w) for w in (op.weight, op.bias))
    other = replace(op, x=taken(op.x), weight=weight, bias=bias)
    yield same(other.run(), trial, wanted_moves=taken)


@law("shifted", "a number added to all that is normalised together means nothing", SUMMED)
def shifted(trial: Trial, generator: Generator) -> Claims:
    """A power of two added to the input, where no sum rounds."""
    op = Norm.of(trial)
    if not op.batch:
        return
    step = float(generator.choice([-1.0, 2.0, -4.0, 16.0]))
    x = op.x + step
    if not exact(trial.case.call.dtype, x) or not np.array_equal(x - step, op.x):
        return
    other = replace(op, x=x).run()
    yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("scaled", "f(c·x; c²·ε) = f(x; ε), c a power of two, given statistics scaled along", SUMMED)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """Input and running mean times c, running variance and eps times c²."""
    op, dtype = Norm.of(trial), trial.case.call.dtype
    factor = float(generator.choice([0.5, 2.0, 4.0, 8.0]))
    x, centre, spread = op.x * factor, op.centre, op.spread
    pairs = [(op.x, x, factor)]
    if centre is not None and spread is not None:
        pairs += [(centre, centre * factor, factor), (spread, spread * factor**2, factor**2)]
        centre, spread = centre * factor, spread * factor**2
    if not all(exact(dtype, new) and np.array_equal(new / by, old) for old, new, by in pairs):
        return
    other = replace(op, x=x, centre=centre, spread=spread, eps=op.eps * factor**2).run()
    yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("function", "the module is the function of the same backend, with its own tensors")
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    op = Norm.of(trial)
    if op.module:
        yield same(replace(op, function=not op.function).run(), trial)


@law("channels", "channels are normalised each by itself")
def channels(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels drawn from the case's."""
    op = Norm.of(trial)
    if not op.x.size or op.x.size > LARGE:
        return
    chosen = generator.integers(op.x.shape[1], size=many(generator))
    tensors = (op.weight, op.bias, op.centre, op.spread)
    weight, bias, centre, spread = (None if t is None else t[chosen] for t in tensors)
    x = op.x[:, chosen]
    wide = replace(op, x=x, weight=weight, bias=bias, centre=centre, spread=spread)
    yield same(wide.run(), trial, wanted_moves=lambda y: y[:, chosen])


@law("places", "the numbers of a channel may come in any order")
def places(trial: Trial, generator: Generator) -> Claims:
    """Samples, and the numbers within them, permuted."""
    op = Norm.of(trial)
    batch, features, *spatial = op.x.shape
    samples, order = generator.permutation(batch), generator.permutation(math.prod(spatial))

    def taken(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(batch, features, math.prod(spatial))
        return flat[samples][..., order].reshape(array.shape)

    yield same(replace(op, x=taken(op.x)).run(), trial, wanted_moves=taken)


@law("repeated", "a batch several times over has the mean and the variance of the batch", SUMMED)
def repeated(trial: Trial, generator: Generator) -> Claims:
    """The batch two to nine times."""
    op = Norm.of(trial)
    if not op.batch or not op.x.size or op.x.size > LARGE:
        return
    times = int(generator.integers(2, 9, endpoint=True))

    def over(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array] * times)

    other = replace(op, x=over(op.x)).run()
    yield claim(other, measured(other), Side(trial.text(), moved(measured(trial), over)))


@law("samples", "with given statistics each sample of a large batch is that of a small one")
def samples(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 samples drawn from the case's, and a single one."""
    op = Norm.of(trial)
    if op.batch or not op.x.size or op.x.size > LARGE:
        return
    for count in (many(generator), 1):
        chosen = generator.integers(len(op.x), size=count)
        other = replace(op, x=op.x[chosen]).run()
        yield same(other, trial, wanted_moves=lambda y, chosen=chosen: y[chosen])  # type: ignore[misc]


@law("twin", "without weights layer_norm of rows is batch_norm of them as channels", SUMMED)
def twin(trial: Trial, generator: Generator) -> Claims:
    """layer_norm with the channels as rows, compared with batch_norm."""
    op = Norm.of(trial)
    if not op.batch or not op.x.size:
        return
    bare = replace(op, weight=None, bias=None, centre=None, spread=None, function=True)
    apart = np.moveaxis(op.x, 1, 0)
    x = np.ascontiguousarray(apart.reshape(len(apart), op.x.size // len(apart)))
    ours, theirs = bare.run(), replace(bare, kind="layer", x=x, sizes=x.shape[1:]).run()

    def back(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array.reshape(apart.shape), 0, 1)

    yield claim(ours, measured(ours), Side(theirs.text(), moved(measured(theirs), back)))


@law("affine", "with given statistics even steps have results in even steps", SUMMED)
def affine(trial: Trial, generator: Generator) -> Claims:
    """f(x) + f(x + 2h) = 2·f(x + h), h a power of two."""
    op = Norm.of(trial)
    step = float(generator.choice([-1.0, 0.5, 2.0, 16.0]))
    x, beyond = op.x + step, op.x + 2 * step
    if op.batch or not exact(trial.case.call.dtype, x, beyond):
        return
    if not (np.array_equal(x - step, op.x) and np.array_equal(beyond - step, x)):
        return
    middle, last = replace(op, x=x).run(), replace(op, x=beyond).run()
    (y,), (z,), (first,) = measured(middle), measured(last), measured(trial)
    ends = on_host(first) + on_host(z)
    yield claim(middle, (times(on_host(y), 2.0),), Side(f"{trial.text()}, {last.text()}", (ends,)))


@law("lazy", "the lazy layer equals the one that is given its input's number of channels")
def lazy(trial: Trial, generator: Generator) -> Claims:
    """A lazy layer as an eager one, or the reverse."""
    op = Norm.of(trial)
    yield same(replace(op, lazy=not op.lazy).run(), trial)


@law("alone", "on one process SyncBatchNorm is BatchNorm")
def alone(trial: Trial, generator: Generator) -> Claims:
    """BatchNorm of the input's dimensions."""
    yield same(replace(Norm.of(trial), shared=False).run(), trial)


LAYER = (rows, flattened, permuted, shifted, scaled, function)
BATCH = (channels, places, repeated, samples, shifted, scaled, affine, function, twin)
