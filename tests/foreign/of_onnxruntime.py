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


class ChangedModels(OnnxRuntime):
    """ONNX Runtime on models whose nodes are changed first."""

    def __init__(self) -> None:
        super().__init__(type(self).__name__)

    def change_node(self, node: onnx.NodeProto) -> None:
        """Change a node."""

    def compile(self, model: onnx.ModelProto) -> Run:
        """A session of the changed model."""
        for node in model.graph.node:
            self.change_node(node)
        return super().compile(model)


def _set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    others = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*others, onnx.helper.make_attribute(name, value)])


def _get_attribute(node: onnx.NodeProto, name: str) -> Any:
    matches = [x for x in node.attribute if x.name == name]
    return onnx.helper.get_attribute_value(matches[0]) if matches else None


@plant(FAITHFUL, "GRU", "GRUCell")
class ResetBeforeProduct(ChangedModels):
    """The reset gate is applied before the product instead of after it."""

    def change_node(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if node.op_type == "GRU":
            _set_attribute(node, "linear_before_reset", 0)


@plant(FAITHFUL, "Conv2d")
class GroupsForgetBias(ChangedModels):
    """With groups the bias is not added."""

    def change_node(self, node: onnx.NodeProto) -> None:
        """Two inputs of three."""
        if node.op_type == "Conv" and (_get_attribute(node, "group") or 1) > 1:
            del node.input[2:]


@plant(FAITHFUL, "Conv1d", "functional.conv1d")
class SamePadsBefore(ChangedModels):
    """Of an odd number of zeros 'same' puts the larger part before the input."""

    def change_node(self, node: onnx.NodeProto) -> None:
        """The other of two words."""
        if _get_attribute(node, "auto_pad") == b"SAME_UPPER":
            _set_attribute(node, "auto_pad", "SAME_LOWER")


@plant(FAITHFUL, "Conv2d")
class CircularIsZeros(ChangedModels):
    """Circular padding is constant padding."""

    def change_node(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if _get_attribute(node, "mode") == b"wrap":
            _set_attribute(node, "mode", "constant")


@plant(FAITHFUL, "AvgPool2d", "functional.avg_pool2d")
class PaddingIsLeftOut(ChangedModels):
    """Zeros around the input are not counted, whatever is asked for."""

    def change_node(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if node.op_type == "AveragePool":
            _set_attribute(node, "count_include_pad", 0)


@plant(FAITHFUL, "functional.softmax", "Softmax")
class AxisIsTheLast(ChangedModels):
    """Numbers along the last axis sum up to 1, whatever the axis."""

    def change_node(self, node: onnx.NodeProto) -> None:
        """The operator's default."""
        if node.op_type == "Softmax":
            _set_attribute(node, "axis", -1)


class _LayerKeepingModels(GraphLayer):
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
        return _LayerKeepingModels(self, call)


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
