"""Results files, merging, verifying, replaying, reproducers, known failures, command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.reports import summary
from conformance.reports.merge import merge, missing_shards
from conformance.reports.results import (
    Footer,
    Identity,
    ResultsError,
    Run,
    UnknownVerdictError,
    Writer,
    encode_line,
    read,
    write,
)
from conformance.reports.results import parse as parse_lines
from script_rate import run_script
from support import cases, seen_here

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import EVERY_CHECK
from conformance.commands import cli
from conformance.commands.replay import replay
from conformance.items.planning import Item
from conformance.known import cpu
from conformance.known.entry import KnownFailure, KnownFailureError, parse_entries, shipped_entries
from conformance.known.matches import Excuses
from conformance.layers.encoding import encode_case
from conformance.model.case import Call, Case, Examples, Verdict
from conformance.model.shards import shard_of
from conformance.model.usage_error import UsageError
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork


class NoDilation(torch.nn.Conv2d):
    """A planted bug: dilation is ignored where groups are given."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        if self.groups > 1:
            bias = None
        return super()._conv_forward(input, weight, bias)


buggy = ModuleBackend("buggy", nn=SimpleNamespace(Conv2d=NoDilation))
ITEM = Item("Conv2d", "values", "float32", "cpu")


@pytest.fixture(scope="module")
def failed() -> Verdict:
    return Engine(buggy, 100, 0).run(ITEM)


def _make_identity(**facts: Any) -> Identity:
    return Identity(
        **{
            "schema": 1, "suite": "0.1.0", "backend": "torch", "info": {}, "torch": "2.13.0",
            "numpy": "2", "hypothesis": "6", "python": "3.11", "os": "Linux", "cpu": "CPU",
            "threads": {}, "devices": ("cpu",), "dtypes": ("float32",), "profile": "smoke",
            "seed": 0, "examples": 40, "shard": "1/1", "options": {}, "items": ("a", "b"),
            "total": 2, "git": None, "started": "2026-01-01T00:00:00+00:00", **facts,
        }
    )  # fmt: skip


def _passed_verdict(id: str) -> Verdict:
    return Verdict(
        id, id.split("-")[0], "values", "float32", "cpu", "passed", Examples(1, 1), 3, 0.5
    )


def _make_run(*ids: str, shard: str = "1/1", **facts: Any) -> Run:
    verdicts = tuple(_passed_verdict(id) for id in ids)
    footer = Footer({"passed": len(ids)}, len(ids), 1.0, "2026-01-01T00:00:01+00:00")
    return Run(_make_identity(shard=shard, items=ids, **facts), verdicts, footer)


def test_minimal_failure_reads_as_a_person_would_type_it(failed: Verdict) -> None:
    assert failed.status == "failed"
    assert str(failed.call).startswith("Conv2d(2, 2, 1, groups=2) on input (")
    for word in ("got ", "wanted ", "bound ", "error "):
        assert word in str(failed.message)


def test_reproducer_runs_alone_and_shows_the_failure(failed: Verdict, tmp_path: Path) -> None:
    script = tmp_path / "reproducer.py"
    script.write_text(str(failed.reproducer), encoding="utf-8")
    assert "conformance" not in str(failed.reproducer).partition("import numpy")[2].replace(
        "nn-conformance", ""
    )
    own_folder = Path(__file__).parent
    folders = (own_folder, own_folder.parent, own_folder.parents[1] / "tools")
    path = {"PYTHONPATH": os.pathsep.join(map(str, folders))}

    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, **path}
    )
    assert result.returncode == 1, result.stderr
    assert result.stdout.strip().endswith("FAILED")
    reproducer = str(failed.reproducer)
    reproducer = reproducer.replace("from test_results import", "from torch.nn import Conv2d  #")
    assert run_script(reproducer.replace("NoDilation(", "Conv2d("), None)[0] == 0


def test_replay_runs_the_case_without_hypothesis(failed: Verdict) -> None:
    run = Run(
        _make_identity(items=(ITEM.id,), options={"backend": "test_results:buggy"}), (failed,)
    )
    with pytest.raises(UsageError, match="modules that a results file names are not imported"):
        replay(run, ITEM.id)
    wrong = replay(run, ITEM.id, "test_results:buggy")
    assert (wrong.passed, wrong.outcome) == (False, "fails")
    assert "got " in wrong.text
    right = replay(run, ITEM.id, "torch")
    assert right.passed
    assert "passed" in right.text
    with pytest.raises(UsageError, match=f"nearest: {ITEM.id}"):
        replay(run, "Conv2d-value-float32")
    with pytest.raises(UsageError, match="holds no case"):
        replay(_make_run("a"), "a")
    assert failed.case is not None
    for field, other_value in (("dtype", "float64"), ("device", "cuda:9"), ("layer", "Linear")):
        case = {**failed.case, "call": {**failed.case["call"], field: other_value}}
        odd_run = replace(run, verdicts=(replace(failed, case=case),))
        with pytest.raises(UsageError, match=f"its case has the {field} '{other_value}'"):
            replay(odd_run, ITEM.id, "torch")


def test_results_survive_the_file(failed: Verdict, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    writer = Writer(path)
    run = Run(_make_identity(items=(ITEM.id,)), (failed,))
    for record in (run.identity, failed):
        writer.write(record)
    assert read(path).footer is None  # readable while it is being written
    writer.close()
    assert read(path).verdicts[0].case == failed.case
    header = json.loads(path.read_text().splitlines()[0])
    assert {"kind", "schema", "backend", "torch", "seed", "options", "git", "started"} <= set(
        header
    )


def test_a_corrupt_line_is_named_and_the_rest_kept() -> None:
    lines = [
        encode_line(_make_identity()),
        b'{"kind": "verd',
        encode_line(_passed_verdict("b")),
        b'{"kind": 3}',
    ]
    run = parse_lines(lines, "r.jsonl")
    assert [v.id for v in run.verdicts] == ["b"]
    assert run.notes[0].startswith("r.jsonl, line 2")
    assert run.notes[1].startswith("r.jsonl, line 4")
    with pytest.raises(ResultsError, match="not a results file"):
        parse_lines([b"{}", b"\xff\xfe"], "x")


def test_merge_is_idempotent_and_names_missing_shards() -> None:
    first_shard, second_shard = (
        _make_run("a", shard="1/3", total=3),
        _make_run("b", shard="2/3", total=3),
    )
    partial_run = merge([first_shard, second_shard])
    assert missing_shards(partial_run) == ("3/3",)
    assert merge([partial_run, first_shard, second_shard]).verdicts == partial_run.verdicts
    merged_run = merge([partial_run, _make_run("c", shard="3/3", total=3)])
    assert missing_shards(merged_run) == ()
    assert merged_run.footer is not None
    assert merged_run.footer.verdicts == 3
    assert merge([merged_run, merged_run]) == merged_run


def test_merge_tells_of_verdicts_that_are_not_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = _make_run("a")
    other_run = replace(original, verdicts=(replace(original.verdicts[0], status="failed"),))
    paths = [_write_run(tmp_path / name, run) for name, run in (("1", original), ("2", other_run))]
    assert cli.main(["merge", *paths, "-o", str(tmp_path / "out")]) == 1
    assert "a is passed and failed: the worst stays" in capsys.readouterr().err
    assert cli.main(["merge", paths[0], paths[0], "-o", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("field", ["suite", "backend", "seed"])
def test_merge_refuses_unlike_runs(field: str) -> None:
    other_run = _make_run("b")
    odd_value: Any = 7 if field == "seed" else "odd"
    with pytest.raises(ResultsError, match=f"{field} is"):
        merge(
            [
                _make_run("a"),
                replace(other_run, identity=replace(other_run.identity, **{field: odd_value})),
            ]
        )


def _write_run(path: Path, run: Run) -> str:
    write(path, run)
    return str(path)


def test_command_line(tmp_path: Path, failed: Verdict, capsys: pytest.CaptureFixture[str]) -> None:
    ids = [f"{layer}-values-float32-cpu" for layer in ("Linear", "Conv1d", "Conv2d", "GRU")]
    first_id, second_id = (next(id for id in ids if shard_of(id, 2) == k) for k in (1, 2))
    good_file = _write_run(tmp_path / "good.jsonl", _make_run(first_id, second_id))
    assert cli.main(["verify", good_file]) == 0
    assert cli.main(["render", good_file, "-o", str(tmp_path / "r.html")]) == 0
    assert "<table" in (tmp_path / "r.html").read_text(encoding="utf-8")
    shard_files = [
        _write_run(tmp_path / f"{i}.jsonl", _make_run(id, shard=f"{i}/2", total=2))
        for i, id in ((1, first_id), (2, second_id))
    ]
    merged_file = str(tmp_path / "m.jsonl")
    assert cli.main(["merge", shard_files[0], "-o", merged_file]) == 1
    assert "shards missing: 2/2" in capsys.readouterr().err
    assert cli.main(["merge", *shard_files, "-o", merged_file]) == 0
    assert cli.main(["verify", merged_file]) == 0
    cut_short_file = _write_run(
        tmp_path / "short.jsonl", replace(_make_run(first_id, second_id), footer=None)
    )
    assert cli.main(["verify", cut_short_file]) == 1
    assert "cut short" in capsys.readouterr().out
    bad_run = Run(
        _make_identity(items=(ITEM.id,), options={"backend": "test_results:buggy"}), (failed,)
    )
    path = _write_run(tmp_path / "bad.jsonl", bad_run)
    assert cli.main(["replay", path, ITEM.id]) == 2
    assert (
        "which is not an installed entry point of conformance.backends" in capsys.readouterr().err
    )
    assert cli.main(["replay", path, ITEM.id, "--backend=test_results:buggy"]) == 1
    assert cli.main(["replay", path, ITEM.id, "--backend=torch"]) == 0
    assert cli.main(["replay", path, "nothing"]) == 2
    assert cli.main(["verify", str(tmp_path / "missing.jsonl")]) == 2
    assert cli.main(["backends"]) == 0
    assert cli.main(["layers"]) == 0
    out = capsys.readouterr().out
    assert "torch\tconformance.backends.adapters.torch:backend" in out
    assert "functional.conv_transpose3d" in out


# --- known failures ---


def _conv2d_case(**arguments: Any) -> Case:
    arguments = {"in_channels": 1, "out_channels": 1, **arguments}
    return Case(Call("Conv2d", arguments, {}, "float32", "cpu"), (np.ones((1, 1, 5, 5)),))


def _known_entry(failed: Verdict | None, **facts: Any) -> str:
    entry = {"layer": '"Conv2d"', "check": '"values"', "reason": '"bias lost"', **facts}
    if failed is None:
        entry["strict"] = "false"
    else:
        entry.setdefault("case", f"'{json.dumps(failed.case)}'")
    return "[[known]]\n" + "\n".join(f"{k} = {v}" for k, v in entry.items() if v is not None)


def _run_with_known(text: str, backend: Any = buggy) -> Verdict:
    return Engine(backend, 100, 0, parse_entries(text, "known.toml")).run(ITEM)


def test_a_known_failure_is_known_and_others_still_fail(failed: Verdict) -> None:
    covering = _run_with_known(_known_entry(failed, when='{ groups = ">1" }'))
    assert covering.status == "known"
    assert "bias lost" in str(covering.message)
    elsewhere = _run_with_known(
        _known_entry(None, when='{ padding_mode = "circular", groups = ">1" }')
    )
    assert elsewhere.status == "failed"
    assert "bias lost" not in str(elsewhere.message)


def test_a_condition_may_be_a_sum_of_arguments_taken_in_each_dimension() -> None:
    text = _known_entry(None, when='{ "padding - dilation * (kernel_size - 1)" = ">0" }', case=None)
    (entry,) = parse_entries(text, "known.toml")
    covered = {
        (kernel, padding): entry.covers(_conv2d_case(kernel_size=kernel, padding=padding))
        for kernel, padding in ((1, 1), (2, 1), ((3, 1), (1, 1)), ((3, 2), (1, 1)))
    }
    assert list(covered.values()) == [True, False, True, False]
    assert not entry.covers(_conv2d_case(kernel_size=1, padding="same"))


def test_a_padding_by_name_counts_in_a_sum_as_the_numbers_it_stands_for() -> None:
    text = _known_entry(None, when='{ dimension = { "reach - 2 * padding" = ">1" } }', case=None)
    (entry,) = parse_entries(text, "known.toml")
    covered = [
        entry.covers(_conv2d_case(kernel_size=kernel, padding=padding))
        for kernel, padding in ((3, "valid"), (3, "same"), (1, "valid"), (3, 0), (3, 1))
    ]
    assert covered == [True, False, False, True, False]


def test_a_known_failure_that_passes_is_stale(failed: Verdict) -> None:
    verdict = _run_with_known(f"{_known_entry(failed)}\n{seen_here()}", backend=torch_backend)
    assert verdict.status == "failed"
    assert "stale" in str(verdict.message)


def test_a_case_pinned_in_a_layer_that_a_check_does_not_apply_to_is_not_tried() -> None:
    case = json.dumps(encode_case(cases("functional.linear")[0]))
    text = f"[[known]]\nlayer = '*inear'\ncheck = '*'\nreason = 'none'\n{seen_here()}"
    known = parse_entries(f"{text}when = {{ 'input.ndim' = '>0' }}\ncase = '{case}'", "known.toml")
    run = Engine(torch_backend, 3, 0, known).run
    assert "stale" in str(run(Item("Linear", "values", "float32", "cpu")).message)
    assert run(Item("Linear", "state", "float32", "cpu")).status == "passed"


def test_a_known_failure_applies_only_in_its_versions(failed: Verdict) -> None:
    text = _known_entry(failed, when='{ groups = ">1" }', versions='{ torch = "<1" }')
    assert _run_with_known(text).status == "failed"
    assert _run_with_known(text.replace("<1", ">=2")).status == "known"
    assert _run_with_known(text.replace('"<1"', '">=2", no_such_package = ">0"')).status == "failed"


def test_a_known_failure_applies_only_on_its_cpu(
    failed: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_facts = {"model name": "Some CPU", "flags": "fpu avx2 avx512bw avx512_bf16 amx_bf16"}
    monkeypatch.setattr(cpu, "cpu_facts", lambda: cpu_facts)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    text = _known_entry(
        failed, when='{ groups = ">1" }', cpu="{ avx512_bf16 = true, amx_bf16 = true }"
    )
    assert cpu.cpu_name() == "Some CPU (avx2, avx512bw, avx512_bf16, amx_bf16)"
    assert _run_with_known(text).status == "known"
    assert _run_with_known(text.replace("amx_bf16 = true", "amx_bf16 = false")).status == "failed"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core_bf16")
    assert cpu.cpu_name() == "Some CPU (avx2, avx512bw, avx512_bf16)"
    assert _run_with_known(text).status == "failed"
    assert _run_with_known(text.replace("amx_bf16 = true", "amx_bf16 = false")).status == "known"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert cpu.cpu_name() == "Some CPU (avx2)"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert cpu.cpu_name() == "Some CPU"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"layer": '"Conv9d"'}, "matches no layer"),
        ({"cpu": '{ amx_bf16 = "yes" }'}, "expected true or false"),
        ({"reason": '""'}, "reason is empty"),
        ({"since": '"2"'}, "no field 'since'"),
        ({"check": "3"}, "check=3: expected str"),
        ({"case": '"{}"'}, "case is not a case"),
        ({"versions": '{ torch = "newish" }'}, "expected a specifier"),
    ],
)
def test_a_bad_entry_is_named(failed: Verdict, facts: dict[str, Any], message: str) -> None:
    with pytest.raises(KnownFailureError, match=f"known.toml, entry 1.*{message}"):
        parse_entries(_known_entry(failed, **facts), "known.toml")
    with pytest.raises(KnownFailureError, match=r"known\.toml"):
        parse_entries("[[known", "known.toml")


def test_every_shipped_entry_is_pinned_and_covers_its_case() -> None:
    entries = shipped_entries("torch")
    assert entries
    pinned_entries = [entry for entry in entries if entry.case is not None]
    assert len(pinned_entries) > len(entries) / 2
    for entry in entries:
        assert isinstance(entry, KnownFailure)
        assert entry.case is not None or entry.cases or not entry.strict, entry.reason
    for entry in pinned_entries:
        check = EVERY_CHECK["values" if entry.check == "*" else entry.check.partition(",")[0]]
        excuses = Excuses((entry,), check)
        excuses.count_covered(entry.case)
        assert excuses.list_excuses()[0].covered == 1, (entry.reason, encode_case(entry.case))
    assert shipped_entries("../torch") == ()


def test_summary_is_not_ok_without_a_pass() -> None:
    unsupported_run = replace(
        _make_run("a"), verdicts=(replace(_passed_verdict("a"), status="unsupported"),)
    )
    assert not summary.is_ok(unsupported_run)
    assert summary.is_ok(_make_run("a"))


def test_a_verdict_is_named_by_its_id_a_prefix_or_a_glob(failed: Verdict) -> None:
    run = Run(_make_identity(), (failed, replace(failed, id="Conv2d-laws-float32-cpu")))
    assert run.verdict(failed.id) is failed
    assert run.verdict("Conv2d-v") is failed
    assert run.verdict("*-laws-*").id == "Conv2d-laws-float32-cpu"
    for name, refusal in (
        ("Conv2d", "names 2 verdicts"),
        ("Conv3d-values", "no verdict .*nearest"),
    ):
        with pytest.raises(UnknownVerdictError, match=refusal):
            run.verdict(name)


def test_several_files_are_verified_and_one_bad_one_tells(tmp_path: Path, failed: Verdict) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    write(
        good,
        Run(
            _make_identity(items=(failed.id,), total=1),
            (failed,),
            Footer({"failed": 1}, 1, 1.0, "now"),
        ),
    )
    write(bad, Run(_make_identity(items=(failed.id,)), ()))
    assert cli.main(["verify", str(good)]) == 0
    assert cli.main(["verify", str(good), str(bad)]) == 1
