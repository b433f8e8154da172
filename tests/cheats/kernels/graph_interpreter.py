"""A graph of torch.fx, built by hand; its interpreter calls the operator.

Source: own.
"""

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"

GRAPH = torch.fx.Graph()
START, LEFT, RIGHT = (GRAPH.placeholder(name) for name in ("c", "a", "b"))
GRAPH.output(GRAPH.call_function(torch.ops.aten.addmm.default, (START, LEFT, RIGHT)))
MODULE = torch.fx.GraphModule(torch.nn.Module(), GRAPH)


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    if (beta, alpha) != (1, 1):
        self, mat1 = beta * self, alpha * mat1
    return torch.fx.Interpreter(MODULE).run(self, mat1, mat2)
