"""`special`: NaN, ±inf, −0.0, subnormal and the largest numbers among the inputs and parameters.

Which outputs become NaN or infinite is read off the oracle run on stand-ins, where IEEE arithmetic
settles it in whatever order the sums are taken; every other element is left undecided.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np

from ..case import Case
from ..describe import array_text, number_text
from ..formats import FORMATS, format_of
from ..oracles.precision import Precision
from ..oracles.rounding import Rounded, exactly
from ..trial import Evidence, Failure, Inapplicable, Trial
from .values import compare

_STREAM = 0x73706563  # this check's own random numbers of a case
_KINDS = ("nan", "infinite", "largest", "subnormal", "zero")
# Each case is tried with a theme of either row.
_THEMES = (
    ("nan", "nan beside zeros", "infinite", "mixed"),
    ("largest", "all largest", "subnormal", "all subnormal", "half zero"),
)
# Sums of these are accumulated in float32 and rounded once in half precision (DESIGN §3.3).
_WIDE = {"Linear", "LazyLinear", "functional.linear"} | {
    f"{prefix}{d}d" for prefix in ("Conv", "LazyConv", "functional.conv") for d in (1, 2, 3)
}
_NO_WEIGHT = 12  # of so many cases of layers that multiply, one has no weight but zeros
_PARAMETERS = 4  # of so many, one has NaN or an infinity among its weights or biases
# A finite stand-in for ∞, in float64, and what only a multiple of it exceeds.
_FAR, _BEYOND = 2.0**664, 1e100
_MODERATE = 1e60


def check(trial: Trial) -> Evidence:
    """Put special numbers in place of some elements; hold each output's class and value.

    A case that holds NaN or an infinity itself is taken as it is.

    Args:
        trial: the case on the backend.

    Raises:
        Failure: if NaN, an infinity, a finite value or (of Identity) a zero's sign is wrong.
        Inapplicable: for integer and complex inputs, and where no input has an element.
    """
    evidence = Evidence()
    for case in _derived(trial):
        special = Trial(trial.backend, trial.row, case, trial.numerics)
        try:
            evidence += _held(special)
        except Failure as failure:
            raise Failure(f"{_told(special)}\n{failure}") from failure
    return evidence


def _held(trial: Trial) -> Evidence:
    evidence = Evidence()
    for name, got, wanted in zip(trial.names, trial.arrays, _expected(trial), strict=True):
        evidence += compare(name, got, wanted) + Evidence(_nan(name, got, wanted))
        if trial.row.name == "Identity":
            evidence += Evidence(_signs_of_zero(name, got, wanted))
    return evidence


def _data(trial: Trial) -> list[int]:
    """Places of the inputs that take all special numbers: not weights, not biases."""
    return [
        k
        for k, (name, x) in enumerate(zip(trial.row.inputs, trial.case.inputs, strict=False))
        if x is not None and x.size and x.dtype.kind == "f" and name not in ("weight", "bias")
    ]


def _derived(trial: Trial) -> list[Case]:
    """The case with special numbers put in, once for each row of themes."""
    case, places = trial.case, _data(trial)
    if not places:
        raise Inapplicable("no floating-point input has an element")
    if not all(np.isfinite(x).all() for x in _operands(case)):
        return [case]
    generator = np.random.default_rng((case.seed, _STREAM))
    state = dict(case.call.state)
    if _is_recurrent(trial):
        # ∞ × 0 is NaN; without zeros an infinity saturates the gates instead.
        weights = [name for name in state if name.startswith("weight")]
        state |= {name: np.where(state[name] == 0, 1.0, state[name]) for name in weights}
    call = replace(case.call, state=state)
    themes = [row[generator.integers(len(row))] for row in _THEMES]
    cases = [
        replace(case, call=call, inputs=_put_in(trial, theme, places, generator))
        for theme in themes
    ]
    # A product that is skipped because all weights are zero loses what 0 × ∞ and 0 × NaN are.
    no_weight = not _is_recurrent(trial) and generator.integers(_NO_WEIGHT) == 0
    cases = [_weightless(trial, case) for case in cases] if no_weight else cases
    if generator.integers(_PARAMETERS) == 0:
        cases[:1] = _parametrised(trial, themes[0], generator) or cases[:1]
    return cases


def _operands(case: Case) -> list[np.ndarray]:
    """Inputs and state."""
    return [x for x in (*case.inputs, *case.call.state.values()) if x is not None]


def _parametrised(trial: Trial, theme: str, generator: np.random.Generator) -> list[Case]:
    """The case with NaN or infinities among its weights or biases, if that settles anything."""
    case, kind = trial.case, "infinite" if theme == "infinite" else "nan"
    names = ["bias", "weight"] if _multiplies_every_weight(trial) else ["bias"]
    given = dict(zip(trial.row.inputs, case.inputs, strict=False)) | dict(case.call.state)
    found = {name: x for name in names if (x := given.get(name)) is not None and x.size}
    if _is_recurrent(trial) or not found:
        return []
    name = str(generator.choice(list(found)))
    if name == "weight" and trial.precision.half:
        # oneDNN pairs the products of bfloat16, an odd one with a zero of its own: ∞·0. As a known
        # failure that would cover all cases of a convolution, whatever is put into them.
        kind = "nan"
    x = found[name].copy()
    for at in generator.integers(0, x.size, generator.integers(1, 3, endpoint=True)):
        x.reshape(-1)[at] = _numbers(kind, 1, case.call.dtype, generator)[0]
    if name in case.call.state:
        call = replace(case.call, state={**case.call.state, name: x})
        return [replace(case, call=call)]
    inputs = list(case.inputs)
    inputs[trial.row.inputs.index(name)] = x
    return [replace(case, inputs=tuple(inputs))]


def _multiplies_every_weight(trial: Trial) -> bool:
    """Whether each output has a product with each of its weights, whatever the algorithm.

    The product with a zero of the padding, or between the elements that a transposed convolution
    spreads, is NaN in one algorithm and left out in another (DESIGN §3.9).
    """
    if "onv" not in trial.row.name:
        return True
    if "ranspose" in trial.row.name:
        return False
    arguments = trial.case.call.arguments
    if arguments.get("padding_mode", "zeros") != "zeros":
        return True
    padding = arguments.get("padding", 0)
    return padding == "valid" or (padding != "same" and not np.any(padding))


def _weightless(trial: Trial, case: Case) -> Case:
    """The case with all weights zero."""

    def zero(name: str, x: np.ndarray | None) -> np.ndarray | None:
        return np.zeros_like(x) if x is not None and name == "weight" else x

    state = {name: np.asarray(zero(name, x)) for name, x in case.call.state.items()}
    inputs = tuple(zero(*pair) for pair in zip(trial.row.inputs, case.inputs, strict=False))
    return replace(case, call=replace(case.call, state=state), inputs=inputs)


def _put_in(
    trial: Trial, theme: str, places: list[int], generator: np.random.Generator
) -> tuple[np.ndarray | None, ...]:
    """The inputs with the special numbers of a theme in place of some or all elements."""
    inputs, dtype = list(trial.case.inputs), trial.case.call.dtype
    some = [k for k in places if generator.integers(2)] or [places[generator.integers(len(places))]]
    if theme in ("infinite", "nan beside zeros"):
        some = some[:1]
    for k in places:
        x = inputs[k]
        assert x is not None
        flat, size = x.reshape(-1).copy(), x.size
        if theme == "nan beside zeros" and k not in some:
            flat[:] = 0.0
        elif theme.startswith("all "):
            flat = _numbers(theme.removeprefix("all "), size, dtype, generator)
        elif theme == "half zero":
            zeros = _numbers("zero", size, dtype, generator)
            flat = np.where(generator.integers(0, 2, size) == 1, zeros, flat)
        elif k in some:
            # One infinity saturates a recurrent layer; two may cancel.
            most = 1 if theme == "infinite" and _is_recurrent(trial) else 3
            for at in generator.integers(0, size, generator.integers(1, most, endpoint=True)):
                kind = _KINDS[generator.integers(len(_KINDS))] if theme == "mixed" else theme
                flat[at] = _numbers(kind.split()[0], 1, dtype, generator)[0]
        inputs[k] = flat.reshape(x.shape)
    return tuple(inputs)


def _numbers(kind: str, count: int, dtype: str, generator: np.random.Generator) -> np.ndarray:
    """Special numbers of one kind, of either sign."""
    own = format_of(dtype)
    signs = generator.integers(0, 2, count) * 2.0 - 1.0
    if kind == "subnormal":
        widths = generator.integers(1, own.bits - 1, count, endpoint=True)
        return np.asarray(signs * (generator.integers(0, 2**widths - 1) + 1) * own.tiny)
    if kind == "largest":
        return np.asarray(signs * np.ldexp(own.largest, -generator.integers(0, 12, count)))
    return np.asarray(signs * {"nan": math.nan, "infinite": math.inf, "zero": 0.0}[kind])


def _is_recurrent(trial: Trial) -> bool:
    return "hidden_size" in trial.row.required


def _told(trial: Trial) -> str:
    """`with input[0, 1] = nan`, the first few."""
    said, own = [], format_of(trial.case.call.dtype)
    inputs = dict(zip(trial.row.inputs, trial.case.inputs, strict=False))
    data = {trial.row.inputs[k] for k in _data(trial)}
    for name, x in (inputs | dict(trial.case.call.state)).items():
        if x is None or x.dtype.kind != "f":
            continue
        odd, size = ~np.isfinite(x), np.abs(x)
        if name in data:
            odd |= (size < own.normal) | (size > own.largest * 2.0**-12)
            odd &= (x != 0) | np.signbit(x)
        for at in np.argwhere(odd)[:4]:
            index = ", ".join(str(int(i)) for i in at)
            said.append(f"{name}[{index}] = {number_text(x[tuple(at)].item())}")
    weight = {**inputs, **trial.case.call.state}.get("weight")
    if weight is not None and weight.size and not weight.any():
        said.insert(0, "weight all zeros")
    return f"with {', '.join(said[:6])}{', …' if len(said) > 6 else ''}"


def _nan(name: str, got: np.ndarray, wanted: Rounded) -> int:
    """Where NaN is certain it must be NaN."""
    certain = np.isnan(wanted.value) & np.isfinite(wanted.error)
    wrong = certain & ~np.isnan(got)
    if wrong.any():
        raise Failure(_text(name, got, wanted.value, wrong))
    return int(certain.sum())


def _signs_of_zero(name: str, got: np.ndarray, wanted: Rounded) -> int:
    """A sum's zero takes its sign from the order of its terms; a copy's does not."""
    zero = wanted.value == 0
    wrong = zero & (np.signbit(got) != np.signbit(wanted.value))
    if wrong.any():
        raise Failure(_text(f"sign of {name}", got, wanted.value, wrong))
    return int(zero.sum())


def _text(name: str, got: np.ndarray, wanted: np.ndarray, wrong: np.ndarray) -> str:
    where = tuple(np.argwhere(wrong)[0])
    at = f"[{', '.join(str(int(i)) for i in where)}]" if where else ""
    return (
        f"{name}{at}, the first of {int(wrong.sum())} wrong of {got.size}\n"
        f"  got    {number_text(got[where].item())}\n"
        f"  wanted {number_text(wanted[where].item())}\n"
        f"all of {name}\n"
        f"  got    {array_text(got)}\n"
        f"  wanted {array_text(wanted)}"
    )


Change = Callable[[np.ndarray], np.ndarray]


def _oracle(trial: Trial, precision: Precision, change: Change) -> tuple[Rounded, ...]:
    """The oracle on changed inputs and state."""
    with np.errstate(all="ignore"):
        state = {k: exactly(change(x), precision) for k, x in trial.case.call.state.items()}
        inputs = [None if x is None else exactly(change(x), precision) for x in trial.case.inputs]
        return trial.evaluate(state, inputs)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 0.0)


def _expected(trial: Trial) -> tuple[Rounded, ...]:
    """Values and bounds, NaN and infinities among the values; an infinite bound = undecided."""
    with np.errstate(all="ignore"):
        if trial.row.name == "Identity":
            return trial.expected
        if _is_recurrent(trial):
            return _recurrent(trial)
        return (_sums(trial),)


def _sums(trial: Trial) -> Rounded:
    """Sums of products: NaN, ±∞ or finite by their terms, whatever the order."""
    precision = trial.precision
    wide = trial.row.name in _WIDE and precision.wide_unit < precision.unit
    # Partial sums reach as far as the format that they are accumulated in.
    reach = FORMATS["float32"].largest if wide else precision.largest
    (finite,) = (x.lean for x in _oracle(trial, replace(precision, largest=reach), _finite))
    value, error = finite.value, finite.error
    finite_bound = np.isfinite(error)
    over = _overflows(trial, value)
    if wide:
        over |= np.abs(value) - error > precision.largest * (1 + 2 * precision.unit)
        error = np.where(np.abs(value) + error > precision.largest, np.inf, error)
    value = np.where(over, np.copysign(np.inf, value), value)
    error = np.where(over, 0.0, error)
    # With ±1 for every finite number nothing overflows: what is left are the classes.
    (classes,) = (x.value for x in _oracle(trial, precision, _signs))
    certain = np.isnan(classes) | finite_bound
    if precision.flushes:
        # ∞ times a weight that may be read as zero.
        (flushed,) = _oracle(trial, precision, lambda x: _signs(x, precision.normal))
        certain &= (flushed.value == classes) | (np.isnan(flushed.value) & np.isnan(classes))
    taken = _taken(trial, precision)[0]
    if "ilinear" in trial.row.name:
        certain &= taken | (np.isinf(classes) & _in_range(trial, precision))
        error = np.where(_in_range(trial, precision), error, np.inf)
    if trial.numerics is not None and trial.numerics.inexact:
        # Winograd's and Fourier's transforms spread NaN and ∞ over their tiles.
        certain &= taken
        clean = all(np.isfinite(x).all() for x in _operands(trial.case))
        error = error if clean else np.full_like(error, np.inf)
    special = ~np.isfinite(classes)
    error = np.where(special, np.where(certain, 0.0, np.inf), error)
    return Rounded(np.where(special, classes, value), error, precision)


def _overflows(trial: Trial, value: np.ndarray) -> np.ndarray:
    """Where terms of one sign add up to more than the largest number: so they do in every order."""
    precision = trial.precision
    (size,) = (x.value for x in _oracle(trial, precision, lambda x: np.abs(_finite(x))))
    over = np.asarray((np.abs(value) == size) & np.isfinite(size))
    if not over.any():
        return over
    (terms,) = (x.value for x in _oracle(trial, precision, np.ones_like))
    lost = 1 - 2 * terms * max(precision.sum_unit, precision.unit)
    return np.asarray(over & (size * lost > precision.largest))


def _signs(x: np.ndarray, least: float = 0.0) -> np.ndarray:
    return np.where(np.isfinite(x), np.where(np.abs(x) < least, 0.0, np.sign(x)), x)


def _only_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), x, 0.0)


def _in_range(trial: Trial, precision: Precision) -> bool:
    """Whether no product of two factors of a bilinear form can overflow or vanish.

    The form may be contracted over either side first, so Σ_j A_ij x_j is met before it is
    multiplied by an infinite x_i; that makes ∞ − ∞ of single terms a matter of order, too.
    """
    x1, x2, *given = (x for x in trial.case.inputs if x is not None)
    weight = trial.case.call.state.get("weight", given[0] if given else None)
    assert weight is not None
    found = [np.abs(x[np.isfinite(x) & (x != 0)]) for x in (x1, weight, x2)]
    # A factor of zeros alone does not keep the other two from overflowing first.
    pairs = [(a, b) for a, b in combinations(found, 2) if a.size and b.size]
    high = max((a.max() * b.max() for a, b in pairs), default=0.0) * weight[0].size
    products = [a.min() * b.min() for a, b in pairs]
    low = min((*products, *(x.min() for x in found if x.size)), default=np.inf)
    return bool(high < precision.largest / 2 and low >= precision.normal)


def _taken(trial: Trial, precision: Precision) -> list[np.ndarray]:
    """Where each output is NaN by what NaN reaches alone."""
    if not any(np.isnan(x).any() for x in _operands(trial.case)):
        return [np.zeros(shape, bool) for shape in trial.shapes]
    return [np.isnan(result.value) for result in _oracle(trial, precision, _only_nan)]


def _recurrent(trial: Trial) -> tuple[Rounded, ...]:
    """NaN takes all that it reaches; one infinity saturates; what two reach is undecided."""
    precision = trial.precision
    lost = _taken(trial, precision)
    saturates = _saturates(trial, precision)

    def near(x: np.ndarray) -> np.ndarray:
        far = np.copysign(_FAR if saturates else 0.0, x)
        return np.where(np.isnan(x), 0.0, np.where(np.isinf(x), far, x))

    if saturates:
        # The smallest gate that vanishes must, times the stand-in, still be in doubt.
        doubting = replace(
            precision, largest=2.0**900, normal=max(precision.normal, 1e-80), saturates=False
        )
        reached = lost
        results = _oracle(trial, doubting, near)
    else:
        reached = lost
        if any(np.isinf(x).any() for x in trial.case.inputs if x is not None):
            beyond = _oracle(trial, precision, lambda x: np.where(np.isfinite(x), 0.0, np.nan))
            reached = [np.isnan(result.value) for result in beyond]
        results = _oracle(trial, precision, near)
    wanted = []
    for result, nan, touched in zip(results, lost, reached, strict=True):
        value, error = result.value, np.where(touched, np.inf, result.error)
        size = np.abs(value)
        infinite = saturates & (size - error > _BEYOND)
        fits = size + error <= min(precision.largest, _MODERATE if saturates else np.inf)
        value = np.where(infinite, np.copysign(np.inf, value), value)
        error = np.where(infinite, 0.0, np.where(fits, error, np.inf))
        wanted.append(Rounded(np.where(nan, np.nan, value), np.where(nan, 0.0, error), precision))
    return tuple(wanted)


def _saturates(trial: Trial, precision: Precision) -> bool:
    """Whether the inputs hold one infinity, and IEEE arithmetic decides all that it reaches.

    Every sum then has one infinite term at most: gates become exactly 0 or 1, tanh ±1. An infinite
    c stays so while no forget gate vanishes.
    """
    call, inputs = trial.case.call, trial.case.inputs
    found = [k for k, x in enumerate(inputs) if x is not None for _ in range(np.isinf(x).sum())]
    if len(found) != 1 or ("GRU" in call.layer and found[0] > 0):
        return False  # r ⊙ ∞ where r may vanish, and (1 − z)·n + z·∞
    if call.arguments.get("nonlinearity") == "relu":
        x, first = inputs[0], call.arguments.get("batch_first", False)
        assert x is not None
        steps = 1 if "Cell" in call.layer else x.shape[1 if first and x.ndim == 3 else 0]
        if steps * call.arguments.get("num_layers", 1) > 1:
            return False  # ∞ goes on to every unit, and meets −∞
    weights = [w for name, w in call.state.items() if name.startswith("weight")]
    biases = [np.abs(b).max() for name, b in call.state.items() if name.startswith("bias")]
    least = min(np.abs(w).min() for w in weights)
    columns = sum(max(w.shape[1] for w in weights) for _ in range(2))
    heaviest = max(np.abs(w).max() for w in weights)
    operand = max(1.0, *(np.abs(_finite(x)).max(initial=0.0) for x in inputs if x is not None))
    if "proj_size" in call.arguments:
        operand = max(operand, columns * heaviest)
    most = columns * heaviest * operand + 2 * max(biases, default=0.0)
    gentle = -0.9 * math.log(precision.normal)
    limit = gentle if found[0] == 2 else min(precision.largest, _MODERATE) / 4
    return bool(most <= limit and least >= max(precision.normal, 1.0 / _MODERATE))
