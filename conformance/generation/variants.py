"""Make variants of drawn cases: with permuted numbers, or as plain as a call can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conformance.layers import CATALOGUE
from conformance.layers.fitting import fit_arguments, leave_out_inputs, replace_argument
from conformance.model.case import Case


def permuted(case: Case, variant: int) -> Case:
    """Permute the elements of each array of a case, and change some signs.

    The shapes stay the same, so a backend need not compile again. No element becomes larger, so
    sums stay as exact as they were.

    Args:
        variant: number of the permutation; 0 is the case itself.
    """
    if variant == 0:
        return case
    generator = np.random.default_rng((case.seed, variant))
    spec, first = CATALOGUE[case.call.layer], case.inputs[0]
    shape = () if first is None else first.shape

    def permute_array(array: np.ndarray, signed: bool) -> np.ndarray:
        permutation = generator.permutation(array.size).reshape(array.shape)
        signs = generator.integers(0, 2, array.shape) * 2 - 1
        values = array.reshape(-1)[permutation]
        return np.asarray(values * signs if signed and array.dtype.kind in "fc" else values)

    constrained = spec.constrained_names(case.call.arguments, shape)
    state = {
        name: permute_array(array, name not in constrained)
        for name, array in case.call.state.items()
    }
    arrays: dict[int, np.ndarray] = {}
    for input_index, (input_spec, x) in enumerate(
        zip(spec.signature.inputs, case.inputs, strict=False)
    ):
        if x is not None and id(x) not in arrays:
            arrays[id(x)] = (
                x if spec.is_fixed(case, input_index) else permute_array(x, input_spec.any_value)
            )
    inputs = tuple(None if x is None else arrays[id(x)] for x in case.inputs)
    return replace(case, call=replace(case.call, state=state), inputs=inputs)


def plainest(case: Case) -> Case:
    """The plainest valid call of a case's sizes: each default, and no optional tensor.

    What cannot be left out stays.
    """
    spec = CATALOGUE[case.call.layer]
    defaults = {
        argument.name: spec.signature.defaults[argument.name]
        for argument in spec.signature.arguments
        # With keywords, only some windows are possible.
        if argument.name in spec.signature.defaults and not (case.keywords and argument.window)
    }
    required = {k: v for k, v in case.call.arguments.items() if k not in defaults}
    plain_case = fit_arguments(spec, case, required) or case
    for name in [name for name in plain_case.call.arguments if name in defaults]:
        plain_case = replace_argument(spec, plain_case, name, defaults[name]) or plain_case
    for name in spec.state.constructor_tensors:
        state = {key: x for key, x in plain_case.call.state.items() if key != name}
        without = replace(plain_case, call=replace(plain_case.call, state=state))
        plain_case = fit_arguments(spec, without, without.call.arguments) or plain_case
    # Each omission may make others impossible, so they are listed again.
    while omission := next(leave_out_inputs(spec, plain_case), None):
        plain_case = omission[2]
    return plain_case
