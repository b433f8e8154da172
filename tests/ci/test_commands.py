"""README's commands, word for word: what they run, that CI runs them, and what they refuse."""

from __future__ import annotations

import ast
import configparser
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "run.py"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Two commands\n")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^```\n(.*?)\n```$", SECTION, re.MULTILINE | re.DOTALL)
CHEAP = {
    "torch": "--conformance-profile=smoke --conformance-layer=Linear --conformance-dtype=float32",
    "tests": "-k test_what_is_wrong_with_a_fragment_is_said",
}
"""Environment → options with which it takes less time."""
SCRIPT = runpy.run_path(str(RUN))
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
FAKE_TOX = "import sys; print(sys.flags.isolated, *sys.argv[1:], sep='|'); sys.exit(3)\n"


def environment(**changes: str) -> dict[str, str]:
    """The environment without variables of tox and pytest; `python3` is this Python."""
    theirs = ("CONFORMANCE_", "PYTEST", "TOX_ENV_", "TOX_PACKAGE", "TOX_WORK_DIR", "VIRTUAL_ENV")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]])
    return {**inherited, "PATH": path, **changes}


def run(command: str | list[str], folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a command, by the shell if it is one text."""
    return subprocess.run(
        command, cwd=folder, env=environment(**changes), shell=isinstance(command, str),
        capture_output=True, text=True,
    )  # fmt: skip


def environments_with(extra: str) -> set[str]:
    """The environments of tox.ini that install an extra."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    names = set()
    for section in tox.sections():
        extras = tox[section].get("extras", "").split()
        for name in section.removeprefix("testenv:").strip("{}").split(","):
            if extra in [text.replace("{env_name}", name) for text in extras]:
                names.add(name)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with run.py and a space in its name."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    shutil.copy(RUN, folder)
    return folder


def write_wheel(folder: Path, name: str, modules: dict[str, str]) -> None:
    """Write a wheel of some modules, path → text."""
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.0\n",
        "WHEEL": "Wheel-Version: 1.0\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-4.0-py3-none-any.whl", "w") as wheel:
        for path, text in modules.items():
            wheel.writestr(path, text)
        for path, text in metadata.items():
            wheel.writestr(f"{name}-4.0.dist-info/{path}", text)


def test_ci_runs_the_commands_of_readme() -> None:
    assert [command.split()[-1] for command in COMMANDS] == list(CHEAP)
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    for command in COMMANDS:
        assert any(line == command or line.startswith(f"{command} ") for line in ci), command


def test_the_script_knows_what_the_project_needs() -> None:
    minimum = ".".join(map(str, SCRIPT["MIN_PYTHON"]))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={minimum}"
    assert f"Python ≥ {minimum} " in SECTION
    for extra, compiler in (("mlx", "g++"), ("tinygrad", "clang")):
        environments = {re.sub(r"^py\d+-", "", name) for name in environments_with(extra)}
        assert environments == {
            name
            for name, required_compiler in SCRIPT["COMPILERS"].items()
            if required_compiler == compiler
        }


def test_the_script_can_be_read_by_an_old_python() -> None:
    assert ast.parse(RUN.read_text(encoding="utf-8"), feature_version=(3, 6)).body


REFUSED = {
    "an old Python": (
        "sys.version_info = (3, 10, 14, 'final', 0)", "torch",
        r"needs Python 3\.11 or later, and .* is 3\.10: .* apt install python3\.11-venv; ",
    ),
    "no venv": (
        "sys.modules['venv'] = None", "torch",
        r"has no module venv: .* apt install python3\.\d+-venv\)",
    ),
    "no ensurepip": (
        "sys.modules['ensurepip'] = None", "lint",
        r"has no module ensurepip: .* apt install python3\.\d+-venv\)",
    ),
    "no g++": ("os.environ['PATH'] = ''", "tests", r"tests needs g\+\+: .* dnf install gcc-c\+\+"),
    "no g++, a factor": ("os.environ['PATH'] = ''", "lint,py313-tests", "py313-tests needs g"),
    "no clang": ("os.environ['PATH'] = ''", "tinygrad", "tinygrad needs clang: .* install clang"),
    "no environment": ("pass", "", "expected an environment of tox.ini "),
    "an option": ("pass", "--help", "expected an environment of tox.ini "),
}  # fmt: skip


@pytest.mark.parametrize("missing", REFUSED)
def test_what_is_missing_is_said_in_one_line(missing: str, folder: Path) -> None:
    planted_files, word, line = REFUSED[missing]
    start = f"import os, runpy, sys; {planted_files}; runpy.run_path('run.py', run_name='__main__')"
    result = run([sys.executable, "-c", start, *word.split()], folder)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(f"run\\.py: .*{line}.*\n", result.stderr), result.stderr
    assert not (folder / ".tox").exists()


def test_the_commands_make_tox_once_and_end_as_it_does(folder: Path, tmp_path: Path) -> None:
    """A fake tox, which prints its arguments, comes from a folder instead of an index."""
    if not shutil.which("g++"):
        pytest.skip("the tests' environment needs g++")
    write_wheel(tmp_path, "tox", {"tox/__main__.py": FAKE_TOX})
    write_wheel(tmp_path, "tox_uv", {})
    # Files that a killed run may leave.
    (folder / ".tox/.run-{}.{}/bin".format(*sys.version_info)).mkdir(parents=True)

    with_index = {**OFFLINE, "PIP_FIND_LINKS": tmp_path.as_uri()}
    result = run(f"{COMMANDS[0]} -k 'a b'", folder, **with_index)
    assert (result.returncode, result.stderr) == (3, "")
    assert result.stdout == f"1|run|-c|{folder}|-e|torch|--|-k|a b\n"

    for arguments in ("", " --"):
        result = run(COMMANDS[1] + arguments, folder, **OFFLINE)
        assert (result.returncode, result.stderr) == (3, "")
        assert result.stdout == f"1|run|-c|{folder}|-e|tests|--\n"


@pytest.mark.nightly
def test_what_pip_says_passes_through(folder: Path) -> None:
    result = run(COMMANDS[0], folder, **OFFLINE)
    assert result.returncode == 2
    *lines_before, last_line = result.stderr.splitlines()
    assert "No matching distribution found for tox" in "".join(lines_before)
    assert last_line.startswith("run.py: pip cannot install tox into ")
    assert "Traceback" not in result.stderr
    assert list((folder / ".tox").iterdir()) == []


@pytest.mark.nightly
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_in_a_fresh_clone(command: str, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the project's git")
    clone = tmp_path / "a clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    name = command.split()[-1]
    result = run(f"{command} {CHEAP[name]}", clone)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(rf"^\s+{name}: OK", result.stdout, re.MULTILINE)
    if name == "torch":
        assert f"report: {clone}/results/torch.html" in result.stdout
