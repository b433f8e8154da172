"""The checks, one module for each property; a module named here reaches every layer."""

from __future__ import annotations

from collections.abc import Callable

from ..trial import Evidence, Trial
from . import shape, values

Check = Callable[[Trial], Evidence]

CHECKS: dict[str, Check] = {"shape": shape.check, "values": values.check}
