"""Parametrized weights, number by number; then the layer's own brute force with them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

import brute_force.oracles as oracles
from brute_force.oracles import positions
from conformance.model.case import Case, argument_module_call


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The output of a case of this family."""
    call, arguments = case.call, dict(case.call.arguments)
    module, name = arguments["module"], arguments.get("name", "weight")
    prefix = f"parametrizations.{name}."
    parts = {key.removeprefix(prefix): x for key, x in call.state.items() if key.startswith(prefix)}
    other_state = {key: x for key, x in call.state.items() if not key.startswith(prefix)}
    if "original0" in parts:
        weight = _weight_norm(parts["original0"], parts["original1"], arguments.get("dim", 0))
    else:
        dim = arguments.get("dim")
        if dim is None:
            dim = 1 if "Transpose" in module[0] else 0
        steps = arguments.get("n_power_iterations", 1) if call.training else 0
        weight = _spectral_norm(parts, dim, steps, arguments.get("eps", 1e-12))
    inner_call = replace(argument_module_call(call, module), state={**other_state, name: weight})
    return _layer_output(replace(case, call=inner_call))


def _layer_output(case: Case) -> tuple[np.ndarray, ...]:
    state, arguments, kind = case.call.state, dict(case.call.arguments), case.call.layer
    weight, bias = state["weight"], state.get("bias")
    if kind == "Linear":
        return (oracles.linear(case.inputs[0], weight, bias),)
    if kind == "Bilinear":
        return (oracles.bilinear(case.inputs[0], case.inputs[1], weight, bias),)
    names = ["stride", "padding", "dilation", "groups", "padding_mode"]
    function = oracles.conv
    if "Transpose" in kind:
        names = ["stride", "padding", "output_padding", "dilation", "groups"]
        function = oracles.conv_transpose
    options = {key: arguments[key] for key in names if key in arguments}
    return (function(case.inputs[0], weight, bias, **options),)


def _weight_norm(g, v, dim):
    output = np.empty(v.shape)
    for position in positions(v.shape):
        sum_of_squares = 0.0
        for other_position in positions(v.shape):
            if dim is None or other_position[dim] == position[dim]:
                sum_of_squares += float(v[other_position]) ** 2
        g_position = (
            ()
            if dim is None
            else tuple(k if s > 1 else 0 for k, s in zip(position, g.shape, strict=False))
        )
        output[position] = g[g_position] * v[position] / math.sqrt(sum_of_squares)
    return output


def _spectral_norm(parts, dim, steps, eps):
    weight = parts["original"]
    if weight.ndim == 1:
        vector_norm = max(math.sqrt(sum(float(x) ** 2 for x in weight)), eps)
        return weight / vector_norm
    u, v = list(parts["0._u"]), list(parts["0._v"])
    rows = weight.shape[dim]
    matrix = [[float(x) for x in np.take(weight, k, dim).reshape(-1)] for k in range(rows)]
    columns = len(matrix[0])

    def normalize(vector):
        norm = max(math.sqrt(sum(x * x for x in vector)), eps)
        return [x / norm for x in vector]

    for _ in range(steps):
        u = normalize([sum(matrix[i][j] * v[j] for j in range(columns)) for i in range(rows)])
        v = normalize([sum(matrix[i][j] * u[i] for i in range(rows)) for j in range(columns)])
    sigma = sum(u[i] * matrix[i][j] * v[j] for i in range(rows) for j in range(columns))
    return weight / sigma
