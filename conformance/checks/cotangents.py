"""Cotangents of a case, in their memory layouts, and the gradients expected for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conformance.checks.answers import ExpectedGradients, lean
from conformance.checks.recorded_call import Gradients, record_call
from conformance.checks.trial import Trial
from conformance.model.formats import FORMATS, REAL_DTYPE, round_to
from conformance.strategies.layouts import repeat_first

_CONSTANT_ONE_IN, _STREAM = 8, 0x73756D  # one case in `_CONSTANT_ONE_IN` has constant cotangents
# Regimes of integers or of numbers with few bits; these cases get integer cotangents.
_EXACT_REGIMES = (
    "ramp",
    "integers",
    "full",
    "zero",
    "bits",
    "rectified",
    "saturated",
    "hold",
    "halves",
)


def expected_gradients(trial: Trial) -> ExpectedGradients:
    """The cotangents of a case and the expected gradients, computed once for all checks."""
    return trial.answers.gradients.get(
        trial.case, trial.precision, lambda: _compute_gradients(trial)
    )


def _compute_gradients(trial: Trial) -> ExpectedGradients:
    cotangent_arrays = draw_cotangents(trial)
    inputs, parameters = oracle_gradients(trial, cotangent_arrays)
    return ExpectedGradients(
        cotangent_arrays,
        [None if x is None else lean(x) for x in inputs],
        {name: lean(x) for name, x in parameters.items()},
    )


def put_cotangents(
    trial: Trial,
    cotangent_arrays: Sequence[np.ndarray | None],
    put_dtype: str = "",
    *,
    batched: bool = False,
) -> list[Any]:
    """Put cotangents on the device, in the layouts of the case; absent outputs have none.

    Args:
        cotangent_arrays: one for each output that is present.
        put_dtype: the dtype that the layer puts unless another is named; empty = the call's.
        batched: whether they have a batch axis of vmap, for which the case has no layouts.
    """
    values = iter(zip(cotangent_arrays, output_dtypes(trial), strict=True))
    shapes = trial.spec.output_shapes(trial.case)
    aligned = [(None, "") if shape is None else next(values) for shape in shapes]
    own_layouts = () if batched else trial.case.cotangent_layouts
    layouts = (*own_layouts, *("contiguous",) * len(aligned))
    put_dtype, natives = put_dtype or trial.case.call.dtype, list[Any]()
    for (c, dtype), layout in zip(aligned, layouts, strict=False):
        # A cotangent has the dtype of its output.
        dtype_keyword = {} if dtype == put_dtype else {"dtype": dtype}
        put_array = trial.layer.put
        natives.append(
            None
            if c is None
            else trial.run_step("put", put_array, c.copy(), layout, **dtype_keyword)
        )
    return natives


def output_dtypes(trial: Trial) -> list[str]:
    """torch's names of the dtypes of the outputs that are present."""
    call_dtype, case = trial.case.call.dtype, trial.case
    return [
        call_dtype if output.dtype is None else output.dtype(case)
        for output in trial.present_outputs
    ]


def draw_cotangents(trial: Trial) -> list[np.ndarray | None]:
    """Draw cotangents that suit the case's regime; with several outputs, some may have none.

    In one case of eight each cotangent is constant, as after a sum of the output.
    """
    generator = np.random.default_rng((trial.case.seed, 1))
    call = trial.case.call
    integral = trial.case.labels.get("regime") in _EXACT_REGIMES
    dtypes = output_dtypes(trial)
    # Integer outputs have no gradient.
    has_gradient = [dtype in FORMATS or dtype in REAL_DTYPE for dtype in dtypes]
    candidates = [
        k for k, x in enumerate(trial.present_outputs) if x.differentiable and has_gradient[k]
    ]
    left_out = {candidates[k] for k in _choose_left_out(len(candidates), generator)}
    left_out |= set(range(len(trial.shapes))) - set(candidates)
    layouts = (*trial.case.cotangent_layouts, *("contiguous",) * len(trial.shapes))
    as_after_sum = np.random.default_rng((trial.case.seed, _STREAM)).integers(_CONSTANT_ONE_IN) == 0
    drawn_cotangents: list[np.ndarray | None] = []
    for index, shape in enumerate(trial.shapes):
        parts = 2 if call.dtype.startswith("complex") else 1
        drawn = [
            generator.integers(-1, 1, shape, endpoint=True).astype(np.float64)
            if integral
            else generator.standard_normal(shape)
            for _ in range(parts)
        ]
        values = drawn[0] if parts == 1 else drawn[0] + 1j * drawn[1]
        if layouts[index] == "expanded":
            values = repeat_first(values, _choose_constant_axes(shape, generator))
        elif as_after_sum and shape and values.size:
            values = repeat_first(values, range(len(shape)))
        drawn_cotangents.append(None if index in left_out else round_to(values, dtypes[index]))
    return drawn_cotangents


def _choose_constant_axes(shape: Sequence[int], generator: np.random.Generator) -> tuple[int, ...]:
    """Choose the axes along which a cotangent is constant: all, as after a sum, or one."""
    long = [axis for axis, size in enumerate(shape) if size > 1]
    return tuple(long) if generator.integers(2) else (long[generator.integers(len(long))],)


def _choose_left_out(count: int, generator: np.random.Generator) -> set[int]:
    """Choose the outputs without cotangent: none, one, or all but one."""
    if count < 2:
        return set()
    all_but = {k: set(range(count)) - {k} for k in range(count)}
    choices: list[set[int]] = [set(), *({k} for k in range(count))]
    choices += all_but.values() if count > 2 else ()
    return choices[generator.integers(len(choices))]


def oracle_gradients(trial: Trial, cotangent_arrays: Sequence[np.ndarray | None]) -> Gradients:
    """Expected gradients, for one cotangent of each output that is present."""
    return record_call(trial).gradients(cotangent_arrays)
