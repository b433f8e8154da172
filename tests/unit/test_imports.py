"""Which package may import which, and which imports must stay light."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import conformance.reports
import conformance.strategies
import pytest

import conformance

PACKAGES = {
    "conformance": Path(str(conformance.__file__)).parent,
    "conformance.strategies": Path(str(conformance.strategies.__file__)).parent,
    "conformance.reports": Path(str(conformance.reports.__file__)).parent,
}


@cache
def _imports(file: Path, module: str) -> tuple[str, ...]:
    """Absolute names of all modules that a file imports, also inside functions."""
    return tuple(_iterate_imports(file, module))


def _iterate_imports(file: Path, module: str) -> Iterator[str]:
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(name, package) if node.level else name
            yield from (f"{base}.{alias.name}" for alias in node.names)
            yield base


def _iterate_modules() -> Iterator[tuple[str, Path]]:
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            parts = file.relative_to(folder).with_suffix("").parts
            if package == "conformance" and parts[0] in ("strategies", "reports"):
                continue
            names = parts[:-1] if parts[-1] == "__init__" else parts
            yield ".".join([package, *names]), file


MODULES = dict(_iterate_modules())


def test_every_room_has_modules() -> None:
    for package in PACKAGES:
        assert sum(name.rpartition(".")[0] == package for name in MODULES) > 5, package


def _starts_with_any(name: str, *prefixes: str) -> bool:
    return any(name == p or name.startswith(p + ".") for p in prefixes)


WITH_TORCH = {
    "conformance.networks.exported",
    "conformance.networks.intermediates",
    "conformance.networks.recorder",
    "conformance.networks.recording",
    "conformance.networks.step_oracles",
    "conformance.networks.checking",
    "conformance.networks.forms",
    "conformance.networks.inputs",
    "conformance.networks.sealed_module",
    "conformance.networks.weights",
    "conformance.commands.check_module",
} | {
    f"conformance.backends.{name}"
    for name in (
        *(
            "coverage_audit",
            "module",
            "torch_autocast",
            "torch_calls",
            "torch_containers",
            "torch_module",
            "torch_transforms",
            "torch_layouts",
            "torch_network",
            "torch_sequences",
            "torch_composites",
        ),
        *(
            "operators",
            "delegation",
            "implementation",
            "kernel_dispatch",
            "override",
            "kernel_output",
            "kernel_folder",
            "operator_trace",
        ),
        *(
            f"adapters.torch{name}"
            for name in ("", ".compile", ".decomposed", ".export", ".kernel_batch", ".meta")
        ),
        *(f"adapters.keras{name}" for name in ("", ".attention", ".losses")),
        "adapters.onnx.onnxruntime_export",
    )
}


def _forbidden_imports(module: str) -> tuple[str, ...]:
    """What a module may not import."""
    rules: list[str] = []
    if module not in WITH_TORCH:
        rules.append("torch")
    if not _starts_with_any(module, "conformance.plugin", "conformance.suite"):
        rules += ["pytest", "_pytest", "xdist", "conformance.plugin"]
    if _starts_with_any(module, "conformance.oracles", "conformance.reports"):
        rules.append("hypothesis")
    if _starts_with_any(module, "conformance.strategies"):
        rules.append("conformance.oracles")
    return tuple(rules)


@pytest.mark.parametrize("module", MODULES)
def test_module_imports_only_what_its_room_may(module: str) -> None:
    forbidden = {
        name
        for name in _imports(MODULES[module], module)
        if _starts_with_any(name, *_forbidden_imports(module))
    }
    assert not forbidden


def test_the_rule_sees_a_forbidden_import(tmp_path: Path) -> None:
    file = tmp_path / "convolution.py"
    file.write_text(
        "def f():\n    from torch.nn import functional\n    from ..strategies import values\n"
    )
    names = set(_imports(file, "conformance.oracles.convolution"))
    assert any(
        _starts_with_any(n, *_forbidden_imports("conformance.oracles.convolution")) for n in names
    )
    assert "conformance.strategies.values" in names


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import conformance", ("torch", "hypothesis", "jinja2", "numpy")),
        ("import conformance.plugin", ("torch", "hypothesis", "jinja2", "numpy", "msgspec")),
        ("import conformance.backends", ("torch", "hypothesis", "jinja2")),
        ("import conformance.commands.cli", ("torch", "hypothesis", "jinja2", "numpy")),
        ("import conformance.oracles.convolution", ("torch", "hypothesis")),
        ("import conformance.strategies.convolution", ("torch",)),
    ],
)
def test_import_is_light(statement: str, heavy: tuple[str, ...]) -> None:
    script = f"{statement}\nimport sys\nprint([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def find_cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Find groups of modules that import one another, directly or through other modules.

    `imports` maps a module to the modules that it imports, also those for types only.
    """
    reachable = {module: set(direct) for module, direct in imports.items()}
    for middle in reachable:
        for module, targets in reachable.items():
            if middle in targets:
                reachable[module] = targets | reachable[middle]
    cycle_members = {
        m: sorted(n for n in targets if m in reachable[n]) for m, targets in reachable.items()
    }
    return sorted({tuple(group): group for group in cycle_members.values() if group}.values())


def _direct_imports(file: Path, module: str) -> set[str]:
    imported = set(_imports(file, module))
    # A name that is not a module belongs to the package.
    return {name for name in imported if name in MODULES and name != module} - {
        name
        for name in imported
        if any(other.startswith(f"{name}.") for other in imported & set(MODULES))
    }


def _package(module: str) -> str:
    """`conformance.laws.loss.cross_entropy.ctc` → `laws`; empty for the top."""
    return module.partition(".")[2].partition(".")[0]


def _package_levels() -> dict[str, int]:
    """Package → its line in the picture of ARCHITECTURE.md, counted from 0 at the bottom."""
    text = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = text.split("```")[1]
    lines = [line.partition("│")[0].split() for line in picture.strip().splitlines()]
    return {name: level for level, line in enumerate(reversed(lines)) for name in line}


def _find_upward_imports(levels: dict[str, int], imports: dict[str, set[str]]) -> set[str]:
    """Imports of a package that is not lower in the picture, and packages that are not in it."""
    upward = set()
    for module, direct in imports.items():
        for name in direct:
            above, below = _package(module), _package(name)
            if "" in (above, below) or "_version" in (above, below) or above == below:
                continue
            if levels.get(below, len(levels)) >= levels.get(above, -1):
                upward.add(f"{module} → {name}")
    return upward


def test_packages_import_lower_packages_only() -> None:
    imports = {module: _direct_imports(file, module) for module, file in MODULES.items()}
    assert _find_upward_imports(_package_levels(), imports) == set()
    assert {_package(module) for module in MODULES} - {"", "_version"} == set(_package_levels())


def test_an_import_upward_is_seen() -> None:
    planted = {"conformance.oracles.linear": {"conformance.laws.linear"}}
    assert _find_upward_imports(_package_levels(), planted) == {
        "conformance.oracles.linear → conformance.laws.linear"
    }
    planted = {"conformance.oracles.linear": {"conformance.arithmetic.rounded"}}
    assert _find_upward_imports(_package_levels(), planted) == set()


def test_no_modules_import_one_another_in_a_circle() -> None:
    assert (
        find_cycles({module: _direct_imports(file, module) for module, file in MODULES.items()})
        == []
    )


def test_a_circle_is_seen(tmp_path: Path) -> None:
    assert find_cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    file = tmp_path / "law.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n\n"
        "if TYPE_CHECKING:\n    from conformance.checks.trial import Trial\n"
    )
    planted = {module: _direct_imports(path, module) for module, path in MODULES.items()}
    planted["conformance.spec.law"] |= _direct_imports(file, "conformance.spec.law")
    (cycle,) = find_cycles(planted)
    assert {"conformance.spec.law", "conformance.checks.trial"} <= set(cycle)
