"""Which arguments a failure needs: the minimal case with each of them changed in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.failures.facts import facts, spatial
from conformance.layers.catalogue import CATALOGUE, Row
from conformance.layers.states import dimensions, shapes
from conformance.model.case import Case, Need
from conformance.run.drawn import defaults

TRIES = 20
"""Cases that are tried at most for one failure."""

# Other values for what the minimal case has at its default: what a failure also shows with.
VARIED: Mapping[str, Any] = {
    "bias": False,
    "stride": 2,
    "padding": 1,
    "dilation": 2,
    "bidirectional": True,
    "num_layers": 2,
}
# Sizes of which 1 is the plainest; what hangs on them changes along.
SIZES = ("kernel_size", "in_channels", "out_channels", "in_features", "out_features")
WINDOW = ("kernel_size", "stride", "padding", "output_padding", "dilation")


@dataclass(frozen=True)
class Change:
    """A minimal case with one argument changed.

    Args:
        argument: its name.
        value, other: what it is in the minimal case, and here.
        case: the changed case.
        varied: see `Need`.
    """

    argument: str
    value: Any
    other: Any
    case: Case
    varied: bool = False


def needs(
    case: Case, tried: Callable[[Case], bool | None]
) -> tuple[tuple[Need, ...], tuple[Change, ...]]:
    """What a failure needs, and what it is independent of.

    Args:
        case: the minimal failing case, a valid call.
        tried: runs the check on a case: True if it fails in the same way, False if it passes,
            None where that cannot be said.

    Returns:
        What became of each change, and the changes that make the case pass.
    """
    found, needed = list[Need](), list[Change]()
    for count, change in enumerate(changes(case)):
        if count == TRIES:
            break
        fails = tried(change.case)
        if fails is not None:
            value, other = repr(change.value), repr(change.other)
            found.append(Need(change.argument, value, other, fails, change.varied))
            needed += [] if fails else [change]
    return tuple(found), tuple(needed)


def explains(needed: Sequence[Change], case: Case) -> bool:
    """Whether a failing case has all that a failure needs.

    Args:
        needed: the changes that make the failure's minimal case pass.
        case: another failing case; what it says nothing of is taken to be there.
    """
    if not needed:
        return True
    found = facts(case)
    first = case.inputs[0]
    dims = spatial(case)
    if first is not None and dims:
        found["batch"] = len(first) if first.ndim == dims + 2 else None
    return not any(
        change.argument in found and _same(_given(found[change.argument]), change.other)
        for change in needed
    )


def _given(value: Any) -> Any:
    return None if value == "absent" else value


def changes(case: Case) -> Iterator[Change]:
    """The valid cases that differ from one in an argument, or in what belongs to the call."""
    row, written = CATALOGUE[case.call.layer], case.call.arguments
    plain = defaults(row)
    sized = "output_size" in case.keywords
    for name, value in written.items():
        if sized and name in WINDOW:
            continue  # only some sizes can come out
        if name in plain and not _same(value, plain[name]):
            yield from _changed(row, case, name, value, plain[name])
        elif name in SIZES and not _same(value, 1):
            yield from _changed(row, case, name, value, 1)
    yield from _without(case)
    yield from _batches(row, case)
    for name, other in VARIED.items():
        value = written.get(name, plain.get(name))
        if name not in plain or not _same(value, plain[name]):
            continue
        fixed = isinstance(written.get("padding"), str) or sized
        if fixed and name in WINDOW:
            continue
        yield from _changed(row, case, name, value, other, varied=True)


def _changed(
    row: Row, case: Case, name: str, value: Any, other: Any, *, varied: bool = False
) -> Iterator[Change]:
    arguments = {**case.call.arguments, name: other}
    if not varied and name in defaults(row):
        arguments.pop(name)
    try:
        fitted = _fitted(row, case, arguments)
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return
    if fitted is not None:
        yield Change(name, value, other, fitted, varied)


def _without(case: Case) -> Iterator[Change]:
    """Left out: keywords, and a hidden state that is given."""
    for name, value in case.keywords.items():
        kept = {key: v for key, v in case.keywords.items() if key != name}
        yield Change(name, value, None, replace(case, keywords=kept))
    names = CATALOGUE[case.call.layer].inputs
    if len(case.inputs) > 1 and names[1] in ("h_0", "hx") and case.inputs[1] is not None:
        left = (case.inputs[0], *(None for _ in case.inputs[1:]))
        yield Change(names[1], "given", None, replace(case, inputs=left))


def _batches(row: Row, case: Case) -> Iterator[Change]:
    """A batch of one instead of more or none, and no batch instead of one."""
    first, dims = case.inputs[0], dimensions(row.name.replace("onv_t", "onvT"))
    if first is None or not dims or case.keywords or first.ndim != dims + 2:
        return
    count = len(first)
    other = None if count == 1 else 1
    smaller = first[0] if count == 1 else np.resize(first, (1, *first.shape[1:]))
    inputs = (smaller, *case.inputs[1:])
    yield Change("batch", count, other, replace(case, inputs=inputs))


def _fitted(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its arrays in the shapes that these ask for.

    Returns:
        None where the call would be invalid.
    """
    inputs = list(case.inputs)
    first = inputs[0]
    assert first is not None
    state = dict(case.call.state)
    if row.name.startswith("functional."):
        _refit_weight(row, case, arguments, inputs)
    else:
        shape = _input_shape(row, case, arguments, first)
        inputs[0] = _resized(first, shape)
        wanted = shapes(row.name, arguments, shape)
        source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
        state = {k: _resized(state.get(k, source), s) for k, s in wanted.items()}
        if "hidden_size" in arguments and not row.name.endswith("Cell"):
            given = row.shapes(shape, **arguments)[1:]
            pairs = zip(inputs[1:], given, strict=True)
            inputs[1:] = [None if x is None else _resized(x, s) for x, s in pairs]
    if not _valid(row, arguments, case.keywords, inputs):
        return None
    layouts = {k: v for k, v in case.call.layouts.items() if k in state}
    call = replace(case.call, arguments=arguments, state=state, layouts=layouts)
    return replace(case, call=call, inputs=tuple(inputs))


def _input_shape(
    row: Row, case: Case, arguments: Mapping[str, Any], first: np.ndarray
) -> tuple[int, ...]:
    """The shape of the first input under other arguments."""
    shape = list(first.shape)
    dims = dimensions(row.name)
    if dims and "in_channels" in arguments:
        shape[-1 - dims] = arguments["in_channels"]
    if "in_features" in arguments:
        shape[-1] = arguments["in_features"]
    turned = arguments.get("batch_first", False) != case.call.arguments.get("batch_first", False)
    if turned and first.ndim == 3:
        shape[:2] = reversed(shape[:2])
    return tuple(shape)


def _refit_weight(
    row: Row, case: Case, arguments: Mapping[str, Any], inputs: list[np.ndarray | None]
) -> None:
    """The weight of a functional convolution for another number of groups."""
    weight = inputs[1] if len(inputs) > 1 else None
    before, after = case.call.arguments.get("groups", 1), arguments.get("groups", 1)
    if before != after and weight is not None:
        per_group = weight.shape[1] * before // after
        inputs[1] = _resized(weight, (weight.shape[0], per_group, *weight.shape[2:]))


def _resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array's elements, repeated as often as the shape asks for."""
    return array if array.shape == shape else np.resize(array, shape)


def _valid(
    row: Row, arguments: Mapping[str, Any], keywords: Mapping[str, Any], inputs: list[Any]
) -> bool:
    """Whether the documentation allows the call, as far as the changes above can break it."""
    groups = arguments.get("groups", 1)
    channels = [arguments[n] for n in ("in_channels", "out_channels") if n in arguments]
    if any(count % groups or count == 0 for count in channels):
        return False
    if "output_padding" in arguments:
        limits = zip(*(_sizes(arguments.get(n, 1)) for n in ("stride", "dilation")), strict=False)
        smallest = min(max(pair) for pair in limits)
        if max(_sizes(arguments["output_padding"])) >= smallest:
            return False
    given = [None if x is None else x.shape for x in inputs]
    while given and given[-1] is None:
        given.pop()
    found = row.shapes(*given, **{k: v for k, v in {**arguments, **keywords}.items() if k != "*"})
    dims = dimensions(row.name.replace("onv_t", "onvT"))
    lengths: tuple[int, ...] = found[0][-dims:] if dims else ()
    return all(length > 0 for length in lengths)


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _same(value: Any, other: Any) -> bool:
    """Whether values mean the same, as 1 and (1, 1) do."""
    if isinstance(value, (tuple, list)) and isinstance(other, int):
        return all(bool(v == other) for v in value)
    return bool(value == other)
