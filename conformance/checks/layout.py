"""`layout`: the answer does not depend on the memory layout of inputs and state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.arithmetic.half_precision import with_stored_product
from conformance.arithmetic.rounded import Rounded
from conformance.checks import cotangents, gradients
from conformance.checks.answers import ExpectedGradients
from conformance.checks.layout_choice import (
    CONTIGUOUS,
    Cotangent,
    Layouts,
    TensorKey,
    choose_layouts,
)
from conformance.checks.related_cases import updates_state
from conformance.checks.repeat import Tally
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare, compare_state
from conformance.layers import CATALOGUE
from conformance.matching.facts import case_layouts, operands_alone_in_layout
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding
from conformance.spec.layer_spec import LayerSpec


def check(trial: Trial) -> Evidence:
    """Give every tensor a memory layout, and compare outputs and gradients with the oracle.

    Values stay the same, except that `expanded` tensors become constant along one axis, and
    `unfolded` ones overlapping windows. A case that has layouts already is used unchanged.
    Gradients that are also wrong with contiguous tensors are left to the check `gradients`.

    Raises:
        Failure: with the fewest layouts that still fail.
        Unsupported: if the backend cannot make any of the layouts.
    """
    case = trial.case
    if any(name != CONTIGUOUS for name in case_layouts(case).values()):
        return _check_laid_out(trial, case)
    layouts, case = choose_layouts(case)
    try:
        return _run_and_minimise(trial, case, layouts)
    except Unsupported:
        makeable = {
            key: layout
            for key, layout in layouts.items()
            if _backend_makes(trial, case, key, layout)
        }
        if set(makeable.values()) <= {"contiguous"} or makeable == layouts:
            raise
        return _run_and_minimise(trial, case, makeable)


def _same_values(case: Case, second: Case) -> bool:
    """Whether two cases that may differ in layouts hold the very same arrays."""
    inputs = zip(case.inputs, second.inputs, strict=True)
    state, second_state = case.call.state, second.call.state
    return all(x is y for x, y in inputs) and all(
        state[name] is second_state[name] for name in second_state
    )


def _with_layouts(case: Case, layouts: Layouts) -> Case:
    """The case with these layouts; all other tensors are contiguous."""
    state = {key: layout for key, layout in layouts.items() if isinstance(key, str)}
    inputs = tuple(layouts.get(k, CONTIGUOUS) for k in range(len(case.inputs)))
    count = 1 + max((key.output_index for key in layouts if isinstance(key, Cotangent)), default=-1)
    cotangent_layouts = tuple(layouts.get(Cotangent(k), CONTIGUOUS) for k in range(count))
    call = replace(case.call, layouts=state)
    return replace(case, layouts=inputs, cotangent_layouts=cotangent_layouts, call=call)


def _backend_makes(trial: Trial, case: Case, key: TensorKey, layout: str) -> bool:
    """Whether the backend can give one tensor this layout."""
    alone = trial.trial_of(_with_layouts(case, {key: layout}))
    try:
        if isinstance(key, Cotangent):
            if not hasattr(alone.layer, "vjp"):
                return False
            return (
                cotangents.put_cotangents(alone, cotangents.draw_cotangents(alone))[
                    key.output_index
                ]
                is not None
            )
        _ = alone.layer if isinstance(key, str) else alone.natives
    except Unsupported:
        return False
    return True


def _run_and_minimise(trial: Trial, case: Case, layouts: Layouts) -> Evidence:
    """Run with layouts; if that fails, drop every layout that the failure does not need."""
    try:
        return _check_laid_out(trial, _with_layouts(case, layouts))
    except Failure as failure:
        smallest_failure = failure
    # A transformer has 60 tensors, so try to drop half of them at once first.
    size = len(layouts)
    while size:
        names = tuple(layouts)
        for start in range(0, len(names), size):
            left_out = names[start : start + size]
            fewer: Layouts = {k: v for k, v in layouts.items() if k not in left_out}
            try:
                _check_laid_out(trial, _with_layouts(case, fewer))
            except Unsupported:
                continue
            except Failure as failure:
                layouts, smallest_failure = fewer, failure
        size //= 2
    needed_layouts = {
        name: layout
        for name, layout in _layouts_by_name(trial.spec, layouts).items()
        if layout != CONTIGUOUS
    }
    finding = replace(
        smallest_failure.finding.in_context(_format_layouts(needed_layouts)), layouts=needed_layouts
    )
    raise Failure(finding, case=_with_layouts(case, layouts)) from smallest_failure


def layout_variant(case: Case) -> tuple[Case, Mapping[str, str]]:
    """The drawn case as the check lays it out, and the layout of each operand by its name."""
    spec = CATALOGUE[case.call.layer]
    given_layouts = case_layouts(case)
    if any(name != CONTIGUOUS for name in given_layouts.values()):
        return case, given_layouts
    layouts, case = choose_layouts(case)
    return case, _layouts_by_name(spec, layouts)


def _layouts_by_name(spec: LayerSpec, layouts: Layouts) -> dict[str, str]:
    """Layouts by the names of inputs and state tensors."""
    return {_tensor_name(spec, key): layout for key, layout in layouts.items()}


def _tensor_name(spec: LayerSpec, key: TensorKey) -> str:
    if isinstance(key, Cotangent):
        return spec.signature.cotangent_names[key.output_index]
    return key if isinstance(key, str) else spec.signature.input_names[key]


def _format_layouts(layouts: Mapping[str, str]) -> str:
    """`with weight channels_last, all else contiguous`."""
    parts = [f"{name} {layout}" for name, layout in layouts.items()]
    return f"with {', '.join(parts)}, all else contiguous" if parts else "with all contiguous"


def _check_laid_out(trial: Trial, case: Case) -> Evidence:
    """Compare outputs and updates, outputs while recording gradients, and gradients."""
    laid_out, tally = trial.trial_of(case), Tally()
    inputs = _read_inputs(laid_out)
    outputs = laid_out.outputs  # before the oracle, because the backend may decline the layouts
    if _same_values(case, trial.case):
        laid_out.expected_update = trial.expected_update  # saves a second evaluation of the oracle
    evidence = _compare_outputs(laid_out, outputs, "") + compare_state(laid_out)
    tally.require_same_bits("inputs after a call", _read_inputs(laid_out), inputs)
    evidence += tally.evidence
    if (fresh := laid_out.with_original_operands()) is not laid_out:
        fresh.expected_update, laid_out = laid_out.expected_update, fresh
    forward_grad: Callable[..., Any] | None = getattr(laid_out.layer, "forward_grad", None)
    if forward_grad is not None:
        result = laid_out.run_step("forward_grad", forward_grad, *laid_out.natives, **case.keywords)
        evidence += _compare_outputs(
            laid_out, laid_out.unpack_outputs(result), "while recording gradients"
        )
    return evidence + _check_gradients(laid_out.with_original_operands(), trial)


def _read_inputs(laid_out: Trial) -> dict[str, np.ndarray]:
    """The inputs that no call may change."""
    updates = updates_state(laid_out)
    pairs = zip(laid_out.spec.signature.inputs, laid_out.natives, strict=False)
    return {
        input.name: laid_out.get(native)
        for input, native in pairs
        if native is not None and not (input.updated and updates)
    }


def _check_gradients(laid_out: Trial, trial: Trial) -> Evidence:
    """Compare all or some gradients with the oracle, if the backend offers gradients.

    A failure with contiguous tensors of the same numbers is not about layouts, and is ignored: the
    check `gradients` gets such numbers, constant cotangents included.
    """
    if not hasattr(laid_out.layer, "vjp"):
        return Evidence()
    same = (
        _same_values(laid_out.case, trial.case)
        and "expanded" not in laid_out.case.cotangent_layouts
    )
    expected = cotangents.expected_gradients(trial if same else laid_out)
    natives = cotangents.put_cotangents(laid_out, expected.cotangents)
    try:
        return _compare_gradients(laid_out, natives, expected)
    except Unsupported:
        return Evidence()
    except Failure:
        if _fails_contiguous(laid_out.trial_of(_with_layouts(laid_out.case, {})), expected):
            return Evidence()
        raise


def _compare_gradients(
    laid_out: Trial, natives: Sequence[Any], expected: ExpectedGradients
) -> Evidence:
    selected = operands_alone_in_layout(laid_out.case)
    if selected and hasattr(laid_out.layer, "vjp_of"):
        return gradients.compare_selected(laid_out, natives, expected, selected)
    return gradients.compare_gradients(laid_out, gradients.call_vjp(laid_out, natives), expected)


def _fails_contiguous(contiguous: Trial, expected: ExpectedGradients) -> bool:
    try:
        _compare_gradients(
            contiguous, cotangents.put_cotangents(contiguous, expected.cotangents), expected
        )
    except Failure:
        return True
    except Unsupported:
        pass  # not known
    return False


def _compare_outputs(laid_out: Trial, outputs: tuple[Any, ...], when: str) -> Evidence:
    evidence = Evidence()
    for name, native, expected in zip(
        laid_out.names, outputs, _expected_with_stored_product(laid_out), strict=True
    ):
        evidence += _check_own_memory(laid_out, Finding("memory", name, when), native)
        evidence += compare(name, laid_out.get(native), expected, when=when)
    return evidence


def _expected_with_stored_product(laid_out: Trial) -> tuple[Rounded, ...]:
    """The expected outputs; in half precision a layer's product may be stored before its bias."""
    precision = laid_out.precision
    product = (
        None
        if precision.wide_unit == precision.unit
        else laid_out.spec.traits.stored_product(laid_out)
    )
    if product is None:
        return laid_out.expected
    (fused,) = laid_out.expected
    return (with_stored_product(fused, product),)


def _check_own_memory(laid_out: Trial, finding: Finding, output: Any) -> Evidence:
    """Require that no output is an input, or shares its memory, unless the traits allow it.

    Without help, the suite only sees whether an output is the same object as an input. The layer's
    optional `aliases(a, b) -> bool` says whether two natives share memory.
    """
    if laid_out.spec.traits.may_alias_inputs:
        return Evidence()
    aliases = getattr(laid_out.layer, "aliases", None)
    count = 0
    triples = zip(
        laid_out.spec.signature.input_names, laid_out.natives, laid_out.case.inputs, strict=False
    )
    for input_name, native, x in triples:
        if native is None or x is None or not x.size:
            continue
        shared = native is output
        if not shared and aliases is not None:
            shared = laid_out.run_step("aliases", aliases, output, native)
            count += 1
        if shared:
            raise Failure(replace(finding, got=input_name, wanted="memory of its own"))
    return Evidence(count)
