"""Write a pack: cases drawn as for any run, with the values that the oracle expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance import __version__
from conformance.arithmetic.choices import Choices
from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.rounded import Rounded
from conformance.backends.wire_format import to_json
from conformance.bounding.bounds import OracleBackend
from conformance.checks.trial import Trial
from conformance.generation.drawing import draw_cases
from conformance.items.planning import examples_for_layer
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.case import Case
from conformance.model.files import write_atomically
from conformance.packs import PackError
from conformance.packs.pack_format import (
    FORM_VERSION,
    MANIFEST,
    BoundedValues,
    CaseEntry,
    ItemEntry,
    Manifest,
    WantedTensor,
    digest,
    write_tensors,
)

Tensors = dict[str, tuple[np.ndarray, str]]


def write_pack(
    folder: Path,
    layers: Sequence[str],
    dtypes: Sequence[str],
    examples: int,
    seed: int,
    on_item: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a pack, and return its manifest.

    Calls that draw random numbers are left out, because they have no expected value.

    Args:
        folder: a new or empty folder.
        layers, dtypes: names of the catalogue; real dtypes.
        examples: number of examples, as in a profile: simple layers use fewer.
        seed: seed of the cases.
        on_item: called with each item's id.

    Raises:
        PackError: if the folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PackError(f"{folder}: expected a new or an empty folder")
    items = []
    for layer in layers:
        for dtype in dtypes:
            on_item(f"{layer}-{dtype}")
            entry = _write_item(folder, layer, dtype, examples, seed)
            if entry is not None:
                items.append(entry)
    manifest = Manifest(
        form=FORM_VERSION, suite=__version__, seed=seed, examples=examples, items=items
    )
    # The manifest comes last, so that an incomplete pack has none.
    write_atomically(folder / MANIFEST, _json(manifest))
    return manifest


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _write_item(folder: Path, layer: str, dtype: str, examples: int, seed: int) -> ItemEntry | None:
    tensors: Tensors = {}
    cases = [
        _make_entry(index, case, tensors)
        for index, case in enumerate(
            draw_cases(layer, dtype, examples_for_layer(layer, examples), seed)
        )
        if not CATALOGUE[layer].randomness.is_used(case.call)
    ]
    if not cases:
        return None
    id = f"{layer}-{dtype}"
    calls, arrays = f"{id}.json", f"{id}.safetensors"
    data = {calls: _json(cases), arrays: write_tensors(folder / arrays, tensors)}
    write_atomically(folder / calls, data[calls])
    return ItemEntry(
        id=id,
        layer=layer,
        dtype=dtype,
        cases=len(cases),
        calls=calls,
        tensors=arrays,
        sha256={name: digest(content) for name, content in data.items()},
    )


def _make_entry(index: int, case: Case, tensors: Tensors) -> CaseEntry:
    call = case.call
    spec = CATALOGUE[call.layer]
    numerics = promised_numerics(None, case.call.dtype)
    trial = Trial(OracleBackend(), spec, case, numerics)

    def add_tensor(name: str, array: np.ndarray, dtype: str | None = None) -> str:
        kinds = {"i": "int64", "b": "bool"}
        tensors[f"{index}.{name}"] = array, dtype or kinds.get(array.dtype.kind, call.dtype)
        return f"{index}.{name}"

    def make_wanted(
        answer: str, name: str, dtype: str, expected: Rounded | Choices
    ) -> WantedTensor:
        alternatives = expected.alternatives if isinstance(expected, Choices) else (expected,)
        values = [
            BoundedValues(
                expected=add_tensor(
                    f"{answer}.expected{k or ''}", np.asarray(way.value), "float64"
                ),
                bound=add_tensor(f"{answer}.bound{k or ''}", np.asarray(way.error), "float64"),
            )
            for k, way in enumerate(alternatives)
        ]
        return WantedTensor(
            answer=f"{index}.{answer}",
            name=name,
            dtype=dtype,
            shape=list(expected.shape),
            values=values,
        )

    inputs: list[str | None] = []
    for position, (name, x) in enumerate(
        zip(spec.signature.input_names, case.inputs, strict=False)
    ):
        earlier_place = next(
            (k for k in range(position) if x is not None and case.inputs[k] is x), None
        )
        earlier_name = None if earlier_place is None else inputs[earlier_place]
        inputs.append(None if x is None else earlier_name or add_tensor(name, x))
    expected = iter(trial.expected)
    shapes = spec.output_shapes(case)
    return CaseEntry(
        index=index,
        text=case_text(case),
        arguments=to_json(call.arguments),
        tuples=[name for name, value in call.arguments.items() if isinstance(value, tuple)],
        keywords=to_json(case.keywords),
        training=call.training,
        state={name: add_tensor(f"state.{name}", x) for name, x in call.state.items()},
        inputs=inputs,
        outputs=[
            None
            if shape is None
            else make_wanted(
                f"{k}", output.name, spec.signature.output_dtype(case, k), next(expected)
            )
            for k, (output, shape) in enumerate(zip(spec.signature.outputs, shapes, strict=False))
        ],
        after={
            name: make_wanted(
                f"after.{name}", f"{name} after the call", _changed_dtype(case, name), x
            )
            for name, x in trial.expected_update.state.items()
        },
    )


def _changed_dtype(case: Case, name: str) -> str:
    """The dtype of a state tensor or input that the call changes; counters are int64."""
    inputs_by_name = dict(
        zip(CATALOGUE[case.call.layer].signature.input_names, case.inputs, strict=False)
    )
    tensor = case.call.state.get(name, inputs_by_name.get(name))
    return "int64" if tensor is not None and tensor.dtype.kind == "i" else case.call.dtype
