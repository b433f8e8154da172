"""Laws of padding and packing sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.laws.linear import EXACT
from conformance.oracles.sequences import count_valid_orders, packed_lengths
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Side,
    equality_claim,
    get_input,
    large_size,
    law,
    outputs_with_bounds,
    trial_with,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_RNN = "utils.rnn."
_MAX_SEQUENCES = 6  # largest number of sequences in a list
Arrays = Sequence[np.ndarray]


def _arrays(trial: Trial) -> list[np.ndarray]:
    """The inputs that are not None."""
    return [x for x in trial.case.inputs if x is not None]


def _arguments(trial: Trial) -> dict[str, Any]:
    """All arguments of the call, defaults included."""
    return {**trial.spec.signature.defaults, **trial.case.call.arguments}


def _call_function(trial: Trial, name: str, inputs: Sequence[Any], **arguments: Any) -> Trial:
    """Another function of the same backend."""
    return trial_with(trial, *inputs, layer=_RNN + name, arguments=arguments)


def _claim_arrays(trial: Trial, got: Trial, arrays: Arrays, text: str) -> Claim:
    """The claim that a call's first outputs equal given arrays."""
    wanted = tuple(exact_operand(x, trial.expected[0].precision) for x in arrays)
    bounds = with_bounds_of(got.answer[: len(wanted)], wanted)
    return Claim(got.names[: len(wanted)], Side(got.text(), bounds, got), Side(text, wanted))


def _swap_time_and_batch(x: np.ndarray) -> np.ndarray:
    return x.swapaxes(0, 1)


def _select_features(chosen: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A move that selects features; arrays of one axis (lengths, indices) stay."""
    return lambda y: y.take(chosen, -1) if y.ndim > 1 else y


def _features_law(first_feature_axis: int) -> Any:
    """The law of many features; `first_feature_axis` is the number of axes before them."""

    @law("rows", "each feature among many is that feature of few", EXACT)
    def rows(trial: Trial, generator: Generator) -> Claims:
        """17 to 65 features along the last axis, drawn from the case's."""
        x = get_input(trial)
        if x.ndim <= first_feature_axis or not x.shape[-1]:
            return
        chosen = generator.integers(x.shape[-1], size=large_size(generator))
        select = _select_features(chosen)
        inputs = [None if y is None else select(y) for y in trial.case.inputs]
        yield equality_claim(trial_with(trial, *inputs), trial, wanted_moves=select)  # type: ignore[arg-type]

    return rows


@law("order", "sequences in another order are columns in that order", EXACT)
def order(trial: Trial, generator: Generator) -> Claims:
    """The sequences permuted."""
    arrays, axis = _arrays(trial), 0 if _arguments(trial)["batch_first"] else 1
    chosen = generator.permutation(len(arrays))
    other = trial_with(trial, *[arrays[k] for k in chosen])
    yield equality_claim(other, trial, wanted_moves=lambda y: y.take(chosen, axis))


@law("reversed", "padding before what runs backwards is padding behind, backwards", EXACT)
def backwards(trial: Trial, generator: Generator) -> Claims:
    """Reversed sequences with the other padding_side."""
    arguments = _arguments(trial)
    side = "left" if arguments["padding_side"] == "right" else "right"
    other = trial_with(trial, *[x[::-1].copy() for x in _arrays(trial)], padding_side=side)
    axis = 1 if arguments["batch_first"] else 0
    yield equality_claim(other, trial, got_moves=lambda y: np.flip(y, axis))


@law("transposed", "batch_first exchanges the axes of time and batch, and nothing else", EXACT)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted; a padded input batch is transposed, too."""
    first, arrays = bool(_arguments(trial)["batch_first"]), _arrays(trial)
    if trial.spec.signature.input_names[1] == "lengths":
        arrays[0] = np.ascontiguousarray(_swap_time_and_batch(arrays[0]))
        yield equality_claim(trial_with(trial, *arrays, batch_first=not first), trial)
        return
    other = trial_with(trial, *trial.case.inputs, batch_first=not first)  # type: ignore[arg-type]
    moves = [_swap_time_and_batch, *[lambda y: y] * (len(trial.names) - 1)]
    yield equality_claim(other, trial, got_moves=moves)


@law("taken back", "what is padded and unpadded is what it was", EXACT)
def unpadded(trial: Trial, generator: Generator) -> Claims:
    """`unpad_sequence` of the output."""
    arguments, arrays = _arguments(trial), _arrays(trial)
    if arguments["padding_side"] != "right":
        return
    lengths = np.array([len(x) for x in arrays])
    back = _call_function(
        trial, "unpad_sequence", (trial.answer[0], lengths), batch_first=arguments["batch_first"]
    )
    yield _claim_arrays(trial, back, arrays, "the sequences")


def _lengths(trial: Trial) -> list[int]:
    """The lengths of a case's sequences, whatever their form."""
    arrays, input_names = _arrays(trial), trial.spec.signature.input_names
    if input_names[1] == "lengths":
        return [int(n) for n in arrays[1]]
    if input_names[1] == "batch_sizes":
        return packed_lengths(arrays[1].tolist(), arrays[3].tolist() if arrays[3:] else None)
    return [len(x) for x in arrays]


def _sorted_one_way(trial: Trial) -> bool:
    """Whether the sequences can be packed in one order only."""
    return count_valid_orders(_lengths(trial)) == 1


def _padded_batch(trial: Trial) -> list[np.ndarray]:
    """The sequences of a padded batch."""
    x, lengths = _arrays(trial)
    x = x if _arguments(trial)["batch_first"] else _swap_time_and_batch(x)
    return [x[k, :n].copy() for k, n in enumerate(lengths.tolist())]


@law("taken back", "what is packed and padded again is what it was", EXACT)
def padded_again(trial: Trial, generator: Generator) -> Claims:
    """`pad_packed_sequence` of the output: the longest sequence's steps, zeros beyond each."""
    lengths = np.array(_lengths(trial))
    x = np.zeros((len(lengths), lengths.max(), *get_input(trial).shape[2:]))
    for k, part in enumerate(_padded_batch(trial)):
        x[k, : len(part)] = part
    back = _call_function(trial, "pad_packed_sequence", trial.answer, batch_first=True)
    yield _claim_arrays(trial, back, (x, lengths), "the padded batch")


@law("list", "a padded batch is packed as the list of its sequences is", EXACT)
def as_list(trial: Trial, generator: Generator) -> Claims:
    """`pack_sequence`, where there is one right order."""
    enforce_sorted = bool(_arguments(trial)["enforce_sorted"])
    if (enforce_sorted or _sorted_one_way(trial)) and len(_lengths(trial)) <= _MAX_SEQUENCES:
        yield equality_claim(
            _call_function(
                trial, "pack_sequence", _padded_batch(trial), enforce_sorted=enforce_sorted
            ),
            trial,
        )


@law("padded", "a list is packed as it is padded and packed", EXACT)
def by_padding(trial: Trial, generator: Generator) -> Claims:
    """`pack_padded_sequence` of `pad_sequence`, where there is one right order."""
    enforce_sorted, arrays = bool(_arguments(trial)["enforce_sorted"]), _arrays(trial)
    if enforce_sorted or _sorted_one_way(trial):
        padded = _call_function(trial, "pad_sequence", arrays).answer[0]
        lengths = np.array([len(x) for x in arrays])
        other = _call_function(
            trial, "pack_padded_sequence", (padded, lengths), enforce_sorted=enforce_sorted
        )
        yield equality_claim(other, trial)


@law("taken back", "what is packed and unpacked is what it was", EXACT)
def unpacked(trial: Trial, generator: Generator) -> Claims:
    """`unpack_sequence` of the output."""
    back = _call_function(trial, "unpack_sequence", trial.answer)
    yield _claim_arrays(trial, back, _arrays(trial), "the sequences")


@law("longer", "a larger total_length appends padding", EXACT)
def longer(trial: Trial, generator: Generator) -> Claims:
    """By 1 to 17 steps."""
    arguments, extra_steps = _arguments(trial), int(generator.integers(1, 17, endpoint=True))
    axis = 1 if arguments["batch_first"] else 0
    steps = trial.shapes[0][axis]
    inputs: Any = trial.case.inputs
    other = trial_with(trial, *inputs, total_length=steps + extra_steps)

    def drop_extra(y: np.ndarray) -> np.ndarray:
        return y.take(range(steps), axis)

    yield equality_claim(other, trial, got_moves=[drop_extra, lambda y: y])
    appended = other.answer[0].take(range(steps, steps + extra_steps), axis)
    padding = np.full(appended.shape, arguments["padding_value"], appended.dtype)
    precision = trial.expected[0].precision
    sides = (Side(other.text(), (exact_operand(appended, precision),), other),
             Side("the padding value", (exact_operand(padding, precision),)))  # fmt: skip
    yield Claim(trial.names[:1], *sides)


@law("list", "each column is that of the unpacked sequences", EXACT)
def columns(trial: Trial, generator: Generator) -> Claims:
    """`unpack_sequence` of the same packed sequences."""
    inputs, lengths = trial.case.inputs, _lengths(trial)
    if len(lengths) > _MAX_SEQUENCES:
        return
    x = (
        trial.answer[0]
        if _arguments(trial)["batch_first"]
        else _swap_time_and_batch(trial.answer[0])
    )
    parts = [x[k, :n] for k, n in enumerate(lengths)]
    other = _call_function(trial, "unpack_sequence", inputs)
    yield _claim_arrays(trial, other, parts, trial.text())


@law("packed again", "what is unpacked and packed is what it was", EXACT)
def packed_again(trial: Trial, generator: Generator) -> Claims:
    """Packing the output gives data and sizes again, where there is one right order."""
    lengths, arrays = _lengths(trial), _arrays(trial)
    if len(arrays) > 2 and not _sorted_one_way(trial):
        return
    enforce_sorted = len(arrays) == 2
    if trial.spec.signature.argument("total_length"):
        first = bool(_arguments(trial)["batch_first"])
        arguments: Any = {"batch_first": first, "enforce_sorted": enforce_sorted}
        inputs = (trial.answer[0], np.array(lengths))
        back = _call_function(trial, "pack_padded_sequence", inputs, **arguments)
    else:
        back = _call_function(trial, "pack_sequence", trial.answer, enforce_sorted=enforce_sorted)
    yield _claim_arrays(trial, back, arrays, "the packed sequences")


@law("alone", "each sequence is taken out alone as it is among others", EXACT)
def alone(trial: Trial, generator: Generator) -> Claims:
    """At most three sequences, each in a call of its own."""
    x, lengths = _arrays(trial)
    axis = 0 if _arguments(trial)["batch_first"] else 1
    wanted = outputs_with_bounds(trial)
    for k in generator.permutation(len(lengths))[:3].tolist():
        single = trial_with(trial, x.take([k], axis), lengths[[k]])
        outputs = with_bounds_of(single.answer, wanted[k : k + 1])
        sides = (Side(single.text(), outputs, single), Side(trial.text(), wanted[k : k + 1], trial))
        yield Claim(trial.names[k : k + 1], *sides)


@law("padded again", "sequences that are padded again are the batch, with zeros as padding", EXACT)
def batch_again(trial: Trial, generator: Generator) -> Claims:
    """`pad_sequence` of the output: the longest sequence's steps."""
    x, lengths = _arrays(trial)
    first = bool(_arguments(trial)["batch_first"])
    x = (x if first else _swap_time_and_batch(x))[:, : lengths.max()]
    is_padding = np.arange(x.shape[1]) >= lengths[:, np.newaxis]
    x = np.where(is_padding.reshape(*is_padding.shape, *(1,) * (x.ndim - 2)), 0, x)
    back = _call_function(trial, "pad_sequence", trial.answer, batch_first=True)
    yield _claim_arrays(trial, back, (x,), "the padded batch")


@law("by padding", "sequences are unpacked as they are padded and taken out", EXACT)
def by_unpadding(trial: Trial, generator: Generator) -> Claims:
    """`unpad_sequence` of `pad_packed_sequence`."""
    padded, lengths = _call_function(
        trial, "pad_packed_sequence", trial.case.inputs, batch_first=True
    ).answer
    yield equality_claim(
        _call_function(trial, "unpad_sequence", (padded, lengths), batch_first=True), trial
    )


PAD = (order, backwards, transposed, unpadded, _features_law(1))
PACK_PADDED = (padded_again, as_list, transposed, _features_law(2))
PAD_PACKED = (transposed, longer, columns, packed_again, _features_law(1))
PACK = (by_padding, unpacked, _features_law(1))
UNPAD = (alone, transposed, batch_again, _features_law(2))
UNPACK = (by_unpadding, packed_again, _features_law(1))
