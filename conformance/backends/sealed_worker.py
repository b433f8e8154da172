"""The sealed process: it has the code under test and the contract's door, and nothing of the judge.

`confinement.py` runs it. Its first request names the backend; each later one reads or calls one
member of the backend or of a layer that it built. It holds natives, and gives their numbers.
"""

from __future__ import annotations

import gc
import inspect
import os
import pickle
import sys
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from conformance.backends.confinement import APPLIED_VARIABLE
from conformance.backends.foreign_calls import hooks
from conformance.backends.guard import COMPUTING_MEMBERS, BackendError, unguarded_backend
from conformance.backends.registry import load
from conformance.backends.sanitize import RESULT_READERS
from conformance.backends.sealed_catalogue import remove_judge
from conformance.backends.sealed_exceptions import DeferredError, describe_raised
from conformance.backends.sealed_messages import (
    FACT_MEMBERS,
    LAYER_MEMBERS,
    Answer,
    FirstRead,
    LayerReference,
    MethodReference,
    Objects,
    Pipe,
    Request,
    decode_requests,
    digest,
    encode_answer,
    to_message,
)
from conformance.backends.watch import RUNS, Watch
from conformance.model.breaches import DELEGATES
from conformance.model.protocols import KERNEL_BACKEND, MODULE_BACKEND
from conformance.model.untrusted import is_of_type, sequence_elements

if TYPE_CHECKING:
    from conformance.backends.delegation import OperatorWatch

MAX_PROMPT_BYTES = 1 << 16
"""Most bytes of an array that is sent with the answer to a call."""
WATCHED = (KERNEL_BACKEND, MODULE_BACKEND)
"""Backends whose calls of torch's operators are watched."""
DATA_MEMBERS = frozenset(("get", "attributes", "module_facts"))
"""Members of a layer whose arrays are numbers for the judge; those of all others are natives."""


class SealedServer:
    """Does what requests ask of a backend.

    Args:
        backend: the backend under test.
    """

    def __init__(self, backend: Any) -> None:
        self.backend, self.objects = backend, Objects(backend)

    def answer(self, message: bytes) -> bytes:
        """Answer the last request of a message; what the backend raises first becomes an answer."""
        try:
            answer = Answer()
            for request in decode_requests(message):
                if request.number:
                    self._make(request)
                else:
                    answer = self._do(request)
            return encode_answer(answer)
        except BaseException as error:
            return encode_answer(Answer(raised=describe_raised(error, self._refusals())))

    def _make(self, request: Request) -> None:
        """Do what no answer is awaited for; what it raises is raised where its result is used."""
        try:
            value = getattr(self.objects.find(request.target), request.member)(
                *request.arguments, **request.keywords
            )
        except DeferredError as error:
            value = error
        except BaseException as error:
            value = DeferredError(error, request.member)
        self.objects.set(request.number, value)

    def _do(self, request: Request) -> Answer:
        self.objects.drop(request.dropped)
        target, member = self.objects.find(request.target), request.member
        is_backend = request.target == 0
        arrays = is_backend or member in DATA_MEMBERS
        if request.action == "describe":
            return Answer(self._message(self._describe_layer(target), arrays=True))
        if request.action == "read":
            value = getattr(target, member)
            if is_backend and callable(value) and not isinstance(value, type):
                value = MethodReference(_parameter_names(value))
            return Answer(self._message(value, arrays=arrays))
        method = target if member == "call" else getattr(target, member)
        if request.action == "batch":
            value = [method(*natives) for natives in request.arguments]
            sync = getattr(target, "sync", None)
            if sync is not None:
                sync()
            return Answer(self._message(value, arrays=False))
        value = method(*request.arguments, **request.keywords)
        if member in LAYER_MEMBERS:
            return Answer(self._message(self._describe_layer(value), arrays=True))
        if is_backend or member not in (*COMPUTING_MEMBERS, "state"):
            return Answer(self._message(value, arrays=arrays, is_native=member == "put"))
        computed: dict[int, Any] = {}

        def note_number(native: Any) -> int:
            number = self.objects.number_of(native)
            computed[number] = native
            return number

        message = to_message(value, note_number, arrays=False)
        has_updated = getattr(target, "updated", None) is not None
        fallbacks = getattr(target, "fallbacks", None)
        fell_back = None if fallbacks is None else self._message(fallbacks(), arrays=True)
        layer = self._describe_layer(target) if request.describes else None
        return Answer(
            message, None, has_updated, fell_back, self._read(target, computed),
            self._message(layer, arrays=True),
        )  # fmt: skip

    def _read(self, layer: Any, natives: Mapping[int, Any]) -> dict[int, FirstRead]:
        """What the judge asks for next; without what cannot be read, as the judge finds out.

        It may read the numbers again later, and they must not have changed.
        """
        read = {}
        for number, native in natives.items():
            try:
                array = layer.get(native)
            except Exception:
                continue
            if type(array) is not np.ndarray:
                continue
            is_small = array.nbytes <= MAX_PROMPT_BYTES
            numbers = self._message(array, arrays=True) if is_small else None
            read[number] = FirstRead(digest(array), self._facts(layer, native), numbers)
        return read

    def _facts(self, layer: Any, native: Any) -> dict[str, Any]:
        facts = {}
        for name in FACT_MEMBERS:
            # Not `suppress`: this runs after each call, and would take twice as long.
            try:
                facts[name] = self._message(getattr(layer, name)(native), arrays=True)
            except Exception:
                continue
        return facts

    def _describe_layer(self, layer: Any) -> LayerReference:
        methods, unsure = [], []
        for name in RESULT_READERS:
            if name == "call":
                continue
            try:
                value = getattr(layer, name, None)
            except BaseException:
                unsure.append(name)
                continue
            if callable(value):
                methods.append(name)
            elif value is not None:
                unsure.append(name)
        if callable(layer):
            methods.append("call")
        return LayerReference(self.objects.number_of(layer), tuple(methods), tuple(unsure))

    def _message(self, value: Any, *, arrays: bool, is_native: bool = False) -> Any:
        return to_message(value, self.objects.number_of, arrays=arrays, is_native=is_native)

    def _refusals(self) -> tuple[type, ...]:
        try:
            classes = sequence_elements(self.backend.refusals) or ()
        except Exception:
            return ()
        return tuple(x for x in classes if is_of_type(x, type))


def _parameter_names(method: Any) -> tuple[str, ...]:
    """Names of a method's parameters; empty if it does not show them."""
    try:
        return tuple(inspect.signature(method).parameters)
    except Exception:  # the method may be of any kind, also one whose attributes raise
        return ()


def _take_pipes() -> Pipe:
    """Move both pipes to other descriptors: the backend may use or close the standard ones."""
    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return Pipe(source, sink)


def main() -> None:
    """Load a backend, and answer requests until the judge ends."""
    pipe = _take_pipes()
    # Its processes are counted, and what it is left with is said, before any code under test runs.
    means = os.environ.pop(APPLIED_VARIABLE, "") or "nothing is taken from it"
    pipe.send(encode_answer(Answer(means)))
    name, path, reports = pickle.loads(pipe.receive())
    sys.path[:] = path
    warnings.simplefilter("ignore")
    problem, server = "", None
    watch = Watch(reports, delegation=name in WATCHED)
    remove_judge(lambda package: watch.report(DELEGATES, package))
    with hooks(operator_watch=_watch_operators(name, watch)):
        watch.start_audit()
        try:
            server = SealedServer(unguarded_backend(load(name)))
        except BackendError as error:
            problem = str(error)
        _serve(pipe, server, problem, watch)


def _watch_operators(name: str, watch: Watch) -> OperatorWatch | None:
    """A watch of the operators that functions under test call; None for other backends."""
    if name not in WATCHED:
        return None
    from conformance.backends.delegation import OperatorWatch
    from conformance.backends.kernel import settings
    from conformance.backends.operators import dispatch_key

    if name == MODULE_BACKEND:
        operators, device = OperatorWatch(lambda called: watch.report(RUNS, called)), "cpu"
    else:
        allowed, device = settings().allowed, settings().device
        operators = OperatorWatch(lambda called: watch.report(DELEGATES, called), allowed)
    operators.watch_threads(dispatch_key(device))
    return operators


def _serve(pipe: Pipe, server: SealedServer | None, problem: str, watch: Watch) -> NoReturn:
    process = os.getpid()
    gc.collect()
    gc.freeze()
    pipe.send(encode_answer(Answer(problem)))
    while server is not None:
        try:
            message = pipe.receive()
        except EOFError:
            break
        watch.begin_call()
        answer = server.answer(message)
        if os.getpid() != process:
            break  # a copy that the backend made of this process
        pipe.send(answer)
    os._exit(0)


if __name__ == "__main__":
    main()
