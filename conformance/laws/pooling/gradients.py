"""A law of gradients through pooling by maximum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.spec.law import Claim, Claims, Generator, Side, called, input_of, law, on_host

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

BOUND = "n windows: within γ_{n+1} = (n + 1)·u / (1 - (n + 1)·u) of what is pulled back"


@law("whole", "the gradients of a plane are in sum what is pulled back into it", BOUND)
def whole(trial: Trial, generator: Generator) -> Claims:
    """Tied maxima may share a cotangent or one may take it, but none is lost or doubled.

    Windows with the output −∞ get a cotangent of 0: a window without elements of the input has no
    element for its cotangent. An element's gradient has at most one term for each window, each a
    cotangent or a share of one, which is rounded once more.
    """
    x = input_of(trial)
    if x.dtype.kind == "i" or not x.size or not math.prod(trial.shapes[0]):
        return  # `gradients` tests empty gradients
    given: dict[str, Any] = (
        {"return_indices": False} if trial.row.signature.argument("return_indices") else {}
    )
    call = called(trial, x, **given)
    cotangent = generator.integers(1, 3, trial.shapes[0], endpoint=True).astype(np.float64)
    cotangent[trial.answer[0] == -np.inf] = 0.0
    gradient, *_ = call.pulled(cotangent)
    if gradient is None:
        return
    along = tuple(range(x.ndim - trial.row.signature.dims, x.ndim))
    windows = math.prod(cotangent.shape[along[0] :])
    growth = (windows + 1) * trial.precision.unit
    if growth >= 0.5:
        return
    wanted = cotangent.sum(along)
    error = wanted * growth / (1 - growth)
    added = on_host(Rounded(gradient.sum(along), error, trial.precision))
    there = Side("the sum of the cotangents", (on_host(exactly(wanted, trial.precision)),))
    yield Claim(("gradient of input",), Side(call.text(), (added,)), there)
