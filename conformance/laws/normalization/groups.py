"""Laws of normalisations within a sample: instance, group, RMS and local response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.normalization.batch_and_layer import LARGE, exact
from conformance.model.case import Call
from conformance.oracles.normalization.modes import uses_own_statistics
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    bounded,
    claim,
    input_of,
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

Tensors = dict[str, np.ndarray | None]
_WEIGHTS = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")


def _tensors(trial: Trial) -> Tensors:
    """All inputs and state tensors of a case by name."""
    case, names = trial.case, trial.row.signature.input_names
    return dict(zip(names, case.inputs, strict=False)) | dict(case.call.state)


def _given(trial: Trial) -> dict[str, Any]:
    """All arguments of a case, defaults included."""
    return {**trial.row.signature.defaults, **trial.case.call.arguments}


def _again(trial: Trial, arguments: Mapping[str, Any] | None = None, **tensors: Any) -> Trial:
    """The same layer with changed arguments and tensors."""
    case, names = trial.case, trial.row.signature.input_names
    inputs = tuple(
        tensors.get(name, x) if x is not None else None
        for name, x in zip(names, case.inputs, strict=False)
    )
    state = {name: tensors.get(name, x) for name, x in case.call.state.items()}
    written = {**case.call.arguments, **(arguments or {})}
    call = replace(case.call, arguments=written, state=state)
    return trial.other(replace(case, call=call, inputs=inputs, layouts=()))


def _called(
    trial: Trial,
    layer: str,
    arguments: Mapping[str, Any],
    inputs: Sequence[np.ndarray | None],
    state: Mapping[str, np.ndarray | None] | None = None,
    *,
    training: bool = False,
) -> Trial:
    """Another layer of the same backend."""
    case = trial.case
    arrays = {k: x for k, x in (state or {}).items() if x is not None}
    call = Call(layer, dict(arguments), arrays, case.call.dtype, case.call.device, training)
    return trial.other(replace(case, call=call, inputs=tuple(inputs), layouts=()))


def _batched(trial: Trial) -> np.ndarray:
    """The input; an unbatched sample becomes a batch of one."""
    x = input_of(trial)
    alone = bool(trial.row.signature.dims) and x.ndim == trial.row.signature.dims + 1
    return x[np.newaxis] if alone else x


def _own(trial: Trial) -> bool:
    """Whether each sample's own statistics are used."""
    return uses_own_statistics(_given(trial).get("track_running_stats", False), trial.case)


def _sizes(trial: Trial) -> tuple[int, ...]:
    """normalized_shape as a tuple."""
    given = _given(trial)["normalized_shape"]
    return (given,) if isinstance(given, int) else tuple(given)


def _small(trial: Trial) -> bool:
    return 0 < input_of(trial).size <= LARGE


@law("samples", "each sample of a large batch is that of a small one")
def samples(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 samples drawn from the case's, and a single one."""
    x = _batched(trial)
    if not _small(trial):
        return
    for count in (many(generator), 1):
        chosen = generator.integers(len(x), size=count)
        # GroupNorm refuses a single sample with one number in each group.
        if x[:1].size * count > _given(trial).get("num_groups", 0):
            alone = x.ndim > input_of(trial).ndim
            other = _again(trial, input=x[chosen])
            yield same(
                other,
                trial,
                wanted_moves=lambda y, c=chosen, a=alone: (y[np.newaxis] if a else y)[c],  # type: ignore[misc]
            )


@law("places", "the numbers of a channel may come in any order")
def places(trial: Trial, generator: Generator) -> Claims:
    """The same permutation within all channels."""
    x = _batched(trial)
    order = generator.permutation(math.prod(x.shape[2:]))

    def taken(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(*x.shape[:2], len(order))
        return flat[..., order].reshape(array.shape)

    if x.size:
        yield same(_again(trial, input=taken(input_of(trial))), trial, wanted_moves=taken)


@law("channels", "channels are normalised each by itself")
def channels(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels drawn from the case's."""
    x, tensors = _batched(trial), _tensors(trial)
    if not _small(trial):
        return
    chosen = generator.integers(x.shape[1], size=many(generator))
    axis = input_of(trial).ndim - x.ndim + 1
    taken = {k: w[chosen] for k in (*_WEIGHTS, *_STATISTICS) if (w := tensors.get(k)) is not None}
    sizes = {"num_features": len(chosen)} if "num_features" in _given(trial) else {}
    wide = _again(trial, sizes, input=np.take(input_of(trial), chosen, axis), **taken)
    yield same(wide, trial, wanted_moves=lambda y: np.take(y, chosen, axis))


@law("groups", "groups are normalised each by itself")
def groups(trial: Trial, generator: Generator) -> Claims:
    """17 to 33 groups drawn from the case's."""
    x, tensors, count = input_of(trial), _tensors(trial), _given(trial)["num_groups"]
    if not _small(trial):
        return
    size = x.shape[1] // count
    chosen = generator.integers(count, size=many(generator, most=33))
    of = (chosen[:, np.newaxis] * size + np.arange(size)).reshape(-1)
    taken = {k: w[of] for k in _WEIGHTS if (w := tensors.get(k)) is not None}
    sizes = {"num_groups": len(chosen)}
    if "num_channels" in _given(trial):
        sizes["num_channels"] = len(of)
    wide = _again(trial, sizes, input=x[:, of], **taken)
    yield same(wide, trial, wanted_moves=lambda y: y[:, of])


@law("shifted", "a number added to all that is normalised together means nothing", SUMMED)
def shifted(trial: Trial, generator: Generator) -> Claims:
    """A power of two added to the input, where no sum rounds."""
    step = float(generator.choice([-1.0, 2.0, -4.0, 16.0]))
    old = input_of(trial)
    x = old + step
    if not _own(trial) or not exact(trial.case.call.dtype, x) or not np.array_equal(x - step, old):
        return
    other = _again(trial, input=x)
    yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("scaled", "f(c·x; c²·ε) = f(x; ε), c a power of two, given statistics scaled along", SUMMED)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """Input and running mean times c, running variance and eps times c²."""
    factor, tensors = float(generator.choice([0.5, 2.0, 4.0, 8.0])), _tensors(trial)
    eps = _given(trial)["eps"]
    by = {"input": factor, "running_mean": factor, "running_var": factor**2}
    new = {k: x * by[k] for k in by if (x := tensors.get(k)) is not None}
    dtype = trial.case.call.dtype
    if eps is None or not all(exact(dtype, x) for x in new.values()):
        return
    if all(
        np.array_equal(x / by[k], old) for k, x in new.items() if (old := tensors[k]) is not None
    ):
        other = _again(trial, {"eps": eps * factor**2}, **new)
        yield claim(other, measured(other), Side(trial.text(), measured(trial)))


@law("affine", "with given statistics even steps have results in even steps", SUMMED)
def affine(trial: Trial, generator: Generator) -> Claims:
    """f(x) + f(x + 2h) = 2·f(x + h), h a power of two."""
    step, old = float(generator.choice([-1.0, 0.5, 2.0, 16.0])), input_of(trial)
    x, beyond = old + step, old + 2 * step
    if _own(trial) or not exact(trial.case.call.dtype, x, beyond):
        return
    if not (np.array_equal(x - step, old) and np.array_equal(beyond - step, x)):
        return
    middle, last = _again(trial, input=x), _again(trial, input=beyond)
    (y,), (z,), (first,) = measured(middle), measured(last), measured(trial)
    ends = on_host(first) + on_host(z)
    yield claim(middle, (times(on_host(y), 2.0),), Side(f"{trial.text()}, {last.text()}", (ends,)))


@law("negated", "f(−x) = −f(x)")
def negated(trial: Trial, generator: Generator) -> Claims:
    """The negated input; RMS and response normalisations subtract no mean and add no bias."""
    (wanted,) = measured(trial)
    other = _again(trial, input=-input_of(trial))
    bound = Rounded(-wanted.value, wanted.error, wanted.precision)
    yield claim(other, bounded(other.answer, (bound,)), Side(trial.text(), (bound,)))


@law("instance", "the module is the function of the same backend, with its own tensors")
def instance_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    tensors, given, x = _tensors(trial), _given(trial), _batched(trial)
    if not trial.row.function:
        names = (*_STATISTICS, *_WEIGHTS)
        inputs = (x, *(tensors.get(name) for name in names))
        arguments = {"use_input_stats": _own(trial), "eps": given["eps"]}
        other = _called(trial, "functional.instance_norm", arguments, inputs)
        yield same(other, trial, got_moves=lambda y: y.reshape(input_of(trial).shape))
        return
    if tensors["bias"] is not None and tensors["weight"] is None:
        return  # no module has a bias without a weight
    tracked = tensors["running_mean"] is not None
    affine, dims = tensors["weight"] is not None, x.ndim - 2
    arguments = {
        "num_features": x.shape[1], "eps": given["eps"], "affine": affine,
        "track_running_stats": tracked, "bias": tensors["bias"] is not None or not affine,
    }  # fmt: skip
    state = {k: tensors[k] for k in (*_WEIGHTS, *_STATISTICS)}
    state["num_batches_tracked"] = np.array(0, np.int64) if tracked else None
    name, own = f"InstanceNorm{dims}d", bool(given["use_input_stats"])
    yield same(_called(trial, name, arguments, (x,), state, training=own), trial)


@law("eager", "the lazy layer equals the one that is given its input's number of channels")
def eager(trial: Trial, generator: Generator) -> Claims:
    """A lazy layer as an eager one, with all arguments written out: their defaults differ."""
    case = trial.case
    assert trial.row.lazy is not None
    arguments = {"num_features": _batched(trial).shape[1], **_given(trial)}
    yield same(
        _called(trial, trial.row.lazy.eager, arguments, case.inputs, case.call.state,
                training=case.call.training),
        trial,
    )  # fmt: skip


@law(
    "grouped", "with its own statistics instance_norm is group_norm with a group a channel", SUMMED
)
def grouped(trial: Trial, generator: Generator) -> Claims:
    """group_norm with one group for each channel, and the case's weight and bias."""
    tensors, x = _tensors(trial), _batched(trial)
    if not _own(trial) or not x.size:
        return
    arguments = {"num_groups": x.shape[1], "eps": _given(trial)["eps"]}
    inputs = (x, tensors.get("weight"), tensors.get("bias"))
    other = _called(trial, "functional.group_norm", arguments, inputs)
    shape = input_of(trial).shape
    outputs = moved(measured(other), lambda y: y.reshape(shape))
    yield claim(other, outputs, Side(trial.text(), measured(trial)))


@law("group", "the module is the function of the same backend, with its own tensors")
def group_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    tensors, given, x = _tensors(trial), _given(trial), input_of(trial)
    weight, bias = (tensors.get(name) for name in _WEIGHTS)
    arguments = {"num_groups": given["num_groups"], "eps": given["eps"]}
    if not trial.row.function:
        yield same(_called(trial, "functional.group_norm", arguments, (x, weight, bias)), trial)
    elif bias is None or weight is not None:
        arguments |= {"num_channels": x.shape[1], "affine": weight is not None}
        arguments |= {"bias": bias is not None or weight is None}
        state = {"weight": weight, "bias": bias}
        yield same(_called(trial, "GroupNorm", arguments, (x,), state), trial)


@law("layer", "without weights one group is layer_norm of the whole sample", SUMMED)
def layer(trial: Trial, generator: Generator) -> Claims:
    """layer_norm with the groups as rows, compared with group_norm."""
    x, given = input_of(trial), _given(trial)
    if not x.size:
        return
    size = math.prod(x.shape[1:]) // given["num_groups"]
    bare = {"num_groups": given["num_groups"], "eps": given["eps"]}
    ours = _called(trial, "functional.group_norm", bare, (x, None, None))
    rows = x.reshape(-1, size)
    arguments = {"normalized_shape": (size,), "eps": given["eps"]}
    theirs = _called(trial, "functional.layer_norm", arguments, (rows, None, None))
    outputs = moved(measured(theirs), lambda y: y.reshape(x.shape))
    yield claim(ours, measured(ours), Side(theirs.text(), outputs))


@law("rms", "the module is the function of the same backend, with its own tensors")
def square_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    given, x, weight = _given(trial), input_of(trial), _tensors(trial).get("weight")
    sizes = _sizes(trial)
    arguments = {"normalized_shape": sizes, "eps": given["eps"]}
    if not trial.row.function:
        yield same(_called(trial, "functional.rms_norm", arguments, (x, weight)), trial)
        return
    arguments["elementwise_affine"] = weight is not None
    yield same(_called(trial, "RMSNorm", arguments, (x,), {"weight": weight}), trial)


@law("balanced", "of rows whose mean is 0 rms_norm is layer_norm", SUMMED)
def balanced(trial: Trial, generator: Generator) -> Claims:
    """Each row joined with its negative, without weight: both norms agree."""
    given, x = _given(trial), input_of(trial)
    sizes = _sizes(trial)
    if not x.size or given["eps"] is None:
        return
    rows = x.reshape(-1, math.prod(sizes))
    both = np.concatenate([rows, -rows], axis=1)
    arguments = {"normalized_shape": both.shape[1:], "eps": given["eps"]}
    ours = _called(trial, "functional.rms_norm", arguments, (both, None))
    theirs = _called(trial, "functional.layer_norm", arguments, (both, None, None))
    yield claim(ours, measured(ours), Side(theirs.text(), measured(theirs)))


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    if not _small(trial):
        return
    x, sizes = input_of(trial), _sizes(trial)
    flat = x.reshape(-1, *sizes)
    chosen = generator.integers(len(flat), size=many(generator))
    large = _again(trial, input=flat[chosen])
    yield same(large, trial, wanted_moves=lambda y: y.reshape(flat.shape)[chosen])


@law("permuted", "the numbers of a row may come in any order")
def permuted(trial: Trial, generator: Generator) -> Claims:
    """Rows and weight in the same new order."""
    x, sizes, weight = input_of(trial), _sizes(trial), _tensors(trial).get("weight")
    order = generator.permutation(math.prod(sizes))

    def taken(array: np.ndarray) -> np.ndarray:
        leading = array.shape[: array.ndim - len(sizes)]
        return array.reshape(*leading, len(order))[..., order].reshape(array.shape)

    if x.size:
        ordered = None if weight is None else taken(weight)
        yield same(_again(trial, input=taken(x), weight=ordered), trial, wanted_moves=taken)


@law("response", "the module is the function of the same backend")
def response_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    name = "LocalResponseNorm" if trial.row.function else "functional.local_response_norm"
    yield same(_called(trial, name, _given(trial), trial.case.inputs), trial)


@law("response", "of images and odd windows it is LocalResponseNorm", SUMMED)
def cross_map(trial: Trial, generator: Generator) -> Claims:
    """LocalResponseNorm of the same backend."""
    other = _called(trial, "LocalResponseNorm", _given(trial), trial.case.inputs)
    yield claim(trial, measured(trial), Side(other.text(), measured(other)))


@law("mirrored", "the window looks as far ahead as back")
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The channels in reverse order."""
    other = _again(trial, input=np.ascontiguousarray(input_of(trial)[:, ::-1]))
    yield same(other, trial, got_moves=lambda y: y[:, ::-1])


@law("rescaled", "f(c·x; α/c²) = c·f(x; α), c a power of two", SUMMED)
def rescaled(trial: Trial, generator: Generator) -> Claims:
    """Input times c, alpha divided by c²."""
    factor, old = float(generator.choice([0.5, 2.0, 4.0])), input_of(trial)
    x = old * factor
    if not exact(trial.case.call.dtype, x) or not np.array_equal(x / factor, old):
        return
    other = _again(trial, {"alpha": _given(trial)["alpha"] / factor**2}, input=x)
    wanted = tuple(times(y, factor) for y in measured(trial))
    yield claim(other, measured(other), Side(trial.text(), wanted))


@law("surrounded", "channels of zeros around those of the input change nothing")
def surrounded(trial: Trial, generator: Generator) -> Claims:
    """One to four channels of zeros on each side."""
    x = input_of(trial)
    before, after = (int(n) for n in generator.integers(1, 4, size=2, endpoint=True))
    pads = [(0, 0), (before, after), *((0, 0) for _ in x.shape[2:])]
    wide = _again(trial, input=np.pad(x, pads))
    yield same(wide, trial, got_moves=lambda y: y[:, before : before + x.shape[1]])


INSTANCE = (samples, places, channels, shifted, scaled, affine, instance_function, grouped)
GROUP = (samples, places, groups, shifted, scaled, group_function, layer)
SQUARE = (rows, permuted, negated, scaled, square_function, balanced)
RESPONSE = (samples, places, negated, rescaled, response_function, surrounded)
CROSS_MAP = (samples, places, negated, rescaled, cross_map, mirrored)
