"""The reference evaluator of onnx, in NumPy, on models of `onnx.graph` that onnx has checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from conformance.backends.adapters.onnx.graph import GraphBackend, Run
from conformance.model.case import Numerics, Unsupported

_SCRIPT_COMPILED = '''
def compiled(model):
    """A function that returns the outputs of a model."""
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model)
    evaluator = ReferenceEvaluator(model)
    return lambda **inputs: [np.asarray(y) for y in evaluator.run(None, inputs)]
'''


class OnnxReference(GraphBackend):
    """`onnx.reference.ReferenceEvaluator`; its NotImplementedError is Unsupported."""

    script_imports = ("from onnx.reference import ReferenceEvaluator",)
    script_compiled = _SCRIPT_COMPILED
    fixed_shapes = True  # for the checker
    timeout = 300  # it loops in Python: laws of a wide ConvTranspose3d took over 30 s on busy cores
    refusals = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)

    def info(self) -> Mapping[str, str]:
        """Versions of onnx and NumPy."""
        return {**super().info(), "numpy": np.__version__}

    def numerics(self, dtype: str) -> Numerics:
        """Declare that NumPy accumulates and stores half precision in half precision."""
        half = dtype in ("float16", "bfloat16")
        return Numerics(accumulation=dtype if half else None, stepwise=True)

    def compile(self, model: onnx.ModelProto) -> Run:
        """Infer all types and shapes, check the model, and return a function that evaluates it."""
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model)
        evaluator = ReferenceEvaluator(model)

        def run(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            try:
                return [np.asarray(y) for y in evaluator.run(None, dict(inputs))]
            except NotImplementedError as error:
                raise Unsupported(str(error)) from error

        return run


backend = OnnxReference("onnx-reference")
