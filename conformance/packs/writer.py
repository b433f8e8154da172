"""Write a pack: cases drawn as for any run, with the values that the oracle expects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance import __version__
from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.backends.wire_format import plain
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.items.planning import examples_of
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.case import Case, Unsupported
from conformance.model.files import write_whole
from conformance.packs import PackError
from conformance.packs.pack_format import (
    MANIFEST,
    VERSION,
    Bounded,
    CaseEntry,
    ItemEntry,
    Manifest,
    Wanted,
    digest,
    write_tensors,
)

Tensors = dict[str, tuple[np.ndarray, str]]


class _Nobody:
    """A backend without layers: `Trial` needs one, but a pack needs only the oracle."""

    name = "oracle"

    def info(self) -> Mapping[str, str]:
        """No versions."""
        return {}

    def devices(self) -> Sequence[str]:
        """Only the CPU."""
        return ("cpu",)

    def build(self, call: Any) -> Any:
        """Decline every call."""
        raise Unsupported("nothing is computed while a pack is written")


def write_pack(
    folder: Path,
    layers: Sequence[str],
    dtypes: Sequence[str],
    examples: int,
    seed: int,
    told: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a pack, and return its manifest.

    Calls that draw random numbers are left out, because they have no expected value.

    Args:
        folder: a new or empty folder.
        layers, dtypes: names of the catalogue; real dtypes.
        examples: number of examples, as in a profile: simple layers use fewer.
        seed: seed of the cases.
        told: called with each item's id.

    Raises:
        PackError: if the folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PackError(f"{folder}: expected a new or an empty folder")
    items = []
    for layer in layers:
        for dtype in dtypes:
            told(f"{layer}-{dtype}")
            entry = _written(folder, layer, dtype, examples, seed)
            if entry is not None:
                items.append(entry)
    manifest = Manifest(form=VERSION, suite=__version__, seed=seed, examples=examples, items=items)
    # The manifest comes last, so that an incomplete pack has none.
    write_whole(folder / MANIFEST, _json(manifest))
    return manifest


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _written(folder: Path, layer: str, dtype: str, examples: int, seed: int) -> ItemEntry | None:
    tensors: Tensors = {}
    cases = [
        _entry(index, case, tensors)
        for index, case in enumerate(draw_cases(layer, dtype, examples_of(layer, examples), seed))
        if not CATALOGUE[layer].randomness.used(case.call)
    ]
    if not cases:
        return None
    id = f"{layer}-{dtype}"
    calls, arrays = f"{id}.json", f"{id}.safetensors"
    data = {calls: _json(cases), arrays: write_tensors(folder / arrays, tensors)}
    write_whole(folder / calls, data[calls])
    return ItemEntry(
        id=id,
        layer=layer,
        dtype=dtype,
        cases=len(cases),
        calls=calls,
        tensors=arrays,
        sha256={name: digest(content) for name, content in data.items()},
    )


def _entry(index: int, case: Case, tensors: Tensors) -> CaseEntry:
    call = case.call
    row = CATALOGUE[call.layer]
    trial = Trial(_Nobody(), row, case)

    def put(name: str, array: np.ndarray, dtype: str | None = None) -> str:
        kinds = {"i": "int64", "b": "bool"}
        tensors[f"{index}.{name}"] = array, dtype or kinds.get(array.dtype.kind, call.dtype)
        return f"{index}.{name}"

    def wanted(answer: str, name: str, dtype: str, expected: Rounded | Choices) -> Wanted:
        ways = expected.alternatives if isinstance(expected, Choices) else (expected,)
        values = [
            Bounded(
                expected=put(f"{answer}.expected{k or ''}", np.asarray(way.value), "float64"),
                bound=put(f"{answer}.bound{k or ''}", np.asarray(way.error), "float64"),
            )
            for k, way in enumerate(ways)
        ]
        return Wanted(
            answer=f"{index}.{answer}",
            name=name,
            dtype=dtype,
            shape=list(expected.shape),
            values=values,
        )

    inputs: list[str | None] = []
    for place, (name, x) in enumerate(zip(row.signature.input_names, case.inputs, strict=False)):
        first = next((k for k in range(place) if x is not None and case.inputs[k] is x), None)
        again = None if first is None else inputs[first]
        inputs.append(None if x is None else again or put(name, x))
    expected = iter(trial.expected)
    shapes = row.output_shapes(case)
    return CaseEntry(
        index=index,
        text=case_text(case),
        arguments=plain(call.arguments),
        tuples=[name for name, value in call.arguments.items() if isinstance(value, tuple)],
        keywords=plain(case.keywords),
        training=call.training,
        state={name: put(f"state.{name}", x) for name, x in call.state.items()},
        inputs=inputs,
        outputs=[
            None
            if shape is None
            else wanted(f"{k}", output.name, row.signature.dtype(case, k), next(expected))
            for k, (output, shape) in enumerate(zip(row.signature.outputs, shapes, strict=False))
        ],
        after={
            name: wanted(f"after.{name}", f"{name} after the call", _stored_as(case, name), x)
            for name, x in trial.after.state.items()
        },
    )


def _stored_as(case: Case, name: str) -> str:
    """The dtype of a state tensor or input that the call changes; counters are int64."""
    places = dict(zip(CATALOGUE[case.call.layer].signature.input_names, case.inputs, strict=False))
    tensor = case.call.state.get(name, places.get(name))
    return "int64" if tensor is not None and tensor.dtype.kind == "i" else case.call.dtype
