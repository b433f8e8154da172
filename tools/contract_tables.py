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
from conformance.model.checks import CHECK_FACTS, columns
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import Input

ROOT = Path(__file__).resolve().parents[1]
# Roles that the name of an input does not show.
_SHOWN = ("hidden", "index", "statistic")


def inputs() -> str:
    """The table of inputs, outputs, state and keywords; layers with the same ones share a row."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in CATALOGUE.values():
        columns = (
            ", ".join(_listed([_input(row, x) for x in row.signature.inputs])),
            ", ".join(_listed([_named(row, x.name) for x in row.signature.outputs])),
            _state(row),
            ", ".join(f"`{a.name}`" for a in row.signature.arguments if a.keyword),
        )
        groups.setdefault((row.family, *columns), []).append(row.name)
    lines = ["| layer | inputs | outputs | state | keywords |", "|---|---|---|---|---|"]
    for (_, *columns), names in groups.items():
        lines.append(f"| {', '.join(ranges(names))} | {' | '.join(columns)} |")
    return "\n".join(lines)


def _listed(names: list[str]) -> Iterator[str]:
    """Shorten the elements of a list to a range: `` `sequence0`–`sequence5` ``."""
    for name in names:
        stem, number = re.sub(r"\d+.*", "", name), re.search(r"\d+", name)
        more = [x for x in names if re.fullmatch(rf"{re.escape(stem)}\d+`\??", x)]
        if number is None or len(more) < 3:
            yield name
        elif number[0] == "0":
            yield f"{name}–{more[-1]}"


def _named(row: LayerSpec, tensor: str) -> str:
    """The name of a tensor, with its shape if the specification gives it in named sizes."""
    text = "" if row.shapes is None else row.shapes.texts.get(tensor, "")
    return f"`{tensor}: {text}`" if text else f"`{tensor}`"


def _input(row: LayerSpec, x: Input) -> str:
    name = _named(row, x.name) + ("?" if x.optional else "")
    return f"{name} ({x.role})" if x.role in _SHOWN and x.role != x.name else name


def _state(row: LayerSpec) -> str:
    """The state tensors with default arguments."""
    plain = {a.name: 1 if a.plain is None else a.plain for a in row.signature.arguments}
    shape = (1,) * (row.signature.dims + 2)
    given = {name: plain[name] for name in row.signature.required}
    # Prefer an argument's simplest value to its default, e.g. a stack of one layer.
    given |= {a.name: a.plain for a in row.signature.arguments if a.plain is not None}
    tensors = row.state_tensors({**row.signature.defaults, **given, **row.inferred(shape)}, shape)
    return ", ".join(_named(row, x.name) + (" (buffer)" if x.buffer else "") for x in tensors)


def ranges(names: list[str]) -> Iterator[str]:
    """Shorten the names of layers in one, two and three dimensions: `Conv1d`–`3d`."""
    for name in names:
        stem = re.sub(r"[123]d$", "", name)
        if stem == name or not {f"{stem}{k}d" for k in (1, 2, 3)} <= set(names):
            yield f"`{name}`"
        elif name.endswith("1d"):
            yield f"`{name}`–`3d`"


def layouts() -> str:
    """Pictures of arrays of two shapes in memory, in each layout; letters stand for elements."""
    lines = ["```text"]
    for shape, title, names in _PICTURED:
        lines += [title, f"  {'layout':<15}{'strides':<15}memory"]
        for name in names:
            forms = dict.fromkeys(_form(shape, name, first) for first in range(8))
            lines += [f"  {name:<15}{form}" for form in sorted(forms, key=len)]
        lines.append("")
    return "\n".join([*lines[:-1], "```"])


_PICTURED = (
    (
        (2, 3),
        "rows abc and def; expanded: rows abc and abc",
        ("contiguous", "transposed", "sliced", "offset", "expanded"),
    ),
    (
        (1, 2, 2, 2),
        "a picture (N, C, H, W) = (1, 2, 2, 2), channels abcd and efgh",
        ("contiguous", "channels_last"),
    ),
)


def _form(shape: tuple[int, ...], layout: str, first: int) -> str:
    array = np.arange(first, first + np.prod(shape), dtype=np.float64).reshape(shape)
    if layout == "expanded":
        array = np.ascontiguousarray(np.broadcast_to(array[:1], shape))
    laid = numpy_layouts.laid_out(array, layout)
    strides = ", ".join(str(stride // laid.itemsize) for stride in laid.strides)
    memory: np.ndarray = laid
    while memory.base is not None:
        memory = memory.base
    letters = ["." if np.isnan(x) else "abcdefgh"[int(x) - first] for x in memory.ravel(order="K")]
    return f"{f'({strides})':<15}{' '.join(letters)}"


def functions() -> str:
    """The function names that `ulp` and `absolute` accept, with the errors allowed by default."""
    names = " | ".join(f"`{name}`" for name in ULP)
    errors = " | ".join(f"{error:g}" for error in ULP.values())
    return f"| {names} |\n|{'---|' * len(ULP)}\n| {errors} |"


def stored() -> str:
    """The table of intermediate results that a backend may store in half precision."""
    lines = [f"| `{name}` | {meaning} |" for name, meaning in STORED.items()]
    return "\n".join(["| name | what is stored |", "|---|---|", *lines])


def checks() -> str:
    """The table of checks and the property that each tests."""
    lines = [f"| `{name}` | {CHECK_FACTS[name].looks_at} |" for name in columns()]
    return "\n".join(["| check | property |", "|---|---|", *lines])


def families() -> str:
    """The table of families; a lazy form or function is left out beside its module."""
    lines = ["| family | modules | functions | which |", "|---|---:|---:|---|"]
    every: dict[str, list[LayerSpec]] = {}
    for row in CATALOGUE.values():
        every.setdefault(row.family, []).append(row)
    for family, rows in every.items():
        known = {_stem(row.name) for row in rows if not row.function and not row.lazy}
        names = [
            row.name
            for row in rows
            if not row.lazy and not (row.function and _stem(row.name) in known)
        ]
        shown = ", ".join(ranges(names))
        lines.append(f"| {family} | {_modules(rows)} | {_functions(rows)} | {shown} |")
    total = list(CATALOGUE.values())
    lines.append(f"| **{len(total)} layers** | {_modules(total)} | {_functions(total)} | |")
    return "\n".join(lines)


def _modules(rows: list[LayerSpec]) -> int:
    return sum(not row.function for row in rows)


def found() -> str:
    """Number of bugs that the suite has found, by framework, most first."""
    counts = Counter(bug.owner for bug in bugs() if bug.kind != NO_BUG)
    owners = [f"[{owner}](docs/findings.md#{owner}) {n}" for owner, n in counts.most_common()]
    return f"**{sum(counts.values())} divergences:** {' · '.join(owners)}"


def _functions(rows: list[LayerSpec]) -> int:
    return sum(row.function for row in rows)


def _stem(name: str) -> str:
    """The common part of the names of a module and its function."""
    return re.sub(r".*\.|_|[123]d$", "", name.lower()).removesuffix("loss")


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "docs/contract.md": {"layouts": layouts, "functions": functions, "stored": stored},
    "docs/inputs.md": {"inputs": inputs},
    "docs/layers.md": {"families": families, "checks": checks},
    "README.md": {"found": found},
}  # fmt: skip


def written(page: str) -> str:
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
        (ROOT / page).write_text(written(page), encoding="utf-8")
