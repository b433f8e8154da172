"""What a run consists of: made where pytest starts, handed on to the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from conformance.items.planning import PROFILES, Item, in_rounds
from conformance.model.shards import shard_of
from conformance.plugin.options import Settings


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


def make_plan(settings: Settings, workers: int) -> Plan:
    """Ask the backend what it offers, in a process of its own.

    Args:
        settings: what the user asks for.
        workers: that will share the items.

    Raises:
        pytest.UsageError: if the backend cannot be used, or lacks a device.
    """
    from conformance.backends.capabilities import TIMEOUT
    from conformance.backends.guard import BackendError
    from conformance.isolation.probe import Asked
    from conformance.isolation.probe_process import offered_by
    from conformance.isolation.process import starting

    asked = Asked(
        settings.backend, settings.layers, settings.checks, settings.dtypes, settings.every_dtype,
        settings.devices, settings.budget,
    )  # fmt: skip
    try:
        offer = offered_by(asked, starting(settings.timeout or TIMEOUT))
    except BackendError as error:
        raise pytest.UsageError(str(error)) from None
    index, count = settings.shard
    items = PROFILES[settings.profile].chosen(offer.items)
    kept = tuple(item for item in items if shard_of(item.id, count) == index)
    if offer.budget is not None:
        kept = in_rounds(kept, workers, compiled=offer.values > 1)
    isolated = settings.isolated
    if isolated is None:
        isolated = offer.isolation == "process"
    return Plan(
        offer.backend, offer.info, offer.devices, kept, len(items), isolated, offer.numerics,
        offer.values, offer.budget, settings.timeout or offer.timeout, offer.bases,
    )  # fmt: skip
