"""What a backend says of itself by its optional members, each held against what it may be."""

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

# A case takes 0.1 s at most in all checks together (measured on torch: LSTM 0.1, Linear 0.02), a
# loaded machine ten times as long; the rest is room for what is merely slow.
TIMEOUT, DOZEN, SLOW_MACHINE = 30, 12, 10
DAY = 86_400.0
"""Seconds: no case, and no compilation, takes longer."""
FACTS = 100
"""Facts that `info()` may tell."""
DEVICES = 1000
"""Devices that a backend may offer."""


def numerics_of(backend: Backend, dtype: str) -> Numerics | None:
    """What a backend declares of its arithmetic, None where it offers no `numerics`.

    Args:
        backend: asked.

    Raises:
        BackendError: if it raises.
        Failure: if it returns something else.
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
        # Once more by its own checks: a frozen object can be written into.
        names = [field.name for field in dataclasses.fields(Numerics)]
        exact = Numerics(**{name: getattr(declared, name) for name in names})
    except Exception as error:
        raise Failure(returned(what, shown(declared), f"sound numbers: {error}")) from error
    # A unit in the last place is two roundoffs.
    most = COARSEST / (2 * format_of(dtype).unit)
    for name, number in exact.ulp.items():
        if number > most:
            wanted = f"sound numbers: of {dtype} no more than {most:g} ulp of {name}"
            raise Failure(returned(what, shown(declared), wanted))
    return exact


def declared(backend: Backend, dtype: str) -> dict[str, str]:
    """Declared deviations of a backend from IEEE arithmetic in a dtype, by field.

    Args:
        backend: asked.

    Raises:
        BackendError: if it says something else.
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
    """What a backend says of itself, as strings.

    Args:
        backend: asked.

    Raises:
        BackendError: if info() fails or returns no mapping.
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
    """The devices that a backend offers.

    Args:
        backend: asked.

    Raises:
        BackendError: if what it says is no non-empty list of strings.
    """
    door = guarded(backend)
    given = door.ask("devices")
    names = [exact_text(name) for name in elements(given) or ()]
    sound = [name for name in names if name and len(name) <= NAME and name.isprintable()]
    if not names or len(sound) != len(names) or len(names) > DEVICES:
        raise door.expected("devices()", "a list of names such as ['cpu']", given)
    return tuple(dict.fromkeys(sound))


def isolation_of(backend: Backend) -> str:
    """`"process"` where items run in a child process, `"none"` where the backend wants none.

    Args:
        backend: asked for its `isolate`.

    Raises:
        BackendError: for anything else.
    """
    door = guarded(backend)
    given = door.read("isolate")
    named = "process" if given is None else exact_text(given)
    if named not in ("process", "none"):
        raise door.expected("isolate", "'process' or 'none'", given)
    return named


def _seconds(backend: Backend, name: str, default: float) -> float:
    """A time that a backend says it takes."""
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
    """What a call of a new structure costs a backend beyond the call.

    Args:
        backend: asked for its `compile_seconds`.

    Raises:
        BackendError: if it is no time.
    """
    return _seconds(backend, "compile_seconds", 0.0)


def values_per_structure(backend: Backend) -> int:
    """How many cases share their shapes and arguments: the dearer these are, the more.

    Args:
        backend: asked for its `compile_seconds`.
    """
    # A case costs some 10 ms otherwise (measured on torch: 2 ms a check for Linear, 3 for Conv2d,
    # 12 for LSTM). More than ten cases alike would leave a run too few structures.
    return max(1, min(10, round(compile_seconds_of(backend) / 0.01)))


def budget_of(backend: Backend) -> str | None:
    """What a run may take where the user does not say, as `--conformance-budget` has it.

    A backend says so by `budget`, where its structures are too dear for a full run.

    Args:
        backend: asked.

    Raises:
        BackendError: if it is no budget.
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
    """Seconds that one case may take where the user does not say.

    Args:
        backend: asked for its `timeout`, if calls themselves are slow, and its `compile_seconds`.

    Raises:
        BackendError: if these are no times, or the timeout is 0.
    """
    seconds = math.ceil(_seconds(backend, "timeout", TIMEOUT))
    if seconds < 1:
        raise guarded(backend).expected("timeout", "at least a second", seconds)
    return seconds + round(SLOW_MACHINE * compiling(backend))


def base_of(backend: Backend, layer: str) -> str:
    """The backend whose kernels a layer inherits; empty for none.

    Args:
        backend: asked for its `base`, and whether it `inherits(layer)` from torch.

    Raises:
        BackendError: if it is no name.
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
    """The broken constraints that a backend accepts on purpose, as globs.

    Args:
        backend: asked for its `accepts`.

    Raises:
        BackendError: if these are no strings.
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
    """The checks that are not asked of a backend.

    Raises:
        BackendError: if these are no names.
    """
    door = guarded(backend)
    given = door.read("unasked")
    names = [exact_text(name) for name in _several(given)]
    sound = [name for name in names if name]
    if len(sound) != len(names):
        raise door.expected("unasked", "names of checks, such as ('errors',)", given)
    return tuple(sound)


def hits_of(backend: Backend) -> dict[str, int] | None:
    """How often what is under test has run so far, by name; None where a backend does not count.

    Args:
        backend: asked for its `hits`.

    Raises:
        BackendError: if these are no counts.
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
    """Exceptions by which a backend refuses an invalid call, beside those that anyone may raise.

    Args:
        backend: asked for its `refusals`.

    Raises:
        BackendError: if these are no classes of exceptions, or one that every exception is.
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
    """One thing or several of them; None is none."""
    if of_type(given, set, frozenset):
        return tuple(given)
    found = elements(given)
    return () if given is None else (given,) if found is None else found


def compiling(backend: Backend) -> float:
    """Seconds that a check of one case may spend on compiling.

    A check builds up to a dozen layers besides the case's own, each perhaps of a new structure.

    Args:
        backend: asked for its `compile_seconds`.
    """
    return DOZEN * compile_seconds_of(backend)


def offered(backend: Backend, layer: str, dtype: str, device: str) -> bool:
    """Whether a backend says that it has the layer; True where it says nothing.

    Args:
        backend: asked for its `offers`.
        layer, dtype, device: of the item.

    Raises:
        BackendError: if it says something else.
    """
    door = guarded(backend)
    return door.read("offers") is None or _truth(door, "offers", layer, dtype, device)
