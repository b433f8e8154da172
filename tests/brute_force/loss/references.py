"""The losses: which module has the reference of which."""

from __future__ import annotations

import numpy as np

from brute_force.loss import adaptive as loss_adaptive
from brute_force.loss import cross_entropy as loss_cross_entropy
from brute_force.loss import ctc as loss_ctc
from brute_force.loss import hinge as loss_hinge
from brute_force.loss import linear as loss_linear
from brute_force.loss import multi_margin as loss_multi_margin
from brute_force.loss import nll as loss_nll
from brute_force.loss import pointwise as loss_pointwise
from brute_force.loss import vectors as loss_vectors
from conformance.model.case import Case, bare_name

_MODULES = (
    loss_adaptive, loss_cross_entropy, loss_ctc, loss_hinge, loss_linear, loss_multi_margin,
    loss_nll, loss_pointwise, loss_vectors,
)  # fmt: skip
_REFERENCES = {loss: module.reference for module in _MODULES for loss in module.LOSSES}


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of this family."""
    return _REFERENCES[bare_name(case.call.layer)](case)
