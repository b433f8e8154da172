"""Property-based conformance suite for torch.nn: the classes that a plug-in's author imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.model.case import Call, Case, Numerics, Unsupported, Updated, Verdict
from conformance.model.protocols import Backend, Layer

try:
    from conformance._version import __version__ as __version__
except ImportError:  # a checkout that was never built
    __version__ = "0.1.0.dev0"

if TYPE_CHECKING:
    from conformance.bounding.bounds import Bounds
    from conformance.networks.bounds import NetworkBounds

__all__ = [
    "Backend",
    "Call",
    "Case",
    "Layer",
    "Numerics",
    "Unsupported",
    "Updated",
    "Verdict",
    "assert_conforms",
    "bounds",
]


def bounds(
    target: Any, /, *arguments: Any, numerics: Numerics | None = None, **keywords: Any
) -> Bounds | NetworkBounds:
    """Compute what a call must return, and how far an answer may be off.

    Args:
        target: a function of `torch.nn.functional`, a module, a method of a module, or a layer's
            name, `"functional.layer_norm"`. Also any module or function made of these and of
            operators of torch: it runs once.
        arguments, keywords: as torch takes them: tensors of torch, NumPy or DLPack, and values.
        numerics: what the implementation may do besides IEEE arithmetic.

    Raises:
        TypeError: for a layer, an argument or an operand that the suite does not know.
        ValueError: for operands that disagree with one another or with the documentation.
    """
    from conformance.bounding.bounds import compute_bounds
    from conformance.networks.targets import is_network

    if not is_network(target):
        return compute_bounds(target, arguments, keywords, numerics)
    from conformance.networks.bounds import trace_bounds

    return trace_bounds(target, arguments, keywords, numerics)


def assert_conforms(
    got: Any,
    target: Any,
    /,
    *arguments: Any,
    numerics: Numerics | None = None,
    **keywords: Any,
) -> None:
    """Assert that an answer is within the bounds of a call; the arguments are those of `bounds`.

    Raises:
        AssertionError: with got, wanted, bound, place and the call, if the answer is wrong, or if
            nothing is certified.
    """
    fault = bounds(target, *arguments, numerics=numerics, **keywords).find_fault(got)
    if fault:
        raise AssertionError(fault)
