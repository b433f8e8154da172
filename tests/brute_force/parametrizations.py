"""Parametrized weights, number by number; then the layer's own brute force with them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

import brute_force.oracles as layers
from brute_force.oracles import _positions
from conformance.model.case import Case, argument_module_call


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The output of a case of this family."""
    call, arguments = case.call, dict(case.call.arguments)
    module, name = arguments["module"], arguments.get("name", "weight")
    stem = f"parametrizations.{name}."
    parts = {key.removeprefix(stem): x for key, x in call.state.items() if key.startswith(stem)}
    other_state = {key: x for key, x in call.state.items() if not key.startswith(stem)}
    if "original0" in parts:
        weight = _weight_norm(parts["original0"], parts["original1"], arguments.get("dim", 0))
    else:
        dim = arguments.get("dim")
        if dim is None:
            dim = 1 if "Transpose" in module[0] else 0
        steps = arguments.get("n_power_iterations", 1) if call.training else 0
        weight = _spectral_norm(parts, dim, steps, arguments.get("eps", 1e-12))
    inner_case = replace(argument_module_call(call, module), state={**other_state, name: weight})
    return _layer(replace(case, call=inner_case))


def _layer(case: Case) -> tuple[np.ndarray, ...]:
    state, arguments, kind = case.call.state, dict(case.call.arguments), case.call.layer
    weight, bias = state["weight"], state.get("bias")
    if kind == "Linear":
        return (layers.linear(case.inputs[0], weight, bias),)
    if kind == "Bilinear":
        return (layers.bilinear(case.inputs[0], case.inputs[1], weight, bias),)
    names = ["stride", "padding", "dilation", "groups", "padding_mode"]
    function = layers.conv
    if "Transpose" in kind:
        names = ["stride", "padding", "output_padding", "dilation", "groups"]
        function = layers.conv_transpose
    chosen = {key: arguments[key] for key in names if key in arguments}
    return (function(case.inputs[0], weight, bias, **chosen),)


def _weight_norm(g, v, dim):
    output = np.empty(v.shape)
    for position in _positions(v.shape):
        squares = 0.0
        for other_position in _positions(v.shape):
            if dim is None or other_position[dim] == position[dim]:
                squares += float(v[other_position]) ** 2
        vector = (
            ()
            if dim is None
            else tuple(k if s > 1 else 0 for k, s in zip(position, g.shape, strict=False))
        )
        output[position] = g[vector] * v[position] / math.sqrt(squares)
    return output


def _spectral_norm(parts, dim, steps, eps):
    weight = parts["original"]
    if weight.ndim == 1:
        length = max(math.sqrt(sum(float(x) ** 2 for x in weight)), eps)
        return weight / length
    u, v = list(parts["0._u"]), list(parts["0._v"])
    rows = weight.shape[dim]
    matrix = [[float(x) for x in np.take(weight, k, dim).reshape(-1)] for k in range(rows)]
    columns = len(matrix[0])

    def normalize(vector):
        length = max(math.sqrt(sum(x * x for x in vector)), eps)
        return [x / length for x in vector]

    for _ in range(steps):
        u = normalize([sum(matrix[i][j] * v[j] for j in range(columns)) for i in range(rows)])
        v = normalize([sum(matrix[i][j] * u[i] for i in range(rows)) for j in range(columns)])
    sigma = sum(u[i] * matrix[i][j] * v[j] for i in range(rows) for j in range(columns))
    return weight / sigma
