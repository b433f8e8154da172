"""The messages of the wire protocol: tensors and answers, each checked against its type."""

from __future__ import annotations

import binascii
import math
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from conformance.model.untrusted import RemoteError

PROTOCOL = 1
"""Version of the protocol that this module implements."""
ITEM_SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes per element of each dtype in the protocol."""
Size = Annotated[int, Meta(ge=0)]
DType = Literal[
    "bool", "int8", "uint8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip


class WireError(Exception):
    """A server does not answer, or its answer does not follow the protocol."""


class RefusedError(RemoteError):
    """A server refuses a call as invalid: it answers `{"error": …}`, perhaps with a `trace`."""


class Tensor(Struct, omit_defaults=True, eq=False, kw_only=True):
    """A tensor: elements in C order, little-endian, complex ones as (re, im).

    Args:
        dtype: torch's name, without the prefix.
        data: the elements in base64; None if they are in a file.
        file: path of a file with only the elements; the process that reads it removes it.
    """

    dtype: DType
    shape: list[Size]
    data: str | None = None
    file: str | None = None


class Hello(Struct, kw_only=True):
    """The first answer of a server: what it implements.

    Args:
        protocol: version of the protocol.
        name: name of the implementation.
        info: versions and hardware, for the report.
        devices: the devices that it offers.
        layers: the layers that it has; None = only building shows it.
        dtypes: the dtypes that it has; None = only building shows it.
        files: whether it reads large tensors from files, and may write them.
        numerics: deviations from IEEE arithmetic by dtype, with the fields of `Numerics`.
        accepts: broken constraints that it accepts on purpose.
    """

    protocol: int
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    info: dict[str, str] = {}
    devices: Annotated[list[str], Meta(min_length=1)] = field(default_factory=lambda: ["cpu"])
    layers: list[str] | None = None
    dtypes: list[DType] | None = None
    files: bool = False
    numerics: dict[str, dict[str, Any]] = {}
    accepts: list[str] = []


class Built(Struct, kw_only=True):
    """A layer that a server has built.

    Args:
        layer: the number by which later requests name the layer.
        has: optional operations of the layer.
    """

    layer: int
    has: list[Literal["vjp", "state", "load", "train", "attributes"]] = []


class Outputs(Struct, kw_only=True):
    """The result of a call.

    Args:
        outputs: tensors in torch's order; null where the documentation says None.
        written: inputs that the call wrote into, by their place.
    """

    outputs: list[Tensor | None]
    written: dict[str, Tensor] = {}


class Gradients(Struct, kw_only=True):
    """Gradients of Σ⟨output, cotangent⟩.

    Args:
        inputs: one gradient for each input; null where an input has none.
        parameters: gradients by state_dict name.
    """

    inputs: list[Tensor | None]
    parameters: dict[str, Tensor] = {}


class State(Struct, kw_only=True):
    """The parameters and buffers of a layer, by state_dict name."""

    state: dict[str, Tensor]


class Attributes(Struct, kw_only=True):
    """The readable attributes of a layer, by torch's names."""

    attributes: dict[str, Any]


class Nothing(Struct):
    """The result of an operation that returns nothing."""


class Answer(Struct, kw_only=True):
    """One line of a server; it has exactly one of `ok`, `unsupported` and `error`.

    Args:
        id: the id of the request.
        ok: the result.
        unsupported: why the server declines the call, as a user writes it: `"padding='same'"`.
        error: why the server refuses the call.
        trace: with an error, the server's stack trace, one frame a line.
    """

    id: int
    ok: Raw | UnsetType = UNSET
    unsupported: str | None = None
    error: str | None = None
    trace: str | None = None


RESULT_TYPES: dict[str, type[Struct]] = {
    "hello": Hello,
    "build": Built,
    "call": Outputs,
    "vjp": Gradients,
    "state": State,
    "load": Nothing,
    "train": Nothing,
    "attributes": Attributes,
    "files": Nothing,
}
"""Operation → type of `ok` in its answer."""
T = TypeVar("T")


def decode_json(line: bytes | Raw, kind: type[T], source: str) -> T:
    """Decode JSON from a server.

    Args:
        kind: the type that the JSON must have.
        source: what the server did, for the message.

    Raises:
        WireError: if the line is not JSON of this type.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        excerpt = ascii(bytes(line[:120]).decode("utf-8", "replace"))
        raise WireError(f"{source}: {error}; got {excerpt}") from None


def encode_tensor(array: np.ndarray, dtype: str) -> Tensor:
    """Encode a host array of float64, complex128, int64 or bool as a tensor of a dtype.

    Each number must be exact in the dtype.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype == "bfloat16":
        data = (flat.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = flat.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return Tensor(dtype=dtype, shape=list(array.shape), data=b64encode(data).decode())  # type: ignore[arg-type]


def decode_tensor(tensor: Tensor) -> np.ndarray:
    """Decode a tensor into a host array of float64, complex128, int64 or bool.

    Raises:
        WireError: if the number of bytes does not fit the shape.
    """
    raw_bytes = _tensor_bytes(tensor)
    byte_count = math.prod(tensor.shape) * ITEM_SIZES[tensor.dtype]
    if len(raw_bytes) != byte_count:
        description = f"{tensor.dtype}, shape {tensor.shape}: {len(raw_bytes)} bytes"
        raise WireError(f"tensor of {description}: expected {byte_count}")
    if tensor.dtype == "bfloat16":
        flat = (np.frombuffer(raw_bytes, "<u2").astype("<u4") << 16).view("<f4")
    else:
        flat = np.frombuffer(raw_bytes, np.dtype(tensor.dtype).newbyteorder("<"))
    wide = {"f": np.float64, "c": np.complex128, "b": np.bool_}.get(flat.dtype.kind, np.int64)
    return flat.astype(wide).reshape(tensor.shape)


def _tensor_bytes(tensor: Tensor) -> bytes:
    if tensor.data is None:
        raise WireError("a tensor has neither data nor a file")
    try:
        return b64decode(tensor.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"tensor data is not valid base64: {error}") from None


def read_tensor(tensor: Tensor, folder: Path | None) -> Tensor:
    """Read a tensor's elements from its file and remove the file; other tensors stay unchanged.

    Args:
        tensor: the tensor that the server sent.
        folder: the folder of its files; None if no folder was agreed on.

    Raises:
        WireError: if the folder has no such file.
    """
    if tensor.file is None:
        return tensor
    path = Path(tensor.file)
    if folder is None or path.parent != folder or path.is_symlink() or not path.is_file():
        raise WireError(f"file {tensor.file!r}: expected a file in the agreed folder")
    data = path.read_bytes()
    path.unlink()
    return Tensor(dtype=tensor.dtype, shape=tensor.shape, data=b64encode(data).decode())


def to_json(value: Any) -> Any:
    """Convert an argument to JSON: tuples become lists, infinity becomes `{"number": "inf"}`."""
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    non_finite = isinstance(value, float) and not math.isfinite(value)
    return {"number": str(value)} if non_finite else value


def schema() -> dict[str, Any]:
    """JSON Schema of a server's answers: the line, and the type of `ok` for each operation."""
    kinds = [Answer, *dict.fromkeys(RESULT_TYPES.values())]
    references, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    references_by_type = dict(zip(kinds, references, strict=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a server answers over the wire of nn-conformance",
        "$defs": {
            **parts,
            "results": {op: references_by_type[kind] for op, kind in RESULT_TYPES.items()},
        },
        **references_by_type[Answer],
    }
