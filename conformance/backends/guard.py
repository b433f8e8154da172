"""The guard between the suite and a backend: the only module that reads and calls its members.

The guard marks each exception of the backend as the backend's own. It converts results to objects
of builtin types of bounded size, and copies arrays. It reports an invalid member as a
`BackendError` before a run, and as a `Failure` during the run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

from conformance.backends.foreign_calls import (
    call_foreign,
    describe_exception,
    original_exception,
    read_member,
)
from conformance.backends.memory_guard import guarded_memory
from conformance.backends.sanitize import MAX_ENTRIES, MAX_NAME, RESULT_READERS, read_mapping
from conformance.model.case import Call, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import contract_violation, exception_finding
from conformance.model.untrusted import (
    as_builtin_str,
    exception_text,
    is_of_type,
    safe_repr,
    type_name,
)
from conformance.model.usage_error import UsageError

COMPUTING_MEMBERS = (
    *("call", "forward_grad", "vjp", "vjp_of", "value_and_vjp", "accumulate"),
    *("jvp", "double_vjp", "jvp_vjp", "vmap", "vmap_vjp", "vmap_random"),
)
"""Members of a layer that compute: after each of them the guard reads the layer's `fallbacks`."""


_PLACING_MEMBERS = ("put", "load")
"""Members that copy the suite's arrays to operands of the backend."""


class BackendError(UsageError):
    """A backend that cannot be found, loaded or used; the message says what its author must fix."""


class GuardedMethod:
    """A method of a layer, whose result is checked and converted.

    Args:
        layer: the layer of the backend.
        name: name of the method, a key of `RESULT_READERS`.
        function: the bound method.
    """

    def __init__(self, layer: Any, name: str, function: Any) -> None:
        self._layer, self._name, self._function = layer, name, function

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        with guarded_memory(operands=self._name in _PLACING_MEMBERS):
            result = call_foreign(self._function, *arguments, **keywords)
        if self._name in COMPUTING_MEMBERS:
            _decline_fallbacks(self._layer)
        return RESULT_READERS[self._name](result)


def _decline_fallbacks(layer: Any) -> None:
    """Decline the case if operations of the last call ran in another implementation."""
    fallbacks = read_member(layer, "fallbacks")
    if fallbacks is None:
        return
    operations = call_foreign(fallbacks)
    try:
        names = (
            None
            if is_of_type(operations, str)
            else call_foreign(lambda: tuple(islice(operations, MAX_ENTRIES)))
        )
    except Exception:
        names = None
    if names is None:
        raise Failure(contract_violation("fallbacks", safe_repr(operations), "names of operations"))
    if names:
        texts = (as_builtin_str(name) or safe_repr(name) for name in names[:10])
        raise Unsupported(f"fell back: {', '.join(texts)}")


class GuardedLayer:
    """A layer whose members the suite can read and call safely.

    Args:
        layer: the layer that the backend built.

    Raises:
        Failure: if it lacks a member that every layer must have.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        missing = [
            name for name in ("put", "get", "dtype") if not callable(self._read_member(name))
        ]
        if missing or not callable(layer):
            expected = "a Layer, callable and with put, get and dtype; missing "
            expected += ", ".join(missing) or "__call__"
            raise Failure(contract_violation("build", type_name(layer), expected))

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        return GuardedMethod(self._layer, "call", self._layer)(*inputs, **keywords)

    def _read_member(self, name: str) -> Any:
        try:
            return read_member(self._layer, name)
        except Exception as error:
            exception = original_exception(error)
            finding = exception_finding(
                f"the attribute {name}", exception, exception_text(exception)
            )
            raise Failure(finding) from error

    def __getattr__(self, name: str) -> Any:
        value = self._read_member(name) if name == "updated" or name in RESULT_READERS else None
        if value is None:
            raise AttributeError(name)
        if name == "updated":
            return read_mapping(name, value)
        if not callable(value):
            raise Failure(contract_violation(f"the attribute {name}", safe_repr(value), "a method"))
        return GuardedMethod(self._layer, name, value)


def unguarded_layer(layer: Any) -> Any:
    """The backend's own layer, for timed calls that must not include the guard."""
    return layer._layer if isinstance(layer, GuardedLayer) else layer


class Trusted:
    """Marks a backend that needs no guard: a guarded one, or a class of the suite itself."""


class GuardedBackend(Trusted):
    """A backend whose members the suite can read and call safely; `guarded` makes it.

    Args:
        backend: the implementation under test.
        label: how messages name the backend until its own name is known.

    Raises:
        BackendError: if the backend has no valid name.
    """

    def __init__(self, backend: Any, label: str) -> None:
        self.inner, self._label = backend, label
        name = self.read("name")
        text = as_builtin_str(name)
        if not text or len(text) > MAX_NAME or not text.isprintable() or text != text.strip():
            raise BackendError(
                f"{label}: expected name to be a printable string of up to {MAX_NAME} characters, "
                f"got {safe_repr(name)}"
            )
        self.name = text
        self._label = f"backend {text!r}"

    def usage_error(self, problem: str) -> BackendError:
        """Make an error that names the backend; `problem` names a member and what is wrong."""
        return BackendError(f"{self._label}: {problem}")

    def unexpected_member(self, member: str, expected: str, got: Any) -> BackendError:
        """Make an error about a member that has an unexpected value.

        Args:
            member: `"name"`, or a call: `"devices()"`.
            expected: text of what the member should be.
            got: its actual value.
        """
        return self.usage_error(f"expected {member} to be {expected}, got {safe_repr(got)}")

    def read(self, name: str) -> Any:
        """Read a member; None if the backend does not have it.

        Raises:
            BackendError: if reading the member raises.
        """
        try:
            return read_member(self.inner, name)
        except Exception as error:
            raise self.usage_error(f"reading {name} raised {describe_exception(error)}") from error

    def method(self, name: str) -> Callable[..., Any]:
        """Read a method, and call it as code that may raise anything.

        Raises:
            BackendError: if the member is not callable.
        """
        method = self.read(name)
        if not callable(method):
            raise self.unexpected_member(name, "a method", method)
        return partial(call_foreign, method)

    def call_method(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Call a method and return its result unchecked.

        Raises:
            BackendError: if the member is not callable, or raises.
        """
        method = self.method(name)
        try:
            return method(*arguments, **keywords)
        except Exception as error:
            argument_texts = ", ".join(map(safe_repr, (*arguments, *keywords.values())))
            raise self.usage_error(
                f"{name}({argument_texts}) raised {describe_exception(error)}"
            ) from error

    def build(self, layer_call: Call) -> GuardedLayer:
        """Build the layer of a call, and guard it.

        Raises:
            Unsupported: if the backend declines the call.
            Failure: if the result lacks a member that every layer must have.
        """
        with guarded_memory(operands=True):
            layer = call_foreign(read_member(self.inner, "build"), layer_call)
        return GuardedLayer(layer)


def guarded(backend: Any, label: str = "backend") -> Any:
    """Put a guard around a backend; a backend that needs none is returned unchanged.

    Args:
        label: how messages name the backend until its own name is known.

    Raises:
        BackendError: if the backend has no valid name.
    """
    return backend if isinstance(backend, Trusted) else GuardedBackend(backend, label)


def unguarded_backend(backend: Any) -> Any:
    """The backend without its guard; use it only to test whether the class is one of the suite."""
    return backend.inner if isinstance(backend, GuardedBackend) else backend
