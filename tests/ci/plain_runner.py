"""Runs the `run` steps of a GitHub workflow as plain bash, in a runner's environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""The command that a runner starts for `shell: bash`."""


TESTS = str(Path(__file__).parents[1])


class WorkflowError(ValueError):
    """A step that this runner, or a person at a shell, could not run."""


@dataclass
class StepResult:
    """The result of a step: its name, exit status and output."""

    name: str
    code: int
    text: str


@dataclass
class Runner:
    """A job's folder and environment.

    Args:
        folder: the folder that steps run in.
        env: environment of the workflow and the job; a step's own is added.
        context: expression → its value, e.g. `"matrix.shard"` → `"1"`.
    """

    folder: Path
    env: Mapping[str, str]
    context: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("summary", "output"):
            self.file(name).touch()

    def file(self, name: str) -> Path:
        """The file to which steps append: the job's `summary`, or their `output`."""
        return self.folder.parent / f"{self.folder.name}.{name}"

    @property
    def outputs(self) -> dict[str, str]:
        """The outputs that steps have set."""
        lines = self.file("output").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def run(self, step: Mapping[str, Any]) -> StepResult:
        """Run a step.

        Raises:
            WorkflowError: if its script has an expression, or an expression has no value here.
        """
        script = str(step["run"])
        if "${{" in script:
            raise WorkflowError(f"step {step.get('name')}: an expression in a script: {script}")
        env = {k: self.fill_expressions(str(v)) for k, v in step.get("env", {}).items()}
        run = subprocess.run(
            [*SHELL, "-c", script], cwd=self.folder, env={**self._runner_environment(), **env},
            capture_output=True, text=True,
        )  # fmt: skip
        return StepResult(str(step.get("name", "")), run.returncode, run.stdout + run.stderr)

    def fill_expressions(self, text: str) -> str:
        """Replace the expressions in a text by their values."""

        def value(match: re.Match[str]) -> str:
            try:
                return self.context[match[1]]
            except KeyError:
                raise WorkflowError(f"{match[0]}: no such value") from None

        return re.sub(r"\$\{\{\s*([\w.\-]+)\s*\}\}", value, text)

    def _runner_environment(self) -> dict[str, str]:
        """The environment of a runner, with this Python first on its path."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("CONFORMANCE_", "PYTEST"))
        }
        return {
            **inherited,
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKFLOW": "conformance",
            "GITHUB_REPOSITORY": "somebody/something",
            "GITHUB_STEP_SUMMARY": str(self.file("summary")),
            "GITHUB_OUTPUT": str(self.file("output")),
            "OMP_NUM_THREADS": "1",
            "PYTEST_XDIST_AUTO_NUM_WORKERS": "0",
            # What the suite starts is forked from a process that has torch.
            "PYTEST_ADDOPTS": "-p warm",
            "PYTHONPATH": os.pathsep.join([TESTS, *filter(None, [inherited.get("PYTHONPATH")])]),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]]),
            **self.env,
        }


def read(path: Path) -> Any:
    """Read a YAML file; the key `on`, which YAML reads as a truth value, becomes text again."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if True in data:
        data["on"] = data.pop(True)
    return data


def steps(job: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    """The steps of a job with a script, or those of these names."""
    scripts = [step for step in job["steps"] if "run" in step]
    return [step for step in scripts if step.get("name") in names] if names else scripts


def used_actions(data: Any) -> Sequence[str]:
    """Every action that a workflow or a composite action uses."""
    if isinstance(data, Mapping):
        own_uses = [data["uses"]] if isinstance(data.get("uses"), str) else []
        return [*own_uses, *(name for value in data.values() for name in used_actions(value))]
    if isinstance(data, list):
        return [name for value in data for name in used_actions(value)]
    return []
