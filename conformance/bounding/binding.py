"""Bind a call as torch takes it to the catalogue: the case that the suite would draw for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from conformance.bounding.operands import Operand, is_array, read_operand
from conformance.bounding.targets import (
    find_layer,
    module_of,
    parameter_names,
    plain_value,
    read_arguments,
)
from conformance.layers import CATALOGUE
from conformance.model.case import GRADIENTS, LIST, Call, Case
from conformance.model.formats import FORMATS, REAL_DTYPE
from conformance.spec.layer_spec import LayerSpec

_IGNORED = ("_stacklevel", "inplace")
"""Parameters of functions of torch that do not change what is returned."""


@dataclass(frozen=True)
class BoundCall:
    """A call that is bound to the catalogue.

    Args:
        case: the call with its inputs.
        spec: the layer's specification.
        library: the library of the operands: `"torch"` or `"numpy"`.
        device: the device of the operands.
        objects: the caller's tensors, by the names of inputs.
    """

    case: Case
    spec: LayerSpec
    library: str
    device: str
    objects: Mapping[str, Any]


def bind_call(target: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> BoundCall:
    """Bind a call to the catalogue.

    Args:
        target: a layer's name, a function of torch, a module, or a method of a module.
        arguments, keywords: as torch takes them.

    Raises:
        TypeError: if the layer is unknown, or an argument does not belong to it.
        ValueError: if operands disagree with one another or with the documentation.
    """
    spec = CATALOGUE[find_layer(target)]
    module = module_of(target)
    if GRADIENTS in spec.signature.bundles.composite_arguments.values():
        raise TypeError(f"{spec.name} changes gradients: no bound is offered for that")
    if module is None and not spec.is_function:
        raise TypeError(f"{spec.name} is a class: pass a module, which has parameters and a mode")
    passed = _bind_parameters(spec, module, arguments, keywords)
    objects = dict(passed)
    operands = _read_inputs(spec, passed)
    others = {name: value for name, value in passed.items() if name not in _IGNORED}
    state = {} if module is None else _read_state(module)
    known = [x for x in (*operands.values(), *state.values()) if x is not None]
    dtype = _common_dtype(spec, known)
    inputs = tuple(None if operand is None else operand.array for operand in operands.values())
    written = _plain_arguments(spec, others)
    names = spec.signature.keyword_arguments
    call_arguments = {k: v for k, v in written.items() if k not in names}
    if module is not None and call_arguments:
        raise TypeError(f"{spec.name}: its call takes no argument {', '.join(call_arguments)}")
    call = Call(
        spec.name,
        call_arguments if module is None else read_arguments(spec, module),
        {name: x.array for name, x in state.items()},
        dtype,
        "cpu",
        training=bool(module is not None and module.training),
    )
    case = Case(call, inputs, {k: v for k, v in written.items() if k in names})
    _require_documented_shapes(spec, case, module)
    _require_derived(spec, case)
    libraries = [x.library for x in known]
    device = next((x.device for x in operands.values() if x is not None), "cpu")
    library = "torch" if "torch" in libraries else "numpy"
    return BoundCall(case, spec, library, device, objects)


def _bind_parameters(
    spec: LayerSpec, module: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> dict[str, Any]:
    """Parameters of the call by name: tensors, lists of tensors and other arguments."""
    if module is None:
        names: Sequence[str] = parameter_names(spec)
    else:
        arguments = _flatten_states(spec, arguments)
        by_keyword = [a.name for a in spec.signature.arguments if a.keyword]
        names = [*spec.signature.input_names, *by_keyword]
    if len(arguments) > len(names):
        raise TypeError(
            f"{spec.name}: {len(arguments)} positional arguments, expected at most {len(names)} "
            f"({', '.join(names)}); pass the others by name"
        )
    passed = dict(zip(names, arguments, strict=False))
    for name, value in keywords.items():
        if name in passed:
            raise TypeError(f"{spec.name}: {name} is passed twice")
        passed[name] = value
    return passed


def _flatten_states(spec: LayerSpec, arguments: Sequence[Any]) -> Sequence[Any]:
    """The inputs of a recurrent layer, whose states may be passed as a pair."""
    if spec.signature.bundles.state_count < 2 or len(arguments) != 2:
        return arguments
    first, states = arguments
    return (first, *states) if isinstance(states, (tuple, list)) else arguments


def _read_inputs(spec: LayerSpec, passed: dict[str, Any]) -> dict[str, Operand | None]:
    """Take the inputs out of the parameters of a call, in the order of the signature."""
    operands: dict[str, Operand | None] = {}
    # A tensor that is passed twice is one operand. Tuples become arrays, which must live as long.
    by_object: dict[int, tuple[Any, Operand]] = {}

    def read(name: str, value: Any) -> Operand | None:
        if value is None:
            return None
        if isinstance(value, (tuple, list)) and all(isinstance(x, int) for x in value):
            value = np.array(value, np.int64)  # lengths may be a tuple of numbers
        if id(value) not in by_object:
            by_object[id(value)] = value, read_operand(name, value)
        return by_object[id(value)][1]

    for part_of, group in groupby(spec.signature.inputs, key=lambda x: x.passing.part_of):
        inputs = list(group)
        if not part_of:
            for x in inputs:
                if x.name in passed or x.optional:
                    operands[x.name] = read(x.name, passed.pop(x.name, None))
            continue
        value = passed.pop(part_of, ())
        is_list = spec.signature.bundles.composite_arguments[part_of] == LIST
        parts = list(value if is_list else _record_fields(value, len(inputs)))
        if len(parts) > len(inputs):
            raise ValueError(f"{part_of}: {len(parts)} tensors, the suite has {len(inputs)}")
        for x, part in zip(inputs, parts, strict=False):
            operands[x.name] = read(x.name, part)
    single = [x for x in spec.signature.inputs if not x.passing.part_of]
    missing = [x for x in single if x.name not in operands]
    if missing:
        raise TypeError(f"{spec.name}: missing {', '.join(x.name for x in missing)}")
    return operands


def _record_fields(value: Any, count: int) -> Sequence[Any]:
    """The first fields of an object with several tensors, such as a packed sequence."""
    fields = value if isinstance(value, tuple) else tuple(vars(value).values())
    return tuple(fields)[:count]


def _read_state(module: Any) -> dict[str, Operand]:
    return {name: read_operand(name, x) for name, x in module.state_dict().items()}


def _common_dtype(spec: LayerSpec, operands: Sequence[Operand]) -> str:
    """The floating-point dtype of the operands; float32 if all are integers.

    Raises:
        ValueError: if there are several, or one that torch.nn does not compute in.
    """
    dtypes = list(dict.fromkeys(x.dtype for x in operands if x.array.dtype.kind in "fc"))
    if len(dtypes) > 1:
        raise ValueError(f"{spec.name}: operands of several dtypes: {', '.join(dtypes)}")
    if dtypes and dtypes[0] not in FORMATS and dtypes[0] not in REAL_DTYPE:
        raise ValueError(f"{spec.name}: dtype {dtypes[0]} is none of torch.nn")
    return dtypes[0] if dtypes else "float32"


def _plain_arguments(spec: LayerSpec, passed: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call as the suite writes them; defaults are left out."""
    arguments = {}
    for name, value in passed.items():
        argument = spec.signature.argument(name)
        if argument is None and value is None:
            continue  # torch's own forms write out deprecated arguments
        if argument is None:
            near = ", ".join(a.name for a in spec.signature.arguments)
            raise TypeError(f"{spec.name}: no argument {name}; it has {near or 'none'}")
        if is_array(value) and np.ndim(value):
            raise TypeError(f"{spec.name}: {name} is no tensor")
        plain = plain_value(argument, value)
        if not _equals(plain, argument.default):
            arguments[name] = plain
    return arguments


def _equals(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _require_derived(spec: LayerSpec, case: Case) -> None:
    """Require floating-point numbers, except where the layer copies integers or looks them up.

    Raises:
        TypeError: if an integer operand is computed with.
    """
    copied = spec.signature.output_dtype(case) not in (*FORMATS, *REAL_DTYPE)
    for x, array in zip(spec.signature.inputs, case.inputs, strict=False):
        is_whole = array is not None and array.dtype.kind not in "fc"
        if is_whole and not copied and x.role not in ("index", "target", "mask"):
            raise TypeError(f"{spec.name}: {x.name} holds integers, for which no bound is derived")


def _require_documented_shapes(spec: LayerSpec, case: Case, module: Any) -> None:
    """Require shapes that the documentation allows, and the state that the arguments lead to.

    Raises:
        ValueError: if they do not fit.
    """
    first = case.inputs[0] if case.inputs else None
    names = spec.signature.input_names
    input_shapes = {n: x.shape for n, x in zip(names, case.inputs, strict=False) if x is not None}
    try:
        spec.output_shapes(case)
        if spec.shapes is not None:
            spec.signature.bind(spec.shapes, spec.oracle_arguments(case), input_shapes)
        shapes = {} if first is None else spec.state_shapes(case.call.arguments, first.shape)
    except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
        raise ValueError(f"{spec.name}: the documentation rules this call out: {error}") from error
    if module is None or first is None:
        return
    actual = {name: np.shape(x) for name, x in case.call.state.items()}
    # A tensor that the constructor takes, such as class weights, may be absent.
    absent = {name for name in spec.state.constructor_tensors if name not in actual}
    if {name: x for name, x in shapes.items() if name not in absent} != actual:
        raise ValueError(f"{spec.name}: its state is {actual}, expected {shapes}")
