"""Example servers in other languages: they pass, and fail with a planted bug."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conformance.reports.results import read
from support import install_backends_module, run_session

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "wire"


@dataclass(frozen=True)
class Client:
    """An example server.

    Args:
        tool: the program that builds or runs it.
        build: command in its folder, with `OUT` for a new folder; empty if nothing is built.
        run: command of the server, with `OUT` for that folder, and `FOLDER` for its own.
        layers: names of its layers.
        gradients: whether it has gradients.
    """

    tool: str
    build: str
    run: str
    layers: tuple[str, ...]
    gradients: bool = False


LINEAR = ("Linear", "functional.linear", "ReLU")
CLIENTS = {
    "cpp": Client(
        "g++", "g++ -std=c++17 -O1 -Wall -Werror -o OUT/server server.cpp", "OUT/server",
        (*LINEAR, "Conv2d", "functional.conv2d"),
    ),
    "javascript": Client("node", "", "node FOLDER/server.js", LINEAR, gradients=True),
    "rust": Client(
        "cargo", "cargo build --offline --locked --target-dir OUT", "OUT/debug/server",
        (*LINEAR, "Conv1d", "functional.conv1d"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A function that returns the command of a server, and builds it at its first call."""
    built: dict[str, str] = {}
    # pytester gives tests another home; a toolchain may lie in this one.
    environment = dict(os.environ)

    def start_command(name: str) -> str:
        client, folder = CLIENTS[name], EXAMPLES / name
        if shutil.which(client.tool) is None:
            pytest.skip(f"{client.tool} is missing")
        if name not in built:
            out = str(tmp_path_factory.mktemp(name))
            if client.build:
                words = client.build.replace("OUT", out).split()
                completed = subprocess.run(
                    words, cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                assert completed.returncode == 0, completed.stderr
            built[name] = client.run.replace("OUT", shlex.quote(out))
            built[name] = built[name].replace("FOLDER", shlex.quote(str(folder)))
        return built[name]

    return start_command


def _session_verdicts(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, command: str, *options: str
) -> dict[tuple[str, str], Any]:
    """The verdicts of a session, by layer and check."""
    install_backends_module(pytester, monkeypatch, "")
    run_session(
        pytester, f"--conformance-backend=wire:{command}", "--conformance-isolation=none",
        "--conformance-examples=24", "--conformance-dtype=float32",
        "--conformance-results=r.jsonl", *options,
    )  # fmt: skip
    return {(v.layer, str(v.check)): v for v in read(pytester.path / "r.jsonl").verdicts}


@pytest.mark.parametrize("name", CLIENTS)
def test_an_example_passes_in_all_that_it_offers(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[str], str],
    name: str,
) -> None:
    client = CLIENTS[name]
    verdicts = _session_verdicts(
        pytester, monkeypatch, command(name), f"--conformance-layer={','.join(client.layers)}"
    )
    assert {layer for layer, _ in verdicts} == set(client.layers)
    lacking = {"layout", "threads", "transforms", "module", "autocast"} | (
        set() if client.gradients else {"gradients"}
    )
    for (layer, check), verdict in verdicts.items():
        wanted = "unsupported" if check in lacking else "passed"
        assert verdict.status == wanted, f"{layer} {check}: {verdict.message}"
        assert check in lacking or verdict.examples.checked > 2
    # Wrong calls are refused, not declined, though there are no initial values.
    assert not verdicts["Linear", "errors"].examples.unsupported


@pytest.mark.parametrize("name", CLIENTS)
def test_a_bug_in_an_example_is_found_and_shrunk(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[str], str],
    name: str,
) -> None:
    client = CLIENTS[name]
    layers = [layer for layer in client.layers if layer != "ReLU"]
    verdicts = _session_verdicts(
        pytester, monkeypatch, f"{command(name)} --bug bias-dropped",
        f"--conformance-layer={','.join(layers)}", "--conformance-check=values",
    )  # fmt: skip
    assert {layer for layer, _ in verdicts} == set(layers)
    for verdict in verdicts.values():
        assert verdict.status == "failed"
        # Every size is 1, and no argument is left that the bug does not need.
        assert set(re.findall(r"\d+", re.sub(r"[a-z]+\d+d?", "", str(verdict.call)))) == {"1"}
        assert "=" not in str(verdict.call)
    assert str(verdicts["Linear", "values"].call).startswith("Linear(1, 1) on input (1,), float32")
