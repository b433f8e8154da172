"""The example plug-ins, installed by pip and run by the suite; the guide shows their code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import install_backends_module, run_forked_session, run_session

pytestmark = pytest.mark.in_fork

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
NAMES = ("torch_shaped", "numpy_only", "own_gradients", "torch_device", "class_based", "kernels")
GUIDE = (ROOT / "docs" / "plugin.md").read_text(encoding="utf-8")
_SECTION = re.compile(r"^## (\([a-e]\))(.*?)(?=^## )", re.DOTALL | re.MULTILINE)
SECTIONS = dict(_SECTION.findall(GUIDE))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples installed, their entry points included."""
    target = tmp_path_factory.mktemp("installed")
    sources = tmp_path_factory.mktemp("sources")
    for name in NAMES:
        shutil.copytree(EXAMPLES / name, sources / name)
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation",
            "--target", str(target), *(str(sources / name) for name in NAMES),
        ],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture
def suite_here(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., pytest.RunResult]:
    """Runs the suite on a module of the test's folder, in this process."""
    install_backends_module(pytester, monkeypatch, "")
    return partial(run_session, pytester, "--conformance-isolation=none")


@pytest.fixture
def suite(
    suite_here: Callable[..., pytest.RunResult], monkeypatch: pytest.MonkeyPatch, installed: Path
) -> Callable[..., pytest.RunResult]:
    """Runs the suite on an installed example, in this process."""
    monkeypatch.syspath_prepend(installed)
    return suite_here


@pytest.fixture
def anew(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, installed: Path
) -> Callable[..., pytest.RunResult]:
    """Runs the suite in processes of its own, because a device cannot be unregistered."""
    install_backends_module(pytester, monkeypatch, "")
    monkeypatch.syspath_prepend(installed)
    return partial(
        run_forked_session, pytester, "-p", "no:cacheprovider", "--pyargs", "conformance.suite"
    )


def _assert_passes(result: pytest.RunResult) -> str:
    output = result.stdout.str()
    assert result.ret == 0, output
    assert "failed" not in result.outlines[-1]
    return output


def test_torch_shaped_example(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=torch-shaped", "--conformance-profile=smoke",
        "--conformance-check=shape,values",
        "--conformance-layer=Linear,Conv1d", "--conformance-dtype=float32,float64",
    )  # fmt: skip
    assert result.ret == 0, result.stdout.str()
    assert "4 passed, 4 unsupported" in result.stdout.str()


@pytest.mark.nightly
def test_torch_shaped_example_in_every_check(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=torch-shaped", "--conformance-examples=30",
        "--conformance-layer=Linear", "--conformance-dtype=float32,bfloat16",
    )  # fmt: skip
    output = _assert_passes(result)
    assert "18 passed" in output, output


def test_numpy_only_example_has_every_layer(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=numpy-only", "--conformance-examples=3",
        "--conformance-check=shape,values", "--conformance-dtype=float32",
    )  # fmt: skip
    output = _assert_passes(result)
    # Nothing is declined as a whole.
    assert "60 passed" in output, output


def test_numpy_only_example_in_every_check(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=numpy-only", "--conformance-examples=12",
        "--conformance-layer=functional.conv1d,ConvTranspose2d,LSTM,Bilinear,functional.linear",
        "--conformance-dtype=float32", "--conformance-seed=1",
    )  # fmt: skip
    output = _assert_passes(result)
    assert "37 passed, 25 unsupported" in output, output


def test_numpy_only_example_does_not_need_torch(installed: Path) -> None:
    script = "import sys, numpy_only.conformance; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_own_gradients_example_in_every_check(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=own-gradients", "--conformance-examples=20",
        "--conformance-layer=Linear,LazyLinear,functional.linear,Bilinear,LSTMCell,Identity",
        "--conformance-dtype=float32",
    )  # fmt: skip
    output = _assert_passes(result)
    # Unsupported items: the layouts of Identity's input, and calls without given weights.
    assert "43 passed, 32 unsupported" in output, output


def test_a_wrong_derivative_of_own_gradients_is_found(
    suite: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    (pytester.path / "spoiled.py").write_text(
        "import numpy as np\n"
        "from own_gradients import Array, layers\n"
        "from own_gradients.conformance import backend\n"
        "def tanh(x):\n"
        "    y = np.tanh(x.data)\n"
        "    return Array(y, [(x, lambda g: g * (1 - y))])\n"
        "layers.tanh = tanh\n"
    )
    result = suite(
        "--conformance-backend=spoiled:backend", "--conformance-examples=40",
        "--conformance-layer=LSTMCell", "--conformance-dtype=float32",
        "--conformance-check=values,gradients",
    )  # fmt: skip
    assert result.ret == 1
    assert "1 passed, 1 failed" in result.stdout.str()
    assert "gradient of weight_ih[2, 0]" in result.stdout.str()


@pytest.mark.nightly
def test_class_based_example_in_every_check(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=class-based", "--conformance-examples=30",
        "--conformance-layer=Linear,Conv1d,BatchNorm2d,Dropout,GRUCell",
        "--conformance-dtype=float32", "--conformance-seed=1",
    )  # fmt: skip
    output = _assert_passes(result)
    # Nothing is declined as a whole: no item is unsupported.
    assert "46 passed" in output, output
    assert "unsupported" not in output, output


BIASED = """
move = class_based.BatchNormalization.move
class_based.BatchNormalization.move = lambda self, m, v, count: move(self, m, v, 10**9)
"""


@pytest.mark.parametrize(
    ("layer", "check", "spoiling", "said"),
    [
        ("GRUCell", "values", "conformance.swap_gates = lambda array: array", "wrong of"),
        ("BatchNorm2d", "values", BIASED, "running_var"),
        (
            "Linear", "state",
            "LAYERS['Linear'].tensors['weight'] = conformance.Tensor('kernel', np.transpose)",
            "weight",
        ),
        (
            "Dropout", "random", "class_based.Dropout.backward = lambda self, g: (g,)",
            "gradient of input",
        ),
    ],
    ids=["order of gates", "biased running variance", "not transposed back", "no mask backward"],
)  # fmt: skip
def test_a_bug_of_class_based_is_found(
    suite: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    layer: str,
    check: str,
    spoiling: str,
    said: str,
) -> None:
    (pytester.path / "spoiled.py").write_text(
        "import numpy as np\n"
        "import class_based\n"
        "from class_based import conformance\n"
        "from class_based.conformance import LAYERS\n"
        f"{spoiling}\n"
        "backend = conformance.backend\n"
    )
    result = suite(
        "--conformance-backend=spoiled:backend", "--conformance-examples=40",
        f"--conformance-layer={layer}", "--conformance-dtype=float32",
        f"--conformance-check={check}",
    )  # fmt: skip
    assert result.ret == 1
    assert "1 failed" in result.stdout.str()
    assert said in result.stdout.str()


def _allows_python_devices() -> bool:
    import torch.utils.backend_registration as registration

    return hasattr(registration, "_setup_privateuseone_for_python_backend")


needs_python_devices = pytest.mark.skipif(
    not _allows_python_devices(), reason="torch < 2.9 registers no device from Python"
)


@needs_python_devices
def test_torch_device_example_in_every_check(anew: Callable[..., pytest.RunResult]) -> None:
    result = anew(
        "--conformance-backend=torch-device", "--conformance-device=all",
        "--conformance-examples=40", "--conformance-layer=Linear,Identity",
        "--conformance-dtype=float32",
    )  # fmt: skip
    output = _assert_passes(result)
    # Only layouts are declined: an input on this device has no other than the contiguous one.
    assert "16 passed, 9 unsupported" in output, output


@needs_python_devices
@pytest.mark.parametrize(
    ("spoiling", "status"),
    [("", "1 unsupported"), ("torch_device._empty = torch_device.linear", "1 failed")],
)
def test_only_a_missing_kernel_is_declined(
    anew: Callable[..., pytest.RunResult], pytester: pytest.Pytester, spoiling: str, status: str
) -> None:
    (pytester.path / "whole.py").write_text(
        "import torch, torch_device\n"
        "from torch_device.conformance import OnDevice\n"
        f"{spoiling}\n"
        "backend = OnDevice('whole', nn=torch.nn)\n"
    )
    result = anew(
        "--conformance-backend=whole:backend", "--conformance-device=all",
        "--conformance-examples=3", "--conformance-layer=Bilinear", "--conformance-dtype=float32",
        "--conformance-check=values",
    )  # fmt: skip
    assert status in result.stdout.str()


@pytest.mark.parametrize(
    ("section", "outcome"), [("(a)", "47 passed"), ("(b)", "14 passed, 12 unsupported")]
)
def test_guide_from_an_empty_folder(
    suite_here: Callable[..., pytest.RunResult],
    pytester: pytest.Pytester,
    section: str,
    outcome: str,
) -> None:
    files = dict(re.findall(r"\*\*`(.+?)`\*\*\n\n```\w+\n(.*?)```", SECTIONS[section], re.DOTALL))
    assert set(files) == {"mine/__init__.py", "mine/conformance.py"}
    for name, text in files.items():
        (pytester.path / name).parent.mkdir(exist_ok=True)
        (pytester.path / name).write_text(text)
    result = suite_here(
        "--conformance-backend=mine.conformance:backend",
        "--conformance-layer=Linear", "--conformance-examples=20",
        "--conformance-report=report.html",
    )  # fmt: skip
    assert outcome in result.stdout.str()
    assert (pytester.path / "report.html").is_file()


def test_the_class_of_the_readme_passes_on_its_layers(
    suite_here: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (code,) = [block for block in blocks if "class " in block]
    (pytester.path / "readme.py").write_text(code)
    result = suite_here(
        "--conformance-backend=readme:backend", "--conformance-layer=Linear,LazyLinear",
        "--conformance-profile=smoke", "--conformance-dtype=float16,float32,float64",
    )  # fmt: skip
    output = _assert_passes(result)
    # Unsupported: gradients and layouts; invalid calls of LazyLinear, which needs a state.
    assert "39 passed" in output, output


@pytest.mark.parametrize(
    ("section", "example"),
    [("(c)", "own_gradients"), ("(d)", "torch_device"), ("(e)", "class_based")],
)
def test_guide_shows_the_examples(section: str, example: str) -> None:
    code = (EXAMPLES / example / example / "conformance.py").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL)
    assert blocks
    for block in blocks:  # ruff dedents a method that stands alone
        assert " ".join(block.split()) in " ".join(code.split())


@pytest.mark.parametrize("name", ["right", "wrong"])
def test_kernels_example(suite: Callable[..., pytest.RunResult], name: str) -> None:
    result = suite(
        f"--conformance-backend=kernels.conformance:{name}",
        "--conformance-layer=Linear,LayerNorm", "--conformance-dtype=float32",
        "--conformance-check=values,laws", "--conformance-examples=60",
    )  # fmt: skip
    if name == "right":
        _assert_passes(result)
        assert "4 passed" in result.stdout.str()
    else:
        assert result.ret == 1
        for layer in ("Linear", "LayerNorm"):
            assert re.search(rf"^{layer} +✗ failed: ", result.stdout.str(), re.MULTILINE)


def test_gradients_of_kernels_example(suite: Callable[..., pytest.RunResult]) -> None:
    result = suite(
        "--conformance-backend=kernels",
        "--conformance-layer=Linear,LayerNorm",
        "--conformance-dtype=float64,bfloat16", "--conformance-check=gradients,layout",
        "--conformance-examples=20",
    )  # fmt: skip
    output = _assert_passes(result)
    # The backward pass of a layer norm is torch's own, and uses the means that the kernel returns.
    assert "8 passed" in output, output


def test_the_page_of_kernels_shows_the_example() -> None:
    page = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    folder = EXAMPLES / "kernels" / "kernels"
    files = [folder / "conformance.py", *sorted((folder / "right").glob("*.py"))]
    code = "".join(" ".join(file.read_text(encoding="utf-8").split()) for file in files)
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example_blocks = [block for block in blocks if "my_triton" not in block]
    assert len(example_blocks) == 2
    for block in example_blocks:
        assert " ".join(block.split()) in code
