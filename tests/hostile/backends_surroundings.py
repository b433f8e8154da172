"""Files in the current directory named like modules that the suite imports, or pytest's files."""

from __future__ import annotations

from hostile.entry import Entry, Expected
from hostile.faithful import FAITHFUL, command, expect_all_pass, source

# As pytest's console script, which does not put the current directory on the path.
CONSOLE = "import sys\nfrom pytest import console_main\nsys.exit(console_main())\n"
SCRIPT = ("bin/pytest", *command()[2:])
BACKEND = {"lib/faithful.py": FAITHFUL, "lib/hostile_backend.py": source(), "bin/pytest": CONSOLE}
TRAP = "open('{folder}/ran', 'a').write('ran')\nraise RuntimeError('executed')\n"
SILENT = "open('{folder}/ran', 'a').write('ran')\n"
NAMES = ("queue", "json", "conformance", "numpy", "msgspec", "torch", "signal")
# Fails where the trap was sprung.
SPRUNG = "os.path.exists('{folder}/ran') and exit('the file was executed')"


def trap_entry(name: str, files: dict[str, str], run: tuple[str, ...] = SCRIPT) -> Entry:
    """An entry of files in the current directory; the backend is in another folder."""
    forbidden = "executed|No module named|cannot import"
    return Entry(name, 5, BACKEND | files, run, expect_all_pass(never=forbidden))


def checked_entry(name: str, module: str) -> Entry:
    """An entry of a module that would run unnoticed: a file shows afterwards whether it ran."""
    words = repr([*SCRIPT[1:]])
    program = (
        f"import os, subprocess, sys\nwords = {words}\n"
        "code = subprocess.call([sys.executable, 'bin/pytest', *words])\n"
        f"{SPRUNG}\nsys.exit(code)\n"
    )
    files = {f"{module}.py": SILENT, "lib/start.py": program}
    return trap_entry(name, files, ("lib/start.py",))


ENTRIES = (
    *(trap_entry(f"current-directory-has-{name}", {f"{name}.py": TRAP}) for name in NAMES),
    checked_entry("current-directory-has-a-silent-queue", "queue"),
    checked_entry("current-directory-has-a-silent-conformance", "conformance"),
    trap_entry(
        "current-directory-has-a-package-conformance",
        {"conformance/__init__.py": TRAP, "conformance/isolation/child.py": TRAP},
    ),
    trap_entry(
        "current-directory-has-a-module-of-python",
        {"encodings/__init__.py": TRAP, "runpy.py": TRAP, "importlib/__init__.py": TRAP},
    ),
    Entry(
        "current-directory-has-a-configuration-of-pytest",
        0,
        BACKEND
        | {
            "pytest.ini": "[pytest]\nfilterwarnings = error\nxfail_strict = true\n"
            "python_functions = nothing_*\npython_files = nothing_*.py\n"
        },
        SCRIPT,
        Expected((0, 4, 5)),
    ),
)
