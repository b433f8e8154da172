"""`layout`: the answer does not depend on the memory layout of inputs and state."""

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
    """The cotangent of the output with index `place`, as a key of `Layouts`."""

    place: int


# A key is the index of an input, the state_dict name of a tensor, or a cotangent.
Key = int | str | Cotangent
Layouts = dict[Key, str]

CONTIGUOUS = "contiguous"

_STREAM = 0x6C61796F  # this check's own random numbers of a case


def check(trial: Trial) -> Evidence:
    """Give every tensor a memory layout, and compare outputs and gradients with the oracle.

    Values stay the same, except that `expanded` tensors become constant along one axis. A case that
    has layouts already is used unchanged. Gradients that are also wrong with contiguous tensors are
    left to the check `gradients`.

    Raises:
        Failure: with the fewest layouts that still fail.
        Unsupported: if the backend cannot make any of the layouts.
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
    """Choose a layout for every tensor, not all contiguous, and adapt the case's data to them."""
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
    """Choose a layout for each cotangent: half of the time that of the first input, if possible."""
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
    """The tensors that must not be `expanded`: they are written into, or have fixed elements."""
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
    """The layouts that a tensor can have; `expanded` is excluded for one that is written into."""
    return tuple(x for x in possible(array.shape) if not (written and x == "expanded"))


def _converted(tensors: Mapping[Key, np.ndarray], generator: np.random.Generator) -> Layouts:
    """Layouts of deliberate combinations with channels_last; empty for half of the cases.

    In one case of four, all tensors that allow it are channels_last, as in a converted model. In
    another, the input is channels_last and the rest transposed, because kernels for channels_last
    guess the weight's layout from its strides.
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
    """Make the array constant along one axis."""
    axes = [axis for axis, size in enumerate(array.shape) if size > 1]
    return constant(array, [axes[generator.integers(len(axes))]])


def _same_values(case: Case, other: Case) -> bool:
    """Whether two cases that may differ in layouts hold the very same arrays."""
    inputs = zip(case.inputs, other.inputs, strict=True)
    state, given = case.call.state, other.call.state
    return all(x is y for x, y in inputs) and all(state[name] is given[name] for name in given)


def _with(case: Case, layouts: Layouts) -> Case:
    """The case with these layouts; all other tensors are contiguous."""
    state = {key: layout for key, layout in layouts.items() if isinstance(key, str)}
    inputs = tuple(layouts.get(k, CONTIGUOUS) for k in range(len(case.inputs)))
    count = 1 + max((key.place for key in layouts if isinstance(key, Cotangent)), default=-1)
    pulled = tuple(layouts.get(Cotangent(k), CONTIGUOUS) for k in range(count))
    call = replace(case.call, layouts=state)
    return replace(case, layouts=inputs, cotangent_layouts=pulled, call=call)


def _makes(trial: Trial, case: Case, key: Key, layout: str) -> bool:
    """Whether the backend can give one tensor this layout."""
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
    """Run with layouts; if that fails, drop every layout that the failure does not need."""
    try:
        return _run(trial, _with(case, layouts))
    except Failure as failure:
        found = failure
    # A transformer has 60 tensors, so try to drop half of them at once first.
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
    """The drawn case as the check lays it out, and the layout of each operand by its name."""
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
    """Compare outputs and updates, outputs while recording gradients, and gradients."""
    laid = trial.other(case)
    if _same_values(case, trial.case):
        laid.after = trial.after  # saves a second evaluation of the oracle
    evidence = _compared(laid, laid.outputs, "") + changed(laid)
    if (again := laid.afresh()) is not laid:
        again.after, laid = laid.after, again
    recording: Callable[..., Any] | None = getattr(laid.layer, "forward_grad", None)
    if recording is not None:
        result = laid.step("forward_grad", recording, *laid.natives, **case.keywords)
        evidence += _compared(laid, laid.unpacked(result), "while recording gradients")
    return evidence + _differentiated(laid.afresh(), trial)


def _differentiated(laid: Trial, trial: Trial) -> Evidence:
    """Compare all or some gradients with the oracle, if the backend offers gradients.

    A failure with contiguous tensors of the same numbers is not about layouts, and is ignored: the
    check `gradients` gets such numbers, constant cotangents included.
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
        pass  # not known
    return False


def _compared(laid: Trial, outputs: tuple[Any, ...], when: str) -> Evidence:
    evidence = Evidence()
    for name, native, expected in zip(laid.names, outputs, _expected(laid), strict=True):
        evidence += _own_memory(laid, Finding("memory", name, when), native)
        evidence += compare(name, laid.get(native), expected, when=when)
    return evidence


def _expected(laid: Trial) -> tuple[Rounded, ...]:
    """The expected outputs, with a wider bound in half precision for a stored product plus bias.

    y = x Aᵀ + b is one fused operation only for convenient layouts. For others torch stores the
    product in the dtype and adds the bias to it, which rounds once more.
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
    """Require that no output is an input, or shares its memory, unless the traits allow it.

    Without help, the suite only sees whether an output is the same object as an input. The layer's
    optional `aliases(a, b) -> bool` says whether two natives share memory.
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
