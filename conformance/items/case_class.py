"""The class of a case: ordinary, extremal or empty (`conformance.model.grades.CLASSES`)."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

import numpy as np

from conformance.model.case import Case
from conformance.model.formats import FORMATS, format_of
from conformance.model.grades import EMPTY, EXTREMAL, ORDINARY

_classes: WeakKeyDictionary[Case, str] = WeakKeyDictionary()


def case_class(case: Case) -> str:
    """The class of a case by its operands; computed once for all checks."""
    name = _classes.get(case)
    if name is None:
        name = _classes[case] = _class_of_operands(case)
    return name


def _class_of_operands(case: Case) -> str:
    if any(x is not None and not x.size for x in case.inputs):
        return EMPTY
    # Half precision computes in float32, where the square of no float16 overflows.
    computed = format_of(case.call.dtype)
    largest = math.sqrt(max(computed.largest, FORMATS["float32"].largest))
    return EXTREMAL if any(_largest_magnitude(x) > largest for x in case.operands) else ORDINARY


def _largest_magnitude(array: np.ndarray) -> float:
    """The largest magnitude of the finite numbers; 0 if there are none, or for integers."""
    if array.dtype.kind not in "fc":
        return 0.0
    size = np.abs(array)
    return float(np.max(size, where=np.isfinite(size), initial=0.0))
