"""Ask a backend what it offers: its facts, its devices, and the items of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conformance.backends import capabilities
from conformance.backends.guard import BackendError, guarded
from conformance.backends.registry import load
from conformance.items.planning import Item, plan_items
from conformance.model.plain_text import bounded
from conformance.model.protocols import Backend


@dataclass(frozen=True)
class ProbeQuery:
    """The user's options that decide which items run.

    Args:
        backend: name by which the user chose the backend.
        layers, checks, dtypes: the selected ones, in the catalogue's order.
        every_dtype: whether the user named the dtypes.
        devices: the devices that the user named; empty = the default.
        budget: the user's `--conformance-budget`, None = the backend's own, if any.
        path: `sys.path` of the requesting process.
        id: a token that the answer must repeat.
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
class ProbeResult:
    """The optional members of a backend as data, and the items of a run.

    Args:
        id: the id of the request.
        problem: why the backend cannot be used; empty if it can.
        backend: its name.
        info: the result of `info()`.
        devices: the devices to run on.
        items: items of all shards, in the order in which they run.
        isolation: `"process"` or `"none"`.
        numerics: dtype → declared deviations from IEEE arithmetic, by field of `Numerics`.
        values_per_structure: cases of one structure.
        budget: in the syntax of `--conformance-budget`, None = no limit.
        timeout: seconds that one case may take.
        bases: layer → the backend whose kernels it calls, if there is one.
    """

    id: str
    problem: str = ""
    backend: str = ""
    info: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()
    isolation: str = "process"
    numerics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cases_per_structure: int = 1
    budget: str | None = None
    timeout: int = 0
    bases: Mapping[str, str] = field(default_factory=dict)


def probe_backend(query: ProbeQuery) -> ProbeResult:
    """Load a backend in this process, and read all of its optional members.

    Raises:
        BackendError: if the backend cannot be used, or lacks a device that the user named.
    """
    backend = load(query.backend)
    info = capabilities.info_of(backend)
    devices = choose_devices(backend, query.devices)
    items = plan_items(
        backend, layers=query.layers, checks=query.checks, dtypes=query.dtypes, devices=devices,
        every_dtype=query.every_dtype,
    )  # fmt: skip
    budget = query.budget or capabilities.budget_of(backend)
    for item in items[
        :1
    ]:  # `plan_items` calls `offers` for all items only if the user names no dtype
        capabilities.is_offered(backend, item.layer, item.dtype, item.device)
    layers = dict.fromkeys(item.layer for item in items)
    used = dict.fromkeys(item.dtype for item in items)
    bases = {layer: base for layer in layers if (base := capabilities.base_of(backend, layer))}
    for base in {*bases.values()} - {"torch"}:
        try:
            load(base)
        except BackendError as error:
            raise guarded(backend).usage_error(f"base={base!r}: {error}") from None
    capabilities.accepts_of(backend)
    capabilities.refusals_of(backend)
    capabilities.hits_of(backend)
    return ProbeResult(
        query.id,
        "",
        backend.name,
        info,
        devices,
        tuple(items),
        capabilities.isolation_of(backend),
        {dtype: capabilities.declared_deviations(backend, dtype) for dtype in used},
        capabilities.cases_per_structure(backend),
        budget,
        capabilities.timeout_of(backend),
        bases,
    )


def choose_devices(backend: Backend, names: Sequence[str]) -> tuple[str, ...]:
    """Choose the devices to run on from those that a backend offers.

    Args:
        names: names of devices; `all` stands for every device, `cuda` for every `cuda:i`. If it is
            empty, the CPU is chosen, or the backend's first device if it does not offer the CPU.

    Raises:
        BackendError: if the backend does not offer a device; the message lists those it offers.
    """
    offered = capabilities.devices_of(backend)
    if not names:
        return ("cpu",) if "cpu" in offered else offered[:1]
    chosen: list[str] = []
    for name in names:
        matches = [d for d in offered if name in ("all", d) or d.startswith(f"{name}:")]
        if not matches:
            raise BackendError(
                f"--conformance-device={bounded(name)}: no such device; backend "
                f"{backend.name!r} offers {', '.join(offered) or 'none'}"
            )
        chosen += matches
    return tuple(dict.fromkeys(chosen))
