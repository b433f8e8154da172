"""Judge the answers to a pack, with ordinary verdicts, but without torch and Hypothesis."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.checks.trial import Evidence
from conformance.checks.values import compare
from conformance.items import verdicts
from conformance.items.log import Log
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.model.case import Call, Case, Examples, Verdict
from conformance.model.cause import Cause
from conformance.model.failure import Failure
from conformance.model.finding import Finding, differs
from conformance.packs import PackError
from conformance.packs.pack_format import (
    ANSWERS,
    MANIFEST,
    VERSION,
    CaseEntry,
    Declined,
    Given,
    ItemEntry,
    Manifest,
    Wanted,
    digest,
    inside,
    read_bytes,
    read_json,
    read_tensors,
)

Tensors = Mapping[str, tuple[np.ndarray, str]]
CHECK = "values"


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a pack.

    Raises:
        PackError: if it is missing, has another form, or names unknown layers.
    """
    manifest = read_json(folder / MANIFEST, Manifest)
    if manifest.form != VERSION:
        raise PackError(f"{folder}: form {manifest.form}: expected {VERSION}")
    unknown = sorted({item.layer for item in manifest.items} - set(CATALOGUE))
    if unknown:
        raise PackError(f"{folder}: no layer {', '.join(unknown[:5])} in this version of the suite")
    return manifest


def judge(pack: Path, answers: Path) -> tuple[Manifest, Given, tuple[Verdict, ...], list[str]]:
    """Judge the answers to a pack.

    Args:
        pack, answers: folders.

    Returns:
        The manifest, the respondent, a verdict for each item, and complaints about files and
        tensors of the answers that the pack does not ask for.

    Raises:
        PackError: if somebody changed the pack, or the answers lack `answers.json`.
    """
    manifest, given = read_manifest(pack), read_json(answers / ANSWERS, Given)
    files = {ANSWERS} | {f"{item.id}.{end}" for item in manifest.items for end in _ENDS}
    odd = [
        f"{answers / path.name}: the pack has no such item"
        for path in sorted(answers.iterdir())
        if path.name not in files
    ]
    found = []
    for item in manifest.items:
        found.append(_judged(pack, answers, item, odd))
    return manifest, given, tuple(found), odd


_ENDS = ("safetensors", "json")


def _sound(folder: Path, item: ItemEntry, name: str) -> bytes:
    """Read a file of a pack, and check its checksum.

    Raises:
        PackError: if it was changed.
    """
    path = inside(folder, name)
    data = read_bytes(path)
    if digest(data) != item.sha256.get(name):
        raise PackError(f"{path}: the checksum is not that of the manifest: the file was changed")
    return data


def _judged(pack: Path, answers: Path, item: ItemEntry, odd: list[str]) -> Verdict:
    started = time.perf_counter()
    about = Item(item.layer, CHECK, item.dtype, "cpu")
    calls = _sound(pack, item, item.calls)
    try:
        cases = msgspec.json.decode(calls, type=list[CaseEntry])
    except msgspec.DecodeError as error:
        raise PackError(f"{pack / item.calls}: {error}") from None
    tensors = read_tensors(_sound(pack, item, item.tensors), pack / item.tensors)
    try:
        answered, declined = _answers(answers, item)
    except PackError as error:
        finding = Finding("other", says=str(error))
        return verdicts.wrong(verdicts.begin(about, Examples(len(cases))), "failed", finding)
    expected = {w.answer for case in cases for w in _wanted(case)}
    extra = sorted(set(answered) - expected)
    if extra:
        odd.append(f"{item.id}: answers that nobody asked for: {', '.join(extra[:5])}")
    verdict = _concluded(about, item, cases, tensors, answered, declined)
    return replace(verdict, seconds=round(time.perf_counter() - started, 4))


def _answers(folder: Path, item: ItemEntry) -> tuple[Tensors, Declined]:
    """Read the answers to an item, and the reasons for cases without an answer."""
    path, note = folder / f"{item.id}.safetensors", folder / f"{item.id}.json"
    declined = read_json(note, Declined) if note.exists() else Declined()
    if not path.exists():
        return {}, declined
    return read_tensors(read_bytes(path), path), declined


def _wanted(case: CaseEntry) -> list[Wanted]:
    return [*filter(None, case.outputs), *case.after.values()]


def _concluded(
    about: Item,
    item: ItemEntry,
    entries: list[CaseEntry],
    tensors: Tensors,
    answered: Tensors,
    declined: Declined,
) -> Verdict:
    cases = [_case(item, entry, tensors) for entry in entries]
    log = Log(cases)
    failures: dict[int, Finding] = {}
    for place, (entry, case) in enumerate(zip(entries, cases, strict=True)):
        key = str(entry.index)
        wanted = _wanted(entry)
        missing = not any(w.answer in answered for w in wanted) and bool(wanted)
        if key in declined.unsupported:
            log.declined(place, declined.unsupported[key])
        elif key in declined.errors:
            log.failed(place)
            failures[place] = Finding("other", says=declined.errors[key])
        elif missing and not answered and not (declined.unsupported or declined.errors):
            log.declined(place, "no answers to this layer and dtype")
        else:
            try:
                log.passed(place, case, _held(item, wanted, tensors, answered))
            except Failure as failure:
                log.failed(place, excess=None)
                failures[place] = failure.finding
    verdict = log.verdict(about, stopped=False)
    if not failures:
        return verdicts.conclude(verdict, ())
    # A pack cannot run new cases, so the smallest failing case replaces the minimal one.
    place = min(failures, key=lambda k: (sum(x.size for x in cases[k].operands), k))
    cause = Cause.of(
        failures[place],
        entries[place].text,
        case=encode_case(cases[place]),
        failed=len(failures),
    )
    return verdicts.failed(verdict, [cause])


def _held(item: ItemEntry, wanted: list[Wanted], tensors: Tensors, answered: Tensors) -> Evidence:
    evidence = Evidence()
    for one in wanted:
        if one.answer not in answered:
            raise Failure(differs("presence", one.name, f"no tensor {one.answer!r}", "an answer"))
        got, dtype = answered[one.answer]
        if dtype != one.dtype:
            raise Failure(differs("dtype", one.name, dtype, one.dtype))
        if list(got.shape) != one.shape:
            raise Failure(differs("shape", one.name, got.shape, tuple(one.shape)))
        evidence += compare(one.name, got, _expected(item, one, tensors))
    return evidence


def _expected(item: ItemEntry, wanted: Wanted, tensors: Tensors) -> Rounded | Choices:
    real = wanted.dtype if wanted.dtype.startswith(("float", "bfloat")) else item.dtype
    precision = Precision.of(real)
    ways = [
        Rounded(_named(tensors, way.expected), _named(tensors, way.bound), precision)
        for way in wanted.values
    ]
    return ways[0] if len(ways) == 1 else Choices(tuple(ways))


def _named(tensors: Tensors, name: str) -> np.ndarray:
    if name not in tensors:
        raise PackError(f"no tensor {name!r}, which the pack's calls name")
    return tensors[name][0]


def _case(item: ItemEntry, entry: CaseEntry, tensors: Tensors) -> Case:
    """Decode the case, so that another backend can replay it."""
    arguments = {
        name: _python(value, outermost=name in entry.tuples)
        for name, value in entry.arguments.items()
    }
    state = {name: _named(tensors, tensor) for name, tensor in entry.state.items()}
    arrays = {name: _named(tensors, name) for name in entry.inputs if name is not None}
    return Case(
        Call(item.layer, arguments, state, item.dtype, "cpu", training=entry.training),
        tuple(None if name is None else arrays[name] for name in entry.inputs),
        keywords={name: _python(value) for name, value in entry.keywords.items()},
    )


def _python(value: Any, *, outermost: bool = False) -> Any:
    if isinstance(value, Mapping):
        return float(value["number"]) if "number" in value else dict(value)
    if isinstance(value, list):
        found = [_python(one) for one in value]
        return tuple(found) if outermost else found
    return value
