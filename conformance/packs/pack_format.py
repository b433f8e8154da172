"""The files of a pack and of its answers: their form, and how to read and write them safely."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from conformance.model.files import open_file, write_atomically
from conformance.model.plain_text import bounded
from conformance.packs import PackError

FORM_VERSION = 1
"""Version of the file format."""
MANIFEST, ANSWERS = "manifest.json", "answers.json"
MAX_FILE_BYTES = 4 << 30
"""Bytes of a file to read, at most."""
DTYPE_NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""torch's name for each dtype name of safetensors."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class BoundedValues(Struct, kw_only=True):
    """Right values of a tensor: |answer − expected| ≤ bound, element by element.

    Args:
        expected, bound: names of tensors, float64 of the answer's shape.
    """

    expected: str
    bound: str


class WantedTensor(Struct, kw_only=True):
    """A tensor that the answers must contain.

    Args:
        answer: name of the tensor in the answers.
        name: name in messages, e.g. `"output"`.
        dtype, shape: of the answer.
        values: each element must match one of these; several if the documentation leaves a choice.
    """

    answer: str
    name: str
    dtype: str
    shape: list[int]
    values: list[BoundedValues]


class CaseEntry(Struct, kw_only=True):
    """One case.

    Args:
        index: position in the item.
        text: the call as a person would type it.
        arguments: constructor arguments that are not tensors; defaults are left out.
        tuples: names of the arguments that are tuples in Python.
        keywords: keyword arguments of the call that are not tensors.
        training: the layer is in train mode.
        state: names of tensors by state_dict name.
        inputs: names of tensors in torch's order; null = not passed. A name that appears twice
            means the same tensor object.
        outputs: in torch's order; null if the documentation says None.
        after: expected values, after the call, of state and inputs that the call changes.
    """

    index: int
    text: str
    arguments: dict[str, Any]
    tuples: list[str] = []
    keywords: dict[str, Any] = {}
    training: bool = False
    state: dict[str, str] = {}
    inputs: list[str | None]
    outputs: list[WantedTensor | None]
    after: dict[str, WantedTensor] = {}


class ItemEntry(Struct, kw_only=True):
    """The cases of a layer and dtype.

    Args:
        id: e.g. `"Conv2d-float32"`.
        layer, dtype: names.
        cases: number of cases.
        calls, tensors: names of its JSON file and its safetensors file.
        sha256: file name → checksum, for both files.
    """

    id: Name
    layer: Name
    dtype: Name
    cases: int
    calls: Name
    tensors: Name
    sha256: dict[str, str]


class Manifest(Struct, kw_only=True):
    """The contents of a pack.

    Args:
        form: version of the file format.
        suite: version of the suite that wrote the pack.
        seed, examples: seed and number of examples that the cases were drawn with.
        items: one for each layer and dtype.
    """

    form: int
    suite: str
    seed: int
    examples: int
    items: list[ItemEntry]


class Respondent(Struct, kw_only=True):
    """The implementation that answers: the contents of `answers.json`.

    Args:
        backend: the implementation's name.
        info: versions and hardware.
    """

    backend: Annotated[str, Meta(min_length=1, max_length=80)]
    info: dict[str, str] = {}


class Declined(Struct, kw_only=True):
    """The cases of an item without an answer.

    Args:
        unsupported: case index → what the implementation lacks.
        errors: case index → what went wrong.
    """

    unsupported: dict[str, str] = {}
    errors: dict[str, str] = {}


T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as a given type.

    Raises:
        PackError: if the file does not match the type.
    """
    try:
        return msgspec.json.decode(read_bytes(path), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(f"{path}: {bounded(str(error), 300)}") from None


def read_bytes(path: Path) -> bytes:
    """Read a file of a pack, up to a maximum size.

    Raises:
        PackError: if it cannot be read.
    """
    try:
        with open_file(path, MAX_FILE_BYTES) as file:
            return file.read()
    except OSError as error:
        raise PackError(f"{path}: {error.strerror or error}") from None


def path_inside(folder: Path, name: str) -> Path:
    """Join a folder and a file name from a pack; the result is always inside the folder.

    Raises:
        PackError: if the name is a path.
    """
    if Path(name).name != name or name in (".", ".."):
        raise PackError(f"{folder}: file {name!r}: expected a name without a folder")
    return folder / name


def digest(data: bytes) -> str:
    """The SHA-256 checksum of a file's contents, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, tuple[np.ndarray, str]]) -> bytes:
    """Write a safetensors file, and return its bytes.

    Args:
        tensors: name → array and torch's name of a dtype that represents its numbers exactly.
    """
    from safetensors.numpy import save

    data = bytes(save({name: _to_dtype(*tensor) for name, tensor in tensors.items()}))
    write_atomically(path, data)
    return data


def _to_dtype(array: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        import ml_dtypes

        return np.array(array, dtype=ml_dtypes.bfloat16, order="C")
    return np.array(array, dtype=dtype, order="C")


def read_tensors(data: bytes, path: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Decode a safetensors file.

    Returns:
        Name → float64, int64 or bool array, and torch's name of its dtype in the file.

    Raises:
        PackError: if the file is malformed, or has a dtype that no layer returns.
    """
    import safetensors
    from safetensors import SafetensorError

    read: Any = safetensors.deserialize
    try:
        entries = read(data)
    except SafetensorError as error:
        raise PackError(f"{path}: not a safetensors file: {bounded(str(error), 200)}") from None
    tensors = {}
    for name, entry in entries:
        dtype = DTYPE_NAMES.get(entry["dtype"])
        if dtype is None:
            raise PackError(f"{path}: tensor {bounded(name, 80)!r} has dtype {entry['dtype']}")
        tensors[name] = (_to_host_array(bytes(entry["data"]), dtype).reshape(entry["shape"]), dtype)
    return tensors


def _to_host_array(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
    host_dtype = {"f": np.float64, "b": np.bool_}.get(array.dtype.kind, np.int64)
    return array.astype(host_dtype)
