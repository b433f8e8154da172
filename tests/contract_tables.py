"""The parts of `docs/contract.md` that follow from the code; run as a script it writes them.

Each stands between `<!-- NAME -->` and `<!-- end of NAME -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from conformance.backends import numpy_layouts
from conformance.layers import CATALOGUE
from conformance.layers.row import Input, Row
from conformance.model.case import STORED, ULP

PAGE = Path(__file__).resolve().parents[1] / "docs" / "contract.md"
# Roles that a name does not tell.
_SHOWN = ("hidden", "index", "statistic")


def inputs() -> str:
    """Inputs, outputs, state and keywords of every layer, those alike in one row."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in CATALOGUE.values():
        columns = (
            ", ".join(map(_input, row.inputs)),
            ", ".join(f"`{x.name}`" for x in row.outputs),
            _state(row),
            ", ".join(f"`{a.name}`" for a in row.arguments if a.keyword),
        )
        groups.setdefault((row.family, *columns), []).append(row.name)
    lines = ["| layer | inputs | outputs | state | keywords |", "|---|---|---|---|---|"]
    for (_, *columns), names in groups.items():
        lines.append(f"| {', '.join(_ranges(names))} | {' | '.join(columns)} |")
    return "\n".join(lines)


def _input(x: Input) -> str:
    name = f"`{x.name}`" + ("?" if x.optional else "")
    return f"{name} ({x.role})" if x.role in _SHOWN and x.role != x.name else name


def _state(row: Row) -> str:
    """With the arguments' defaults."""
    plain = {a.name: 1 if a.plain is None else a.plain for a in row.arguments}
    shape = (1,) * (row.dims + 2)
    given = {name: plain[name] for name in row.required}
    # Of what has a default, too, the plain value where there is one: a stack of one layer.
    given |= {a.name: a.plain for a in row.arguments if a.plain is not None}
    tensors = row.state({**row.defaults, **given, **row.inferred(shape)}, shape)
    return ", ".join(f"`{x.name}`" + (" (buffer)" if x.buffer else "") for x in tensors)


def _ranges(names: list[str]) -> Iterator[str]:
    """`Conv1d`–`3d` for three names."""
    for name in names:
        stem = re.sub(r"[123]d$", "", name)
        if stem == name or not {f"{stem}{k}d" for k in (1, 2, 3)} <= set(names):
            yield f"`{name}`"
        elif name.endswith("1d"):
            yield f"`{name}`–`3d`"


def layouts() -> str:
    """What arrays of two shapes look like in memory; letters count their elements."""
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
    """Names that `ulp` and `absolute` take, with the largest error that is allowed by default."""
    names = " | ".join(f"`{name}`" for name in ULP)
    errors = " | ".join(f"{error:g}" for error in ULP.values())
    return f"| {names} |\n|{'---|' * len(ULP)}\n| {errors} |"


def stored() -> str:
    """The results within a composite that a backend may store in half precision."""
    lines = [f"| `{name}` | {meaning} |" for name, meaning in STORED.items()]
    return "\n".join(["| name | what is stored |", "|---|---|", *lines])


PARTS: dict[str, Callable[[], str]] = {
    "inputs": inputs, "layouts": layouts, "functions": functions, "stored": stored
}  # fmt: skip


def written(page: str) -> str:
    """A page with its generated parts as the code has them."""
    for name, part in PARTS.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
        page, count = mark.subn(lambda m, part=part: f"{m[1]}{part()}\n{m[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{count} parts named {name}, expected one")
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
