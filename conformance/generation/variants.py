"""Make further cases of the same structure with permuted numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.layers import CATALOGUE
from conformance.model.case import Case


def varied(case: Case, variant: int) -> Case:
    """Permute the elements of each array of a case, and change some signs.

    The shapes stay the same, so a backend need not compile again. No element becomes larger, so
    sums stay as exact as they were.

    Args:
        variant: number of the permutation; 0 is the case itself.
    """
    if variant == 0:
        return case
    generator = np.random.default_rng((case.seed, variant))
    row, first = CATALOGUE[case.call.layer], case.inputs[0]
    shape = () if first is None else first.shape

    def moved(array: np.ndarray, signed: bool) -> np.ndarray:
        places = generator.permutation(array.size).reshape(array.shape)
        signs = generator.integers(0, 2, array.shape) * 2 - 1
        there = array.reshape(-1)[places]
        return np.asarray(there * signs if signed and array.dtype.kind in "fc" else there)

    state = {
        name: moved(array, not row.kept(name, case.call.arguments, shape))
        for name, array in case.call.state.items()
    }
    found: dict[int, np.ndarray] = {}
    for place, (known, x) in enumerate(zip(row.signature.inputs, case.inputs, strict=False)):
        if x is not None and id(x) not in found:
            found[id(x)] = x if row.fixed(case, place) else moved(x, known.signed)
    inputs = tuple(None if x is None else found[id(x)] for x in case.inputs)
    return replace(case, call=replace(case.call, state=state), inputs=inputs)
