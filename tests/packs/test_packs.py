"""Case packs: written, answered by other programs, and judged without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.reports.results import read

from conformance.commands import cli
from conformance.packs import PackError, pack_format
from conformance.packs.judge import judge
from conformance.packs.pack_format import CaseEntry, digest, read_json, read_tensors

pytestmark = pytest.mark.in_fork

ANSWER = Path(__file__).resolve().parents[2] / "examples" / "packs" / "answer.py"
LAYERS = "Linear,ReLU,BatchNorm2d,MaxPool2d,functional.avg_pool2d,CrossEntropyLoss"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of some layers in three dtypes."""
    folder = tmp_path_factory.mktemp("packs") / "pack"
    arguments = ["pack", "-o", str(folder), f"--layer={LAYERS}", "--examples=12"]
    assert cli.main([*arguments, "--dtype=float32,float64"]) == 0
    return folder


def _to_torch(tensors: Any, name: str | None) -> torch.Tensor | None:
    if name is None:
        return None
    array, dtype = tensors[name]
    return torch.from_numpy(array).to(getattr(torch, dtype))


def _torch_answers(item: pack_format.ItemEntry, case: CaseEntry, tensors: Any) -> list[Any]:
    """torch's outputs for a case, followed by its tensors after the call."""
    arguments = {k: tuple(v) if k in case.tuples else v for k, v in case.arguments.items()}
    if "dtype" in arguments:
        arguments["dtype"] = getattr(torch, arguments["dtype"])
    inputs = [_to_torch(tensors, name) for name in case.inputs]
    state = {name: _to_torch(tensors, tensor) for name, tensor in case.state.items()}
    if item.layer.startswith("functional."):
        return [getattr(torch.nn.functional, item.layer.partition(".")[2])(*inputs, **arguments)]
    constructor_tensors = {k: state.pop(k) for k in ("weight",) if item.layer == "CrossEntropyLoss"
                      and k in state}  # fmt: skip
    layer = getattr(torch.nn, item.layer)(**arguments, **constructor_tensors)
    layer = layer.to(getattr(torch, item.dtype)).train(case.training)
    if state:
        layer.load_state_dict(state)
    outputs = layer(*inputs)
    output_list = list(outputs) if isinstance(outputs, tuple) else [outputs]
    new_state = {**layer.state_dict(), "input": inputs[0]}
    return [*output_list, *(new_state[name] for name in case.after)]


def _answer_with_torch(pack: Path, answers: Path, spoil: float = 1.0) -> None:
    answers.mkdir()
    (answers / "answers.json").write_text(json.dumps({"backend": "by torch", "info": {}}))
    for item in read_json(pack / "manifest.json", pack_format.Manifest).items:
        tensors = read_tensors((pack / item.tensors).read_bytes(), pack / item.tensors)
        arrays, errors = {}, {}
        for case in read_json(pack / item.calls, list[CaseEntry]):
            tensors_wanted = [*filter(None, case.outputs), *case.after.values()]
            try:
                values = _torch_answers(item, case, tensors)
            except Exception as error:
                errors[str(case.index)] = str(error)
                continue
            for tensor_entry, value in zip(tensors_wanted, values, strict=True):
                widened = value.detach().double() if value.is_floating_point() else value
                array = np.asarray(widened.numpy())
                arrays[tensor_entry.answer] = (
                    array * spoil if widened is not value else array,
                    tensor_entry.dtype,
                )
        pack_format.write_tensors(answers / f"{item.id}.safetensors", arrays)
        (answers / f"{item.id}.json").write_text(json.dumps({"errors": errors}))


def test_a_seed_gives_the_same_pack_again(pack: Path, tmp_path: Path) -> None:
    arguments = ["pack", "--layer=Linear,MaxPool2d", "--examples=12", "--dtype=float32"]
    for name, seed in (("same", "0"), ("other", "1")):
        assert cli.main([*arguments, "-o", str(tmp_path / name), f"--seed={seed}"]) == 0
    manifest = read_json(pack / "manifest.json", pack_format.Manifest)
    first_digests = {item.id: item.sha256 for item in manifest.items}
    for name in ("same", "other"):
        items = read_json(tmp_path / name / "manifest.json", pack_format.Manifest).items
        assert len(items) == 2
        assert all((item.sha256 == first_digests[item.id]) == (name == "same") for item in items)


def test_torchs_answers_conform(pack: Path, tmp_path: Path) -> None:
    _answer_with_torch(pack, tmp_path / "answers")
    manifest, information, verdicts, complaints = judge(pack, tmp_path / "answers")
    assert information.backend == "by torch"
    assert len(verdicts) == len(manifest.items) == 12
    assert not complaints
    not_passed = [(v.id, v.message) for v in verdicts if v.status != "passed"]
    assert not not_passed
    assert sum(v.comparisons for v in verdicts) > 1000
    # Bounds say something: most answers are no more than a few of them away.
    assert any(v.margin for v in verdicts)


def test_wrong_answers_are_found(pack: Path, tmp_path: Path) -> None:
    _answer_with_torch(pack, tmp_path / "answers", 1.01)
    _, _, verdicts, _ = judge(pack, tmp_path / "answers")
    failed = [v for v in verdicts if v.status == "failed"]
    assert {v.layer for v in failed} == set(LAYERS.split(","))
    linear = next(v for v in failed if v.id == "Linear-values-float32-cpu")
    assert str(linear.call).startswith("Linear(")
    assert "wanted" in str(linear.message)
    assert linear.case is not None


JUDGE = """
import sys
sys.modules["torch"] = None
from conformance.commands import cli
code = cli.main(["judge", sys.argv[1], sys.argv[2], "-o", sys.argv[3]])
assert sys.modules["torch"] is None
sys.exit(code)
"""


def test_a_pack_is_answered_without_the_suite_and_judged_without_torch(
    pack: Path, tmp_path: Path
) -> None:
    answers, results = tmp_path / "answers", tmp_path / "r.jsonl"
    subprocess.run([sys.executable, str(ANSWER), str(pack), str(answers)], check=True)
    completed = subprocess.run(
        [sys.executable, "-c", JUDGE, str(pack), str(answers), str(results)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout + completed.stderr
    run = read(results)
    assert run.footer is not None
    statuses = {v.id: v.status for v in run.verdicts}
    assert statuses["Linear-values-float32-cpu"] == statuses["ReLU-values-float64-cpu"] == "passed"
    assert statuses["BatchNorm2d-values-float32-cpu"] == "unsupported"
    assert "numpy-answers" in completed.stdout
    assert cli.main(["verify", str(results)]) == 0
    assert cli.main(["render", str(results), "-o", str(tmp_path / "r.html")]) == 0


@pytest.fixture(scope="module")
def answered(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pack, and with right answers to it."""
    folder = tmp_path_factory.mktemp("answered")
    shutil.copytree(pack, folder / "pack")
    subprocess.run([sys.executable, str(ANSWER), str(pack), str(folder / "answers")], check=True)
    return folder


def _copy_folders(answered: Path, tmp_path: Path) -> tuple[Path, Path]:
    answers = tmp_path / "answers"
    shutil.copytree(answered / "answers", answers)
    shutil.copytree(answered / "pack", tmp_path / "pack")
    return tmp_path / "pack", answers


def _rewrite_answers(answers: Path, change: Any) -> None:
    path = answers / "Linear-float32.safetensors"
    tensors = read_tensors(path.read_bytes(), path)
    pack_format.write_tensors(path, change(tensors))


def _judge_single(pack: Path, answers: Path) -> tuple[Any, list[str]]:
    _, _, verdicts, complaints = judge(pack, answers)
    return next(v for v in verdicts if v.id == "Linear-values-float32-cpu"), complaints


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "0.0"}, "no tensor '0.0'"),
        (lambda t: {**t, "0.0": (t["0.0"][0][None], "float32")}, "shape of output"),
        (lambda t: {**t, "0.0": (t["0.0"][0], "float64")}, "dtype of output"),
    ],
)
def test_missing_or_misshapen_answers_cost_one_verdict(
    answered: Path, tmp_path: Path, change: Any, said: str
) -> None:
    _copy_folders(answered, tmp_path)
    _rewrite_answers(tmp_path / "answers", change)
    verdict, complaints = _judge_single(tmp_path / "pack", tmp_path / "answers")
    assert verdict.status == "failed"
    assert said in str(verdict.message)
    assert verdict.examples.failed == 1
    assert not complaints


def test_answers_that_nobody_asked_for_are_told(answered: Path, tmp_path: Path) -> None:
    _copy_folders(answered, tmp_path)
    _rewrite_answers(tmp_path / "answers", lambda t: {**t, "99.0": t["0.0"]})
    (tmp_path / "answers" / "Conv9d-float32.safetensors").write_bytes(b"")
    verdict, complaints = _judge_single(tmp_path / "pack", tmp_path / "answers")
    assert verdict.status == "passed"
    assert any("99.0" in line for line in complaints)
    assert any("Conv9d-float32.safetensors" in line for line in complaints)


def test_garbage_in_place_of_answers_costs_one_verdict(answered: Path, tmp_path: Path) -> None:
    _copy_folders(answered, tmp_path)
    (tmp_path / "answers" / "Linear-float32.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    verdict, _ = _judge_single(tmp_path / "pack", tmp_path / "answers")
    assert verdict.status == "failed"
    assert "not a safetensors file" in str(verdict.message)


def test_answers_that_are_not_there_are_unsupported(answered: Path, tmp_path: Path) -> None:
    _copy_folders(answered, tmp_path)
    for end in ("safetensors", "json"):
        (tmp_path / "answers" / f"Linear-float32.{end}").unlink()
    verdict, _ = _judge_single(tmp_path / "pack", tmp_path / "answers")
    assert verdict.status == "unsupported"


def test_a_pack_that_was_changed_is_refused(
    answered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed_pack, answers = _copy_folders(answered, tmp_path)
    path = changed_pack / "Linear-float32.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert (
        cli.main(["judge", str(changed_pack), str(answers), "-o", str(tmp_path / "r.jsonl")]) == 2
    )
    error_text = capsys.readouterr().err
    assert "Linear-float32.safetensors: the checksum is not that of the manifest" in error_text
    assert not (tmp_path / "r.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": 2}, "form 2: expected 1"),
        ({"form": "x"}, "manifest.json"),
        ({"items": [{"id": "x"}]}, "missing required field"),
    ],
)
def test_another_manifest_is_refused(
    answered: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    changed_pack, answers = _copy_folders(answered, tmp_path)
    path = changed_pack / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(PackError, match=said):
        judge(changed_pack, answers)


def test_a_name_that_leads_elsewhere_is_refused(answered: Path, tmp_path: Path) -> None:
    changed_pack, answers = _copy_folders(answered, tmp_path)
    path = changed_pack / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["items"][0]["calls"] = "../secret.json"
    path.write_text(json.dumps(manifest))
    with pytest.raises(PackError, match="expected a name without a folder"):
        judge(changed_pack, answers)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--layer=Conv9d"], "--layer=Conv9d: no layer 'Conv9d'"),
        (["--dtype=float8"], "no dtype 'float8'"),
        (["--examples=0"], "--examples=0: expected at least 1"),
    ],
)
def test_bad_requests_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(["pack", "-o", str(tmp_path / "new"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_holds_something_is_left_as_it_is(
    pack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digest((pack / "manifest.json").read_bytes())
    assert cli.main(["pack", "-o", str(pack), "--layer=ReLU"]) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err
    assert digest((pack / "manifest.json").read_bytes()) == before


def test_numbers_of_half_precision_and_masks_pass_bit_for_bit(tmp_path: Path) -> None:
    numbers = np.array([1.0078125, -0.0, -np.inf, 2.0**-133, np.nan])
    tensors = {
        "half": (numbers, "bfloat16"),
        "scalar": (np.asarray(7), "int64"),
        "mask": (np.array([[True], [False]]), "bool"),
    }
    path = tmp_path / "x.safetensors"
    read_back = read_tensors(pack_format.write_tensors(path, tensors), path)
    for name, (array, dtype) in tensors.items():
        assert read_back[name][1] == dtype
        assert read_back[name][0].shape == array.shape
        assert read_back[name][0].tobytes() == array.tobytes() or name == "half"
    assert np.array_equal(read_back["half"][0], numbers, equal_nan=True)
    assert np.signbit(read_back["half"][0][1])
