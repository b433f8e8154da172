"""The plan of a run: pytest's main process makes it and sends it to the workers."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import pytest

from conformance.items.planning import PROFILES, Item, order_in_rounds
from conformance.model.limits import SEED_COUNT
from conformance.model.shards import balance_shards, shard_of
from conformance.plugin.options import Settings


@dataclass(frozen=True)
class Plan:
    """The items of a run, and the backend as it describes itself.

    Args:
        backend: the backend's name.
        info: the backend's versions and hardware, as it reports them.
        devices: the devices to run on.
        items: the items of this shard.
        total: number of items of all shards.
        isolated: items run in a child process.
        seed: of the cases; a sealed run draws it after the backend was loaded.
        numerics: for each dtype, the departures from IEEE arithmetic that the backend declares.
        values: number of cases of one structure.
        budget: as in `--conformance-budget`; None = no limit.
        timeout: seconds that one case may take.
        bases: for each layer that inherits another backend's kernels, the name of that backend.
    """

    backend: str
    info: Mapping[str, str]
    devices: tuple[str, ...]
    items: tuple[Item, ...]
    total: int
    isolated: bool
    seed: int
    numerics: Mapping[str, Mapping[str, str]]
    values: int
    budget: str | None
    timeout: int
    bases: Mapping[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Name of the backend whose known failures apply too; empty for none."""
        return next(iter(self.bases.values()), "")

    def encode(self) -> str:
        """Encode the plan as JSON, to send it to a worker."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def decode(cls, text: str) -> Plan:
        """Decode the JSON that `encode` wrote."""
        return msgspec.json.decode(text, type=cls)


def make_plan(settings: Settings, workers: int) -> Plan:
    """Ask the backend what it offers, in a separate process, and choose the items to run.

    Args:
        workers: number of workers that will share the items.

    Raises:
        pytest.UsageError: if the backend cannot be used, or lacks a device.
    """
    from conformance.backends.capabilities import DEFAULT_TIMEOUT
    from conformance.backends.guard import BackendError
    from conformance.isolation.probe import ProbeQuery
    from conformance.isolation.probe_process import probe_in_process
    from conformance.isolation.process import start_seconds

    request = ProbeQuery(
        settings.address, settings.layers, settings.checks, settings.dtypes,
        settings.explicit_dtypes, settings.devices, settings.budget,
    )  # fmt: skip
    try:
        offer = probe_in_process(request, start_seconds(settings.timeout or DEFAULT_TIMEOUT))
    except BackendError as error:
        raise pytest.UsageError(str(error)) from None
    is_drawn = settings.isolation == "sealed" and "seed" not in settings.given_options
    seed = secrets.randbelow(SEED_COUNT) if is_drawn else settings.seed
    items = PROFILES[settings.profile].choose_items(offer.items, seed)
    shard_items = _choose_shard(items, settings)
    if offer.budget is not None:
        shard_items = order_in_rounds(shard_items, workers, compiled=offer.cases_per_structure > 1)
    isolated = (settings.isolation or offer.isolation) != "none"
    if settings.memory_guard is not None and not isolated:
        raise pytest.UsageError(
            f"--conformance-memory-guard: backend {offer.backend!r} runs in pytest's own process; "
            "expected --conformance-isolation=process with it"
        )
    return Plan(
        offer.backend, offer.info, offer.devices, shard_items, len(items), isolated, seed,
        offer.numerics,
        offer.cases_per_structure, offer.budget, settings.timeout or offer.timeout, offer.bases,
    )  # fmt: skip


def _choose_shard(items: Sequence[Item], settings: Settings) -> tuple[Item, ...]:
    """The items of this shard: a hash assigns each, or the times of an earlier run balance them."""
    index, count = settings.shard
    if settings.costs is None or count == 1:
        return tuple(item for item in items if shard_of(item.id, count) == index)
    from conformance.reports.results import ResultsError, read

    try:
        seconds = {verdict.id: verdict.seconds for verdict in read(settings.costs).verdicts}
    except (ResultsError, OSError) as error:
        raise pytest.UsageError(f"--conformance-costs={settings.costs}: {error}") from None
    # Checks of a layer and dtype share its cases, which are drawn once.
    groups = {item.id: f"{item.layer}-{item.dtype}-{item.device}" for item in items}
    shards = balance_shards(groups, seconds, count)
    return tuple(item for item in items if shards[item.id] == index)
