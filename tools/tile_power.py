"""Measure what a bound detects in long sums: one lost term of 1024, by dtype and regime.

It draws cases of `functional.linear` with 1024 features as the suite does, and removes the last
term of each sum. The table says how often that error exceeds the bound.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from conformance.backends.adapters.torch import backend
from conformance.backends.capabilities import numerics_of
from conformance.checks.trial import Trial
from conformance.generation.block_sizes import set_sizes
from conformance.generation.drawing import draw_cases
from conformance.layers import CATALOGUE

LAYER, DTYPES, FEATURES = "functional.linear", ("float64", "float32", "float16", "bfloat16"), 1024


def detected_shares(dtype: str) -> dict[str, list[float]]:
    """Regime → for each case, the share of outputs that a lost term moves beyond their bound."""
    spec, shares_by_regime = CATALOGUE[LAYER], defaultdict[str, list[float]](list)
    numerics = numerics_of(backend, dtype)
    for case in draw_cases(LAYER, dtype, 200, 0):
        if "tile" in case.labels or any(x is None or not x.size for x in case.inputs[:2]):
            continue
        large_case = set_sizes(spec, case, {"input.shape[-1]": FEATURES})
        if large_case is None:
            continue
        x, weight = large_case.inputs[:2]
        (expected,) = Trial(backend, spec, large_case, numerics).expected
        lost_term = np.abs(x[..., -1:] * np.atleast_2d(weight)[:, -1]).reshape(expected.shape)
        is_decided = (lost_term > 0) & expected.decided
        if is_decided.any():
            shares_by_regime[str(case.labels["regime"])].append(
                float((lost_term > expected.error)[is_decided].mean())
            )
    return shares_by_regime


def main() -> None:
    """Print the table."""
    shares_by_dtype = {dtype: detected_shares(dtype) for dtype in DTYPES}
    regimes = list(
        dict.fromkeys(
            regime for shares_by_regime in shares_by_dtype.values() for regime in shares_by_regime
        )
    )
    print("| regime |", " | ".join(DTYPES), "|\n| --- |", " | ".join(["---:"] * len(DTYPES)), "|")
    for regime in regimes:
        shares = (shares_by_dtype[dtype].get(regime) for dtype in DTYPES)
        cells = (f"{100 * np.mean(share):.0f} %" if share else "" for share in shares)
        print(f"| {regime} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
