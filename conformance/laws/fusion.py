"""Laws of fusing batch norm into weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.formats import format_of
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    WITHIN_TWICE_BOUND,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    large_size,
    law,
    outputs_with_bounds,
    scale_exactly,
    trial_with,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_NORM = "functional.batch_norm"
_LINEAR = "functional.linear"
_MAX_DIMS = 3  # dimensions of a kernel


def _output_axis(trial: Trial) -> int:
    """The weight's axis of outputs."""
    return 1 if trial.case.call.arguments.get("transpose", False) else 0


def _arrays(trial: Trial) -> list[Any]:
    """The six inputs, None for each missing one."""
    return [
        *trial.case.inputs,
        *[None] * (len(trial.spec.signature.inputs) - len(trial.case.inputs)),
    ]


def _bounded_answer(trial: Trial, operands: Sequence[Rounded | None]) -> Rounded:
    """The backend's answer with a bound that includes the errors of the operands."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        evaluated = trial.evaluate({}, operands)
    return with_bounds_of(trial.answer, evaluated)[0]


def _call_layer(
    trial: Trial, layer: str, operands: Sequence[Rounded | None], **arguments: Any
) -> Any:
    """Call another function on operands with errors: the trial and its bounded answer."""
    arrays: Any = [None if x is None else x.value for x in operands]
    other = trial_with(trial, *arrays, layer=layer, arguments=arguments)
    return other, _bounded_answer(other, operands)


@law("as before", "the map with fused weights is batch norm after the map", WITHIN_SUM_OF_BOUNDS)
def as_before(trial: Trial, generator: Generator) -> Claims:
    """Both orders on a small input of integers, through the convolution or the linear map."""
    weight, bias, mean, variance, gain, shift = _arrays(trial)
    dims, axis = weight.ndim - 2, _output_axis(trial)
    linear = "linear_w" in trial.spec.signature.input_names
    if dims > _MAX_DIMS or (dims == 0 and not linear):
        return
    layer = f"functional.conv{'_transpose' * axis}{dims}d" if dims else _LINEAR
    sizes = (2, weight.shape[1 - axis], *(k + 1 for k in weight.shape[2:]))
    x = generator.integers(-2, 2, sizes, endpoint=True).astype(np.float64)
    precision = trial.expected[0].precision

    def as_operand(array: Any) -> Any:
        return None if array is None else exact_operand(array, precision)

    _, unfused = _call_layer(trial, layer, [as_operand(x), as_operand(weight), as_operand(bias)])
    eps = float(trial.case.call.arguments["bn_eps"])
    operands = [unfused, *map(as_operand, (mean, variance, gain, shift))]
    unfused_call, wanted = _call_layer(trial, _NORM, operands, eps=eps)
    fused = outputs_with_bounds(trial)
    if not all(np.isfinite(y.value).all() for y in (*fused, unfused)):
        return
    fused_call, got = _call_layer(trial, layer, [as_operand(x), *fused])
    yield claim(fused_call, (got,), Side(unfused_call.text(), (wanted,), unfused_call))


@law("scaled", "twice the weight gives twice the weight, and the same bias", WITHIN_SUM_OF_BOUNDS)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The call on twice the weight, where no number leaves the range."""
    weight, *rest = _arrays(trial)
    target, sizes = format_of(trial.case.call.dtype), np.abs(weight[weight != 0])
    if not ((sizes >= 4 * target.normal) & (sizes <= target.largest / 4)).all():
        return
    other = trial_with(trial, 2.0 * weight, *rest)
    first, last = outputs_with_bounds(trial)
    yield Claim(
        trial.names, Side(other.text(), outputs_with_bounds(other), other),
        Side(trial.text(), (scale_exactly(first, 2.0), last), trial),
    )  # fmt: skip


@law("rows", "each output among many has the weights that it has among few", WITHIN_TWICE_BOUND)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 outputs, drawn from the case's."""
    weight, *rest = _arrays(trial)
    axis = _output_axis(trial)
    chosen = generator.integers(weight.shape[axis], size=large_size(generator))
    others: Any = [None if x is None else x[chosen] for x in rest]
    large = trial_with(trial, weight.take(chosen, axis), *others)
    moves = [lambda y: y.take(chosen, axis), lambda y: y[chosen]]
    yield equality_claim(large, trial, wanted_moves=moves)


@law(
    "transposed",
    "transpose exchanges the first two axes of the weight, and nothing else",
    WITHIN_TWICE_BOUND,
)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """The call with `transpose` inverted and the weight's first axes exchanged."""
    weight, *rest = _arrays(trial)
    transposed_weight = np.ascontiguousarray(weight.swapaxes(0, 1))
    other = trial_with(trial, transposed_weight, *rest, transpose=not _output_axis(trial))
    yield equality_claim(other, trial, got_moves=[lambda y: y.swapaxes(0, 1), lambda y: y])


@law("left out", "what is left out is 1, or 0", WITHIN_SUM_OF_BOUNDS)
def left_out(trial: Trial, generator: Generator) -> Claims:
    """The call with the defaults of missing inputs written out."""
    weight, bias, mean, variance, gain, shift = _arrays(trial)
    defaults = (np.zeros_like(mean), np.ones_like(mean), np.zeros_like(mean))
    filled = [y if x is None else x for x, y in zip((bias, gain, shift), defaults, strict=True)]
    if bias is not None and gain is not None and shift is not None:
        return
    other = trial_with(trial, weight, filled[0], mean, variance, *filled[1:])
    yield Claim(
        trial.names, Side(other.text(), outputs_with_bounds(other), other),
        Side(trial.text(), outputs_with_bounds(trial), trial),
    )  # fmt: skip


LINEAR = (as_before, scaled, rows, left_out)
CONVOLUTION = (as_before, scaled, rows, transposed, left_out)
