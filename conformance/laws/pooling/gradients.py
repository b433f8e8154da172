"""A law of gradients through pooling by maximum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Side,
    get_input,
    in_float64,
    law,
    trial_with,
)

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
    x = get_input(trial)
    if x.dtype.kind == "i" or not x.size or not math.prod(trial.shapes[0]):
        return  # `gradients` tests empty gradients
    changes: dict[str, Any] = (
        {"return_indices": False} if trial.spec.signature.argument("return_indices") else {}
    )
    call = trial_with(trial, x, **changes)
    cotangent = generator.integers(1, 3, trial.shapes[0], endpoint=True).astype(np.float64)
    cotangent[trial.answer[0] == -np.inf] = 0.0
    gradient, *_ = call.input_gradients(cotangent)
    if gradient is None:
        return
    spatial_axes = tuple(range(x.ndim - trial.spec.signature.dims, x.ndim))
    windows = math.prod(cotangent.shape[spatial_axes[0] :])
    growth = (windows + 1) * trial.precision.unit
    if growth >= 0.5:
        return
    wanted = cotangent.sum(spatial_axes)
    error = wanted * growth / (1 - growth)
    gradient_sums = in_float64(Rounded(gradient.sum(spatial_axes), error, trial.precision))
    cotangent_sums = Side(
        "the sum of the cotangents", (in_float64(exact_operand(wanted, trial.precision)),)
    )
    yield Claim(("gradient of input",), Side(call.text(), (gradient_sums,)), cotangent_sums)
