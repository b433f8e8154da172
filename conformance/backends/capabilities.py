"""Read the optional members of a backend, and check what each of them returns."""

from __future__ import annotations

import dataclasses
import math
from itertools import islice
from typing import Any

from conformance.backends.guard import guarded
from conformance.backends.sanitize import NAME
from conformance.model.budget import parse
from conformance.model.case import COARSEST, Numerics
from conformance.model.failure import Failure
from conformance.model.finding import returned
from conformance.model.formats import format_of
from conformance.model.plain_text import bounded
from conformance.model.protocols import Backend
from conformance.model.untrusted import bases_of, elements, exact_text, is_mapping, of_type, shown

# A case takes at most 0.1 s in all checks together (measured on torch: LSTM 0.1, Linear 0.02), and
# ten times as long on a loaded machine. The rest is a margin for backends that are merely slow.
TIMEOUT, DOZEN, SLOW_MACHINE = 30, 12, 10
DAY = 86_400.0
"""Seconds. The longest time that a backend may declare for a case or a compilation."""
FACTS = 100
"""Most entries accepted from `info()` and `hits()`."""
DEVICES = 1000
"""Most devices accepted from `devices()`."""


def numerics_of(backend: Backend, dtype: str) -> Numerics | None:
    """Call `numerics(dtype)` of a backend; return None where it has no such member.

    Raises:
        BackendError: if the member raises.
        Failure: if it returns neither a valid `Numerics` nor None.
    """
    door = guarded(backend)
    if door.read("numerics") is None:
        return None
    declared = door.ask("numerics", dtype)
    if declared is None:
        return None
    what = f"numerics({dtype!r})"
    if type(declared) is not Numerics:
        raise Failure(returned(what, shown(declared), "a conformance.Numerics"))
    try:
        # Validate again by constructing a copy: the backend can write even into a frozen object.
        names = [field.name for field in dataclasses.fields(Numerics)]
        exact = Numerics(**{name: getattr(declared, name) for name in names})
    except Exception as error:
        raise Failure(returned(what, shown(declared), f"sound numbers: {error}")) from error
    # One unit in the last place is two units of roundoff.
    most = COARSEST / (2 * format_of(dtype).unit)
    for name, number in exact.ulp.items():
        if number > most:
            wanted = f"sound numbers: of {dtype} no more than {most:g} ulp of {name}"
            raise Failure(returned(what, shown(declared), wanted))
    return exact


def declared(backend: Backend, dtype: str) -> dict[str, str]:
    """Deviations from IEEE arithmetic that a backend declares for a dtype, by field of `Numerics`.

    Raises:
        BackendError: if the backend declares something invalid.
    """
    try:
        declared = numerics_of(backend, dtype)
    except Failure as failure:
        raise guarded(backend).error(str(failure)) from None
    usual = Numerics()
    return {
        field.name: bounded(str(getattr(declared, field.name)))
        for field in dataclasses.fields(Numerics)
        if declared is not None and getattr(declared, field.name) != getattr(usual, field.name)
    }


def info_of(backend: Backend) -> dict[str, str]:
    """Call `info()` of a backend; return its names and values as strings of bounded length.

    Raises:
        BackendError: if the call raises, or returns no mapping of at most `FACTS` entries.
    """
    door = guarded(backend)
    given = door.ask("info")
    what = f"a mapping of up to {FACTS} facts, strings by name"
    if not is_mapping(given):
        raise door.expected("info()", what, given)
    try:
        pairs = [(key, given[key]) for key in islice(given, FACTS + 1)]
        facts = {bounded(str(key), NAME): bounded(str(value)) for key, value in pairs}
    except BaseException as error:
        raise door.expected("info()", what, given) from error
    if len(pairs) > FACTS:
        raise door.expected("info()", what, given)
    return facts


def devices_of(backend: Backend) -> tuple[str, ...]:
    """Devices that a backend offers, each once.

    Raises:
        BackendError: if `devices()` does not return a non-empty list of valid names.
    """
    door = guarded(backend)
    given = door.ask("devices")
    names = [exact_text(name) for name in elements(given) or ()]
    sound = [name for name in names if name and len(name) <= NAME and name.isprintable()]
    if not names or len(sound) != len(names) or len(names) > DEVICES:
        raise door.expected("devices()", "a list of names such as ['cpu']", given)
    return tuple(dict.fromkeys(sound))


def isolation_of(backend: Backend) -> str:
    """`"process"` if items run in a child process, `"none"` if the backend opts out by `isolate`.

    Raises:
        BackendError: if `isolate` has any other value.
    """
    door = guarded(backend)
    given = door.read("isolate")
    named = "process" if given is None else exact_text(given)
    if named not in ("process", "none"):
        raise door.expected("isolate", "'process' or 'none'", given)
    return named


def _seconds(backend: Backend, name: str, default: float) -> float:
    """Read a member that is a time in seconds, from 0 to a day."""
    door = guarded(backend)
    given = door.read(name)
    if given is None:
        return default
    number = float.__float__(given) if of_type(given, float) else given
    number = int.__int__(given) if of_type(given, int) and type(given) is not bool else number
    if type(number) not in (int, float) or not (0 <= number <= DAY and math.isfinite(number)):
        raise door.expected(name, f"seconds from 0 to {DAY:.0f}", given)
    return float(number)


def compile_seconds_of(backend: Backend) -> float:
    """Seconds that a call of a new structure costs beyond the call itself (`compile_seconds`).

    Raises:
        BackendError: if the member is not a valid time.
    """
    return _seconds(backend, "compile_seconds", 0.0)


def values_per_structure(backend: Backend) -> int:
    """How many cases share shapes and arguments: more of them where compilation takes longer."""
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
    door = guarded(backend)
    given = door.read("budget")
    if given is None:
        return None
    text = exact_text(given)
    if text is None and type(given) in (int, float):
        text = str(given)
    try:
        parse(text or "", 1, 1)
    except ValueError as error:
        raise door.error(f"budget={shown(given)}: {error}") from None
    return text


def timeout_of(backend: Backend) -> int:
    """Default time limit of a case in seconds.

    It is the backend's `timeout`, which covers slow calls, plus an allowance for compilation.

    Raises:
        BackendError: if `timeout` or `compile_seconds` is not a valid time, or `timeout` is 0.
    """
    seconds = math.ceil(_seconds(backend, "timeout", TIMEOUT))
    if seconds < 1:
        raise guarded(backend).expected("timeout", "at least a second", seconds)
    return seconds + round(SLOW_MACHINE * compiling(backend))


def base_of(backend: Backend, layer: str) -> str:
    """Name of the backend whose kernels a layer calls; empty for none.

    The backend's `base` decides. Without it, the base is `"torch"` if `inherits(layer)` is True.

    Raises:
        BackendError: if `base` is not a valid name, or `inherits` does not return a bool.
    """
    door = guarded(backend)
    given = door.read("base")
    if given is None:
        inherits = door.read("inherits")
        given = "torch" if inherits is not None and _truth(door, "inherits", layer) else ""
    base = exact_text(given)
    if base is None or len(base) > NAME:
        raise door.expected("base", "the name of a backend, such as 'torch'", given)
    return "" if base == door.name else base


def _truth(door: Any, name: str, *arguments: Any) -> bool:
    given = door.ask(name, *arguments)
    if type(given) is not bool:
        raise door.expected(f"{name}({', '.join(map(repr, arguments))})", "True or False", given)
    return given


def accepted_by(backend: Backend) -> tuple[str, ...]:
    """Globs of the broken constraints that a backend accepts on purpose (`accepts`).

    Raises:
        BackendError: if an element is not a non-empty string.
    """
    door = guarded(backend)
    given = door.read("accepts")
    patterns = [exact_text(pattern) for pattern in _several(given)]
    sound = [pattern for pattern in patterns if pattern]
    if len(sound) != len(patterns):
        what = "names of broken constraints, such as ('negative padding',)"
        raise door.expected("accepts", what, given)
    return tuple(sound)


def unasked_of(backend: Backend) -> tuple[str, ...]:
    """Names of the checks that do not run on a backend (`unasked`).

    Raises:
        BackendError: if an element is not a non-empty string.
    """
    door = guarded(backend)
    given = door.read("unasked")
    names = [exact_text(name) for name in _several(given)]
    sound = [name for name in names if name]
    if len(sound) != len(names):
        raise door.expected("unasked", "names of checks, such as ('errors',)", given)
    return tuple(sound)


def hits_of(backend: Backend) -> dict[str, int] | None:
    """How often each function under test has run so far, by name (`hits()`).

    None if the backend does not count.

    Raises:
        BackendError: if the result is not a non-empty mapping of names to counts.
    """
    door = guarded(backend)
    if door.read("hits") is None:
        return None
    given = door.ask("hits")
    what = f"a mapping of up to {FACTS} counts by name"
    try:
        pairs = [(key, given[key]) for key in islice(given, FACTS + 1)] if is_mapping(given) else []
    except BaseException as error:
        raise door.expected("hits()", what, given) from error
    found = {
        bounded(str.__str__(name), NAME): count
        for name, count in pairs
        if of_type(name, str) and type(count) is int and 0 <= count < 2**53
    }
    if not found or len(found) != len(pairs) or len(pairs) > FACTS:
        raise door.expected("hits()", what, given)
    return found


def refused_by(backend: Backend) -> tuple[type[Exception], ...]:
    """Additional exception classes with which a backend refuses an invalid call (`refusals`).

    Raises:
        BackendError: if an element is not a subclass of Exception, or is Exception itself.
    """
    door = guarded(backend)
    given = door.read("refusals")
    kinds = _several(given)
    sound = [kind for kind in kinds if of_type(kind, type) and Exception in bases_of(kind)]
    if len(sound) != len(kinds) or Exception in sound:
        what = "classes of exceptions, such as (MyError,), and not Exception itself"
        raise door.expected("refusals", what, given)
    return tuple(sound)


def _several(given: Any) -> tuple[Any, ...]:
    """A tuple of the elements of a collection, of a single value, or of nothing for None."""
    if of_type(given, set, frozenset):
        return tuple(given)
    found = elements(given)
    return () if given is None else (given,) if found is None else found


def compiling(backend: Backend) -> float:
    """Seconds that a check of one case may spend on compilation.

    A check builds up to a dozen layers besides the case's own, and each may have a new structure.
    """
    return DOZEN * compile_seconds_of(backend)


def offered(backend: Backend, layer: str, dtype: str, device: str) -> bool:
    """Call `offers` of a backend; True where it has no such member.

    Raises:
        BackendError: if the result is not a bool.
    """
    door = guarded(backend)
    return door.read("offers") is None or _truth(door, "offers", layer, dtype, device)
