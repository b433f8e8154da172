"""The guard between the suite and a backend: the only module that reads and calls its members.

The guard marks each exception of the backend as the backend's own. It converts results to objects
of builtin types of bounded size, and copies arrays. It reports an invalid member as a
`BackendError` before a run, and as a `Failure` during the run.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from conformance.backends.foreign_calls import call, member, original, told
from conformance.backends.sanitize import MANY, NAME, RESULTS, mapping
from conformance.model.case import Call, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import raised, returned
from conformance.model.untrusted import exact_text, of_type, shown, type_name, written
from conformance.model.usage_error import UsageError

_COMPUTE = ("call", "forward_grad", "vjp", "vjp_of", "value_and_vjp")
"""Members that compute: after each of them the guard reads the layer's `fallbacks`."""


class BackendError(UsageError):
    """A backend that cannot be found, loaded or used; the message says what its author must fix."""


class Member:
    """A method of a layer, whose result is checked and converted.

    Args:
        layer: the layer of the backend.
        name: name of the method, a key of `RESULTS`.
        function: the bound method.
    """

    def __init__(self, layer: Any, name: str, function: Any) -> None:
        self._layer, self._name, self._function = layer, name, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        result = call(self._function, *arguments, **keywords)
        if self._name in _COMPUTE:
            _refuse_fallbacks(self._layer)
        return RESULTS[self._name](result)


def _refuse_fallbacks(layer: Any) -> None:
    """Decline the case if operations of the last call ran in another implementation."""
    fallbacks = member(layer, "fallbacks")
    if fallbacks is None:
        return
    ran = call(fallbacks)
    try:
        names = None if of_type(ran, str) else call(lambda: tuple(islice(ran, MANY)))
    except Exception:
        names = None
    if names is None:
        raise Failure(returned("fallbacks", shown(ran), "names of operations"))
    if names:
        told = (exact_text(name) or shown(name) for name in names[:10])
        raise Unsupported(f"fell back: {', '.join(told)}")


class GuardedLayer:
    """A layer whose members the suite can read and call safely.

    Args:
        layer: the layer that the backend built.

    Raises:
        Failure: if it lacks a member that every layer must have.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        lacks = [name for name in ("put", "get", "dtype") if not callable(self._read(name))]
        if lacks or not callable(layer):
            expected = "a Layer, callable and with put, get and dtype; missing "
            expected += ", ".join(lacks) or "__call__"
            raise Failure(returned("build", type_name(layer), expected))

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return Member(self._layer, "call", self._layer)(*inputs, **keywords)

    def _read(self, name: str) -> Any:
        try:
            return member(self._layer, name)
        except Exception as error:
            met = original(error)
            finding = raised(f"the attribute {name}", met, written(met))
            raise Failure(finding) from error

    def __getattr__(self, name: str) -> Any:
        found = self._read(name) if name == "updated" or name in RESULTS else None
        if found is None:
            raise AttributeError(name)
        if name == "updated":
            return mapping(name, found)
        if not callable(found):
            raise Failure(returned(f"the attribute {name}", shown(found), "a method"))
        return Member(self._layer, name, found)


def itself(layer: Any) -> Any:
    """The backend's own layer, for timed calls that must not include the guard."""
    return layer._layer if isinstance(layer, GuardedLayer) else layer


class Admitted:
    """Marks a backend that needs no guard: a guarded one, or a class of the suite itself."""


class GuardedBackend(Admitted):
    """A backend whose members the suite can read and call safely; `guarded` makes it.

    Args:
        backend: the implementation under test.
        where: how messages name the backend until its own name is known.

    Raises:
        BackendError: if the backend has no valid name.
    """

    def __init__(self, backend: Any, where: str) -> None:
        self.inner, self._where = backend, where
        name = self.read("name")
        text = exact_text(name)
        if not text or len(text) > NAME or not text.isprintable() or text != text.strip():
            raise BackendError(
                f"{where}: expected name to be a printable string of up to {NAME} characters, "
                f"got {shown(name)}"
            )
        self.name = text
        self._where = f"backend {text!r}"

    def error(self, problem: str) -> BackendError:
        """Make an error that names the backend; `problem` names a member and what is wrong."""
        return BackendError(f"{self._where}: {problem}")

    def expected(self, member: str, what: str, got: Any) -> BackendError:
        """Make an error about a member that has an unexpected value.

        Args:
            member: `"name"`, or a call: `"devices()"`.
            what: text of what the member should be.
            got: its actual value.
        """
        return self.error(f"expected {member} to be {what}, got {shown(got)}")

    def read(self, name: str) -> Any:
        """Read a member; None if the backend does not have it.

        Raises:
            BackendError: if reading the member raises.
        """
        try:
            return member(self.inner, name)
        except Exception as error:
            raise self.error(f"reading {name} raised {told(error)}") from error

    def ask(self, name: str, *arguments: Any) -> Any:
        """Call a method and return its result unchecked.

        Raises:
            BackendError: if the member is not callable, or raises.
        """
        method = self.read(name)
        if not callable(method):
            raise self.expected(name, "a method", method)
        try:
            return call(method, *arguments)
        except Exception as error:
            given = ", ".join(map(shown, arguments))
            raise self.error(f"{name}({given}) raised {told(error)}") from error

    def build(self, layer: Call) -> GuardedLayer:
        """Build the layer of a call, and guard it.

        Raises:
            Unsupported: if the backend declines the call.
            Failure: if the result lacks a member that every layer must have.
        """
        return GuardedLayer(call(member(self.inner, "build"), layer))


def guarded(backend: Any, where: str = "backend") -> Any:
    """Put a guard around a backend; a backend that needs none is returned unchanged.

    Args:
        where: how messages name the backend until its own name is known.

    Raises:
        BackendError: if the backend has no valid name.
    """
    return backend if isinstance(backend, Admitted) else GuardedBackend(backend, where)


def inner(backend: Any) -> Any:
    """The backend without its guard; use it only to test whether the class is one of the suite."""
    return backend.inner if isinstance(backend, GuardedBackend) else backend
