"""Generate the parts of the README and of pages in docs that follow from code.

`python tools/contract_tables.py` writes them. Each part stands between `<!-- NAME -->` and
`<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from findings import NO_BUG, bugs

from conformance.backends import numpy_layouts
from conformance.layers import CATALOGUE
from conformance.model.case import STORED, ULP
from conformance.model.checks import CHECK_FACTS, matrix_columns
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import Input

ROOT = Path(__file__).resolve().parents[1]
# Roles that the name of an input does not show.
_SHOWN_ROLES = ("hidden", "index", "statistic")


def inputs_table() -> str:
    """The table of inputs, outputs, state and keywords; layers with the same ones share a row."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for spec in CATALOGUE.values():
        columns = (
            ", ".join(_shorten_lists([_input_text(spec, x) for x in spec.signature.inputs])),
            ", ".join(_shorten_lists([_tensor_text(spec, x.name) for x in spec.signature.outputs])),
            _state_text(spec),
            ", ".join(f"`{a.name}`" for a in spec.signature.arguments if a.keyword),
        )
        groups.setdefault((spec.family, *columns), []).append(spec.name)
    lines = ["| layer | inputs | outputs | state | keywords |", "|---|---|---|---|---|"]
    for (_, *columns), names in groups.items():
        lines.append(f"| {', '.join(shorten_dimensions(names))} | {' | '.join(columns)} |")
    return "\n".join(lines)


def _shorten_lists(names: list[str]) -> Iterator[str]:
    """Shorten the elements of a list to a range: `` `sequence0`–`sequence5` ``."""
    for name in names:
        stem, number = re.sub(r"\d+.*", "", name), re.search(r"\d+", name)
        siblings = [x for x in names if re.fullmatch(rf"{re.escape(stem)}\d+`\??", x)]
        if number is None or len(siblings) < 3:
            yield name
        elif number[0] == "0":
            yield f"{name}–{siblings[-1]}"


def _tensor_text(spec: LayerSpec, tensor: str) -> str:
    """The name of a tensor, with its shape if the specification gives it in named sizes."""
    text = "" if spec.shapes is None else spec.shapes.texts.get(tensor, "")
    return f"`{tensor}: {text}`" if text else f"`{tensor}`"


def _input_text(spec: LayerSpec, x: Input) -> str:
    name = _tensor_text(spec, x.name) + ("?" if x.optional else "")
    return f"{name} ({x.role})" if x.role in _SHOWN_ROLES and x.role != x.name else name


def _state_text(spec: LayerSpec) -> str:
    """The state tensors with default arguments."""
    simplest = {a.name: 1 if a.simplest is None else a.simplest for a in spec.signature.arguments}
    shape = (1,) * (spec.signature.dims + 2)
    arguments = {name: simplest[name] for name in spec.signature.required}
    # Prefer an argument's simplest value to its default, e.g. a stack of one layer.
    arguments |= {a.name: a.simplest for a in spec.signature.arguments if a.simplest is not None}
    tensors = spec.state_tensors(
        {**spec.signature.defaults, **arguments, **spec.inferred_arguments(shape)}, shape
    )
    return ", ".join(
        _tensor_text(spec, x.name) + (" (buffer)" if x.buffer else "") for x in tensors
    )


def shorten_dimensions(names: list[str]) -> Iterator[str]:
    """Shorten the names of layers in one, two and three dimensions: `Conv1d`–`3d`."""
    for name in names:
        stem = re.sub(r"[123]d$", "", name)
        if stem == name or not {f"{stem}{k}d" for k in (1, 2, 3)} <= set(names):
            yield f"`{name}`"
        elif name.endswith("1d"):
            yield f"`{name}`–`3d`"


def layout_pictures() -> str:
    """Pictures of arrays of two shapes in memory, in each layout; letters stand for elements."""
    lines = ["```text"]
    for shape, title, names in _PICTURED:
        lines += [title, f"  {'layout':<15}{'strides':<15}memory"]
        for name in names:
            forms = dict.fromkeys(_memory_picture(shape, name, first) for first in range(8))
            lines += [f"  {name:<15}{form}" for form in sorted(forms, key=len)]
        lines.append("")
    return "\n".join([*lines[:-1], "```"])


_PICTURED = (
    (
        (2, 3),
        "rows abc and def; expanded: rows abc and abc; unfolded: rows abc and bcd, or abc and cde",
        ("contiguous", "transposed", "sliced", "offset", "expanded", "unfolded"),
    ),
    (
        (1, 2, 2, 2),
        "a picture (N, C, H, W) = (1, 2, 2, 2), channels abcd and efgh",
        ("contiguous", "channels_last"),
    ),
)


def _memory_picture(shape: tuple[int, ...], layout: str, first: int) -> str:
    array = np.arange(first, first + np.prod(shape), dtype=np.float64).reshape(shape)
    if layout == "expanded":
        array = np.ascontiguousarray(np.broadcast_to(array[:1], shape))
    if layout == "unfolded":
        step = numpy_layouts.window_steps(shape[-1])[int(first) % 2]
        array = first + np.arange(shape[0])[:, np.newaxis] * step + np.arange(float(shape[1]))
    laid = numpy_layouts.apply_layout(array, layout)
    strides = ", ".join(str(stride // laid.itemsize) for stride in laid.strides)
    memory: np.ndarray = laid
    while memory.base is not None:
        memory = memory.base
    letters = ["." if np.isnan(x) else "abcdefgh"[int(x) - first] for x in memory.ravel(order="K")]
    return f"{f'({strides})':<15}{' '.join(letters)}"


def functions_table() -> str:
    """The function names that `ulp` and `absolute` accept, with the errors allowed by default."""
    names = " | ".join(f"`{name}`" for name in ULP)
    errors = " | ".join(f"{error:g}" for error in ULP.values())
    return f"| {names} |\n|{'---|' * len(ULP)}\n| {errors} |"


def stored_table() -> str:
    """The table of intermediate results that a backend may store in half precision."""
    lines = [f"| `{name}` | {meaning} |" for name, meaning in STORED.items()]
    return "\n".join(["| name | what is stored |", "|---|---|", *lines])


def checks_table() -> str:
    """The table of checks and the property that each tests."""
    lines = [f"| `{name}` | {CHECK_FACTS[name].looks_at} |" for name in matrix_columns()]
    return "\n".join(["| check | property |", "|---|---|", *lines])


def families_table() -> str:
    """The table of families; a lazy form or function is left out beside its module."""
    lines = ["| family | modules | functions | which |", "|---|---:|---:|---|"]
    specs_by_family: dict[str, list[LayerSpec]] = {}
    for spec in CATALOGUE.values():
        specs_by_family.setdefault(spec.family, []).append(spec)
    for family, specs in specs_by_family.items():
        module_stems = {
            _stem(spec.name) for spec in specs if not spec.is_function and not spec.lazy
        }
        names = [
            spec.name
            for spec in specs
            if not spec.lazy and not (spec.is_function and _stem(spec.name) in module_stems)
        ]
        shortened = ", ".join(shorten_dimensions(names))
        lines.append(
            f"| {family} | {_count_modules(specs)} | {_count_functions(specs)} | {shortened} |"
        )
    total = list(CATALOGUE.values())
    lines.append(
        f"| **{len(total)} layers** | {_count_modules(total)} | {_count_functions(total)} | |"
    )
    return "\n".join(lines)


def _count_modules(specs: list[LayerSpec]) -> int:
    return sum(not spec.is_function for spec in specs)


def findings_table() -> str:
    """Number of bugs that the suite has found, by framework, most first."""
    counts = Counter(bug.owner for bug in bugs() if bug.kind != NO_BUG)
    owners = [f"[{owner}](docs/findings.md#{owner}) {n}" for owner, n in counts.most_common()]
    return f"**{sum(counts.values())} divergences:** {' · '.join(owners)}"


def _count_functions(specs: list[LayerSpec]) -> int:
    return sum(spec.is_function for spec in specs)


def _stem(name: str) -> str:
    """The common part of the names of a module and its function."""
    return re.sub(r".*\.|_|[123]d$", "", name.lower()).removesuffix("loss")


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/contract.md": {
        "layouts": layout_pictures, "functions": functions_table, "stored": stored_table,
    },
    "docs/inputs.md": {"inputs": inputs_table},
    "docs/layers.md": {"families": families_table, "checks": checks_table},
    "README.md": {"found": findings_table},
}  # fmt: skip


def page_text(page: str) -> str:
    """The text of a page with its generated parts brought up to date."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, part in PAGES[page].items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        text, count = mark.subn(lambda m, part=part: f"{m[1]}{part()}\n{m[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{page} has {count} parts named {name}, expected one")
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(page_text(page), encoding="utf-8")
