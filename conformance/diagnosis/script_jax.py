"""Write steps of a check as code that needs only JAX and NumPy; a call is an exported program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import export

from conformance.diagnosis.script_program import ExportPrinter, array_literal

_NUMBERS_HELPER = '''
def numbers(x):
    """An array's numbers in a wide dtype."""
    return np.asarray(x).astype({"i": np.int64, "b": np.bool_}.get(x.dtype.kind, np.float64))
'''
_PROGRAM_HELPER = '''
def program(text):
    """The function that `jax.export` serialized."""
    return jax.export.deserialize(bytearray(base64.b64decode(text))).call
'''


class JaxPrinter(ExportPrinter):
    """Writes each call as a program of `jax.export`."""

    helpers: Mapping[str, str] = {"numbers": _NUMBERS_HELPER, "program": _PROGRAM_HELPER}

    def header_lines(self) -> Sequence[str]:
        """The imports, and the setting without which JAX converts float64 to float32."""
        return [
            "import base64",
            "",
            "import jax",
            "import jax.export",
            "import jax.numpy as jnp",
            "import numpy as np",
            "",
            'jax.config.update("jax_enable_x64", True)',
        ]

    def _array_text(self, x: np.ndarray, dtype: str) -> str:
        return f'jnp.array({array_literal(x)}, "{dtype}")'

    def _export(
        self, compute: Callable[..., Any], state: Mapping[str, Any], inputs: Sequence[Any]
    ) -> tuple[bytes, Sequence[str]]:
        exported = export.export(jax.jit(compute))(state, *inputs)
        operators = str(jax.make_jaxpr(compute)(state, *inputs)).splitlines()
        return exported.serialize(), operators
