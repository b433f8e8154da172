"""What a backend offers to a run, as data: the items, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conformance.backends import capabilities
from conformance.backends.guard import BackendError, guarded
from conformance.backends.registry import load
from conformance.items.planning import Item, plan
from conformance.model.plain_text import bounded
from conformance.model.protocols import Backend


@dataclass(frozen=True)
class Asked:
    """What the user asks of a backend.

    Args:
        backend: as named by the user.
        layers, checks, dtypes: selected, in the catalogue's order.
        every_dtype: the dtypes were named by the user.
        devices: as named by the user; none = the default.
        budget: as given, None = the backend's own, if any.
        path: the asking process's `sys.path`.
        id: that the answer bears.
    """

    backend: str
    layers: tuple[str, ...]
    checks: tuple[str, ...]
    dtypes: tuple[str, ...]
    every_dtype: bool
    devices: tuple[str, ...]
    budget: str | None
    path: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True)
class Offer:
    """What a backend says of itself, and the items that this makes.

    Args:
        id: of the question.
        problem: why it cannot be used; empty where it can.
        backend: its name.
        info: what it says of itself.
        devices: to run on.
        items: of all shards, in the order in which they run.
        isolation: `"process"` or `"none"`.
        numerics: for each dtype how it declares to differ from IEEE arithmetic.
        values: cases of one structure.
        budget: as `--conformance-budget` has it, None = no limit.
        timeout: seconds that one case may take.
        bases: for each layer the backend whose kernels it inherits, where it does.
    """

    id: str
    problem: str = ""
    backend: str = ""
    info: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    isolation: str = "process"
    numerics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    values: int = 1
    budget: str | None = None
    timeout: int = 0
    bases: Mapping[str, str] = field(default_factory=dict)


def offer(asked: Asked) -> Offer:
    """Load a backend and ask it, in this process.

    Args:
        asked: by the user.

    Raises:
        BackendError: if it cannot be used, or lacks a device.
    """
    backend = load(asked.backend)
    info = capabilities.info_of(backend)
    chosen = chosen_devices(backend, asked.devices)
    items = plan(
        backend, layers=asked.layers, checks=asked.checks, dtypes=asked.dtypes, devices=chosen,
        every_dtype=asked.every_dtype,
    )  # fmt: skip
    budget = asked.budget or capabilities.budget_of(backend)
    for item in items[:1]:  # asked of all only where the user names no dtype
        capabilities.offered(backend, item.layer, item.dtype, item.device)
    layers = dict.fromkeys(item.layer for item in items)
    used = dict.fromkeys(item.dtype for item in items)
    bases = {layer: base for layer in layers if (base := capabilities.base_of(backend, layer))}
    for base in {*bases.values()} - {"torch"}:
        try:
            load(base)
        except BackendError as error:
            raise guarded(backend).error(f"base={base!r}: {error}") from None
    capabilities.accepted_by(backend)
    capabilities.refused_by(backend)
    capabilities.hits_of(backend)
    return Offer(
        asked.id,
        "",
        backend.name,
        info,
        chosen,
        tuple(items),
        capabilities.isolation_of(backend),
        {dtype: capabilities.declared(backend, dtype) for dtype in used},
        capabilities.values_per_structure(backend),
        budget,
        capabilities.timeout_of(backend),
        bases,
    )


def chosen_devices(backend: Backend, asked: Sequence[str]) -> tuple[str, ...]:
    """Hold the devices asked for against those that a backend offers.

    Args:
        asked: names; `all` stands for every device, `cuda` for every `cuda:i`; none for the CPU,
            or for the backend's first device where it does not offer that.

    Raises:
        BackendError: for a device that is not there, naming those that are.
    """
    offered = capabilities.devices_of(backend)
    if not asked:
        return ("cpu",) if "cpu" in offered else offered[:1]
    found: list[str] = []
    for name in asked:
        matches = [d for d in offered if name in ("all", d) or d.startswith(f"{name}:")]
        if not matches:
            raise BackendError(
                f"--conformance-device={bounded(name)}: no such device; backend "
                f"{backend.name!r} offers {', '.join(offered) or 'none'}"
            )
        found += matches
    return tuple(dict.fromkeys(found))
