"""torch.nn.init: functions that write initial values into a tensor and return it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from conformance.laws import init as laws
from conformance.laws.init import DistributionOf
from conformance.model.case import Call, Case, bare_name
from conformance.oracles import init as oracle
from conformance.spec.distributions import Normal
from conformance.spec.law import Law
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, Randomness, Traits
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies import init as cases
from conformance.strategies.invalid import init as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_KAIMING = (
    Argument("a", 0, alternative=1),
    Argument("mode", "fan_in", alternative="fan_out"),
    Argument("nonlinearity", "leaky_relu", alternative="relu"),
)
_GAIN = Argument("gain", 1.0, alternative=2.0)
_FANS = (
    "fan_in = size of axis 1 times those of axes 2, 3, …",
    "fan_out = size of axis 0 times those of axes 2, 3, …",
)
_TABLE = (
    "gain = 1 (linear, conv, sigmoid), 5/3 (tanh), 2^(1/2) (relu), (2 / (1 + a^2))^(1/2)"
    " (leaky_relu), 3/4 (selu)"
)


_ANY = Shapes({"tensor": "*size"})
_MATRIX = Shapes({"tensor": "rows columns"})
_WEIGHT = Shapes({"tensor": "rows columns *more"})
_KERNEL = Shapes(
    {"tensor": "out_channels in_channels *kernel_size"}, where=("out_channels % groups == 0",)
)


@dataclass(frozen=True)
class _Kind:
    """One function.

    Args:
        arguments: those besides the tensor.
        formula: what the function writes.
        laws: relations that hold of it.
        workload_shape: tensor shape of the timed call.
        shapes: notation of the tensor's shape.
        distribution: distribution of each number; None where nothing is drawn, or numbers depend on
            each other.
        draws: (trial, generator) → what must hold of numbers that depend on each other.
        workload_arguments: arguments of the timed call.
        is_deterministic: call → whether its arguments leave nothing to draw.
        max_planned_size: see `Generation`.
    """

    arguments: tuple[Argument, ...]
    formula: tuple[str, ...]
    laws: tuple[Law, ...]
    workload_shape: Shape
    shapes: Shapes = _ANY
    distribution: DistributionOf | None = None
    draws: Callable[..., Any] | None = None
    workload_arguments: Mapping[str, Any] | None = None
    is_deterministic: Callable[[Call], bool] = lambda call: False
    max_planned_size: int | None = None


def _is_zero(name: str, default: float, call: Call) -> bool:
    """Whether an argument that scales every number is 0."""
    return not call.arguments.get(name, default)


def _has_equal_ends(call: Call) -> bool:
    return bool(call.arguments.get("a", 0.0) == call.arguments.get("b", 1.0))


def _kaiming(normal: bool) -> _Kind:
    distribution_text = "N(0, gain^2 / fan)" if normal else "U(-c, c), c = gain (3 / fan)^(1/2)"
    distribution = partial(laws.of_kaiming, normal)
    formula = (f"each number from {distribution_text}, fan the one that mode names", *_FANS, _TABLE)
    kept_laws = (laws.returned, laws.evenly(distribution))
    return _Kind(_KAIMING, formula, kept_laws, (256, 128, 3, 3), _WEIGHT, distribution)


def _xavier(normal: bool) -> _Kind:
    deviation = "gain (2 / (fan_in + fan_out))^(1/2)"
    distribution_text = (
        f"N(0, s^2), s = {deviation}" if normal else f"U(-3^(1/2) s, 3^(1/2) s), s = {deviation}"
    )
    distribution = partial(laws.of_xavier, normal)
    kept_laws = (laws.returned, laws.evenly(distribution), laws.zero_scale_law("gain"))
    is_deterministic = partial(_is_zero, "gain", 1.0)
    return _Kind(
        (_GAIN,), (f"each number from {distribution_text}", *_FANS), kept_laws, (512, 256), _WEIGHT,
        distribution, is_deterministic=is_deterministic,
    )  # fmt: skip


_CONSTANT = (laws.returned, laws.overwritten)
_ENDS = (Argument("a", 0.0, alternative=-1.0), Argument("b", 1.0, alternative=2.0))
_NORMAL = (Argument("mean", 0.0, alternative=1.0), Argument("std", 1.0, alternative=2.0))
_CUT = (*_NORMAL, Argument("a", -2.0, alternative=-1.0), Argument("b", 2.0, alternative=1.0))
_KINDS = {
    "uniform_": _Kind(
        _ENDS, ("each number from U(a, b)",),
        (laws.returned, laws.evenly(laws.of_uniform)), (512, 256), distribution=laws.of_uniform,
        is_deterministic=_has_equal_ends,
    ),
    "normal_": _Kind(
        _NORMAL, ("each number from N(mean, std^2)",),
        (laws.returned, laws.evenly(laws.of_normal), laws.fixed), (512, 256),
        distribution=laws.of_normal, is_deterministic=partial(_is_zero, "std", 1.0),
    ),
    "constant_": _Kind(
        (Argument("val", simplest=1.0),), ("each number is val",), (*_CONSTANT, laws.flat),
        (512, 256), workload_arguments={"val": 0.5},
    ),
    "ones_": _Kind(
        (), ("each number is 1",), (*_CONSTANT, laws.constants), (512, 256),
    ),
    "zeros_": _Kind(
        (), ("each number is 0",), (*_CONSTANT, laws.constants), (512, 256),
    ),
    "eye_": _Kind(
        (), ("w_ij = 1 where i = j, else 0",), (*_CONSTANT, laws.transposed), (512, 256), _MATRIX,
    ),
    "dirac_": _Kind(
        (Argument("groups", 1, alternative=2),),
        ("of each group w_kk at the centre of the kernel, floor(n / 2), is 1; else 0",),
        (*_CONSTANT, laws.groups), (64, 64, 3, 3), _KERNEL,
    ),
    "xavier_uniform_": _xavier(False),
    "xavier_normal_": _xavier(True),
    "kaiming_uniform_": _kaiming(False),
    "kaiming_normal_": _kaiming(True),
    "trunc_normal_": _Kind(
        _CUT, ("each number from N(mean, std^2), drawn again until it lies from a to b",),
        (laws.returned, laws.evenly(laws.of_truncated)), (512, 256), distribution=laws.of_truncated,
    ),
    "orthogonal_": _Kind(
        (Argument("gain", 1, alternative=2.0),),
        (
            "gain times a matrix drawn with orthogonal rows or columns, whichever are fewer",
            "all axes but the first are one",
        ),
        laws.ORTHOGONAL, (128, 64), _WEIGHT, draws=laws.draws_orthogonal,
        is_deterministic=partial(_is_zero, "gain", 1.0),
    ),
    "sparse_": _Kind(
        (Argument("sparsity", simplest=0.5), Argument("std", 0.01, alternative=1.0)),
        ("each number from N(0, std^2)", "ceil(sparsity rows) of each column are 0 in its place"),
        laws.SPARSE, (64, 64), _MATRIX, draws=laws.draws_sparse,
        workload_arguments={"sparsity": 0.5},
        # torch draws column by column, in Python: 2^15 take a compiler seconds in each call.
        max_planned_size=1_025,
    ),
}  # fmt: skip


def _always(call: Call) -> bool:
    return True


def _draws_random(kind: _Kind, call: Call) -> bool:
    return (kind.distribution is not None or kind.draws is not None) and not kind.is_deterministic(
        call
    )


# A sampler that redraws until a number lies between the ends would take long below this mass.
_MIN_MASS = 0.05


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the ends are in order, and enough of a truncated distribution lies between them."""
    arguments = {**spec.signature.defaults, **case.call.arguments}
    if "std" in arguments and "a" in arguments:
        truncated = Normal(arguments["mean"], arguments["std"], arguments["a"], arguments["b"])
        return bool(truncated.std > 0 and truncated.width > 0 and truncated.mass > _MIN_MASS)
    return "b" not in arguments or bool(arguments["a"] <= arguments["b"])


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0])


def _elements_read(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    """No element is read: the function overwrites what the tensor held before."""
    return dict.fromkeys(arrays, 0)


def _layer_spec(name: str, kind: _Kind) -> LayerSpec:
    valid = partial(cases.inits, name)
    text = " by ".join(map(str, kind.workload_shape))
    draws = kind.draws
    if kind.distribution is not None:
        draws = partial(laws.draws, kind.distribution)
    signature = Signature(
        kind.arguments,
        (Input("tensor", differentiable=False, updated=True),),
        (Output("tensor", differentiable=False),),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    breaks = invalid.init_breaks(name, signature, kind.shapes)
    return LayerSpec(
        name,
        "init",
        signature=signature,
        shapes=kind.shapes,
        oracle=Oracle(
            values=getattr(oracle, bare_name(name)),
            formula=kind.formula,
            propagation=copied,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, breaks) if breaks else None,
            examples_fraction=0.3,
            max_planned_size=kind.max_planned_size,
        ),
        variation=Variation(allows=_allows),
        traits=Traits(may_alias_inputs=True, copies_input=draws is None, updates_state=_always),
        laws=kind.laws,
        randomness=Randomness(is_used=partial(_draws_random, kind), draws=draws),
        benchmark=Benchmark(
            workloads=(
                Workload(
                    name, text, kind.workload_arguments or {}, (kind.workload_shape,), small=True
                ),
            ),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=_flops,
            elements_read=_elements_read,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for name, kind in _KINDS.items():
        yield _layer_spec(f"init.{name}", kind)
