"""Laws of normalisations within a sample: instance, group, RMS and local response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.normalization.batch_and_layer import MAX_NUMBERS, is_exact
from conformance.model.case import Call
from conformance.oracles.normalization.modes import uses_own_statistics
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    in_float64,
    large_size,
    law,
    move_elements,
    outputs_with_bounds,
    scale_exactly,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Tensors = dict[str, np.ndarray | None]
_WEIGHTS = ("weight", "bias")
_STATISTICS = ("running_mean", "running_var")


def _tensors(trial: Trial) -> Tensors:
    """All inputs and state tensors of a case by name."""
    case, names = trial.case, trial.spec.signature.input_names
    return dict(zip(names, case.inputs, strict=False)) | dict(case.call.state)


def _arguments(trial: Trial) -> dict[str, Any]:
    """All arguments of a case, defaults included."""
    return {**trial.spec.signature.defaults, **trial.case.call.arguments}


def _call_with(trial: Trial, arguments: Mapping[str, Any] | None = None, **tensors: Any) -> Trial:
    """The same layer with changed arguments and tensors."""
    case, names = trial.case, trial.spec.signature.input_names
    inputs = tuple(
        tensors.get(name, x) if x is not None else None
        for name, x in zip(names, case.inputs, strict=False)
    )
    state = {name: tensors.get(name, x) for name, x in case.call.state.items()}
    new_arguments = {**case.call.arguments, **(arguments or {})}
    call = replace(case.call, arguments=new_arguments, state=state)
    return trial.trial_of(replace(case, call=call, inputs=inputs, layouts=()))


def _call_layer(
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
    state_arrays = {k: x for k, x in (state or {}).items() if x is not None}
    call = Call(layer, dict(arguments), state_arrays, case.call.dtype, case.call.device, training)
    return trial.trial_of(replace(case, call=call, inputs=tuple(inputs), layouts=()))


def _batched(trial: Trial) -> np.ndarray:
    """The input; an unbatched sample becomes a batch of one."""
    x = get_input(trial)
    is_unbatched = bool(trial.spec.signature.dims) and x.ndim == trial.spec.signature.dims + 1
    return x[np.newaxis] if is_unbatched else x


def _uses_own_statistics(trial: Trial) -> bool:
    """Whether each sample's own statistics are used."""
    return uses_own_statistics(_arguments(trial).get("track_running_stats", False), trial.case)


def _normalized_shape(trial: Trial) -> tuple[int, ...]:
    """normalized_shape as a tuple."""
    shape = _arguments(trial)["normalized_shape"]
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _is_small(trial: Trial) -> bool:
    return 0 < get_input(trial).size <= MAX_NUMBERS


@law("samples", "each sample of a large batch is that of a small one")
def samples(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 samples drawn from the case's, and a single one."""
    x = _batched(trial)
    if not _is_small(trial):
        return
    for count in (large_size(generator), 1):
        chosen = generator.integers(len(x), size=count)
        # GroupNorm refuses a single sample with one number in each group.
        if x[:1].size * count > _arguments(trial).get("num_groups", 0):
            is_unbatched = x.ndim > get_input(trial).ndim
            other = _call_with(trial, input=x[chosen])
            yield equality_claim(
                other,
                trial,
                wanted_moves=lambda y, c=chosen, a=is_unbatched: (y[np.newaxis] if a else y)[c],  # type: ignore[misc]
            )


@law("places", "the numbers of a channel may come in any order")
def places(trial: Trial, generator: Generator) -> Claims:
    """The same permutation within all channels."""
    x = _batched(trial)
    order = generator.permutation(math.prod(x.shape[2:]))

    def reorder(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(*x.shape[:2], len(order))
        return flat[..., order].reshape(array.shape)

    if x.size:
        yield equality_claim(
            _call_with(trial, input=reorder(get_input(trial))), trial, wanted_moves=reorder
        )


@law("channels", "channels are normalised each by itself")
def channels(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels drawn from the case's."""
    x, tensors = _batched(trial), _tensors(trial)
    if not _is_small(trial):
        return
    chosen = generator.integers(x.shape[1], size=large_size(generator))
    axis = get_input(trial).ndim - x.ndim + 1
    chosen_tensors = {
        k: w[chosen] for k in (*_WEIGHTS, *_STATISTICS) if (w := tensors.get(k)) is not None
    }
    sizes = {"num_features": len(chosen)} if "num_features" in _arguments(trial) else {}
    chosen_call = _call_with(
        trial, sizes, input=np.take(get_input(trial), chosen, axis), **chosen_tensors
    )
    yield equality_claim(chosen_call, trial, wanted_moves=lambda y: np.take(y, chosen, axis))


@law("groups", "groups are normalised each by itself")
def groups(trial: Trial, generator: Generator) -> Claims:
    """17 to 33 groups drawn from the case's."""
    x, tensors, count = get_input(trial), _tensors(trial), _arguments(trial)["num_groups"]
    if not _is_small(trial):
        return
    size = x.shape[1] // count
    chosen = generator.integers(count, size=large_size(generator, maximum=33))
    chosen_channels = (chosen[:, np.newaxis] * size + np.arange(size)).reshape(-1)
    chosen_tensors = {k: w[chosen_channels] for k in _WEIGHTS if (w := tensors.get(k)) is not None}
    sizes = {"num_groups": len(chosen)}
    if "num_channels" in _arguments(trial):
        sizes["num_channels"] = len(chosen_channels)
    chosen_call = _call_with(trial, sizes, input=x[:, chosen_channels], **chosen_tensors)
    yield equality_claim(chosen_call, trial, wanted_moves=lambda y: y[:, chosen_channels])


@law(
    "shifted",
    "a number added to all that is normalised together means nothing",
    WITHIN_SUM_OF_BOUNDS,
)
def shifted(trial: Trial, generator: Generator) -> Claims:
    """A power of two added to the input, where no sum rounds."""
    step = float(generator.choice([-1.0, 2.0, -4.0, 16.0]))
    unshifted = get_input(trial)
    x = unshifted + step
    if (
        not _uses_own_statistics(trial)
        or not is_exact(trial.case.call.dtype, x)
        or not np.array_equal(x - step, unshifted)
    ):
        return
    other = _call_with(trial, input=x)
    yield claim(other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial)))


@law(
    "scaled",
    "f(c·x; c²·ε) = f(x; ε), c a power of two, given statistics scaled along",
    WITHIN_SUM_OF_BOUNDS,
)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """Input and running mean times c, running variance and eps times c²."""
    factor, tensors = float(generator.choice([0.5, 2.0, 4.0, 8.0])), _tensors(trial)
    eps = _arguments(trial)["eps"]
    factors = {"input": factor, "running_mean": factor, "running_var": factor**2}
    scaled_tensors = {k: x * factors[k] for k in factors if (x := tensors.get(k)) is not None}
    dtype = trial.case.call.dtype
    if eps is None or not all(is_exact(dtype, x) for x in scaled_tensors.values()):
        return
    if all(
        np.array_equal(x / factors[k], old)
        for k, x in scaled_tensors.items()
        if (old := tensors[k]) is not None
    ):
        other = _call_with(trial, {"eps": eps * factor**2}, **scaled_tensors)
        yield claim(
            other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial))
        )


@law("affine", "with given statistics even steps have results in even steps", WITHIN_SUM_OF_BOUNDS)
def affine(trial: Trial, generator: Generator) -> Claims:
    """f(x) + f(x + 2h) = 2·f(x + h), h a power of two."""
    step, first_input = float(generator.choice([-1.0, 0.5, 2.0, 16.0])), get_input(trial)
    x, last_input = first_input + step, first_input + 2 * step
    if _uses_own_statistics(trial) or not is_exact(trial.case.call.dtype, x, last_input):
        return
    if not (np.array_equal(x - step, first_input) and np.array_equal(last_input - step, x)):
        return
    middle, last = _call_with(trial, input=x), _call_with(trial, input=last_input)
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


@law("negated", "f(−x) = −f(x)")
def negated(trial: Trial, generator: Generator) -> Claims:
    """The negated input; RMS and response normalisations subtract no mean and add no bias."""
    (wanted,) = outputs_with_bounds(trial)
    other = _call_with(trial, input=-get_input(trial))
    bound = Rounded(-wanted.value, wanted.error, wanted.precision)
    yield claim(other, with_bounds_of(other.answer, (bound,)), Side(trial.text(), (bound,)))


@law("instance", "the module is the function of the same backend, with its own tensors")
def instance_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    tensors, written, x = _tensors(trial), _arguments(trial), _batched(trial)
    if not trial.spec.is_function:
        names = (*_STATISTICS, *_WEIGHTS)
        inputs = (x, *(tensors.get(name) for name in names))
        arguments = {"use_input_stats": _uses_own_statistics(trial), "eps": written["eps"]}
        other = _call_layer(trial, "functional.instance_norm", arguments, inputs)
        yield equality_claim(other, trial, got_moves=lambda y: y.reshape(get_input(trial).shape))
        return
    if tensors["bias"] is not None and tensors["weight"] is None:
        return  # no module has a bias without a weight
    tracked = tensors["running_mean"] is not None
    affine, dims = tensors["weight"] is not None, x.ndim - 2
    arguments = {
        "num_features": x.shape[1], "eps": written["eps"], "affine": affine,
        "track_running_stats": tracked, "bias": tensors["bias"] is not None or not affine,
    }  # fmt: skip
    state = {k: tensors[k] for k in (*_WEIGHTS, *_STATISTICS)}
    state["num_batches_tracked"] = np.array(0, np.int64) if tracked else None
    name, own_statistics = f"InstanceNorm{dims}d", bool(written["use_input_stats"])
    yield equality_claim(
        _call_layer(trial, name, arguments, (x,), state, training=own_statistics), trial
    )


@law("eager", "the lazy layer equals the one that is given its input's number of channels")
def eager(trial: Trial, generator: Generator) -> Claims:
    """A lazy layer as an eager one, with all arguments written out: their defaults differ."""
    case = trial.case
    assert trial.spec.lazy is not None
    arguments = {"num_features": _batched(trial).shape[1], **_arguments(trial)}
    yield equality_claim(
        _call_layer(trial, trial.spec.lazy.eager, arguments, case.inputs, case.call.state,
                training=case.call.training),
        trial,
    )  # fmt: skip


@law(
    "grouped",
    "with its own statistics instance_norm is group_norm with a group a channel",
    WITHIN_SUM_OF_BOUNDS,
)
def grouped(trial: Trial, generator: Generator) -> Claims:
    """group_norm with one group for each channel, and the case's weight and bias."""
    tensors, x = _tensors(trial), _batched(trial)
    if not _uses_own_statistics(trial) or not x.size:
        return
    arguments = {"num_groups": x.shape[1], "eps": _arguments(trial)["eps"]}
    inputs = (x, tensors.get("weight"), tensors.get("bias"))
    other = _call_layer(trial, "functional.group_norm", arguments, inputs)
    shape = get_input(trial).shape
    outputs = move_elements(outputs_with_bounds(other), lambda y: y.reshape(shape))
    yield claim(other, outputs, Side(trial.text(), outputs_with_bounds(trial)))


@law("group", "the module is the function of the same backend, with its own tensors")
def group_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    tensors, written, x = _tensors(trial), _arguments(trial), get_input(trial)
    weight, bias = (tensors.get(name) for name in _WEIGHTS)
    arguments = {"num_groups": written["num_groups"], "eps": written["eps"]}
    if not trial.spec.is_function:
        yield equality_claim(
            _call_layer(trial, "functional.group_norm", arguments, (x, weight, bias)), trial
        )
    elif bias is None or weight is not None:
        arguments |= {"num_channels": x.shape[1], "affine": weight is not None}
        arguments |= {"bias": bias is not None or weight is None}
        state = {"weight": weight, "bias": bias}
        yield equality_claim(_call_layer(trial, "GroupNorm", arguments, (x,), state), trial)


@law("layer", "without weights one group is layer_norm of the whole sample", WITHIN_SUM_OF_BOUNDS)
def layer(trial: Trial, generator: Generator) -> Claims:
    """layer_norm with the groups as rows, compared with group_norm."""
    x, written = get_input(trial), _arguments(trial)
    if not x.size:
        return
    size = math.prod(x.shape[1:]) // written["num_groups"]
    group_arguments = {"num_groups": written["num_groups"], "eps": written["eps"]}
    group_call = _call_layer(trial, "functional.group_norm", group_arguments, (x, None, None))
    rows = x.reshape(-1, size)
    arguments = {"normalized_shape": (size,), "eps": written["eps"]}
    layer_call = _call_layer(trial, "functional.layer_norm", arguments, (rows, None, None))
    outputs = move_elements(outputs_with_bounds(layer_call), lambda y: y.reshape(x.shape))
    yield claim(group_call, outputs_with_bounds(group_call), Side(layer_call.text(), outputs))


@law("rms", "the module is the function of the same backend, with its own tensors")
def square_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    written, x, weight = _arguments(trial), get_input(trial), _tensors(trial).get("weight")
    sizes = _normalized_shape(trial)
    arguments = {"normalized_shape": sizes, "eps": written["eps"]}
    if not trial.spec.is_function:
        yield equality_claim(
            _call_layer(trial, "functional.rms_norm", arguments, (x, weight)), trial
        )
        return
    arguments["elementwise_affine"] = weight is not None
    yield equality_claim(_call_layer(trial, "RMSNorm", arguments, (x,), {"weight": weight}), trial)


@law("balanced", "of rows whose mean is 0 rms_norm is layer_norm", WITHIN_SUM_OF_BOUNDS)
def balanced(trial: Trial, generator: Generator) -> Claims:
    """Each row joined with its negative, without weight: both norms agree."""
    written, x = _arguments(trial), get_input(trial)
    sizes = _normalized_shape(trial)
    if not x.size or written["eps"] is None:
        return
    rows = x.reshape(-1, math.prod(sizes))
    balanced_rows = np.concatenate([rows, -rows], axis=1)
    arguments = {"normalized_shape": balanced_rows.shape[1:], "eps": written["eps"]}
    rms_call = _call_layer(trial, "functional.rms_norm", arguments, (balanced_rows, None))
    layer_call = _call_layer(trial, "functional.layer_norm", arguments, (balanced_rows, None, None))
    yield claim(
        rms_call,
        outputs_with_bounds(rms_call),
        Side(layer_call.text(), outputs_with_bounds(layer_call)),
    )


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    if not _is_small(trial):
        return
    x, sizes = get_input(trial), _normalized_shape(trial)
    flat = x.reshape(-1, *sizes)
    chosen = generator.integers(len(flat), size=large_size(generator))
    large = _call_with(trial, input=flat[chosen])
    yield equality_claim(large, trial, wanted_moves=lambda y: y.reshape(flat.shape)[chosen])


@law("permuted", "the numbers of a row may come in any order")
def permuted(trial: Trial, generator: Generator) -> Claims:
    """Rows and weight in the same new order."""
    x, sizes, weight = get_input(trial), _normalized_shape(trial), _tensors(trial).get("weight")
    order = generator.permutation(math.prod(sizes))

    def reorder(array: np.ndarray) -> np.ndarray:
        leading = array.shape[: array.ndim - len(sizes)]
        return array.reshape(*leading, len(order))[..., order].reshape(array.shape)

    if x.size:
        reordered_weight = None if weight is None else reorder(weight)
        yield equality_claim(
            _call_with(trial, input=reorder(x), weight=reordered_weight),
            trial,
            wanted_moves=reorder,
        )


@law("response", "the module is the function of the same backend")
def response_function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    name = "LocalResponseNorm" if trial.spec.is_function else "functional.local_response_norm"
    yield equality_claim(_call_layer(trial, name, _arguments(trial), trial.case.inputs), trial)


@law("response", "of images and odd windows it is LocalResponseNorm", WITHIN_SUM_OF_BOUNDS)
def cross_map(trial: Trial, generator: Generator) -> Claims:
    """LocalResponseNorm of the same backend."""
    other = _call_layer(trial, "LocalResponseNorm", _arguments(trial), trial.case.inputs)
    yield claim(trial, outputs_with_bounds(trial), Side(other.text(), outputs_with_bounds(other)))


@law("mirrored", "the window looks as far ahead as back")
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The channels in reverse order."""
    other = _call_with(trial, input=np.ascontiguousarray(get_input(trial)[:, ::-1]))
    yield equality_claim(other, trial, got_moves=lambda y: y[:, ::-1])


@law("rescaled", "f(c·x; α/c²) = c·f(x; α), c a power of two", WITHIN_SUM_OF_BOUNDS)
def rescaled(trial: Trial, generator: Generator) -> Claims:
    """Input times c, alpha divided by c²."""
    factor, unscaled = float(generator.choice([0.5, 2.0, 4.0])), get_input(trial)
    x = unscaled * factor
    if not is_exact(trial.case.call.dtype, x) or not np.array_equal(x / factor, unscaled):
        return
    other = _call_with(trial, {"alpha": _arguments(trial)["alpha"] / factor**2}, input=x)
    wanted = tuple(scale_exactly(y, factor) for y in outputs_with_bounds(trial))
    yield claim(other, outputs_with_bounds(other), Side(trial.text(), wanted))


@law("surrounded", "channels of zeros around those of the input change nothing")
def surrounded(trial: Trial, generator: Generator) -> Claims:
    """One to four channels of zeros on each side."""
    x = get_input(trial)
    before, after = (int(n) for n in generator.integers(1, 4, size=2, endpoint=True))
    pads = [(0, 0), (before, after), *((0, 0) for _ in x.shape[2:])]
    surrounded_call = _call_with(trial, input=np.pad(x, pads))
    yield equality_claim(
        surrounded_call, trial, got_moves=lambda y: y[:, before : before + x.shape[1]]
    )


INSTANCE = (samples, places, channels, shifted, scaled, affine, instance_function, grouped)
GROUP = (samples, places, groups, shifted, scaled, group_function, layer)
SQUARE = (rows, permuted, negated, scaled, square_function, balanced)
RESPONSE = (samples, places, negated, rescaled, response_function, surrounded)
CROSS_MAP = (samples, places, negated, rescaled, cross_map, mirrored)
