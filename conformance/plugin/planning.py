"""What a run consists of: made where pytest starts, handed on to the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from conformance.model.shards import shard_of
from conformance.plugin.options import Settings, devices
from conformance.run.planning import Item


@dataclass(frozen=True)
class Plan:
    """The items of a run, and the backend as it describes itself.

    Args:
        backend: its name.
        info: what it says of itself.
        devices: to run on.
        items: of this shard.
        total: number of items of all shards.
        isolated: items run in a child process.
        numerics: for each dtype how the backend declares to differ from IEEE arithmetic.
        values: cases of one structure.
        budget: as `--conformance-budget` has it, None = no limit.
        timeout: seconds that one case may take.
        bases: for each layer the backend whose kernels it inherits, where it does.
    """

    backend: str
    info: Mapping[str, str]
    devices: tuple[str, ...]
    items: tuple[Item, ...]
    total: int
    isolated: bool
    numerics: Mapping[str, Mapping[str, str]]
    values: int
    budget: str | None
    timeout: int
    bases: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The backend whose known failures are inherited; empty for none."""
        return next(iter(self.bases.values()), "")

    def encode(self) -> str:
        """The plan as text that travels to a worker."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Plan:
        """The plan that `encode` wrote."""
        return msgspec.json.decode(text, type=cls)


def make_plan(settings: Settings) -> Plan:
    """Ask the backend what it offers.

    Args:
        settings: what the user asks for.

    Raises:
        pytest.UsageError: if the backend cannot be used, or lacks a device.
    """
    from conformance.backends.declared import (
        accepted_by,
        base_of,
        budget_of,
        declared,
        timeout_of,
        values_per_structure,
    )
    from conformance.backends.registry import BackendError, info_of, load
    from conformance.run.planning import in_rounds, plan

    try:
        backend = load(settings.backend)
        info = info_of(backend)
        chosen = devices(backend, settings.devices)
        items = plan(
            backend,
            layers=settings.layers,
            checks=settings.checks,
            dtypes=settings.dtypes,
            devices=chosen,
            every_dtype=settings.every_dtype,
        )
        budget = settings.budget or budget_of(backend)
        items = items if budget is None else in_rounds(items)
    except BackendError as error:
        raise pytest.UsageError(str(error)) from None
    isolated = settings.isolated
    if isolated is None:
        isolated = getattr(backend, "isolate", "process") != "none"
    index, count = settings.shard
    kept = tuple(item for item in items if shard_of(item.id, count) == index)
    dtypes = dict.fromkeys(item.dtype for item in items)
    numerics = {dtype: declared(backend, dtype) for dtype in dtypes}
    values = values_per_structure(backend)
    layers = dict.fromkeys(item.layer for item in items)
    try:
        bases = {layer: base for layer in layers if (base := base_of(backend, layer))}
        for base in {*bases.values()} - {"torch"}:
            load(base)
        accepted_by(backend)
    except BackendError as error:
        raise pytest.UsageError(str(error)) from None
    return Plan(
        backend.name, info, chosen, kept, len(items), isolated, numerics, values,
        budget, settings.timeout or timeout_of(backend), bases,
    )  # fmt: skip
