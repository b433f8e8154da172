"""Make sample reports for the site, with screenshots and the terminal's output.

The suite runs with few examples on torch and on a backend with planted bugs (`tests/buggy.py`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from prose import fill_placeholders
from shots import KINDS, browser
from staging import ROOT

LAYERS = "Conv1d,ConvTranspose1d,Linear"
OPTIONS = (
    *("-q", "-p", "no:cacheprovider", "--pyargs", "conformance.suite"),
    *("--conformance-examples=20", "--conformance-dtype=float32,bfloat16"),
    f"--conformance-layer={LAYERS}",
)
BACKENDS = {"torch": "torch", "buggy": "buggy:backend"}
PICTURES = {
    "top": ("light", ""),
    "failure": ("light", ".entry"),
    "dark": ("dark", ""),
    "narrow": ("narrow", ""),
}
"""Screenshots of the report with failures: the kind, and the element to scroll to."""
NO_SCREENSHOTS = (
    "**There are no screenshots here, because chromium or playwright was missing when this site "
    "was built.** The sample reports are linked above."
)


def make_samples(folder: Path) -> dict[str, str]:
    """Run the suite on both backends, and compare the results.

    Args:
        folder: folder for the reports `torch.html`, `buggy.html` and `comparison.html`.

    Returns:
        Backend → the end of the terminal's output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    terminal_ends = {}
    with tempfile.TemporaryDirectory() as work:
        for name, backend in BACKENDS.items():
            outputs = (
                f"--conformance-results={name}.jsonl",
                f"--conformance-report={folder / name}.html",
            )
            command = [
                sys.executable,
                "-m",
                "pytest",
                *OPTIONS,
                f"--conformance-backend={backend}",
                *outputs,
            ]
            process = _run(command, work, environment)
            if process.returncode not in (0, 1):
                raise RuntimeError(
                    f"{' '.join(command)} ended with {process.returncode}:\n{process.stdout}"
                )
            plain = process.stdout.replace(f"{work}/", "").replace(f"{folder}/", "")
            terminal_ends[name] = _summary_end(plain)
        command = [sys.executable, "-c", "from conformance.commands.cli import main; main()"]
        command += ["compare", "torch.jsonl", "buggy.jsonl", "-o", str(folder / "comparison.html")]
        process = _run(command, work, environment)
        if not (folder / "comparison.html").exists():
            raise RuntimeError(f"nothing was compared:\n{process.stdout}{process.stderr}")
    return terminal_ends


def write_dummies(folder: Path) -> None:
    """Write dummy pages in place of the reports, so that no link to them is broken.

    Args:
        folder: as in `make_samples`; reports of an earlier build stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*BACKENDS, "comparison"):
        page = folder / f"{name}.html"
        if not page.exists():
            page.write_text("<!doctype html><title>Left out</title>No suite was run.\n")


def _run(
    command: list[str], work: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=work,
        env=environment,
        check=False,
        text=True,
        capture_output=True,
        timeout=1200,
    )


def _summary_end(text: str) -> str:
    """The suite's summary at the end of pytest's output."""
    lines = text.rstrip().splitlines()
    starts = [
        k for k, line in enumerate(lines) if line.startswith("====") and "conformance" in line
    ]
    return "\n".join(lines[starts[-1] if starts else -30 :][:60])


def take_pictures(folder: Path, images: Path) -> dict[str, str]:
    """Take screenshots of the report of the backend with bugs.

    Args:
        folder: the folder that `make_samples` filled.
        images: folder for the pictures.

    Returns:
        Name of the picture → Markdown; without a browser, a note in place of the first picture.
    """
    with browser() as shoot:
        if shoot is None:
            return {name: NO_SCREENSHOTS if k == 0 else "" for k, name in enumerate(PICTURES)}
        markdown = {}
        for name, (kind, selector) in PICTURES.items():
            image = images / f"report-{name}.png"
            shoot(folder / "buggy.html", image, at=selector, **KINDS[kind])
            lines = (f"{{image}} {images.name}/{image.name}", f":alt: the report, {name}")
            markdown[name] = "\n".join(("```" + lines[0], lines[1], ":class: shot", "```"))
        return markdown


def page(head: str, terminal_ends: dict[str, str], shown: dict[str, str]) -> str:
    """The text of the page.

    Args:
        head: the hand-written page, with a placeholder for each part.
        terminal_ends: the result of `make_samples`.
        shown: the result of `take_pictures`.
    """
    parts = {f"picture: {name}": text for name, text in shown.items()}
    parts |= {f"terminal: {name}": f"```text\n{text}\n```" for name, text in terminal_ends.items()}
    return fill_placeholders(head, parts)
