"""The one door between the suite and a backend: what comes through it is bounded and plain.

A backend's members are read, and called, here only. What it raises becomes an exception of which
the suite knows that it is the backend's; what it returns becomes objects of the builtin types, and
arrays that the suite made itself. Before a run whatever is wrong is a `BackendError`, in it a
`Failure`.
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
"""Members after which a layer says what ran elsewhere."""


class BackendError(UsageError):
    """A backend that cannot be found, loaded or used; the message tells its author what to mend."""


class Member:
    """A method of a layer's.

    Args:
        layer: whose.
        name: of the method.
        function: what it is.
    """

    def __init__(self, layer: Any, name: str, function: Any) -> None:
        self._layer, self._name, self._function = layer, name, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        result = call(self._function, *arguments, **keywords)
        if self._name in _COMPUTE:
            _refuse_fallbacks(self._layer)
        return RESULTS[self._name](result)


def _refuse_fallbacks(layer: Any) -> None:
    """What another implementation computed is no answer of this one."""
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
    """A layer as the suite sees it.

    Args:
        layer: of the backend.

    Raises:
        Failure: if it is no layer.
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
    """The layer itself, for calls whose time is taken.

    Args:
        layer: as the suite sees it.
    """
    return layer._layer if isinstance(layer, GuardedLayer) else layer


class Admitted:
    """Marks a backend that needs no guard: one that has it, or a class of the suite's."""


class GuardedBackend(Admitted):
    """A backend as the suite sees it; made by `guarded`.

    Args:
        backend: the implementation under test.
        where: how it was named, for messages.

    Raises:
        BackendError: if it has no name, or one that is none.
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
        """What is wrong with the backend.

        Args:
            problem: of what member, and what was expected.
        """
        return BackendError(f"{self._where}: {problem}")

    def expected(self, member: str, what: str, got: Any) -> BackendError:
        """A member is not what it should be.

        Args:
            member: `"name"`, or a call: `"devices()"`.
            got: in its place.
        """
        return self.error(f"expected {member} to be {what}, got {shown(got)}")

    def read(self, name: str) -> Any:
        """A member, None where there is none.

        Raises:
            BackendError: if reading it raises.
        """
        try:
            return member(self.inner, name)
        except Exception as error:
            raise self.error(f"reading {name} raised {told(error)}") from error

    def ask(self, name: str, *arguments: Any) -> Any:
        """What a method returns.

        Args:
            arguments: that it takes.

        Raises:
            BackendError: if it is no method, or raises.
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
        """Build the layer of a call.

        Raises:
            Unsupported: if the backend declines it.
            Failure: if what is built is no layer.
        """
        return GuardedLayer(call(member(self.inner, "build"), layer))


def guarded(backend: Any, where: str = "backend") -> Any:
    """A backend as the suite sees it; one that is already is given back.

    Args:
        where: how it was named, for messages.

    Raises:
        BackendError: if it is no backend.
    """
    return backend if isinstance(backend, Admitted) else GuardedBackend(backend, where)


def inner(backend: Any) -> Any:
    """The backend itself, of which the suite asks only whether it is one that it brings.

    Args:
        backend: as the suite sees it, or itself.
    """
    return backend.inner if isinstance(backend, GuardedBackend) else backend
