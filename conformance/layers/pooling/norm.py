"""Pooling by the p-norm: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.pooling import maximum as forms
from conformance.laws.pooling import norm as laws
from conformance.layers.pooling.windows import (
    CEIL,
    KERNEL,
    POOLED_ONLY,
    SPACES,
    STRIDE,
    Space,
    allows,
    input_length,
    output_length,
    overhang,
    tap_flops,
    workloads,
)
from conformance.oracles.pooling import norm as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import sums
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.trial_protocol import TrialLike as Trial
from conformance.spec.workload import Filling
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.pooling import maximum as invalid
from conformance.strategies.pooling import norm as cases

_NORM = Argument("norm_type", simplest=2, alternative=1)


def _expected(trial: Trial) -> tuple[Rounded, ...]:
    """The propagation of sums, undecided where a fractional power meets a negative number.

    Such a power of −∞ is ∞ if computed as a power, and NaN as a square root.
    """
    expected = sums.expected(trial)
    p, x = float(trial.case.call.arguments["norm_type"]), trial.case.inputs[0]
    if p == math.inf or p.is_integer() or x is None or not (x < 0).any():
        return expected
    return tuple(y.with_error(np.full(y.shape, np.inf)) for y in expected)


def _lp_pool_spec(name: str, space: Space, examples: float) -> LayerSpec:
    dims = space.dims
    valid = partial(cases.lp_pools, name, dims)
    timed_calls = tuple(
        replace(
            workload,
            arguments={"norm_type": 2}
            | {k: v for k, v in workload.arguments.items() if k != "padding"},
        )
        for workload in workloads(name, dims)
    )
    signature = Signature(
        (_NORM, KERNEL, STRIDE, CEIL),
        (Input("input"),),
        (Output("output"),),
        dims=dims,
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    return LayerSpec(
        name,
        "pooling",
        signature=signature,
        shapes=POOLED_ONLY,
        oracle=Oracle(
            values=partial(oracle.lp_pool, dims),
            shapes=partial(oracle.lp_pool_shape, dims),
            formula=(
                "f(X) = (Σ_{x ∈ X} x^p)^(1/p)",
                "at p = ∞ max pooling over absolute values",
                *(
                    f"{axis}_out = ⌊({axis}_in − kernel_size[{k}]) / stride[{k}] + 1⌋"
                    for k, axis in enumerate(space.axes)
                ),
            ),
            propagation=replace(sums, expected=_expected, special_parameters=False),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(
                valid, invalid.window_breaks(signature, POOLED_ONLY, has_padding=False)
            ),
            examples_fraction=examples,
        ),
        variation=Variation(allows=allows),
        conditions=Conditions(
            derived_facts={
                "input_length": input_length,
                "output_length": output_length,
                "overhang": overhang,
            }
        ),
        # The last law adds a dimension, and no layer has four.
        laws=laws.LAWS if dims < 3 else laws.LAWS[:-1],
        benchmark=Benchmark(
            workloads=timed_calls,
            filling=Filling(terms=lambda shape: 9, factors=2, contraction=False),
            flops=tap_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The norm poolings, each as a module and as a function."""
    for space in SPACES:
        name = f"LPPool{space.dims}d"
        yield _lp_pool_spec(name, space, 0.2)
        yield _lp_pool_spec(forms.FUNCTIONS[name], space, 0.12)
