"""Run an environment of tox.ini by a tox of its own: `python3 run.py torch [argument ...]`.

Arguments after the environment's name go to what it runs. tox comes into `.tox` with the first run.
What is missing is said in one line, with status 2; Python 3.6 can read this file, so that an old
Python says so as well.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

LEAST_PYTHON = (3, 11)
"""`requires-python` of pyproject.toml."""

COMPILERS = {
    **dict.fromkeys(("mlx", "nightly", "scoreboard", "tests"), "g++"),
    "tinygrad": "clang",
}
"""Environment → the compiler that a backend in it calls."""

FEDORA_PACKAGES = {"g++": "gcc-c++"}
"""Compiler → its package; other packages, and Debian's, have the compilers' names."""

TOX_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".tox")


def refuse(reason: str) -> None:
    """End with status 2 and a line that says what is missing."""
    print(f"run.py: {reason}", file=sys.stderr)
    sys.exit(2)


def require_python() -> None:
    """Refuse a Python that is too old, or that cannot make an environment."""
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info < LEAST_PYTHON:
        least = "{}.{}".format(*LEAST_PYTHON)
        refuse(
            f"needs Python {least} or later, and {sys.executable} is {version}: install one "
            f"(Debian, Ubuntu: apt install python{least}-venv; Fedora: dnf install python{least}; "
            f"Homebrew: brew install python@{least}), then: python{least} run.py ..."
        )
    try:
        import venv  # noqa: F401
        from ensurepip import bootstrap  # noqa: F401
    except ImportError as error:
        refuse(
            f"{sys.executable} has no module {error.name}: install it (Debian, Ubuntu: apt install "
            f"python{version}-venv)"
        )


def require_compiler(environment: str) -> None:
    """Refuse an environment with a backend whose compiler is missing."""
    compiler = COMPILERS.get(re.sub(r"^py\d+-", "", environment))
    if compiler and os.name == "posix" and not shutil.which(compiler):
        refuse(
            f"{environment} needs {compiler}: install it (Debian, Ubuntu: apt install {compiler}; "
            f"Fedora: dnf install {FEDORA_PACKAGES.get(compiler, compiler)}; macOS: xcode-select "
            "--install)"
        )


def python_of(folder: str) -> str:
    """The interpreter of an environment."""
    inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(folder, *inside)


def install_tox(folder: str) -> None:
    """Make an environment with tox, elsewhere: one that is half made never stands in its place.

    After the move its scripts lead nowhere; `python -m` works.
    """
    import venv

    os.makedirs(TOX_FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".run-", dir=TOX_FOLDER, ignore_cleanup_errors=True
    ) as made_in:
        made = os.path.join(made_in, "venv")
        venv.create(made, symlinks=os.name != "nt", with_pip=True)
        if subprocess.call([python_of(made), "-I", "-m", "pip", "install", "--quiet", "tox"]):
            refuse(f"pip cannot install tox into {TOX_FOLDER}, as it says above")
        if os.path.exists(python_of(folder)):
            return  # another run was quicker
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(made, folder)


def main() -> int:
    """Run tox; return its exit status where this process does not become tox itself."""
    environments, arguments = "".join(sys.argv[1:2]), sys.argv[2:]
    if not environments or environments.startswith("-"):
        refuse("give an environment of tox.ini, then what it takes: python3 run.py torch ...")
    require_python()
    for environment in environments.split(","):
        require_compiler(environment)
    # tox makes environments of the Python that it runs on.
    folder = os.path.join(TOX_FOLDER, ".run-{}.{}".format(*sys.version_info))
    python = python_of(folder)
    if not os.path.exists(python):
        install_tox(folder)
    command = [python, "-I", "-m", "tox", "run", "-c", os.path.dirname(TOX_FOLDER)]
    command += ["-e", environments, *([] if arguments[:1] == ["--"] else ["--"]), *arguments]
    if os.name == "posix":
        os.execv(python, command)
    return subprocess.call(command)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, subprocess.SubprocessError) as error:
        refuse(str(error))
