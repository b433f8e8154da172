"""The files of a pack and of its answers: their form, written and read within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from conformance.model.files import open_file, write_whole
from conformance.model.plain_text import bounded
from conformance.packs import PackError

VERSION = 1
"""Version of the form."""
MANIFEST, ANSWERS = "manifest.json", "answers.json"
MOST = 4 << 30
"""Bytes of a file that is read."""
NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
"""torch's names of the dtypes that safetensors has."""
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Bounded(Struct, kw_only=True):
    """Right values of a tensor: |answer − expected| ≤ bound, element by element.

    Args:
        expected, bound: names of tensors, float64 of the answer's shape.
    """

    expected: str
    bound: str


class Wanted(Struct, kw_only=True):
    """A tensor that is to come out.

    Args:
        answer: the name that the answer has.
        name: as messages have it: `"output"`.
        dtype, shape: of the answer.
        values: one is right for each element; several where the documentation leaves a choice.
    """

    answer: str
    name: str
    dtype: str
    shape: list[int]
    values: list[Bounded]


class CaseEntry(Struct, kw_only=True):
    """One case.

    Args:
        index: in the item.
        text: the call as a person would type it.
        arguments: what the user wrote and is no tensor; nothing that is a default.
        tuples: the arguments that are tuples in Python.
        keywords: of the call, which are no tensors.
        training: train mode.
        state: names of tensors by state_dict name.
        inputs: names of tensors in torch's order; null = left out; the same name twice is the very
            same tensor.
        outputs: in torch's order; null where the documentation says None.
        after: what the call makes of tensors of the state, or of inputs that it writes into.
    """

    index: int
    text: str
    arguments: dict[str, Any]
    tuples: list[str] = []
    keywords: dict[str, Any] = {}
    training: bool = False
    state: dict[str, str] = {}
    inputs: list[str | None]
    outputs: list[Wanted | None]
    after: dict[str, Wanted] = {}


class ItemEntry(Struct, kw_only=True):
    """The cases of a layer and dtype.

    Args:
        id: `"Conv2d-float32"`.
        layer, dtype: names.
        cases: how many.
        calls, tensors: its files, JSON and safetensors.
        sha256: of each of the two, by file.
    """

    id: Name
    layer: Name
    dtype: Name
    cases: int
    calls: Name
    tensors: Name
    sha256: dict[str, str]


class Manifest(Struct, kw_only=True):
    """What a pack consists of.

    Args:
        form: version of the form.
        suite: version of the suite that wrote it.
        seed, examples: of which the cases are.
        items: by layer and dtype.
    """

    form: int
    suite: str
    seed: int
    examples: int
    items: list[ItemEntry]


class Given(Struct, kw_only=True):
    """Who answers: `answers.json`.

    Args:
        backend: the implementation's name.
        info: versions and hardware.
    """

    backend: Annotated[str, Meta(min_length=1, max_length=80)]
    info: dict[str, str] = {}


class Declined(Struct, kw_only=True):
    """Cases of an item without an answer, by index, each with the reason.

    Args:
        unsupported: what the implementation lacks.
        errors: what went wrong.
    """

    unsupported: dict[str, str] = {}
    errors: dict[str, str] = {}


T = TypeVar("T")


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file of a kind.

    Raises:
        PackError: if it is something else.
    """
    try:
        return msgspec.json.decode(read_bytes(path), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PackError(f"{path}: {bounded(str(error), 300)}") from None


def read_bytes(path: Path) -> bytes:
    """A file of a pack.

    Raises:
        PackError: if it cannot be read.
    """
    try:
        with open_file(path, MOST) as file:
            return file.read()
    except OSError as error:
        raise PackError(f"{path}: {error.strerror or error}") from None


def inside(folder: Path, name: str) -> Path:
    """A file of a folder by its name, which leads nowhere else.

    Raises:
        PackError: for a path.
    """
    if Path(name).name != name or name in (".", ".."):
        raise PackError(f"{folder}: file {name!r}: expected a name without a folder")
    return folder / name


def digest(data: bytes) -> str:
    """The checksum of a file."""
    return hashlib.sha256(data).hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, tuple[np.ndarray, str]]) -> bytes:
    """Write arrays in dtypes in which each of their numbers has a place.

    Args:
        tensors: by name, each with torch's name of its dtype.

    Returns:
        What was written.
    """
    from safetensors.numpy import save

    data = bytes(save({name: _stored(*tensor) for name, tensor in tensors.items()}))
    write_whole(path, data)
    return data


def _stored(array: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        import ml_dtypes

        return np.array(array, dtype=ml_dtypes.bfloat16, order="C")
    return np.array(array, dtype=dtype, order="C")


def read_tensors(data: bytes, path: Path) -> dict[str, tuple[np.ndarray, str]]:
    """Arrays of a file as float64, int64 or bool, each with torch's name of its dtype.

    Raises:
        PackError: if the file is malformed, or has a dtype that no layer answers in.
    """
    import safetensors
    from safetensors import SafetensorError

    read: Any = safetensors.deserialize
    try:
        found = read(data)
    except SafetensorError as error:
        raise PackError(f"{path}: no safetensors file: {bounded(str(error), 200)}") from None
    tensors = {}
    for name, facts in found:
        dtype = NAMES.get(facts["dtype"])
        if dtype is None:
            raise PackError(f"{path}: tensor {bounded(name, 80)!r} has dtype {facts['dtype']}")
        tensors[name] = (_host(bytes(facts["data"]), dtype).reshape(facts["shape"]), dtype)
    return tensors


def _host(data: bytes, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    array = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
    wide = {"f": np.float64, "b": np.bool_}.get(array.dtype.kind, np.int64)
    return array.astype(wide)
