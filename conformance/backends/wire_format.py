"""What passes over the wire: tensors, and what a server answers, each held against its type."""

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

PROTOCOL = 1
"""Version of the protocol that is spoken here."""
WIDTHS = {
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
"""Bytes of an element of each dtype that may pass."""
Size = Annotated[int, Meta(ge=0)]
DType = Literal[
    "bool", "int8", "uint8", "int16", "int32", "int64",
    "float16", "bfloat16", "float32", "float64", "complex64", "complex128",
]  # fmt: skip


class WireError(Exception):
    """A server that answers something else than the protocol says, or not at all."""


class RefusedError(RuntimeError):
    """What a server answers to a call that it holds to be wrong: `{"error": …}`."""


class Tensor(Struct, omit_defaults=True, eq=False, kw_only=True):
    """A tensor: elements in C order, little-endian, complex ones as (re, im).

    Args:
        dtype: torch's name, without the prefix.
        shape: of the tensor.
        data: the elements in base64; None where they are in a file.
        file: a file that holds the elements and nothing else; whoever reads it removes it.
    """

    dtype: DType
    shape: list[Size]
    data: str | None = None
    file: str | None = None


class Hello(Struct, kw_only=True):
    """What a server says of itself.

    Args:
        protocol: the version that it speaks.
        name: of the implementation.
        info: versions and hardware, for the report.
        devices: that it offers.
        layers: that it has; None = it is asked by building.
        dtypes: that it has; None = likewise.
        files: it reads large tensors from files, and may write them.
        numerics: how it differs from IEEE arithmetic, by dtype; fields as of `Numerics`.
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
        layer: the number that later requests name it by.
        has: the optional operations that it offers.
    """

    layer: int
    has: list[Literal["vjp", "state", "load", "train", "attributes"]] = []


class Outputs(Struct, kw_only=True):
    """What a call gives.

    Args:
        outputs: in torch's order; null where the documentation says None.
        written: inputs that the call wrote into, by their place.
    """

    outputs: list[Tensor | None]
    written: dict[str, Tensor] = {}


class Gradients(Struct, kw_only=True):
    """Gradients of Σ⟨output, cotangent⟩.

    Args:
        inputs: one for each input; null where it has none.
        parameters: by state_dict name.
    """

    inputs: list[Tensor | None]
    parameters: dict[str, Tensor] = {}


class State(Struct, kw_only=True):
    """The tensors of a layer.

    Args:
        state: by state_dict name.
    """

    state: dict[str, Tensor]


class Attributes(Struct, kw_only=True):
    """What a layer says of itself.

    Args:
        attributes: by name.
    """

    attributes: dict[str, Any]


class Nothing(Struct):
    """Of an operation without a result."""


class Answer(Struct, kw_only=True):
    """One line of a server: exactly one of `ok`, `unsupported` and `error`.

    Args:
        id: of the request.
        ok: the result.
        unsupported: why the call is declined, as a user would write it: `"padding_mode='reflect'"`.
        error: why the call is refused.
    """

    id: int
    ok: Raw | UnsetType = UNSET
    unsupported: str | None = None
    error: str | None = None


RESULTS: dict[str, type[Struct]] = {
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
"""Of each operation what the answer's `ok` is."""
T = TypeVar("T")


def decoded(line: bytes | Raw, kind: type[T], what: str) -> T:
    """Read JSON of a server.

    Args:
        line: the text.
        kind: what it must be.
        what: for the message.

    Raises:
        WireError: if it is something else.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        shown = ascii(bytes(line[:120]).decode("utf-8", "replace"))
        raise WireError(f"{what}: {error}; got {shown}") from None


def encoded(array: np.ndarray, dtype: str) -> Tensor:
    """A host array as a tensor of a dtype, in which each number has a place.

    Args:
        array: float64, complex128, int64 or bool.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    if dtype == "bfloat16":
        data = (flat.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = flat.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
    return Tensor(dtype=dtype, shape=list(array.shape), data=b64encode(data).decode())  # type: ignore[arg-type]


def host(tensor: Tensor) -> np.ndarray:
    """A tensor as a host array: float64, complex128, int64 or bool.

    Raises:
        WireError: if its elements are not those of its shape.
    """
    data = _bytes(tensor)
    wanted = math.prod(tensor.shape) * WIDTHS[tensor.dtype]
    if len(data) != wanted:
        said = f"{tensor.dtype} of shape {tensor.shape}: {len(data)} bytes"
        raise WireError(f"a tensor, {said}: expected {wanted}")
    if tensor.dtype == "bfloat16":
        flat = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        flat = np.frombuffer(data, np.dtype(tensor.dtype).newbyteorder("<"))
    wide = {"f": np.float64, "c": np.complex128, "b": np.bool_}.get(flat.dtype.kind, np.int64)
    return flat.astype(wide).reshape(tensor.shape)


def _bytes(tensor: Tensor) -> bytes:
    if tensor.data is None:
        raise WireError("a tensor without data")
    try:
        return b64decode(tensor.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError(f"a tensor's data is no base64: {error}") from None


def fetched(tensor: Tensor, folder: Path | None) -> Tensor:
    """A tensor that holds its elements, read from its file where they are in one.

    Args:
        tensor: as a server wrote it.
        folder: in which its files are; None where none were agreed on.

    Raises:
        WireError: if there is no such file in the folder.
    """
    if tensor.file is None:
        return tensor
    path = Path(tensor.file)
    if folder is None or path.parent != folder or path.is_symlink() or not path.is_file():
        raise WireError(f"file {tensor.file!r}: expected one in the folder that was named")
    data = path.read_bytes()
    path.unlink()
    return Tensor(dtype=tensor.dtype, shape=tensor.shape, data=b64encode(data).decode())


def plain(value: Any) -> Any:
    """An argument as JSON: tuples are lists, an infinite number is `{"number": "inf"}`."""
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    odd = isinstance(value, float) and not math.isfinite(value)
    return {"number": str(value)} if odd else value


def schema() -> dict[str, Any]:
    """What a server answers, as JSON Schema: the line, and of each operation what `ok` is."""
    kinds = [Answer, *dict.fromkeys(RESULTS.values())]
    references, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    of = dict(zip(kinds, references, strict=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What a server answers over the wire of nn-conformance",
        "$defs": {**parts, "results": {op: of[kind] for op, kind in RESULTS.items()}},
        **of[Answer],
    }
