"""The example plug-ins, installed by pip and run by the suite."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both examples installed, their entry points included."""
    target = tmp_path_factory.mktemp("installed")
    sources = tmp_path_factory.mktemp("sources")
    import shutil

    for name in ("torch_shaped", "numpy_only"):
        shutil.copytree(EXAMPLES / name, sources / name)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
            "--target", str(target), str(sources / "torch_shaped"), str(sources / "numpy_only"),
        ],
        check=True,
    )  # fmt: skip
    return target


def _suite(installed: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--pyargs", "conformance.suite", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_torch_shaped_example(installed: Path, tmp_path: Path) -> None:
    result = _suite(
        installed, tmp_path, "--conformance-backend=torch-shaped", "--conformance-profile=smoke",
        "--conformance-check=shape,values",
        "--conformance-layer=Linear,Conv1d", "--conformance-dtype=float32,float64",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "4 passed, 4 unsupported" in result.stdout


def test_torch_shaped_example_in_every_check(installed: Path, tmp_path: Path) -> None:
    result = _suite(
        installed, tmp_path, "--conformance-backend=torch-shaped", "--conformance-examples=30",
        "--conformance-layer=Linear", "--conformance-dtype=float32,bfloat16",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert "failed" not in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("seed", [0, 1])
def test_numpy_only_example(installed: Path, tmp_path: Path, seed: int) -> None:
    result = _suite(
        installed, tmp_path, "--conformance-backend=numpy-only", "--conformance-profile=smoke",
        "--conformance-check=shape,values",
        "--conformance-layer=Linear,LazyLinear,functional.linear,Conv1d,LazyConv1d,LSTM,GRU",
        f"--conformance-seed={seed}",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    # bfloat16 is declined throughout, and so is GRU.
    assert "36 passed, 20 unsupported" in result.stdout, result.stdout


def test_numpy_only_example_does_not_need_torch(installed: Path) -> None:
    script = "import sys, numpy_only.conformance; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
