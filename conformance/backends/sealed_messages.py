"""What crosses between a judge and a sealed process.

Requests are pickled, since the process may trust its judge. Answers are MessagePack, of which the
judge reads numbers, texts, arrays and the numbers of natives, and nothing that runs code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import select
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from msgspec.msgpack import Ext

from conformance.backends.sealed_exceptions import DeferredError, Raised, named_class
from conformance.model.case import Numerics
from conformance.model.plain_text import bounded
from conformance.model.untrusted import (
    is_mapping,
    is_of_type,
    safe_repr,
    sequence_elements,
    type_name,
)

LAYER_MEMBERS = frozenset(("build", "copy_layer", "autocast"))
"""Members of a backend and of a layer that return a layer."""
FACT_MEMBERS = ("dtype", "shape", "device")
"""Members of a layer that say something of a native, and are read right after a call."""
MAX_MESSAGE = 1 << 32
"""Most bytes of a message."""
MAX_PIECE = 1 << 16
"""Most bytes that are read or written at once."""
_NATIVE, _ARRAY, _TUPLE, _OPAQUE, _INTEGER, _COMPLEX, _NUMERICS, _LAYER, _METHOD = range(1, 10)
_ARRAY_KINDS = "fciub"
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
_native_types: set[type] = set()
"""Types of which a result was a native, in the sealed process."""


class SealedError(Exception):
    """A sealed process answered something that is no answer."""


class LateError(SealedError):
    """A sealed process did not answer in time."""


class Request(NamedTuple):
    """What a judge asks a sealed process for.

    Args:
        action: `"read"` a member, `"call"` a method, `"describe"` a layer, or `"batch"`: call a
            method once for each element of `arguments`, and `sync` the layer.
        target: number of the object; 0 is the backend.
        member: name of the member; `"call"` is the object itself.
        arguments, keywords: of the call; natives by number.
        dropped: numbers of objects that the judge does not need any more.
        number: under which the judge knows the result, a negative one; 0 = the process chooses.
        describes: the answer to a computation describes the layer, too.
    """

    action: str
    target: int
    member: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}
    dropped: tuple[int, ...] = ()
    number: int = 0
    describes: bool = False


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """What a sealed process answers.

    Args:
        value: the result; None if it raised.
        raised: what it raised.
        has_updated: whether the layer has an attribute `updated` now.
        fell_back: what `fallbacks` of the layer returns now; None if it has none.
        outputs: number of a native → what was read of it right after the call.
        layer: the `LayerReference` of the layer if the request asks for it.
    """

    value: Any = None
    raised: Raised | None = None
    has_updated: bool = False
    fell_back: Any = None
    outputs: dict[int, FirstRead] = {}
    layer: Any = None


class FirstRead(msgspec.Struct, array_like=True, frozen=True):
    """What a sealed process reads of a native right after a call.

    Args:
        digest: of its numbers.
        facts: what members of the layer say of it, see `FACT_MEMBERS`.
        array: its numbers, if they are few.
    """

    digest: bytes
    facts: dict[str, Any]
    array: Any = None


class LayerReference(NamedTuple):
    """A layer of the process: its number, its methods, and members whose reading may raise."""

    number: int
    methods: tuple[str, ...]
    unsure: tuple[str, ...]


class MethodReference(NamedTuple):
    """A method of the backend, with the names of its parameters."""

    parameters: tuple[str, ...]


class Opaque:
    """A value of a sealed process that has no place in an answer; its class has the same name.

    Args:
        text: the value's repr.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class Pipe:
    """Messages in both directions, each after its length.

    Args:
        source, sink: descriptors.
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink, self._unread = source, sink, b""

    def send(self, message: bytes, deadline: float | None = None) -> None:
        """Send a message.

        Args:
            deadline: when it must be sent, on the monotonic clock; None = no limit. It needs a
                descriptor that does not block.

        Raises:
            LateError: if it is late.
            SealedError: if the other process has sent a message before it was asked for one.
        """
        if self._unread:
            raise SealedError("it answered before it was asked")
        view = memoryview(len(message).to_bytes(8, "little") + message)
        while view:
            try:
                view = view[os.write(self._sink, view[:MAX_PIECE]) :]
            except BlockingIOError:
                _wait([], [self._sink], deadline)

    def receive(self, deadline: float | None = None) -> bytes:
        """Wait for a message; `deadline` is as for `send`.

        Raises:
            EOFError: if the other process has ended.
            LateError: if it is late.
            SealedError: if the length cannot be one.
        """
        size = int.from_bytes(self._read(8, deadline), "little")
        if size > MAX_MESSAGE:
            raise SealedError(f"a message of {size} bytes")
        return self._read(size, deadline)

    def _read(self, size: int, deadline: float | None) -> bytes:
        pieces, missing = [self._unread], size - len(self._unread)
        while missing > 0:
            if deadline is not None:
                _wait([self._source], [], deadline)
            piece = os.read(self._source, MAX_PIECE)
            if not piece:
                raise EOFError
            pieces.append(piece)
            missing -= len(piece)
        read = b"".join(pieces)
        self._unread = read[size:]
        return read[:size]


def _wait(sources: list[int], sinks: list[int], deadline: float | None) -> None:
    """Wait for one of some descriptors; `LateError` if none is ready in time."""
    seconds = None if deadline is None else max(deadline - time.monotonic(), 0.0)
    if not any(select.select(sources, sinks, [], seconds)):
        raise LateError("no answer within the time limit")


class Objects:
    """The objects of a sealed process that its judge knows by number; 0 is the backend."""

    current: ClassVar[Objects]

    def __init__(self, backend: Any) -> None:
        self._objects: dict[int, Any] = {0: backend}
        self._numbers: dict[int, int] = {}
        self._count = 0
        Objects.current = self

    def number_of(self, value: Any) -> int:
        """The number of an object; the same object has the same number until it is dropped."""
        number = self._numbers.get(id(value))
        if number is None:
            self._count += 1
            number = self._numbers[id(value)] = self._count
            self._objects[number] = value
        return number

    def set(self, number: int, value: Any) -> None:
        """Keep an object under a number that the judge has chosen, a negative one."""
        self._objects[number] = value
        self._numbers.setdefault(id(value), number)

    def find(self, number: int) -> Any:
        """The object of a number.

        Raises:
            DeferredError: if the request that had to make it raised.
        """
        value = self._objects[number]
        if type(value) is DeferredError:
            raise value
        return value

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget objects."""
        for number in numbers:
            value = self._objects.pop(number, None)
            if self._numbers.get(id(value)) == number:
                del self._numbers[id(value)]


def find_object(number: int) -> Any:
    """The object that a native in a request stands for."""
    return Objects.current.find(number)


def encode_request(request: Request) -> bytes:
    """The bytes of a request; natives in it become their numbers."""
    return pickle.dumps(tuple(request), protocol=5)


def encode_requests(requests: Sequence[bytes]) -> bytes:
    """The message of encoded requests, of which the last one is answered."""
    return pickle.dumps(tuple(requests), protocol=5)


def decode_requests(message: bytes) -> Iterator[Request]:
    """Decode requests, in the process that has the objects; each after the one before is done."""
    for request in pickle.loads(message):
        yield Request(*pickle.loads(request))


def encode_answer(answer: Answer) -> bytes:
    """Encode an answer whose values `to_message` has converted."""
    return msgspec.msgpack.encode(answer)


def to_message(
    value: Any, number_of: Callable[[Any], int], *, arrays: bool, is_native: bool = False
) -> Any:
    """Convert a result to what an answer may hold.

    Args:
        number_of: gives the number under which the process keeps an object.
        arrays: arrays cross as numbers; else an array is a native like any other object.
        is_native: the value itself is a native, whatever its type.
    """
    kind = type(value)
    if is_native and value is not None:
        return Ext(_NATIVE, _number(number_of(value)))
    # First what most answers are made of: to ask of these what they are not takes longest.
    if value is None or kind is bool or kind is float:
        return value
    if kind is int and _MIN_INTEGER <= value <= _MAX_INTEGER:
        return value
    if not arrays and kind in _native_types:
        return Ext(_NATIVE, _number(number_of(value)))
    if kind is np.ndarray and arrays and value.dtype.kind in _ARRAY_KINDS:
        return _array_to_message(value)
    if is_of_type(value, LayerReference):
        return Ext(_LAYER, msgspec.msgpack.encode(tuple(value)))
    if is_of_type(value, MethodReference):
        return Ext(_METHOD, msgspec.msgpack.encode(value.parameters))
    if is_of_type(value, str):
        return bounded(str.__str__(value), MAX_MESSAGE)
    if is_of_type(value, bool, np.bool_):
        return bool(value)
    if is_of_type(value, int, np.integer):
        number = int(value)
        is_short = _MIN_INTEGER <= number <= _MAX_INTEGER
        return number if is_short else Ext(_INTEGER, str(number).encode())
    if is_of_type(value, float):
        return float.__float__(value)
    if kind is complex:
        return Ext(_COMPLEX, np.complex128(value).tobytes())
    if kind is Numerics:
        return Ext(_NUMERICS, msgspec.msgpack.encode(_numerics_fields(value)))
    items = sequence_elements(value)
    if items is not None:
        parts = [to_message(item, number_of, arrays=arrays) for item in items]
        if is_of_type(value, list):
            return parts
        return Ext(_TUPLE, msgspec.msgpack.encode(parts))
    if is_mapping(value):
        return {_key(key): to_message(value[key], number_of, arrays=arrays) for key in list(value)}
    if not arrays:
        _native_types.add(kind)
        return Ext(_NATIVE, _number(number_of(value)))
    return Ext(_OPAQUE, msgspec.msgpack.encode((type_name(value), safe_repr(value))))


def _array_to_message(array: np.ndarray) -> Ext:
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return Ext(_ARRAY, msgspec.msgpack.encode((plain.dtype.str, array.shape, plain.tobytes())))


def _number(number: int) -> bytes:
    return number.to_bytes(8, "little", signed=True)


def _key(key: Any) -> str:
    return str.__str__(key) if is_of_type(key, str) else safe_repr(key)


def _numerics_fields(numerics: Numerics) -> dict[str, Any]:
    fields = {x.name: getattr(numerics, x.name) for x in dataclasses.fields(Numerics)}
    return {name: dict(x) if is_mapping(x) else x for name, x in fields.items()}


class AnswerDecoder:
    """Decodes answers.

    Args:
        native: number of an object → what stands for it here.
    """

    def __init__(self, native: Callable[[int], Any]) -> None:
        self._native = native
        self._answers = msgspec.msgpack.Decoder(Answer, ext_hook=self._read_extension)
        self._values = msgspec.msgpack.Decoder(Any, ext_hook=self._read_extension)

    def decode(self, message: bytes) -> Answer:
        """Decode an answer.

        Raises:
            SealedError: if it is none.
        """
        try:
            return self._answers.decode(message)
        except Exception as error:  # whatever the process wrote
            raise SealedError(f"not an answer: {bounded(str(error), 200)}") from None

    def _read_extension(self, code: int, data: memoryview) -> Any:
        if code == _NATIVE:
            return self._native(int.from_bytes(data, "little", signed=True))
        if code == _INTEGER:
            return int(bytes(data)[:400])
        if code == _COMPLEX:
            return complex(np.frombuffer(data, np.complex128)[0])
        parts = self._values.decode(data)
        if code == _TUPLE:
            return tuple(parts)
        if code == _METHOD:
            return MethodReference(tuple(map(str, parts)))
        if code == _ARRAY:
            return _read_array(*parts)
        if code == _LAYER:
            number, methods, unsure = parts
            return LayerReference(int(number), tuple(methods), tuple(unsure))
        if code == _NUMERICS:
            fields: Any = {k: tuple(x) if type(x) is list else x for k, x in parts.items()}
            return Numerics(**fields)
        name, text = parts
        return named_class(str(name), (Opaque,))(str(text))


def _read_array(text: str, shape: Iterable[int], data: bytes) -> np.ndarray:
    dtype = np.dtype(str(text))
    if dtype.kind not in _ARRAY_KINDS:
        raise ValueError(f"dtype {dtype}")
    return np.frombuffer(data, dtype).reshape(tuple(shape)).copy()


def digest(array: np.ndarray) -> bytes:
    """A digest of an array's numbers, the same for the same bits."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()
