"""`layout`: the answer does not depend on how inputs and state lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.checks import cotangents, gradients
from conformance.checks.answers import Pulled
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import changed, compare
from conformance.layers import CATALOGUE
from conformance.matching.facts import asked_laid_out, own_layouts
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding
from conformance.spec.layer_spec import LayerSpec
from conformance.strategies.layouts import constant, possible


@dataclass(frozen=True)
class Cotangent:
    """The cotangent of an output.

    Args:
        place: of the output.
    """

    place: int


# A tensor is named by its place among the inputs, by its state_dict name, or as a cotangent.
Key = int | str | Cotangent
Layouts = dict[Key, str]

CONTIGUOUS = "contiguous"

_STREAM = 0x6C61796F  # this check's own random numbers of a case


def check(trial: Trial) -> Evidence:
    """Lay every tensor out anew and hold the outputs, and the gradients, against the oracle.

    Values are left alone but for `expanded` tensors, which are made constant along one axis. A
    case that names layouts itself is taken as it is. Gradients that are wrong with all contiguous,
    too, are for `gradients` to tell.

    Raises:
        Failure: with the fewest layouts that still fail.
        Unsupported: if the backend makes none of the layouts.
    """
    case = trial.case
    if any(name != CONTIGUOUS for name in own_layouts(case).values()):
        return _run(trial, case)
    layouts, case = _relaid(case)
    try:
        return _attempt(trial, case, layouts)
    except Unsupported:
        able = {key: layout for key, layout in layouts.items() if _makes(trial, case, key, layout)}
        if set(able.values()) <= {"contiguous"} or able == layouts:
            raise
        return _attempt(trial, case, able)


def _relaid(case: Case) -> tuple[Layouts, Case]:
    """A layout for every tensor, not all contiguous, and the case with the data they need."""
    generator = np.random.default_rng((case.seed, _STREAM))
    tensors: dict[Key, np.ndarray] = {k: x for k, x in enumerate(case.inputs) if x is not None}
    tensors.update(case.call.state)
    written = _written(case)
    layouts = _converted(tensors, generator)
    for key, array in tensors.items():
        if key not in layouts:
            choices = ("contiguous", *_possible(array, key in written))
            layouts[key] = choices[generator.integers(len(choices))]
    if set(layouts.values()) <= {"contiguous"}:
        key = list(tensors)[generator.integers(len(tensors))]
        choices = _possible(tensors[key], key in written)
        layouts[key] = choices[generator.integers(len(choices))]
    for key, layout in layouts.items():
        if layout == "expanded":
            tensors[key] = _constant(tensors[key], generator)
    layouts |= _pulled_back(case, layouts.get(0), generator)
    inputs = tuple(tensors.get(k) for k in range(len(case.inputs)))
    state = {name: tensors[name] for name in case.call.state}
    return layouts, replace(case, inputs=inputs, call=replace(case.call, state=state))


def _pulled_back(case: Case, first: str | None, generator: np.random.Generator) -> Layouts:
    """A layout for each cotangent: every second time that of the first input, where it can be."""
    row, found = CATALOGUE[case.call.layer], dict[Key, str]()
    shapes = row.output_shapes(case)
    for place, (output, shape) in enumerate(zip(row.signature.outputs, shapes, strict=False)):
        if shape is not None and output.differentiable:
            choices = ("contiguous", *possible(shape))
            layout = choices[generator.integers(len(choices))]
            alike = generator.integers(2) and first in choices
            found[Cotangent(place)] = str(first) if alike else layout
    return found


def _written(case: Case) -> Collection[Key]:
    """The tensors that are written into or whose elements are fixed: none repeats an element."""
    row = CATALOGUE[case.call.layer]
    places = range(len(case.inputs))
    updated = row.traits.updates(case.call)
    parameters = () if updated else row.parameters(case)
    return {
        *(
            place
            for place in places
            if row.signature.inputs[place].updated or row.fixed(case, place)
        ),
        *(name for name in case.call.state if name not in parameters),
    }


def _possible(array: np.ndarray, written: bool) -> tuple[str, ...]:
    """The layouts that a tensor can have; one that is written into has an element in each place."""
    return tuple(x for x in possible(array.shape) if not (written and x == "expanded"))


def _converted(tensors: Mapping[Key, np.ndarray], generator: np.random.Generator) -> Layouts:
    """What is not left to chance: in one case of four all that can is in channels_last.

    Models are converted to it as a whole. In another the input is, and what else there is
    transposed: kernels that are made for channels_last guess the weight's layout from its strides.
    """
    able = {key: possible(array.shape) for key, array in tensors.items()}
    if "channels_last" not in able.get(0, ()):
        return {}
    way = generator.integers(4)
    if way > 1:
        return {}
    wanted = ("channels_last", "transposed")[way]
    return {key: wanted for key, names in able.items() if wanted in names} | {0: "channels_last"}


def _constant(array: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The first element along one axis, repeated."""
    axes = [axis for axis, size in enumerate(array.shape) if size > 1]
    return constant(array, [axes[generator.integers(len(axes))]])


def _same_values(case: Case, other: Case) -> bool:
    """Whether two cases that differ in layouts at most hold the very same arrays."""
    inputs = zip(case.inputs, other.inputs, strict=True)
    state, given = case.call.state, other.call.state
    return all(x is y for x, y in inputs) and all(state[name] is given[name] for name in given)


def _with(case: Case, layouts: Layouts) -> Case:
    """The case with layouts; tensors that are not named are contiguous."""
    state = {key: layout for key, layout in layouts.items() if isinstance(key, str)}
    inputs = tuple(layouts.get(k, CONTIGUOUS) for k in range(len(case.inputs)))
    count = 1 + max((key.place for key in layouts if isinstance(key, Cotangent)), default=-1)
    pulled = tuple(layouts.get(Cotangent(k), CONTIGUOUS) for k in range(count))
    call = replace(case.call, layouts=state)
    return replace(case, layouts=inputs, cotangent_layouts=pulled, call=call)


def _makes(trial: Trial, case: Case, key: Key, layout: str) -> bool:
    """Whether the backend can lay one tensor out so."""
    alone = trial.other(_with(case, {key: layout}))
    try:
        if isinstance(key, Cotangent):
            if not hasattr(alone.layer, "vjp"):
                return False
            return cotangents.put(alone, cotangents.cotangents(alone))[key.place] is not None
        _ = alone.layer if isinstance(key, str) else alone.natives
    except Unsupported:
        return False
    return True


def _attempt(trial: Trial, case: Case, layouts: Layouts) -> Evidence:
    """Run with layouts; of a failure leave out every layout that it does not need."""
    try:
        return _run(trial, _with(case, layouts))
    except Failure as failure:
        found = failure
    # A transformer has 60 tensors: whole halves of them are left out first.
    size = len(layouts)
    while size:
        names = tuple(layouts)
        for start in range(0, len(names), size):
            left_out = names[start : start + size]
            fewer: Layouts = {k: v for k, v in layouts.items() if k not in left_out}
            try:
                _run(trial, _with(case, fewer))
            except Unsupported:
                continue
            except Failure as failure:
                layouts, found = fewer, failure
        size //= 2
    shown = {
        name: layout for name, layout in _named(trial.row, layouts).items() if layout != CONTIGUOUS
    }
    finding = replace(found.finding.within(_format_layouts(shown)), layouts=shown)
    raise Failure(finding, case=_with(case, layouts)) from found


def relaid(case: Case) -> tuple[Case, Mapping[str, str]]:
    """The case as the check lays it out, and the memory layout of each operand by its name.

    Args:
        case: as drawn.
    """
    row = CATALOGUE[case.call.layer]
    own = own_layouts(case)
    if any(name != CONTIGUOUS for name in own.values()):
        return case, own
    layouts, case = _relaid(case)
    return case, _named(row, layouts)


def _named(row: LayerSpec, layouts: Layouts) -> dict[str, str]:
    """Layouts by the names of inputs and state tensors."""
    return {_name(row, key): layout for key, layout in layouts.items()}


def _name(row: LayerSpec, key: Key) -> str:
    if isinstance(key, Cotangent):
        return row.signature.cotangent_names[key.place]
    return key if isinstance(key, str) else row.signature.input_names[key]


def _format_layouts(layouts: Mapping[str, str]) -> str:
    """`with weight channels_last, all else contiguous`."""
    parts = [f"{name} {layout}" for name, layout in layouts.items()]
    return f"with {', '.join(parts)}, all else contiguous" if parts else "with all contiguous"


def _run(trial: Trial, case: Case) -> Evidence:
    """Hold outputs and what is written, and the same with gradients recorded, and the gradients."""
    laid = trial.other(case)
    if _same_values(case, trial.case):
        laid.after = trial.after  # the oracle need not work twice
    evidence = _compared(laid, laid.outputs, "") + changed(laid)
    if (again := laid.afresh()) is not laid:
        again.after, laid = laid.after, again
    recording: Callable[..., Any] | None = getattr(laid.layer, "forward_grad", None)
    if recording is not None:
        result = laid.step("forward_grad", recording, *laid.natives, **case.keywords)
        evidence += _compared(laid, laid.unpacked(result), "while recording gradients")
    return evidence + _differentiated(laid.afresh(), trial)


def _differentiated(laid: Trial, trial: Trial) -> Evidence:
    """Hold the gradients, all or some of them, against the oracle; where it offers none, nothing.

    What is wrong with the same numbers contiguous, too, is not about layouts: `gradients` is given
    such numbers, constant cotangents among them.
    """
    if not hasattr(laid.layer, "vjp"):
        return Evidence()
    same = _same_values(laid.case, trial.case) and "expanded" not in laid.case.cotangent_layouts
    wanted = cotangents.pulled(trial if same else laid)
    natives = cotangents.put(laid, wanted.cotangents)
    try:
        return _held(laid, natives, wanted)
    except Unsupported:
        return Evidence()
    except Failure:
        if _fails(laid.other(_with(laid.case, {})), wanted):
            return Evidence()
        raise


def _held(laid: Trial, natives: Sequence[Any], wanted: Pulled) -> Evidence:
    some = asked_laid_out(laid.case)
    if some and hasattr(laid.layer, "vjp_of"):
        return gradients.alone(laid, natives, wanted, some)
    return gradients.held(laid, gradients.differentiated(laid, natives), wanted)


def _fails(contiguous: Trial, wanted: Pulled) -> bool:
    try:
        _held(contiguous, cotangents.put(contiguous, wanted.cotangents), wanted)
    except Failure:
        return True
    except Unsupported:
        pass  # nothing is known of it
    return False


def _compared(laid: Trial, outputs: tuple[Any, ...], when: str) -> Evidence:
    evidence = Evidence()
    for name, native, expected in zip(laid.names, outputs, _expected(laid), strict=True):
        evidence += _own_memory(laid, Finding("memory", name, when), native)
        evidence += compare(name, laid.get(native), expected, when=when)
    return evidence


def _expected(laid: Trial) -> tuple[Rounded, ...]:
    """The oracle's; where the row says so, in half precision also the bound of product, then sum.

    y = x Aᵀ + b is one fused operation only where the tensors lie conveniently: for other layouts a
    product is stored in the dtype and the bias added to it, which rounds once more (torch does so).
    """
    expected, precision = laid.expected, laid.precision
    product = None if precision.wide_unit == precision.unit else laid.row.traits.product(laid)
    if product is None:
        return expected
    (fused,) = expected
    stored = product.error + precision.unit * (np.abs(fused.value) + product.error)
    error = np.where(fused.error == 0, 0.0, np.maximum(fused.error, stored))
    return (Rounded(fused.value, error, precision),)


def _own_memory(laid: Trial, about: Finding, output: Any) -> Evidence:
    """No output may be an input, or share its memory, unless the row says that it may.

    The contract shows only that an output is the very object of an input; whether two natives
    share memory a layer says by the optional `aliases(a, b) -> bool`.
    """
    if laid.row.traits.aliases:
        return Evidence()
    aliases = getattr(laid.layer, "aliases", None)
    count = 0
    named = zip(laid.row.signature.input_names, laid.natives, laid.case.inputs, strict=False)
    for place, native, x in named:
        if native is None or x is None or not x.size:
            continue
        shared = native is output
        if not shared and aliases is not None:
            shared = laid.step("aliases", aliases, output, native)
            count += 1
        if shared:
            raise Failure(replace(about, got=place, wanted="memory of its own"))
    return Evidence(count)
