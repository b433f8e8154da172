"""Find which layers reach which operator of torch on a CPU: make `conformance/layers/reached.json`.

    python tools/reached_table.py

It calls and differentiates the first cases of each layer. Meanwhile torch's own kernels replace
themselves, in the same way as a function under test does. So a function under test reaches the
same layers.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from support import excuses_of

import conformance
from conformance.backends.module import ModuleBackend
from conformance.backends.operators import Operator, find_operator
from conformance.backends.override import OverrideBackend
from conformance.generation.drawing import draw_cases
from conformance.layers import CATALOGUE
from conformance.model.case import Case, Unsupported

TABLE = Path(str(conformance.__file__)).parent / "layers" / "reached.json"
DTYPES = ("float32", "bfloat16")
CHECKS = ("values", "gradients")
CASES = 16


def reached_operators(layer: str) -> tuple[str, ...]:
    """The replaceable operators that a layer's cases reach."""
    cases = [
        case
        for dtype in DTYPES
        for case in draw_cases(layer, dtype, CASES, 0)
        # Leave out cases that would end this process.
        if all(
            excuses_of(layer, check, dtype).find_process_ending(case) is None for check in CHECKS
        )
    ]
    torch.manual_seed(0)
    with torch.profiler.profile() as profile:
        _run_cases(ModuleBackend("torch"), cases)
    names = {event.key for event in profile.key_averages() if event.key.startswith("aten::")}
    replaceable = [operator for name in sorted(names) for operator in _replaceable_overloads(name)]
    return tuple(operator.name for operator in replaceable if _is_reached(operator, cases))


def _is_reached(operator: Operator, cases: Sequence[Case]) -> bool:
    """Whether a function that replaces an operator would run in one of the cases."""
    backend = OverrideBackend("torch by itself", {operator.name: partial(_call_original, operator)})
    for case in cases:
        _run_cases(backend, [case])
        if any(backend.hits().values()):
            return True
    return False


def _run_cases(backend: ModuleBackend, cases: Sequence[Case]) -> None:
    for case in cases:
        try:
            layer = backend.build(case.call)
            inputs = [None if x is None else layer.put(x) for x in case.inputs]
            shapes = CATALOGUE[case.call.layer].output_shapes(case)
            cotangents = [None if shape is None else layer.put(np.ones(shape)) for shape in shapes]
            with suppress(Unsupported):
                layer(*inputs, **case.keywords)
            layer.vjp(inputs, cotangents, **case.keywords)
        except Exception:  # torch has known failures, and does not differentiate every call.
            continue


def _replaceable_overloads(name: str) -> list[Operator]:
    """The overloads of an operator that take tensors and do not return a view of them."""
    packet: Any = getattr(torch.ops.aten, name.removeprefix("aten::"))
    candidates = []
    for overload in packet.overloads():
        try:
            candidate = find_operator(f"{name}.{overload}", "cpu")
        except ValueError:
            continue
        takes_tensors = any(
            "Tensor" in str(argument.type) for argument in candidate.schema.arguments
        )
        returns_view = any(a.alias_info is not None and not a.alias_info.is_write
                    for a in candidate.schema.arguments)  # fmt: skip
        if (
            takes_tensors
            and not returns_view
            and not candidate.schema.name.startswith("aten::empty")
        ):
            candidates.append(candidate)
    return candidates


def _call_original(operator: Operator, *arguments: Any, **keywords: Any) -> Any:
    return operator.call_original(*operator.complete_arguments(arguments, keywords))


def reached_table(layers: Sequence[str]) -> dict[str, list[str]]:
    """The table: operator → the layers that reach it."""
    layers_by_operator: defaultdict[str, list[str]] = defaultdict(list)
    for layer in layers:
        for name in reached_operators(layer):
            layers_by_operator[name].append(layer)
    return dict(sorted(layers_by_operator.items()))


def main() -> None:
    """Write the table."""
    np.seterr(all="ignore")
    content = {
        "$comment": "Written by `tools/reached_table.py`.",
        "torch": str(torch.__version__),
        "reached": reached_table(list(CATALOGUE)),
    }
    TABLE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
