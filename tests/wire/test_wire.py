"""Servers in other languages: answers that agree with the oracle, and that break the protocol."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance.reports.results import read
from support import cases, install_backends_module, run_session

from conformance.backends import WireBackend, wire_server
from conformance.backends.capabilities import accepts_of, info_of
from conformance.backends.registry import load
from conformance.backends.wire_format import Tensor, WireError, decode_tensor, encode_tensor
from conformance.diagnosis.reproducer import REQUESTS_TITLE
from conformance.isolation import isolated_engine
from conformance.items.planning import Item
from conformance.known.entry import shipped_entries
from conformance.model.case import Call, Numerics, Unsupported
from conformance.run.engine import Engine

REFERENCE = Path(__file__).with_name("reference.py")
COMMAND = shlex.join([sys.executable, str(REFERENCE)])


def server(*words: str) -> WireBackend:
    """The reference server."""
    return WireBackend([sys.executable, str(REFERENCE), *words])


def verdict(backend: Any, check: str = "values", examples: int = 30) -> Any:
    """The verdict on an item of Linear, run in this process."""
    return Engine(backend, examples, 0, shipped_entries("torch")).run(
        Item("Linear", check, "float32", "cpu")
    )


@pytest.mark.parametrize("check", ["shape", "values", "gradients", "repeat"])
def test_a_faithful_server_passes(check: str) -> None:
    result = verdict(server(), check)
    assert result.status == "passed", result.message
    assert result.examples.checked > 5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("die", "was ended by signal 6"),
        ("half", "exited with status 5 in the middle of a line"),
        ("short", "0 bytes: expected"),
        ("garbage", "answered 'call': JSON is malformed"),
        pytest.param("number", "with id 1", marks=pytest.mark.nightly),
        pytest.param(
            "twice", "expected {id}, and one line for each request", marks=pytest.mark.nightly
        ),
        pytest.param(
            "nothing",
            "expected exactly one of ok, unsupported and error",
            marks=pytest.mark.nightly,
        ),
    ],
)
def test_what_breaks_the_protocol_is_a_failure_that_says_so(fault: str, said: str) -> None:
    backend = server(fault)
    call = Call("Linear", {}, {"weight": np.ones((1, 1))}, "float32", "cpu")
    layer = backend.build(call)
    with pytest.raises(WireError) as raised:  # noqa: PT012 - a second line is met by the next call
        layer.get(layer(layer.put(np.ones((2, 1)))))
        layer(layer.put(np.ones(1)))
    assert said.format(id=4) in str(raised.value)
    # A new server serves the next request, and does not have the layer of the old one.
    rebuilt = backend.build(call)
    assert rebuilt.get(rebuilt(rebuilt.put(np.ones(1)))).tolist() == [1.0]
    if fault != "short":
        with pytest.raises(RuntimeError, match="has ended"):
            layer(layer.put(np.ones(1)))


def test_a_server_that_breaks_the_protocol_fails_the_item() -> None:
    result = verdict(server("garbage"))
    assert result.status == "failed"
    assert "answered 'call': JSON is malformed" in str(result.message)
    assert result.examples.checked > 5


@pytest.mark.parametrize(
    ("fault", "status"),
    [("die", "crashed"), pytest.param("sleep", "hung", marks=pytest.mark.nightly)],
)
def test_a_server_that_dies_or_is_silent_costs_one_verdict(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fault: str, status: str
) -> None:
    install_backends_module(pytester, monkeypatch, "")
    # Each try with a silent server takes this timeout.
    monkeypatch.setattr(isolated_engine, "HANGS", 0.3)
    monkeypatch.setattr(isolated_engine, "SHRINKING_ITEM", 15.0)
    run_session(
        pytester, f"--conformance-backend=wire:{COMMAND} {fault}",
        "--conformance-layer=Linear", "--conformance-dtype=float32", "--conformance-examples=20",
        "--conformance-check=state,values", "--conformance-results=r.jsonl",
        "--conformance-timeout=2",
    )  # fmt: skip
    state, values = sorted(read(pytester.path / "r.jsonl").verdicts, key=lambda v: str(v.check))
    assert values.status == status
    if fault == "die":
        assert "SIGABRT (signal 6)" in str(values.message)
        assert "about to abort" in str(values.message)
    assert str(values.call).startswith("Linear(1, 1")
    assert state.status != "unchecked"


def test_a_program_that_is_not_there_or_speaks_another_version_is_no_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WireError, match="cannot be started"):
        WireBackend(str(tmp_path / "missing")).devices()
    with pytest.raises(ValueError, match="expected a program"):
        WireBackend("")
    monkeypatch.setattr(wire_server, "PROTOCOL", 2)
    with pytest.raises(WireError, match="speaks protocol 1: expected 2"):
        server().info()


def test_a_command_in_the_place_of_a_name_is_a_server() -> None:
    backend = load(f"wire:{COMMAND}")
    assert backend.name == "reference"
    assert info_of(backend)["language"] == "Python"


@pytest.mark.parametrize(
    ("dtype", "numbers"),
    [
        ("float16", [1.5, -0.0, np.inf, 65504, 2.0**-24]),
        ("bfloat16", [1.0078125, -0.0, -np.inf, 2.0**-133]),
        ("float32", [1 + 2.0**-23, 2.0**-149]),
        ("complex64", [1 - 2j, 0.5j]),
        ("int64", [2**62 + 1, -5]),
        ("bool", [True, False]),
    ],
)
def test_numbers_pass_bit_for_bit(dtype: str, numbers: list[Any]) -> None:
    kinds = {"complex64": np.complex128, "int64": np.int64, "bool": np.bool_}
    array = np.array(numbers, kinds.get(dtype, np.float64))
    decoded = decode_tensor(encode_tensor(array, dtype))
    assert decoded.dtype == array.dtype
    assert decoded.tobytes() == array.tobytes()


def test_large_tensors_pass_as_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_server, "FILE_THRESHOLD", 8)
    backend = server()
    layer = backend.build(Call("Linear", {}, {"weight": np.ones((1, 3))}, "float32", "cpu"))
    folder = backend._server._folder
    assert folder is not None
    # The request came as a file, which this server claims to read, but does not.
    assert len(list(folder.iterdir())) == 2
    del layer
    backend._server.stop()
    assert not folder.exists()


def test_a_tensor_given_twice_is_named_by_its_first_place() -> None:
    backend = server()
    layer = backend.build(Call("Linear", {}, {"weight": np.ones((1, 1))}, "float32", "cpu"))
    x, y = layer.put(np.ones(1)), layer.put(np.ones(1))
    assert layer._prepare_list((x, None, y, x)) == [x, None, y, {"same": 0}]


def test_a_layer_that_nobody_has_is_dropped_with_the_next_request() -> None:
    backend = server()
    call = Call("Linear", {}, {"weight": np.ones((1, 1))}, "float32", "cpu")
    layer, other = backend.build(call), backend.build(call)
    number = layer._layer_number
    del layer
    assert backend._server.dropped_layers == [number]
    other(other.put(np.ones(1)))
    assert backend._server.dropped_layers == []
    # The server has dropped the layer, and fails if a request names it.
    with pytest.raises(WireError, match="exited with status 1"):
        backend._server.request("state", layer=number)


def test_what_a_server_says_of_its_arithmetic_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = server()
    hello = backend._server.hello
    fields = {"flush_to_zero": True, "ulp": {"exp": 4.0}, "inexact": ["sum"]}
    monkeypatch.setattr(hello, "numerics", {"float32": fields})
    monkeypatch.setattr(hello, "accepts", ["negative padding"])
    assert backend.numerics("float32") == Numerics(
        flush_to_zero=True, ulp={"exp": 4.0}, inexact=("sum",)
    )
    assert backend.numerics("float64") is None
    assert accepts_of(backend) == ("negative padding",)


def test_layouts_and_layers_that_a_server_lacks_are_declined() -> None:
    backend = server()
    layer = backend.build(Call("Linear", {}, {"weight": np.ones((1, 1))}, "float32", "cpu"))
    with pytest.raises(Unsupported, match="layout='sliced'"):
        layer.put(np.ones(2), "sliced")
    with pytest.raises(Unsupported, match="layer ReLU in float32"):
        backend.build(Call("ReLU", {}, {}, "float32", "cpu"))
    assert not backend.offers("Linear", "float16", "cpu")


def _failing_server(tmp_path: Path) -> WireBackend:
    """The reference server with the last output of each call moved by 1."""
    text = REFERENCE.read_text()
    wrong = text.replace(
        "return tensor(y, [*x_", "return tensor([*y[:-1], y[-1] + 1] if y else y, [*x_"
    )
    assert wrong != text
    path = tmp_path / "wrong.py"
    path.write_text(wrong)
    return WireBackend([sys.executable, str(path)])


def test_the_script_of_a_failure_ends_with_requests_that_a_server_can_be_given(
    tmp_path: Path,
) -> None:
    backend = _failing_server(tmp_path)
    result = verdict(backend)
    assert result.status == "failed"
    assert result.reproducer is not None
    _, _, comments = result.reproducer.partition(f"# {REQUESTS_TITLE}\n")
    lines = [line.removeprefix("# ") for line in comments.splitlines()]
    requests = [json.loads(line) for line in lines]
    assert [request["op"] for request in requests[:3]] == ["hello", "build", "call"]
    replayed = subprocess.run(
        backend._server.command, input="\n".join(lines), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [request["id"] for request in requests]
    assert all("ok" in answer for answer in answers)
    (output,) = answers[2]["ok"]["outputs"]
    assert f"{decode_tensor(Tensor(**output)).reshape(-1)[-1]:g}"[:6] in result.message


def test_an_error_is_shown_with_the_servers_own_trace(tmp_path: Path) -> None:
    text = REFERENCE.read_text()
    raising = text.replace(
        """    if op == "call":""",
        """    if op == "call" and len(x_tensor["shape"]) > 1:
        return {"error": "no rows", "trace": "Error: no rows\\n    at linear (server.js:12)"}
    if op == "call":""",
    )
    assert raising != text
    path = tmp_path / "raising.py"
    path.write_text(raising)
    result = verdict(WireBackend([sys.executable, str(path)]))
    assert result.status == "failed"
    assert "call raised RefusedError: no rows\n" in str(result.message)
    assert "    at linear (server.js:12)" in str(result.message)
    # The line of the suite that reads the answer helps nobody.
    assert "wire_server.py" not in str(result.message)


def test_a_server_of_float32_alone_is_sent_the_integers_that_the_page_names() -> None:
    """`dtypes` is about layers: operands are of the layer's dtype, `int64` or `bool`."""
    backend, dtypes = server(), {}
    wire_layer = backend.build(Call("Linear", {}, {"weight": np.ones((1, 1))}, "float32", "cpu"))
    for layer in (
        "MaxPool2d",
        "functional.pad",
        "Linear",
        "CrossEntropyLoss",
        "MultiheadAttention",
    ):
        drawn = [*cases(layer), *cases(layer, invalid=True)]
        arrays = [x for case in drawn for x in case.inputs if x is not None]
        dtypes[layer] = {wire_layer.put(x).dtype for x in arrays}
    assert dtypes.pop("MultiheadAttention") == {"float32", "int64", "bool"}
    assert set(map(frozenset, dtypes.values())) == {frozenset({"float32", "int64"})}
    page = (Path(__file__).parents[2] / "docs" / "wire.md").read_text()
    section = page.partition("### Integer operands")[2].partition("\n#")[0]
    assert all(name in section for name in ("`int64`", "`bool`", "`MaxPool2d`", "`functional.pad`"))


def test_the_glossary_has_the_words_that_its_first_reader_from_outside_lacked() -> None:
    docs = Path(__file__).parents[2] / "docs"
    rows = [line.split(" | ") for line in (docs / "glossary.md").read_text().splitlines()]
    meanings = {row[0].removeprefix("| "): row[1] for row in rows if len(row) > 2}
    assert {"thin", "law", "item", "case", "cotangent", "has", "refused"} <= meanings.keys()
    assert "RefusedError" in meanings["refused"]
    assert "(glossary.md)" in (docs / "wire.md").read_text()
