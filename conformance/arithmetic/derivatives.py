"""Reverse-mode derivatives of an oracle, in the same arithmetic and with the same bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.exactness import all_true, quanta
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Node, Rounded, with_node
from conformance.model.formats import FORMATS

# Products and stored results of one recorded operation besides its sums; a softmax has six.
_STEPS_OF_AN_OPERATION = 8


def leaf(values: np.ndarray, precision: Precision) -> Rounded:
    """An exact operand that `pull_back` can differentiate by."""
    return Rounded(values, np.zeros(values.shape), precision, node=Node((), lambda cotangent: []))


def pull_back(
    outputs: Sequence[Rounded], cotangents: Sequence[Rounded | None], leaves: Sequence[Rounded]
) -> list[Rounded]:
    """The vector-Jacobian product: the cotangent of each leaf.

    Args:
        outputs: computed from the leaves.
        cotangents: one for each output, of its shape; None = ignore that output.
        leaves: made by `leaf`.
    """
    pending: dict[int, list[Rounded]] = {}
    nodes: dict[int, Rounded] = {}
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and output.node is not None:
            pending.setdefault(id(output.node), []).append(cotangent)
            nodes[id(output.node)] = output
    totals: dict[int, Rounded] = {}
    for result in _outputs_first([output for output in outputs if output.node is not None]):
        node = result.node
        assert node is not None
        parts = pending.pop(id(node), [])
        if not parts:
            continue
        total = accumulate(parts)
        totals[id(node)] = total
        for operand, cotangent in zip(node.operands, node.pull(total), strict=False):
            if operand.node is not None and cotangent is not None:
                pending.setdefault(id(operand.node), []).append(cotangent)
    return [
        totals.get(id(x.node))
        or Rounded(np.zeros(x.shape, x.value.dtype), np.zeros(x.shape), x.precision)
        for x in leaves
    ]


def _outputs_first(outputs: Sequence[Rounded]) -> list[Rounded]:
    """All recorded results in reverse order of computation: each before its operands."""
    order: list[Rounded] = []
    seen: set[int] = set()
    stack = [(output, False) for output in outputs]
    while stack:
        result, done = stack.pop()
        if done:
            order.append(result)
            continue
        if id(result.node) in seen or result.node is None:
            continue
        seen.add(id(result.node))
        stack.append((result, True))
        stack += [(operand, False) for operand in result.node.operands]
    return order[::-1]


def count_roundings(outputs: Sequence[Rounded]) -> int:
    """The most roundings on a path from an operand to an output, in any order of summation.

    A recorded operation may sum all elements of an operand, and multiplies and stores a few times.
    """
    longest: dict[int, int] = {}
    for result in reversed(_outputs_first([x for x in outputs if x.node is not None])):
        assert result.node is not None
        operands = result.node.operands
        before = max((longest.get(id(x.node), 0) for x in operands), default=0)
        terms = max((result.terms, *(x.value.size for x in operands)))
        longest[id(result.node)] = before + (terms + _STEPS_OF_AN_OPERATION if operands else 0)
    return max((longest.get(id(x.node), 0) for x in outputs), default=0)


def accumulate(parts: Sequence[Rounded]) -> Rounded:
    """The sum of several sums of products, with a bound for one sum over all their terms too.

    The errors that the parts inherit from their operands add up. The roundings of n terms in one
    sum are at most n·u·Σ|terms|. They are counted on top of the parts' own roundings, which an
    implementation with a single sum may not have.
    """
    if len(parts) == 1:
        return with_node(parts[0], None)
    precision = parts[0].precision
    value, error = parts[0].value, parts[0].error
    if precision.values_only:
        return Rounded(sum((x.value for x in parts[1:]), value), error, precision)
    magnitude = _magnitude(parts[0])
    for part in parts[1:]:
        value, error = value + part.value, error + part.error
        magnitude = magnitude + _magnitude(part)
    terms = sum(part.terms for part in parts)
    rounding = (precision.unit + FORMATS["float64"].unit) * (magnitude + error)
    inexact = error + terms * rounding
    bound = np.asarray(inexact)
    np.copyto(bound, np.inf, where=magnitude > precision.largest)
    if all_true(error):
        return Rounded(value, bound, precision, magnitude, 0.0, terms)
    # A single quantum for all elements, where every part has a single one.
    common_quantum = np.array(
        min((part.grain for part in parts if part.grain is not None), default=np.inf)
    )
    for part in parts:
        if part.grain is None:
            common_quantum = np.minimum(common_quantum, quanta(part.value))
    limit: np.ndarray | float = 0.0
    if precision.bits:
        with np.errstate(over="ignore"):
            limit = np.ldexp(common_quantum, precision.bits)
    exact = (error == 0) & (magnitude <= limit) & np.isfinite(bound)
    np.copyto(bound, 0.0, where=exact)
    grain = float(common_quantum.min(initial=np.inf)) if value.size else np.inf
    return Rounded(value, bound, precision, magnitude, grain, terms)


def _magnitude(part: Rounded) -> np.ndarray:
    return part.abs_value if part.magnitude is None else part.magnitude
