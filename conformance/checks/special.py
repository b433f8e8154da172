"""`special`: NaN, ±inf, −0.0, subnormal and the largest numbers among the inputs and parameters.

The layer's `Oracle.propagation` gives the expected outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from conformance.arithmetic.choices import enclose
from conformance.arithmetic.rounded import Rounded
from conformance.checks.trial import Evidence, Trial
from conformance.checks.values import compare, finding_at
from conformance.layers.describe import number_text
from conformance.model.case import Case
from conformance.model.failure import Failure, Inapplicable
from conformance.model.finding import Finding
from conformance.model.formats import format_of
from conformance.model.proof import Proof

_STREAM = 0x73706563  # this check's own random numbers of a case
_KINDS = ("nan", "infinite", "largest", "subnormal", "zero")
# Each case is run twice, with one theme from each line.
_THEMES = (
    ("nan", "nan among zeros", "infinite", "mixed"),
    ("largest", "all largest", "subnormal", "all subnormal", "half zero"),
)
# For layers that compare elements: special number, and share of the elements replaced by it.
_DENSE_SPECIALS = ((math.nan, 0.1), (-math.inf, 0.5), (math.inf, 0.1))
_ZERO_WEIGHTS_ONE_IN = 12  # one case in this number has all weights zero, for layers that multiply
_SPECIAL_PARAMETER_ONE_IN = (
    4  # one case in this number has NaN or an infinity among its weights or biases
)


def check(trial: Trial) -> Evidence:
    """Replace some elements by special numbers, and compare the class and value of each output.

    A case that already holds NaN or an infinity is used unchanged.

    Raises:
        Failure: if NaN, an infinity, a finite value or (for layers that copy) a zero's sign is
            wrong.
        Inapplicable: for integer and complex inputs, and if no input has an element.
    """
    evidence = Evidence()
    for case in _special_cases(trial):
        special = trial.trial_of(case)
        try:
            evidence += _check_case(special)
        except Failure as failure:
            finding = failure.finding.in_context(_format_specials(special))
            raise Failure(finding, case=case) from failure
    return evidence


def _check_case(trial: Trial) -> Evidence:
    evidence = Evidence()
    for name, got, wanted in zip(
        trial.names, trial.arrays, trial.spec.oracle.propagation.expected(trial), strict=True
    ):
        evidence += compare(name, got, wanted)
        if trial.spec.traits.copies_input:
            evidence += Evidence(_check_zero_signs(name, got, enclose(wanted)))
    return evidence


def _special_targets(trial: Trial) -> list[int | str]:
    """The tensors that take all special numbers: indices of inputs, names of state tensors."""
    spec, roles = trial.spec, trial.spec.oracle.propagation.roles
    tensors: list[tuple[int | str, str, np.ndarray | None]] = [
        (k, spec.signature.inputs[k].role, x) for k, x in enumerate(trial.case.inputs)
    ]
    tensors += [(name, spec.role(name), x) for name, x in trial.case.call.state.items()]
    return [
        key
        for key, role, x in tensors
        if x is not None and x.size and x.dtype.kind == "f" and role in roles
    ]


def _special_cases(trial: Trial) -> list[Case]:
    """The case with special numbers, once for each line of `_THEMES`."""
    case, targets = trial.case, _special_targets(trial)
    if trial.spec.traits.refuses_special(case):
        raise Inapplicable("NaN and infinities are refused")
    if not targets:
        raise Inapplicable("no floating-point input has an element")
    if not all(np.isfinite(x).all() for x in case.operands):
        return [case]
    generator = np.random.default_rng((case.seed, _STREAM))
    state = dict(case.call.state)
    propagation = trial.spec.oracle.propagation
    if not propagation.zero_weights_allowed:
        # ∞ × 0 is NaN; without zeros an infinity saturates the gates instead.
        weights = [name for name in state if trial.spec.role(name) == "weight"]
        state |= {name: np.where(state[name] == 0, 1.0, state[name]) for name in weights}
    call = replace(case.call, state=state)
    dense = ("crowd", "crowd") if propagation.specials_may_dominate else ()
    themes = [
        theme_choices[generator.integers(len(theme_choices))]
        for theme_choices in ((*_THEMES[0], *dense), *_THEMES[1:])
    ]
    case = replace(case, call=call)
    cases = [_insert_specials(trial, case, theme, targets, generator) for theme in themes]
    # A kernel that skips products because all weights are zero loses 0 × ∞ and 0 × NaN.
    no_weight = propagation.special_parameters and generator.integers(_ZERO_WEIGHTS_ONE_IN) == 0
    cases = [_with_zero_weights(trial, case) for case in cases] if no_weight else cases
    if generator.integers(_SPECIAL_PARAMETER_ONE_IN) == 0:
        cases[0] = _with_special_parameter(trial, themes[0], generator) or cases[0]
    return cases


def _with_special_parameter(
    trial: Trial, theme: str, generator: np.random.Generator
) -> Case | None:
    """The case with NaN or infinities among its weights or biases; None if that decides nothing."""
    case, kind = trial.case, "infinite" if theme == "infinite" else "nan"
    spec = trial.spec
    # One algorithm multiplies the zeros of a padding, which gives NaN; another skips them.
    roles = ("bias", "weight") if spec.traits.every_weight_counts(case) else ("bias",)
    tensors = dict(zip(spec.signature.input_names, case.inputs, strict=False)) | dict(
        case.call.state
    )
    candidates = {
        name: x
        for role in roles
        for name, x in tensors.items()
        if x is not None and x.size and spec.role(name) == role
    }
    if not spec.oracle.propagation.special_parameters or not candidates:
        return None
    name = str(generator.choice(list(candidates)))
    if spec.role(name) == "weight" and trial.precision.is_half:
        # oneDNN pairs the products of bfloat16, and pads an odd number of them with zero: ∞·0. A
        # known failure for that would cover all cases of a convolution.
        kind = "nan"
    x = candidates[name].copy()
    for at in generator.integers(0, x.size, generator.integers(1, 3, endpoint=True)):
        x.reshape(-1)[at] = _draw_specials(kind, 1, case.call.dtype, generator)[0]
    if name in case.call.state:
        call = replace(case.call, state={**case.call.state, name: x})
        return replace(case, call=call)
    inputs = list(case.inputs)
    inputs[spec.signature.input_names.index(name)] = x
    return replace(case, inputs=tuple(inputs))


def _with_zero_weights(trial: Trial, case: Case) -> Case:
    """The case with all weights zero."""

    def zero(name: str, x: np.ndarray | None) -> np.ndarray | None:
        return np.zeros_like(x) if x is not None and trial.spec.role(name) == "weight" else x

    state = {name: np.asarray(zero(name, x)) for name, x in case.call.state.items()}
    inputs = tuple(
        zero(*pair) for pair in zip(trial.spec.signature.input_names, case.inputs, strict=False)
    )
    return replace(case, call=replace(case.call, state=state), inputs=inputs)


def _insert_specials(
    trial: Trial,
    case: Case,
    theme: str,
    targets: Sequence[int | str],
    generator: np.random.Generator,
) -> Case:
    """The case with some or all elements replaced by the special numbers of a theme."""
    dtype = case.call.dtype
    operands: dict[int | str, np.ndarray | None] = {**dict(enumerate(case.inputs))}
    operands.update({name: x for name, x in case.call.state.items()})  # noqa: C416 - other keys
    chosen = [k for k in targets if generator.integers(2)]
    chosen = chosen or [targets[int(generator.integers(len(targets)))]]
    if theme in ("infinite", "nan among zeros"):
        chosen = chosen[:1]
    for k in targets:
        x = operands[k]
        assert x is not None
        flat, size = x.reshape(-1).copy(), x.size
        if theme == "nan among zeros" and k not in chosen:
            flat[:] = 0.0
        elif theme.startswith("all "):
            flat = _draw_specials(theme.removeprefix("all "), size, dtype, generator)
        elif theme == "half zero":
            zeros = _draw_specials("zero", size, dtype, generator)
            flat = np.where(generator.integers(0, 2, size) == 1, zeros, flat)
        elif theme == "crowd":
            shares = [share for _, share in _DENSE_SPECIALS]
            which = generator.choice(len(_DENSE_SPECIALS) + 1, size, p=[*shares, 1 - sum(shares)])
            specials = np.array([*(x for x, _ in _DENSE_SPECIALS), 0.0])
            flat = np.where(which < len(_DENSE_SPECIALS), specials[which], flat)
        elif k in chosen:
            max_count = trial.spec.oracle.propagation.max_infinities if theme == "infinite" else 3
            for at in generator.integers(0, size, generator.integers(1, max_count, endpoint=True)):
                kind = _KINDS[generator.integers(len(_KINDS))] if theme == "mixed" else theme
                flat[at] = _draw_specials(kind.split()[0], 1, dtype, generator)[0]
        operands[k] = flat.reshape(x.shape)
    inputs = tuple(operands[k] for k in range(len(case.inputs)))
    state = {name: np.asarray(operands[name]) for name in case.call.state}
    return replace(case, call=replace(case.call, state=state), inputs=inputs)


def _draw_specials(kind: str, count: int, dtype: str, generator: np.random.Generator) -> np.ndarray:
    """Draw special numbers of one kind, of either sign."""
    dtype_format = format_of(dtype)
    signs = generator.integers(0, 2, count) * 2.0 - 1.0
    if kind == "subnormal":
        widths = generator.integers(1, dtype_format.bits - 1, count, endpoint=True)
        return np.asarray(signs * (generator.integers(0, 2**widths - 1) + 1) * dtype_format.tiny)
    if kind == "largest":
        return np.asarray(signs * np.ldexp(dtype_format.largest, -generator.integers(0, 12, count)))
    return np.asarray(signs * {"nan": math.nan, "infinite": math.inf, "zero": 0.0}[kind])


def _format_specials(trial: Trial) -> str:
    """List the first special numbers of a case: `with input[0, 1] = nan`."""
    parts, dtype_format = [], format_of(trial.case.call.dtype)
    inputs = dict(zip(trial.spec.signature.input_names, trial.case.inputs, strict=False))
    targets = {
        trial.spec.signature.input_names[k] if isinstance(k, int) else k
        for k in _special_targets(trial)
    }
    for name, x in (inputs | dict(trial.case.call.state)).items():
        if x is None or x.dtype.kind != "f":
            continue
        is_special, size = ~np.isfinite(x), np.abs(x)
        if name in targets:
            is_special |= (size < dtype_format.normal) | (size > dtype_format.largest * 2.0**-12)
            is_special &= (x != 0) | np.signbit(x)
        for at in np.argwhere(is_special)[:4]:
            index = ", ".join(str(int(i)) for i in at)
            parts.append(f"{name}[{index}] = {number_text(x[tuple(at)].item())}")
    for name, x in (inputs | dict(trial.case.call.state)).items():
        if trial.spec.role(name) == "weight" and x is not None and x.size and not x.any():
            parts.insert(0, f"{name} all zeros")
    parts = parts[:6] + (["…"] if len(parts) > 6 else [])
    return f"with {', '.join(parts) or 'plain numbers only'}"


def _check_zero_signs(name: str, got: np.ndarray, wanted: Rounded) -> int:
    """Compare the signs of exact zeros, which a copy preserves; return the number compared."""
    zero = (wanted.value == 0) & (wanted.error == 0)
    wrong = zero & (np.signbit(got) != np.signbit(wanted.value))
    if wrong.any():
        finding = _finding_at_first(Finding("sign", name), got, wanted.value, wrong)
        where = finding.where or ()
        lines = ("failed = bool(np.signbit(got)) != negative",)
        negative = bool(np.signbit(wanted.value[where]))
        raise Failure(finding, Proof(lines, {"got": (got, where)}, {"negative": negative}))
    return int(zero.sum())


def _finding_at_first(
    finding: Finding, got: np.ndarray, wanted: np.ndarray, wrong: np.ndarray
) -> Finding:
    return finding_at(finding, got, wanted, wrong, tuple(map(int, np.argwhere(wrong)[0])))
