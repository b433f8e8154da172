"""`shape`: number, shapes, dtype and device of the outputs."""

from __future__ import annotations

from typing import Any

from conformance.checks.trial import Evidence, Trial
from conformance.model.failure import Failure
from conformance.model.finding import differs


def check(trial: Trial) -> Evidence:
    """Compare shape, dtype and device of each output with the documentation.

    Raises:
        Failure: if an output's shape, dtype or device is wrong.
    """
    compared = 1  # the number of outputs
    outputs = zip(trial.names, trial.outputs, trial.shapes, strict=True)
    for place, (name, native, shape) in zip(trial.present, outputs, strict=True):
        dtype = trial.case.call.dtype if place.dtype is None else place.dtype(trial.case)
        compared += _same("shape", name, _shape(trial, native), shape)
        compared += _same("dtype", name, trial.step("dtype", trial.layer.dtype, native), dtype)
        device = getattr(trial.layer, "device", None)
        if device is not None:
            reported = trial.step("device", device, native)
            wanted = "cpu" if place.on_host else trial.case.call.device
            compared += _same("device", name, reported, wanted)
    return Evidence(compared)


def _same(kind: str, name: str, got: Any, wanted: Any) -> int:
    if got != wanted:
        raise Failure(differs(kind, name, repr(got), repr(wanted)))
    return 1


def _shape(trial: Trial, native: Any) -> tuple[int, ...]:
    """The shape by the layer's `shape` if offered: an abstract device holds no values."""
    own = getattr(trial.layer, "shape", None)
    if own is not None:
        shape: tuple[int, ...] = trial.step("shape", own, native)
        return shape
    return trial.get(native).shape
