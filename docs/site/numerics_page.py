"""The page on how bounds are derived: docstrings of the arithmetic, and a computed example."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
from prose import code, escape, field_meanings, fill_placeholders, paragraphs, sentence, table

from conformance.arithmetic.rounded import Rounded
from conformance.backends.adapters.torch import backend
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import STORED, ULP, Call, Case, Numerics
from conformance.model.formats import FORMATS, round_to

TITLES = {
    "rounded": "Sums of products and the four operations",
    "reductions": "Sums, means, variances, maxima, softmax",
    "elementary": "Elementary functions",
    "activations": "Tanh, sigmoid, and the gates of a cell",
    "smooth": "Softplus, GELU and their kin",
    "piecewise": "Functions given piece by piece",
    "choices": "Several right values, and selection",
    "half_precision": "Half precision",
    "derivatives": "Gradients",
    "exactness": "Where nothing rounds",
}
"""Modules of the arithmetic, in the page's order."""

LAYER, TERMS, SEED = "functional.linear", 8, 0


def title(module: str) -> str:
    """The heading of a module's section."""
    return TITLES.get(module, module)


def anchor(module: str) -> str:
    """The heading's anchor, formed as on GitHub."""
    return re.sub(r"[^\w\- ]", "", title(module).lower()).replace(" ", "-")


def _case(x: np.ndarray, w: np.ndarray, dtype: str) -> Case:
    operands = (round_to(x, dtype), round_to(w, dtype), None)
    return Case(Call(LAYER, {}, {}, dtype, "cpu"), operands)


def _trial(case: Case, numerics: Numerics | None = None) -> Trial:
    return Trial(backend, CATALOGUE[LAYER], case, numerics)


def _bound(trial: Trial) -> float:
    (expected,) = trial.expected
    assert isinstance(expected, Rounded)
    return float(expected.error.item())


def _numbers(x: np.ndarray) -> str:
    return ", ".join(f"{value:.4f}" for value in x.ravel())


def example() -> str:
    """A dot product: its terms, its bound, torch's error; then the same in whole numbers."""
    generator = np.random.default_rng(SEED)
    x, w = generator.standard_normal((2, 1, TERMS))
    case = _case(x, w, "float32")
    trial = _trial(case)
    drawn_x, drawn_w = case.inputs[0], case.inputs[1]
    assert drawn_x is not None
    assert drawn_w is not None
    magnitude = float(np.abs(drawn_x * drawn_w).sum())
    unit, bound = FORMATS["float32"].unit, _bound(trial)
    (expected,), (got,) = trial.expected, trial.answer
    value, error = float(expected.value.item()), abs(float(got.item() - expected.value.item()))
    rows = [
        ("Σ xₖ·wₖ, computed in float64", f"{value:.10f}"),
        ("Σ \\|xₖ·wₖ\\|", f"{magnitude:.10f}"),
        ("u of float32", f"2⁻²⁴ = {unit:.4g}"),
        (f"n·u·Σ \\|xₖ·wₖ\\| with n = {TERMS}", f"{TERMS * unit * magnitude:.4g}"),
        ("the oracle's bound", f"{bound:.4g}"),
        ("torch's answer", f"{float(got.item()):.10f}"),
        ("its error", f"{error:.4g}"),
        ("error ÷ bound", f"{error / bound:.3f}"),
    ]
    smallest_term = float(np.abs(drawn_x * drawn_w).min())
    introduction = (
        f"`{LAYER}` of one row and one weight of {TERMS} numbers each, computed when this page was "
        f"built (seed {SEED}):\n"
    )
    omission = (
        "A formula that omits a term, or counts one twice, has an error of that term. The smallest "
        f"term is {smallest_term:.4g}, which is {smallest_term / bound:,.0f} times the bound.\n"
    )
    lines = [
        introduction,
        f"```text\nx = {_numbers(drawn_x)}\nw = {_numbers(drawn_w)}\n```\n",
        table(("", ""), rows) + "\n",
        omission,
    ]
    integers = generator.integers(-3, 4, (1, TERMS)) * 1.0
    integer_trial = _trial(_case(integers, np.full((1, TERMS), 2.0), "float32"))
    (exact,) = integer_trial.expected
    lines.append(
        "In whole numbers no partial sum rounds, in any order. "
        f"Σ is {exact.value.item():g} and the bound is {_bound(integer_trial):g}, so the suite "
        f"requires equality; torch returns {integer_trial.answer[0].item():g}.\n"
    )
    lines.append("A backend's declarations change the bound of the same numbers:\n")
    lines.append(table(("dtype", "declared", "bound"), list(_declared_rows(x, w))))
    return "\n".join(lines)


def _declared_rows(x: np.ndarray, w: np.ndarray) -> Iterator[tuple[str, str, str]]:
    declarations: tuple[tuple[str, Numerics | None], ...] = (
        ("float32", None),
        ("float32", Numerics(operand_roundoff=2.0**-11)),
        ("bfloat16", None),
        ("bfloat16", Numerics(accumulation="bfloat16")),
    )
    for dtype, numerics in declarations:
        declared = "nothing"
        if numerics is not None:
            changed = [
                f
                for f in fields(numerics)
                if getattr(numerics, f.name) != getattr(Numerics(), f.name)
            ]
            declared = ", ".join(code(f"{f.name}={getattr(numerics, f.name)!r}") for f in changed)
        yield dtype, declared, f"{_bound(_trial(_case(x, w, dtype), numerics)):.4g}"


def numerics_tables() -> str:
    """Tables of the fields of `Numerics`, and of the functions and results that they may name."""
    defaults = Numerics()
    rows = [
        (
            code(f.name),
            code(repr(getattr(defaults, f.name))),
            escape(sentence(field_meanings(Numerics)[f.name])),
        )
        for f in fields(Numerics)
    ]
    ulps = [(code(name), f"{error:g}") for name, error in ULP.items()]
    stored = [(code(name), escape(meaning)) for name, meaning in STORED.items()]
    return "\n\n".join(
        (
            table(("field", "default", "meaning"), rows),
            "Largest errors in units in the last place, unless a backend declares others (`ulp`):",
            table(("function", "units"), ulps),
            "Intermediate results that a composite may store in half precision (`stored`):",
            table(("name", "what is stored"), stored),
        )
    )


def sections() -> Iterator[str]:
    """A section for each module of the arithmetic: its docstring and its functions."""
    for module in TITLES:
        loaded = importlib.import_module(f"conformance.arithmetic.{module}")
        yield f"## {title(module)}\n"
        yield f"{paragraphs(inspect.getdoc(loaded) or '')}\n"
        rows = [
            (code(name), escape(sentence((inspect.getdoc(f) or "").partition("\n\n")[0])))
            for name, f in inspect.getmembers(loaded, inspect.isfunction)
            if f.__module__ == loaded.__name__ and not name.startswith("_")
        ]
        if rows:
            yield table((code(f"conformance.arithmetic.{module}"), ""), rows) + "\n"


def page(head: str) -> str:
    """The text of the page.

    Args:
        head: the hand-written page, with a placeholder for each part.
    """
    parts = {"example": example(), "numerics": numerics_tables(), "sections": "\n".join(sections())}
    return fill_placeholders(head, parts)
