"""OpenVINO on the CPU, on models of `onnx.graph`: with its default precision, and with float32.

On CPUs with AVX-512 BF16 or AMX the default precision of inference is bfloat16, whatever dtype the
model has. `openvino` declares that; `openvino-f32` requests float32. float64 and int64 are not
offered, because the CPU plugin computes them in float32 and int32. A module's state is an input of
the models, which are compiled once for each structure and shape.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import openvino as ov

from conformance.backends.adapters.onnx.graph import GraphBackend, Run
from conformance.backends.adapters.onnx.nodes import BFLOAT16
from conformance.backends.adapters.onnx.translation import CallModel
from conformance.model.case import Call, Numerics, Unsupported

DTYPES = ("float32", "float16", "bfloat16")
# Lines of a conversion report that name an operator without a translation.
_UNTRANSLATED = re.compile(r"^Unsupported .*|^.* is (?:not|only) supported .*", re.MULTILINE)
# The plugin's message for an operator that it cannot compile; refusals of calls read differently.
_UNSUPPORTED_BY_PLUGIN = re.compile(r"^.* is supported only .*", re.MULTILINE)
# Elu, Celu and Selu compute eˣ − 1 as a difference. The measured error is 1.9·2⁻²⁴ on two million
# points. For Elu in bfloat16 it is 0.5·2⁻²⁴ in addition to the rounding of the result, on all
# numbers from −22 to 0.
EXPM1 = 2 * 2.0**-24
UNITS = {"f32": 2.0**-24, "bf16": 2.0**-8, "f16": 2.0**-11}


_SCRIPT_COMPILED = '''
def compiled(model):
    """A function that returns the outputs of a model."""
    core = ov.Core()
    compiled_model = core.compile_model(core.read_model(model.SerializeToString()), "CPU", OPTIONS)
    request = compiled_model.create_infer_request()

    def call(**inputs):
        request.infer(inputs)
        return [np.array(output.data) for output in request.output_tensors]

    return call
'''


class OpenVino(GraphBackend):
    """OpenVINO's CPU plugin.

    Args:
        name: the backend's name.
        precision: the precision hint, `"f32"`; None = the plugin's own choice.
    """

    script_compiled = _SCRIPT_COMPILED
    fixed_shapes = True
    constant_state = False
    compile_seconds = 0.1  # including the several shapes that the checks of a case need
    refusals = (ov.frontend.GeneralFailure, ov.frontend.OpConversionFailure)

    def __init__(self, name: str, precision: str | None = None) -> None:
        super().__init__(name)
        self._core = ov.Core()
        # Without streams the caller's thread computes. Threads of a stream outlive their model and
        # take the next one, for which a copy of this process, which lacks them, waits forever.
        self._options: dict[str, Any] = {"NUM_STREAMS": 0}
        if precision:
            self._options["INFERENCE_PRECISION_HINT"] = precision
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit():
            self._options["INFERENCE_NUM_THREADS"] = int(threads)
        self.script_imports = ("import openvino as ov", "", f"OPTIONS = {self._options}")
        self._compiled = lru_cache(maxsize=256)(self._compile)

    @property
    def precision(self) -> str:
        """The precision in which the plugin computes float32 models."""
        chosen = self._options.get("INFERENCE_PRECISION_HINT")
        if chosen is None:
            chosen = self._core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
        return {"bfloat16": "bf16", "float16": "f16"}.get(str(chosen), str(chosen))

    def info(self) -> Mapping[str, str]:
        """Versions, the processor, and the precision of inference."""
        return {
            **super().info(),
            "openvino": str(ov.__version__),
            "processor": str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            "inference precision": self.precision,
        }

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Offer float32 and the half precisions; Einsum has no bfloat16."""
        einsum = layer in ("Bilinear", "functional.bilinear")
        offered = dtype in DTYPES and not (einsum and dtype == "bfloat16")
        return offered and super().offers(layer, dtype, device)

    def numerics(self, dtype: str) -> Numerics:
        """Declare the precision of inference if it is lower than the dtype's."""
        unit = UNITS.get(self.precision, 0.0)
        dtype_unit = UNITS["bf16" if dtype == "bfloat16" else dtype.replace("float", "f")]
        # x86 multiplies bfloat16 without subnormals. A bias that is an input of the model is added
        # to a sum that is already rounded. The plugin splits an operator into several, and in a
        # bfloat16 model each of them stores its result in bfloat16, whatever the precision hint.
        bf16 = max(unit, dtype_unit) == UNITS["bf16"]
        declared = Numerics(
            accumulation="bfloat16" if bf16 else None, flush_to_zero=bf16, stepwise=bf16,
            absolute={"expm1": EXPM1}, grade="" if bf16 else "one rounding",
        )  # fmt: skip
        if unit <= dtype_unit:
            return declared
        # The plugin rounds operands when it reads them.
        return replace(declared, unit_roundoff=unit, operand_roundoff=unit)

    def prepare(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> tuple[Run, CallModel]:
        """Prepare a model as the base does, but decline int64 and casts to another dtype.

        The CPU plugin keeps 32 bits of int64, and computes casts inside a model in the precision of
        inference.
        """
        cast_dtype = call.arguments.get("dtype")
        if cast_dtype not in (None, call.dtype):
            raise Unsupported(
                f"dtype={cast_dtype!r}, which the CPU plugin has in its own precision"
            )
        if any(x is not None and x.dtype == np.int64 for x in inputs):
            raise Unsupported("input of int64, which the CPU plugin has as int32")
        return super().prepare(call, inputs, keywords)

    def compile(self, model: onnx.ModelProto) -> Run:
        """Compile a model, or reuse the compilation of an equal model."""
        return self._compiled(model.SerializeToString())

    def _compile(self, model: bytes) -> Run:
        try:
            parsed = self._core.read_model(model, b"")
        except RuntimeError as error:
            reason = _UNTRANSLATED.search(str(error))
            if reason is None:
                raise
            raise Unsupported(reason[0].strip()) from error
        try:
            compiled = self._core.compile_model(parsed, "CPU", self._options)
        except RuntimeError as error:
            reason = _UNSUPPORTED_BY_PLUGIN.search(str(error))
            if reason is None:
                raise
            raise Unsupported(reason[0].strip()) from error
        request = compiled.create_infer_request()

        def run(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            request.infer({name: _to_tensor(x) for name, x in inputs.items()})
            return [_to_array(output) for output in request.output_tensors]

        return run


def _to_tensor(x: np.ndarray) -> Any:
    """Convert an array to an OpenVINO tensor; bfloat16 is passed by its bits."""
    if x.dtype != BFLOAT16:
        return x.copy(order="C")
    return ov.Tensor(x.view(np.uint16).copy(order="C"), x.shape, ov.Type.bf16)


def _to_array(tensor: Any) -> np.ndarray:
    """Copy an OpenVINO tensor to an array; it returns the bits of bfloat16 as float16."""
    data = np.array(tensor.data)
    return data.view(BFLOAT16) if tensor.element_type == ov.Type.bf16 else data


backend = OpenVino("openvino")
f32 = OpenVino("openvino-f32", "f32")
