"""Cotangents of a case, in their memory layouts, and the gradients expected for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.checks.answers import Pulled, lean
from conformance.checks.trial import Trial
from conformance.model.formats import FORMATS, REAL, round_to
from conformance.strategies.layouts import constant

_EVERY, _STREAM = 8, 0x73756D  # one case in `_EVERY` has constant cotangents
# Regimes of integers or of numbers with few bits; these cases get integer cotangents.
_EXACT = ("ramp", "integers", "full", "zero", "bits", "rectified", "saturated", "hold", "halves")


def pulled(trial: Trial) -> Pulled:
    """The cotangents of a case and the expected gradients, computed once for all checks."""
    return trial.answers.gradients.get(trial.case, trial.precision, lambda: _answered(trial))


def _answered(trial: Trial) -> Pulled:
    given = cotangents(trial)
    inputs, parameters = expected(trial, given)
    return Pulled(
        given,
        [None if x is None else lean(x) for x in inputs],
        {name: lean(x) for name, x in parameters.items()},
    )


def put(trial: Trial, given: Sequence[np.ndarray | None]) -> list[Any]:
    """Put cotangents on the device, in the layouts of the case; absent outputs have none.

    `given` has one for each output that is present.
    """
    values = iter(zip(given, _dtypes(trial), strict=True))
    shapes = trial.row.output_shapes(trial.case)
    aligned = [(None, "") if shape is None else next(values) for shape in shapes]
    layouts = (*trial.case.cotangent_layouts, *("contiguous",) * len(aligned))
    own, found = trial.case.call.dtype, list[Any]()
    for (c, dtype), layout in zip(aligned, layouts, strict=False):
        # A cotangent has the dtype of its output.
        other = {} if dtype == own else {"dtype": dtype}
        put = trial.layer.put
        found.append(None if c is None else trial.step("put", put, c.copy(), layout, **other))
    return found


def _dtypes(trial: Trial) -> list[str]:
    """torch's names of the dtypes of the outputs that are present."""
    own, case = trial.case.call.dtype, trial.case
    return [own if output.dtype is None else output.dtype(case) for output in trial.present]


def cotangents(trial: Trial) -> list[np.ndarray | None]:
    """Draw cotangents that suit the case's regime; with several outputs, some may have none.

    In one case of eight each cotangent is constant, as after a sum of the output.
    """
    generator = np.random.default_rng((trial.case.seed, 1))
    call = trial.case.call
    whole = trial.case.labels.get("regime") in _EXACT
    dtypes = _dtypes(trial)
    # Integer outputs have no gradient.
    numbers = [dtype in FORMATS or dtype in REAL for dtype in dtypes]
    places = [k for k, x in enumerate(trial.present) if x.differentiable and numbers[k]]
    left_out = {places[k] for k in _left_out(len(places), generator)}
    left_out |= set(range(len(trial.shapes))) - set(places)
    layouts = (*trial.case.cotangent_layouts, *("contiguous",) * len(trial.shapes))
    summed = np.random.default_rng((trial.case.seed, _STREAM)).integers(_EVERY) == 0
    found: list[np.ndarray | None] = []
    for index, shape in enumerate(trial.shapes):
        parts = 2 if call.dtype.startswith("complex") else 1
        drawn = [
            generator.integers(-1, 1, shape, endpoint=True).astype(np.float64)
            if whole
            else generator.standard_normal(shape)
            for _ in range(parts)
        ]
        values = drawn[0] if parts == 1 else drawn[0] + 1j * drawn[1]
        if layouts[index] == "expanded":
            values = constant(values, _axes(shape, generator))
        elif summed and shape and values.size:
            values = constant(values, range(len(shape)))
        found.append(None if index in left_out else round_to(values, dtypes[index]))
    return found


def _axes(shape: Sequence[int], generator: np.random.Generator) -> tuple[int, ...]:
    """Choose the axes along which a cotangent is constant: all, as after a sum, or one."""
    long = [axis for axis, size in enumerate(shape) if size > 1]
    return tuple(long) if generator.integers(2) else (long[generator.integers(len(long))],)


def _left_out(count: int, generator: np.random.Generator) -> set[int]:
    """Choose the outputs without cotangent: none, one, or all but one."""
    if count < 2:
        return set()
    alone = {k: set(range(count)) - {k} for k in range(count)}
    ways: list[set[int]] = [set(), *({k} for k in range(count))]
    ways += alone.values() if count > 2 else ()
    return ways[generator.integers(len(ways))]


def expected(
    trial: Trial, given: Sequence[np.ndarray | None]
) -> tuple[list[Rounded | None], dict[str, Rounded]]:
    """Expected gradients of the inputs (None if absent or integers) and of the state.

    `given` has one cotangent for each output that is present.
    """
    precision = trial.precision
    inputs = _leaves(trial)
    parameters = trial.row.parameters(trial.case)
    state = {
        name: leaf(x, precision) if name in parameters else exactly(x, precision)
        for name, x in trial.case.call.state.items()
    }
    outputs = trial.evaluate(state, inputs)
    leaves = [x for x in (*inputs, *state.values()) if x is not None and x.node is not None]
    leaves = list({id(x): x for x in leaves}.values())
    pulled = [
        None if c is None else exactly(c, x.precision) for x, c in zip(outputs, given, strict=True)
    ]
    found = _pulled(outputs, pulled, leaves)
    return (
        [None if x is None else found.get(id(x)) for x in inputs],
        {name: found[id(state[name])] for name in parameters},
    )


def _leaves(trial: Trial) -> list[Rounded | None]:
    """The inputs, recorded where they have a gradient; an array passed twice is one leaf."""
    precision, found = trial.precision, dict[int, Rounded]()
    for place, x in zip(trial.row.signature.inputs, trial.case.inputs, strict=False):
        if x is not None and id(x) not in found:
            recorded = place.differentiable and x.dtype.kind in "fc"
            found[id(x)] = leaf(x, precision) if recorded else exactly(x, precision)
    return [None if x is None else found[id(x)] for x in trial.case.inputs]


def _pulled(
    outputs: Sequence[Rounded | Choices],
    cotangents: Sequence[Rounded | None],
    leaves: Sequence[Rounded],
) -> dict[int, Any]:
    """The gradient of each leaf; `Choices` where an output has several right values."""
    asked = [x for x, c in zip(outputs, cotangents, strict=True) if c is not None]
    several = max((len(x.alternatives) for x in asked if isinstance(x, Choices)), default=1)
    ways = []
    for k in range(several):
        chosen = [
            x.alternatives[k % len(x.alternatives)] if isinstance(x, Choices) else x
            for x in outputs
        ]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ways.append(pull_back(chosen, cotangents, leaves))
    if several == 1:
        return dict(zip(map(id, leaves), ways[0], strict=True))
    return {id(x): Choices(tuple(way[k] for way in ways)) for k, x in enumerate(leaves)}
