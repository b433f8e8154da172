"""ONNX Runtime's adapter with bugs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from conformance.backends.adapters.onnx.graph import GraphLayer, Run
from conformance.backends.adapters.onnx.onnxruntime import OnnxRuntime
from conformance.model.case import Call

from . import around
from .bug import plant, plant_around

FAITHFUL = "conformance.backends.adapters.onnx.onnxruntime:backend"


class Changed(OnnxRuntime):
    """ONNX Runtime on models whose nodes are changed first."""

    def __init__(self) -> None:
        super().__init__(type(self).__name__)

    def changed(self, node: onnx.NodeProto) -> None:
        """Change a node."""

    def compile(self, model: onnx.ModelProto) -> Run:
        """A session of the changed model."""
        for node in model.graph.node:
            self.changed(node)
        return super().compile(model)


def _set(node: onnx.NodeProto, name: str, value: Any) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def _get(node: onnx.NodeProto, name: str) -> Any:
    found = [x for x in node.attribute if x.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else None


@plant(FAITHFUL, "GRU", "GRUCell")
class ResetBeforeProduct(Changed):
    """The reset gate is applied before the product instead of after it."""

    def changed(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if node.op_type == "GRU":
            _set(node, "linear_before_reset", 0)


@plant(FAITHFUL, "Conv2d")
class GroupsForgetBias(Changed):
    """With groups the bias is not added."""

    def changed(self, node: onnx.NodeProto) -> None:
        """Two inputs of three."""
        if node.op_type == "Conv" and (_get(node, "group") or 1) > 1:
            del node.input[2:]


@plant(FAITHFUL, "Conv1d", "functional.conv1d")
class SamePadsBefore(Changed):
    """Of an odd number of zeros 'same' puts the larger part before the input."""

    def changed(self, node: onnx.NodeProto) -> None:
        """The other of two words."""
        if _get(node, "auto_pad") == b"SAME_UPPER":
            _set(node, "auto_pad", "SAME_LOWER")


@plant(FAITHFUL, "Conv2d")
class CircularIsZeros(Changed):
    """Circular padding is constant padding."""

    def changed(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if _get(node, "mode") == b"wrap":
            _set(node, "mode", "constant")


@plant(FAITHFUL, "AvgPool2d", "functional.avg_pool2d")
class PaddingIsLeftOut(Changed):
    """Zeros around the input are not counted, whatever is asked for."""

    def changed(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if node.op_type == "AveragePool":
            _set(node, "count_include_pad", 0)


@plant(FAITHFUL, "functional.softmax", "Softmax")
class AxisIsTheLast(Changed):
    """Numbers along the last axis sum up to 1, whatever the axis."""

    def changed(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if node.op_type == "Softmax":
            _set(node, "axis", -1)


class _Lasting(GraphLayer):
    def load(self, state: Mapping[str, np.ndarray], layouts: Any = None) -> None:
        """The models stay."""
        runs = dict(self._runs)
        super().load(state, layouts)
        self._runs |= runs


@plant(FAITHFUL, "Linear", "LSTM")
class ConstantsOutlastLoad(OnnxRuntime):
    """A model that was made before a load is used after it."""

    def __init__(self) -> None:
        super().__init__(type(self).__name__)

    def build(self, call: Call) -> GraphLayer:
        """A layer whose models stay."""
        super().build(call)
        return _Lasting(self, call)


plant_around(
    __name__, OnnxRuntime, FAITHFUL,
    {
        around.FirstAnswerKept: "Conv1d",
        around.StateLacksItsLast: "LSTM",
        around.LoadForgotten: "Bilinear",
        around.LayoutsMisread: "Linear",
        around.Drifts: "functional.conv1d",
        around.DtypeWidened: "RNN",
        around.BatchOfOneDropped: "ConvTranspose2d",
        around.NanIsZero: "Linear",
        around.OddLengthsRaise: "functional.linear",
        around.InvalidGetsZeros: "Conv1d",
        around.InputOverwritten: "GRU",
        around.BufferShared: "Conv3d",
    },
)  # fmt: skip
