"""`shape`: number, shapes, dtype and device of the outputs."""

from __future__ import annotations

from typing import Any

from conformance.checks.trial import Evidence, Trial
from conformance.model.failure import Failure
from conformance.model.finding import fact_mismatch


def check(trial: Trial) -> Evidence:
    """Compare shape, dtype and device of each output with the documentation.

    Raises:
        Failure: if an output's shape, dtype or device is wrong.
    """
    compared = 1  # the number of outputs
    outputs = zip(trial.names, trial.outputs, trial.shapes, strict=True)
    for output, (name, native, shape) in zip(trial.present_outputs, outputs, strict=True):
        dtype = trial.case.call.dtype if output.dtype is None else output.dtype(trial.case)
        compared += _require_equal("shape", name, _shape(trial, native), shape)
        compared += _require_equal(
            "dtype", name, trial.run_step("dtype", trial.layer.dtype, native), dtype
        )
        device = getattr(trial.layer, "device", None)
        if device is not None:
            reported = trial.run_step("device", device, native)
            wanted = "cpu" if output.on_host else trial.case.call.device
            compared += _require_equal("device", name, reported, wanted)
    return Evidence(compared)


def _require_equal(kind: str, name: str, got: Any, wanted: Any) -> int:
    if got != wanted:
        raise Failure(fact_mismatch(kind, name, repr(got), repr(wanted)))
    return 1


def _shape(trial: Trial, native: Any) -> tuple[int, ...]:
    """The shape by the layer's `shape` if offered: an abstract device holds no values."""
    shape_method = getattr(trial.layer, "shape", None)
    if shape_method is not None:
        shape: tuple[int, ...] = trial.run_step("shape", shape_method, native)
        return shape
    return trial.get(native).shape
