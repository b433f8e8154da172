"""Laws of fusing batch norm into weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.model.formats import format_of
from conformance.spec.law import (
    MOVED,
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    bounded,
    called,
    claim,
    law,
    many,
    measured,
    same,
    times,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_NORM = "functional.batch_norm"
_LINEAR = "functional.linear"
_MOST = 3  # dimensions of a kernel


def _axis(trial: Trial) -> int:
    """The weight's axis of outputs."""
    return 1 if trial.case.call.arguments.get("transpose", False) else 0


def _arrays(trial: Trial) -> list[Any]:
    """The six inputs, None for each missing one."""
    return [
        *trial.case.inputs,
        *[None] * (len(trial.row.signature.inputs) - len(trial.case.inputs)),
    ]


def _known(trial: Trial, operands: Sequence[Rounded | None]) -> Rounded:
    """The backend's answer with a bound that includes the errors of the operands."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = trial.evaluate({}, operands)
    return bounded(trial.answer, found)[0]


def _through(trial: Trial, layer: str, operands: Sequence[Rounded | None], **given: Any) -> Any:
    """Call another function on operands with errors: the trial and its bounded answer."""
    arrays: Any = [None if x is None else x.value for x in operands]
    other = called(trial, *arrays, layer=layer, arguments=given)
    return other, _known(other, operands)


@law("as before", "the map with fused weights is batch norm after the map", SUMMED)
def as_before(trial: Trial, generator: Generator) -> Claims:
    """Both orders on a small input of integers, through the convolution or the linear map."""
    weight, bias, mean, variance, gain, shift = _arrays(trial)
    dims, axis = weight.ndim - 2, _axis(trial)
    linear = "linear_w" in trial.row.signature.input_names
    if dims > _MOST or (dims == 0 and not linear):
        return
    layer = f"functional.conv{'_transpose' * axis}{dims}d" if dims else _LINEAR
    sizes = (2, weight.shape[1 - axis], *(k + 1 for k in weight.shape[2:]))
    x = generator.integers(-2, 2, sizes, endpoint=True).astype(np.float64)
    precision = trial.expected[0].precision

    def exact(array: Any) -> Any:
        return None if array is None else exactly(array, precision)

    _, before = _through(trial, layer, [exact(x), exact(weight), exact(bias)])
    eps = float(trial.case.call.arguments["bn_eps"])
    operands = [before, *map(exact, (mean, variance, gain, shift))]
    last, wanted = _through(trial, _NORM, operands, eps=eps)
    fused = measured(trial)
    if not all(np.isfinite(y.value).all() for y in (*fused, before)):
        return
    first, got = _through(trial, layer, [exact(x), *fused])
    yield claim(first, (got,), Side(last.text(), (wanted,), last))


@law("scaled", "twice the weight gives twice the weight, and the same bias", SUMMED)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The call on twice the weight, where no number leaves the range."""
    weight, *rest = _arrays(trial)
    own, sizes = format_of(trial.case.call.dtype), np.abs(weight[weight != 0])
    if not ((sizes >= 4 * own.normal) & (sizes <= own.largest / 4)).all():
        return
    other = called(trial, 2.0 * weight, *rest)
    first, last = measured(trial)
    yield Claim(
        trial.names, Side(other.text(), measured(other), other),
        Side(trial.text(), (times(first, 2.0), last), trial),
    )  # fmt: skip


@law("rows", "each output among many has the weights that it has among few", MOVED)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 outputs, drawn from the case's."""
    weight, *rest = _arrays(trial)
    axis = _axis(trial)
    chosen = generator.integers(weight.shape[axis], size=many(generator))
    others: Any = [None if x is None else x[chosen] for x in rest]
    large = called(trial, weight.take(chosen, axis), *others)
    moves = [lambda y: y.take(chosen, axis), lambda y: y[chosen]]
    yield same(large, trial, wanted_moves=moves)


@law("transposed", "transpose exchanges the first two axes of the weight, and nothing else", MOVED)
def transposed(trial: Trial, generator: Generator) -> Claims:
    """The call with `transpose` inverted and the weight's first axes exchanged."""
    weight, *rest = _arrays(trial)
    turned = np.ascontiguousarray(weight.swapaxes(0, 1))
    other = called(trial, turned, *rest, transpose=not _axis(trial))
    yield same(other, trial, got_moves=[lambda y: y.swapaxes(0, 1), lambda y: y])


@law("left out", "what is left out is 1, or 0", SUMMED)
def left_out(trial: Trial, generator: Generator) -> Claims:
    """The call with the defaults of missing inputs written out."""
    weight, bias, mean, variance, gain, shift = _arrays(trial)
    plain = (np.zeros_like(mean), np.ones_like(mean), np.zeros_like(mean))
    filled = [y if x is None else x for x, y in zip((bias, gain, shift), plain, strict=True)]
    if bias is not None and gain is not None and shift is not None:
        return
    other = called(trial, weight, filled[0], mean, variance, *filled[1:])
    yield Claim(
        trial.names, Side(other.text(), measured(other), other),
        Side(trial.text(), measured(trial), trial),
    )  # fmt: skip


LINEAR = (as_before, scaled, rows, left_out)
CONVOLUTION = (as_before, scaled, rows, transposed, left_out)
