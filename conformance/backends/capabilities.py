"""Read the optional members of a backend, and check what each of them returns."""

from __future__ import annotations

import dataclasses
import inspect
import math
from itertools import islice
from typing import Any

from conformance.backends.guard import guarded
from conformance.backends.sanitize import MAX_NAME
from conformance.model.budget import parse_budget
from conformance.model.case import MAX_UNIT_ROUNDOFF, Numerics
from conformance.model.failure import Failure
from conformance.model.finding import contract_violation
from conformance.model.formats import format_of
from conformance.model.plain_text import bounded
from conformance.model.protocols import Backend
from conformance.model.untrusted import (
    as_builtin_str,
    class_and_bases,
    is_mapping,
    is_of_type,
    safe_repr,
    sequence_elements,
)

SLOW_MACHINE_FACTOR = 10
"""How many times as long a case or a compilation may take on a loaded machine."""
# A case takes at most 0.1 s in all checks together (measured on torch: LSTM 0.1, Linear 0.02), and
# 1 s on a loaded machine. The rest is a margin for backends that are merely slow.
DEFAULT_TIMEOUT = 30
"""Seconds for a case."""
BUILDS_PER_CHECK = 12
"""How many layers a check of one case may build."""
MAX_DECLARED_SECONDS = 86_400.0
"""The most seconds that a backend may declare for a case or a compilation."""
MAX_FACTS = 100
"""Most entries accepted from `info()` and `hits()`."""
MAX_DEVICES = 1000
"""Most devices accepted from `devices()`."""


def numerics_of(
    backend: Backend, dtype: str, device: str = "cpu", layer: str = ""
) -> Numerics | None:
    """Call `numerics` of a backend; return None where it has no such member.

    Args:
        dtype, device: where it computes.
        layer: name of the layer; empty = no particular one.

    Raises:
        BackendError: if the member raises.
        Failure: if it returns neither a valid `Numerics` nor None.
    """
    guard = guarded(backend)
    method = guard.read("numerics")
    if method is None:
        return None
    parameters = _parameter_names(method)
    places = {name: x for name, x in (("device", device), ("layer", layer)) if name in parameters}
    numerics = guard.call_method("numerics", dtype, **places)
    if numerics is None:
        return None
    member_text = f"numerics({dtype!r})"
    if type(numerics) is not Numerics:
        raise Failure(
            contract_violation(member_text, safe_repr(numerics), "a conformance.Numerics")
        )
    try:
        # Validate again by constructing a copy: the backend can write even into a frozen object.
        names = [field.name for field in dataclasses.fields(Numerics)]
        validated = Numerics(**{name: getattr(numerics, name) for name in names})
    except Exception as error:
        raise Failure(
            contract_violation(member_text, safe_repr(numerics), f"valid numbers: {error}")
        ) from error
    # One unit in the last place is two units of roundoff.
    max_ulp = MAX_UNIT_ROUNDOFF / (2 * format_of(dtype).unit)
    for name, number in validated.ulp.items():
        if number > max_ulp:
            expected = f"valid numbers: at most {max_ulp:g} ulp for {name} in {dtype}"
            raise Failure(contract_violation(member_text, safe_repr(numerics), expected))
    return validated


def _parameter_names(method: Any) -> tuple[str, ...]:
    """Names of a method's parameters; empty if it does not show them."""
    try:
        return tuple(inspect.signature(method).parameters)
    except Exception:  # the method may be of any kind, also one whose attributes raise
        return ()


def declared_deviations(backend: Backend, dtype: str) -> dict[str, str]:
    """Deviations from IEEE arithmetic that a backend declares for a dtype, by field of `Numerics`.

    Raises:
        BackendError: if the backend declares something invalid.
    """
    try:
        numerics = numerics_of(backend, dtype)
    except Failure as failure:
        raise guarded(backend).usage_error(str(failure)) from None
    exact_ieee = Numerics()
    return {
        field.name: bounded(str(getattr(numerics, field.name)))
        for field in dataclasses.fields(Numerics)
        if numerics is not None and getattr(numerics, field.name) != getattr(exact_ieee, field.name)
    }


def info_of(backend: Backend) -> dict[str, str]:
    """Call `info()` of a backend; return its names and values as strings of bounded length.

    Raises:
        BackendError: if the call raises, or returns no mapping of at most `MAX_FACTS` entries.
    """
    guard = guarded(backend)
    result = guard.call_method("info")
    expected = f"a mapping of up to {MAX_FACTS} facts, strings by name"
    if not is_mapping(result):
        raise guard.unexpected_member("info()", expected, result)
    try:
        pairs = [(key, result[key]) for key in islice(result, MAX_FACTS + 1)]
        facts = {bounded(str(key), MAX_NAME): bounded(str(value)) for key, value in pairs}
    except BaseException as error:
        raise guard.unexpected_member("info()", expected, result) from error
    if len(pairs) > MAX_FACTS:
        raise guard.unexpected_member("info()", expected, result)
    return facts


def devices_of(backend: Backend) -> tuple[str, ...]:
    """Devices that a backend offers, each once.

    Raises:
        BackendError: if `devices()` does not return a non-empty list of valid names.
    """
    guard = guarded(backend)
    result = guard.call_method("devices")
    names = [as_builtin_str(name) for name in sequence_elements(result) or ()]
    valid_names = [name for name in names if name and len(name) <= MAX_NAME and name.isprintable()]
    if not names or len(valid_names) != len(names) or len(names) > MAX_DEVICES:
        raise guard.unexpected_member("devices()", "a list of names such as ['cpu']", result)
    return tuple(dict.fromkeys(valid_names))


def isolation_of(backend: Backend) -> str:
    """`"process"` if items run in a child process, `"none"` if the backend opts out by `isolate`.

    Raises:
        BackendError: if `isolate` has any other value.
    """
    guard = guarded(backend)
    value = guard.read("isolate")
    isolation = "process" if value is None else as_builtin_str(value)
    if isolation not in ("process", "none"):
        raise guard.unexpected_member("isolate", "'process' or 'none'", value)
    return isolation


def _read_seconds(backend: Backend, name: str, default: float) -> float:
    """Read a member that is a time in seconds, from 0 to a day."""
    guard = guarded(backend)
    value = guard.read(name)
    if value is None:
        return default
    number = float.__float__(value) if is_of_type(value, float) else value
    number = int.__int__(value) if is_of_type(value, int) and type(value) is not bool else number
    if type(number) not in (int, float) or not (
        0 <= number <= MAX_DECLARED_SECONDS and math.isfinite(number)
    ):
        raise guard.unexpected_member(name, f"seconds from 0 to {MAX_DECLARED_SECONDS:.0f}", value)
    return float(number)


def compile_seconds_of(backend: Backend) -> float:
    """Seconds that a call of a new structure costs beyond the call itself (`compile_seconds`).

    Raises:
        BackendError: if the member is not a valid time.
    """
    return _read_seconds(backend, "compile_seconds", 0.0)


def cases_per_structure(backend: Backend) -> int:
    """How many cases share shapes and arguments: the more, the longer compilation takes."""
    # Without compilation a case takes about 10 ms (measured on torch: 2 ms per check for Linear,
    # 3 for Conv2d, 12 for LSTM). With more than ten cases per structure a run has too few
    # structures.
    return max(1, min(10, round(compile_seconds_of(backend) / 0.01)))


def budget_of(backend: Backend) -> str | None:
    """Default time budget of a run, in the syntax of `--conformance-budget`; None for no limit.

    A backend sets `budget` where compiling its structures takes too long for a full run.

    Raises:
        BackendError: if the member is not a valid budget.
    """
    guard = guarded(backend)
    value = guard.read("budget")
    if value is None:
        return None
    text = as_builtin_str(value)
    if text is None and type(value) in (int, float):
        text = str(value)
    try:
        parse_budget(text or "", 1, 1)
    except ValueError as error:
        raise guard.usage_error(f"budget={safe_repr(value)}: {error}") from None
    return text


def timeout_of(backend: Backend) -> int:
    """Default time limit of a case in seconds.

    It is the backend's `timeout`, which covers slow calls, plus an allowance for compilation.

    Raises:
        BackendError: if `timeout` or `compile_seconds` is not a valid time, or `timeout` is 0.
    """
    seconds = math.ceil(_read_seconds(backend, "timeout", DEFAULT_TIMEOUT))
    if seconds < 1:
        raise guarded(backend).unexpected_member("timeout", "at least a second", seconds)
    return seconds + round(SLOW_MACHINE_FACTOR * compile_allowance(backend))


def base_of(backend: Backend, layer: str) -> str:
    """Name of the backend whose kernels a layer calls; empty for none.

    The backend's `base` decides. Without it, the base is `"torch"` if `inherits(layer)` is True.

    Raises:
        BackendError: if `base` is not a valid name, or `inherits` does not return a bool.
    """
    guard = guarded(backend)
    value = guard.read("base")
    if value is None:
        inherits = guard.read("inherits")
        value = (
            "torch" if inherits is not None and _call_predicate(guard, "inherits", layer) else ""
        )
    base = as_builtin_str(value)
    if base is None or len(base) > MAX_NAME:
        raise guard.unexpected_member("base", "the name of a backend, such as 'torch'", value)
    return "" if base == guard.name else base


def _call_predicate(guard: Any, name: str, *arguments: Any) -> bool:
    result = guard.call_method(name, *arguments)
    if type(result) is not bool:
        raise guard.unexpected_member(
            f"{name}({', '.join(map(repr, arguments))})", "True or False", result
        )
    return result


def accepts_of(backend: Backend) -> tuple[str, ...]:
    """Globs of the broken constraints that a backend accepts on purpose (`accepts`).

    Raises:
        BackendError: if an element is not a non-empty string.
    """
    expected = "names of broken constraints, such as ('negative padding',)"
    return _read_names(backend, "accepts", expected)


def unasked_of(backend: Backend) -> tuple[str, ...]:
    """Names of the checks that do not run on a backend (`unasked`).

    Raises:
        BackendError: if an element is not a non-empty string.
    """
    return _read_names(backend, "unasked", "names of checks, such as ('errors',)")


def less_optimized_of(backend: Backend) -> tuple[str, ...]:
    """Names of backends that compute the same with fewer optimisations (`less_optimized`).

    Raises:
        BackendError: if an element is not a non-empty string.
    """
    return _read_names(backend, "less_optimized", "names of backends, the most optimising first")


def _read_names(backend: Backend, member: str, expected: str) -> tuple[str, ...]:
    """Read a member that holds names; BackendError if one of them is not a non-empty string."""
    guard = guarded(backend)
    value = guard.read(member)
    names = [as_builtin_str(name) for name in _as_tuple(value)]
    valid_names = [name for name in names if name]
    if len(valid_names) != len(names):
        raise guard.unexpected_member(member, expected, value)
    return tuple(valid_names)


def hits_of(backend: Backend) -> dict[str, int] | None:
    """How often each function under test has run so far, by name (`hits()`).

    None if the backend does not count.

    Raises:
        BackendError: if the result is not a non-empty mapping of names to counts.
    """
    guard = guarded(backend)
    if guard.read("hits") is None:
        return None
    result = guard.call_method("hits")
    expected = f"a mapping of up to {MAX_FACTS} counts by name"
    try:
        pairs = (
            [(key, result[key]) for key in islice(result, MAX_FACTS + 1)]
            if is_mapping(result)
            else []
        )
    except BaseException as error:
        raise guard.unexpected_member("hits()", expected, result) from error
    hits = {
        bounded(str.__str__(name), MAX_NAME): count
        for name, count in pairs
        if is_of_type(name, str) and type(count) is int and 0 <= count < 2**53
    }
    if not hits or len(hits) != len(pairs) or len(pairs) > MAX_FACTS:
        raise guard.unexpected_member("hits()", expected, result)
    return hits


def breaches_of(backend: Backend) -> tuple[tuple[str, str], ...]:
    """What the code under test did besides computing: kind and text (`SealedBackend.breaches`)."""
    guard = guarded(backend)
    return () if guard.read("breaches") is None else tuple(guard.call_method("breaches"))


def refusals_of(backend: Backend) -> tuple[type[Exception], ...]:
    """Additional exception classes with which a backend refuses an invalid call (`refusals`).

    Raises:
        BackendError: if an element is not a subclass of Exception, or is Exception itself.
    """
    guard = guarded(backend)
    value = guard.read("refusals")
    classes = _as_tuple(value)
    valid_classes = [
        cls for cls in classes if is_of_type(cls, type) and Exception in class_and_bases(cls)
    ]
    if len(valid_classes) != len(classes) or Exception in valid_classes:
        expected = "classes of exceptions, such as (MyError,), and not Exception itself"
        raise guard.unexpected_member("refusals", expected, value)
    return tuple(valid_classes)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """A tuple of the elements of a collection, of a single value, or of nothing for None."""
    if is_of_type(value, set, frozenset):
        return tuple(value)
    items = sequence_elements(value)
    return () if value is None else (value,) if items is None else items


def compile_allowance(backend: Backend) -> float:
    """Seconds that a check of one case may spend on compilation.

    A check builds up to a dozen layers besides the case's own, and each may have a new structure.
    """
    return BUILDS_PER_CHECK * compile_seconds_of(backend)


def is_offered(backend: Backend, layer: str, dtype: str, device: str) -> bool:
    """Call `offers` of a backend; True where it has no such member.

    Raises:
        BackendError: if the result is not a bool.
    """
    guard = guarded(backend)
    return guard.read("offers") is None or _call_predicate(guard, "offers", layer, dtype, device)
