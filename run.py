"""Run an environment of tox.ini: `python3 run.py torch [argument ...]`.

Arguments after the environment's name go to the command that it runs. The first run installs tox
into `.tox`. If something is missing, one line says so, and the exit status is 2. Python 3.6 can
read this file, so that an old Python can report that it is too old.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

MIN_PYTHON = (3, 11)
"""`requires-python` of pyproject.toml."""

COMPILERS = {
    **dict.fromkeys(("mlx", "nightly", "scoreboard", "tests"), "g++"),
    "tinygrad": "clang",
}
"""Environment → the compiler that a backend in it calls."""

FEDORA_PACKAGES = {"g++": "gcc-c++"}
"""Compiler → its package in Fedora, if their names differ; in Debian they never do."""

TOX_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), ".tox")


def refuse(reason: str) -> None:
    """Print what is missing, and exit with status 2."""
    print(f"run.py: {reason}", file=sys.stderr)
    sys.exit(2)


def require_python() -> None:
    """Refuse a Python that is too old or cannot make a virtual environment."""
    version = "{}.{}".format(*sys.version_info)
    if sys.version_info < MIN_PYTHON:
        minimum = "{}.{}".format(*MIN_PYTHON)
        refuse(
            f"needs Python {minimum} or later, and {sys.executable} is {version}: install one "
            f"(Debian, Ubuntu: apt install python{minimum}-venv; "
            f"Fedora: dnf install python{minimum}; Homebrew: brew install python@{minimum}), "
            f"then: python{minimum} run.py ..."
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
    """Refuse an environment if the compiler of its backend is missing."""
    compiler = COMPILERS.get(re.sub(r"^py\d+-", "", environment))
    if compiler and os.name == "posix" and not shutil.which(compiler):
        refuse(
            f"{environment} needs {compiler}: install it (Debian, Ubuntu: apt install {compiler}; "
            f"Fedora: dnf install {FEDORA_PACKAGES.get(compiler, compiler)}; macOS: xcode-select "
            "--install)"
        )


def interpreter_path(folder: str) -> str:
    """The path of the interpreter of a virtual environment."""
    inside = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(folder, *inside)


def install_tox(folder: str) -> None:
    """Make a virtual environment with tox in a temporary folder, then move it to its place.

    So an incomplete environment never stands there. The move breaks its scripts, but `python -m`
    still works.
    """
    import venv

    os.makedirs(TOX_FOLDER, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".run-", dir=TOX_FOLDER, ignore_cleanup_errors=True
    ) as temporary_folder:
        environment = os.path.join(temporary_folder, "venv")
        venv.create(environment, symlinks=os.name != "nt", with_pip=True)
        pip = [interpreter_path(environment), "-I", "-m", "pip"]
        if subprocess.call([*pip, "install", "--quiet", "tox", "tox-uv"]):
            refuse(f"pip cannot install tox into {TOX_FOLDER}, as it says above")
        if os.path.exists(interpreter_path(folder)):
            return  # Another run was faster.
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(environment, folder)


def main() -> int:
    """Run tox: replace this process with it, or on Windows return its exit status."""
    environments, arguments = "".join(sys.argv[1:2]), sys.argv[2:]
    if not environments or environments.startswith("-"):
        refuse("expected an environment of tox.ini and its arguments: python3 run.py torch ...")
    require_python()
    for environment in environments.split(","):
        require_compiler(environment)
    # tox makes environments with the Python that it runs on.
    folder = os.path.join(TOX_FOLDER, ".run-{}.{}".format(*sys.version_info))
    python = interpreter_path(folder)
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
