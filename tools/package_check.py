"""Check the package as users get it: build it, check its metadata, install it alone, and run it.

`tox run -e package` runs this. It needs `build` and `twine`, and leaves no files behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = "Linear,ReLU,functional.softmax"
"""A module with weights, one without, a function."""


class PackageError(Exception):
    """Raised if the package is wrong; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Check the package of a source tree; return 1 if it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layers", default=LAYERS, help=f"layers to run the suite on ({LAYERS})")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="package-check-") as name:
        try:
            _check_package(Path(name), options.layers)
        except PackageError as error:
            print(f"package_check: {error}", file=sys.stderr)
            return 1
    return 0


def _check_package(folder: Path, layers: str) -> None:
    tree, dist = folder / "tree", folder / "dist"
    _run_command([sys.executable, "-m", "build", "--wheel", "--outdir", str(tree), str(ROOT)])
    # Without --wheel, `build` makes the wheel from the sdist.
    _run_command([sys.executable, "-m", "build", "--outdir", str(dist), str(ROOT)])
    built = [*tree.iterdir(), *dist.iterdir()]
    _run_command([sys.executable, "-m", "twine", "check", "--strict", *map(str, built)])
    (tree_wheel,), (wheel,) = tree.glob("*.whl"), dist.glob("*.whl")
    difference = differences(contents(tree_wheel), contents(wheel))
    if difference:
        raise PackageError(f"the wheels of the sdist and of the tree differ in {difference}")
    _use_installed(folder, wheel, layers)
    print(f"{wheel.name}: works when installed alone, on {layers}")


def contents(wheel: Path) -> dict[str, str]:
    """The files of a wheel with their digests, except for files that contain the version."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in archive.namelist()
            if ".dist-info/" not in name and not name.endswith("/_version.py")
        }


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> str:
    """The first files that differ between two wheels, as text; empty if none do."""
    different = sorted(name for name in {*a, *b} if a.get(name) != b.get(name))
    return ", ".join(different[:10]) + (
        f" and {len(different) - 10} more" if len(different) > 10 else ""
    )


def _use_installed(folder: Path, wheel: Path, layers: str) -> None:
    """Install a wheel in an empty environment, and run the commands of a user."""
    environment, work_folder = folder / "venv", folder / "work"
    venv.create(environment, with_pip=True)
    work_folder.mkdir()
    bin = environment / ("Scripts" if os.name == "nt" else "bin")
    python, command = str(bin / "python"), str(bin / "nn-conformance")
    _run_command([python, "-m", "pip", "install", "--quiet", str(wheel)], work_folder)
    imported_from = _run_command(
        [python, "-c", "import conformance; print(conformance.__file__)"], work_folder
    ).strip()
    if not Path(imported_from).is_relative_to(environment):
        raise PackageError(
            f"conformance is imported from {imported_from}, not from the installed wheel"
        )
    _run_command(
        [
            *(python, "-m", "pytest", "-q", "--pyargs", "conformance.suite"),
            *("--conformance-backend=torch", "--conformance-profile=smoke", "--conformance-survey"),
            *(f"--conformance-layer={layers}", "--conformance-results=results.jsonl"),
            "--conformance-report=report.html",
        ],
        work_folder,
    )
    for arguments in (["verify"], ["render", "-o", "again.html"], ["badge", "-o", "badge.svg"]):
        _run_command([command, arguments[0], "results.jsonl", *arguments[1:]], work_folder)
    with (work_folder / "results.jsonl").open(encoding="utf-8") as lines:
        suite_version = json.loads(next(lines))["suite"]
    if suite_version != (expected := wheel.name.split("-")[1]):
        raise PackageError(
            f"the results file names suite {suite_version!r}, the wheel is {expected!r}"
        )


def _run_command(command: list[str], folder: Path | None = None) -> str:
    """Run a command, and return what it prints.

    Raises:
        PackageError: if it fails; the message has its output.
    """
    command_text = " ".join(Path(part).name if "/" in part else part for part in command)
    print(f"+ {command_text}", flush=True)
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    process = subprocess.run(
        command, cwd=folder, env={**env, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if process.returncode:
        raise PackageError(
            f"{command_text}: exit status {process.returncode}\n{process.stdout}{process.stderr}"
        )
    return process.stdout


if __name__ == "__main__":
    sys.exit(main())
