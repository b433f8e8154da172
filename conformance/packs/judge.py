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
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.model.case import Call, Case, Examples, Verdict
from conformance.model.cause import Cause
from conformance.model.failure import Failure
from conformance.model.finding import Finding, fact_mismatch
from conformance.packs import PackError
from conformance.packs.pack_format import (
    ANSWERS,
    FORM_VERSION,
    MANIFEST,
    CaseEntry,
    Declined,
    ItemEntry,
    Manifest,
    Respondent,
    WantedTensor,
    digest,
    path_inside,
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
    if manifest.form != FORM_VERSION:
        raise PackError(f"{folder}: form {manifest.form}: expected {FORM_VERSION}")
    unknown = sorted({item.layer for item in manifest.items} - set(CATALOGUE))
    if unknown:
        raise PackError(f"{folder}: no layer {', '.join(unknown[:5])} in this version of the suite")
    return manifest


def judge(pack: Path, answers: Path) -> tuple[Manifest, Respondent, tuple[Verdict, ...], list[str]]:
    """Judge the answers to a pack.

    Args:
        pack, answers: folders.

    Returns:
        The manifest, the respondent, a verdict for each item, and complaints about files and
        tensors of the answers that the pack does not ask for.

    Raises:
        PackError: if somebody changed the pack, or the answers lack `answers.json`.
    """
    manifest, respondent = read_manifest(pack), read_json(answers / ANSWERS, Respondent)
    files = {ANSWERS} | {f"{item.id}.{end}" for item in manifest.items for end in _SUFFIXES}
    problems = [
        f"{answers / path.name}: the pack has no such item"
        for path in sorted(answers.iterdir())
        if path.name not in files
    ]
    verdicts_found = []
    for item in manifest.items:
        verdicts_found.append(_judge_item(pack, answers, item, problems))
    return manifest, respondent, tuple(verdicts_found), problems


_SUFFIXES = ("safetensors", "json")


def _read_verified(folder: Path, item: ItemEntry, name: str) -> bytes:
    """Read a file of a pack, and check its checksum.

    Raises:
        PackError: if it was changed.
    """
    path = path_inside(folder, name)
    content = read_bytes(path)
    if digest(content) != item.sha256.get(name):
        raise PackError(f"{path}: the checksum is not that of the manifest: the file was changed")
    return content


def _judge_item(pack: Path, answers: Path, item: ItemEntry, problems: list[str]) -> Verdict:
    started = time.perf_counter()
    verdict_item = Item(item.layer, CHECK, item.dtype, "cpu")
    calls = _read_verified(pack, item, item.calls)
    try:
        cases = msgspec.json.decode(calls, type=list[CaseEntry])
    except msgspec.DecodeError as error:
        raise PackError(f"{pack / item.calls}: {error}") from None
    tensors = read_tensors(_read_verified(pack, item, item.tensors), pack / item.tensors)
    try:
        answers_by_name, declined = _read_answers(answers, item)
    except PackError as error:
        finding = Finding("other", says=str(error))
        return verdicts.with_failure(
            verdicts.open_verdict(verdict_item, Examples(len(cases))), "failed", finding
        )
    expected = {w.answer for case in cases for w in _wanted_tensors(case)}
    unexpected = sorted(set(answers_by_name) - expected)
    if unexpected:
        problems.append(f"{item.id}: answers that nobody asked for: {', '.join(unexpected[:5])}")
    verdict = _build_verdict(verdict_item, item, cases, tensors, answers_by_name, declined)
    return replace(verdict, seconds=round(time.perf_counter() - started, 4))


def _read_answers(folder: Path, item: ItemEntry) -> tuple[Tensors, Declined]:
    """Read the answers to an item, and the reasons for cases without an answer."""
    path, declined_path = folder / f"{item.id}.safetensors", folder / f"{item.id}.json"
    declined = read_json(declined_path, Declined) if declined_path.exists() else Declined()
    if not path.exists():
        return {}, declined
    return read_tensors(read_bytes(path), path), declined


def _wanted_tensors(case: CaseEntry) -> list[WantedTensor]:
    return [*filter(None, case.outputs), *case.after.values()]


def _build_verdict(
    verdict_item: Item,
    item: ItemEntry,
    entries: list[CaseEntry],
    tensors: Tensors,
    answers_by_name: Tensors,
    declined: Declined,
) -> Verdict:
    cases = [_decode_case(item, entry, tensors) for entry in entries]
    log = Log(cases)
    failures: dict[int, Finding] = {}
    for index, (entry, case) in enumerate(zip(entries, cases, strict=True)):
        key = str(entry.index)
        wanted = _wanted_tensors(entry)
        missing = not any(w.answer in answers_by_name for w in wanted) and bool(wanted)
        if key in declined.unsupported:
            log.record_declined(index, declined.unsupported[key])
        elif key in declined.errors:
            failures[index] = Finding("other", says=declined.errors[key])
            log.record_failed(index, case, Outcome.from_finding(failures[index]))
        elif missing and not answers_by_name and not (declined.unsupported or declined.errors):
            log.record_declined(index, "no answers to this layer and dtype")
        else:
            try:
                evidence = _compare_answers(item, wanted, tensors, answers_by_name)
                log.record_passed(index, case, Outcome("passed", evidence=evidence))
            except Failure as failure:
                failures[index] = failure.finding
                log.record_failed(index, case, Outcome.from_finding(failure.finding))
    verdict = log.open_verdict(verdict_item, stopped=False)
    if not failures:
        return verdicts.conclude_verdict(verdict, ())
    # A pack cannot run new cases, so the smallest failing case replaces the minimal one.
    index = min(failures, key=lambda k: (sum(x.size for x in cases[k].operands), k))
    cause = Cause.from_finding(
        failures[index],
        entries[index].text,
        case=encode_case(cases[index]),
        failed=len(failures),
    )
    return verdicts.failed_verdict(verdict, [cause])


def _compare_answers(
    item: ItemEntry, wanted: list[WantedTensor], tensors: Tensors, answers_by_name: Tensors
) -> Evidence:
    evidence = Evidence()
    for wanted_tensor in wanted:
        if wanted_tensor.answer not in answers_by_name:
            raise Failure(
                fact_mismatch(
                    "presence",
                    wanted_tensor.name,
                    f"no tensor {wanted_tensor.answer!r}",
                    "an answer",
                )
            )
        got, dtype = answers_by_name[wanted_tensor.answer]
        if dtype != wanted_tensor.dtype:
            raise Failure(fact_mismatch("dtype", wanted_tensor.name, dtype, wanted_tensor.dtype))
        if list(got.shape) != wanted_tensor.shape:
            raise Failure(
                fact_mismatch("shape", wanted_tensor.name, got.shape, tuple(wanted_tensor.shape))
            )
        evidence += compare(wanted_tensor.name, got, _expected_values(item, wanted_tensor, tensors))
    return evidence


def _expected_values(item: ItemEntry, wanted: WantedTensor, tensors: Tensors) -> Rounded | Choices:
    float_dtype = wanted.dtype if wanted.dtype.startswith(("float", "bfloat")) else item.dtype
    precision = Precision.of(float_dtype)
    alternatives = [
        Rounded(_find_tensor(tensors, way.expected), _find_tensor(tensors, way.bound), precision)
        for way in wanted.values
    ]
    return alternatives[0] if len(alternatives) == 1 else Choices(tuple(alternatives))


def _find_tensor(tensors: Tensors, name: str) -> np.ndarray:
    if name not in tensors:
        raise PackError(f"no tensor {name!r}, which the pack's calls name")
    return tensors[name][0]


def _decode_case(item: ItemEntry, entry: CaseEntry, tensors: Tensors) -> Case:
    """Decode the case, so that another backend can replay it."""
    arguments = {
        name: _python_value(value, as_tuple=name in entry.tuples)
        for name, value in entry.arguments.items()
    }
    state = {name: _find_tensor(tensors, tensor) for name, tensor in entry.state.items()}
    arrays = {name: _find_tensor(tensors, name) for name in entry.inputs if name is not None}
    return Case(
        Call(item.layer, arguments, state, item.dtype, "cpu", training=entry.training),
        tuple(None if name is None else arrays[name] for name in entry.inputs),
        keywords={name: _python_value(value) for name, value in entry.keywords.items()},
    )


def _python_value(value: Any, *, as_tuple: bool = False) -> Any:
    if isinstance(value, Mapping):
        return float(value["number"]) if "number" in value else dict(value)
    if isinstance(value, list):
        values = [_python_value(item) for item in value]
        return tuple(values) if as_tuple else values
    return value
