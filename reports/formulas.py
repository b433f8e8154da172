"""What torch's documentation says a layer computes, as its pages print it, and what checks ask."""

from __future__ import annotations

import re

_CONV = (
    "out(N_i, C_out_j) = bias(C_out_j) + Σ_{k = 0}^{C_in − 1} weight(C_out_j, k) ⋆ input(N_i, k)",
    "where ⋆ is the valid cross-correlation operator",
)
_TRANSPOSED = (
    "the gradient of the convolution with respect to its input; it is not an actual",
    "deconvolution operation as it does not compute a true inverse of convolution",
)
_AXES = {"1": ("L",), "2": ("H", "W"), "3": ("D", "H", "W")}
_STEP = "h_t = tanh(x_t W_ih^T + b_ih + h_(t−1) W_hh^T + b_hh), or ReLU in place of tanh"
_FORMULAS = {
    "Identity": ("a placeholder identity operator that is argument-insensitive: output = input",),
    "Linear": ("y = x A^T + b",),
    "Bilinear": ("y = x_1^T A x_2 + b",),
    "RNN": (_STEP,),
    "RNNCell": ("h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or ReLU in place of tanh",),
    "LSTM": (
        "i_t = σ(W_ii x_t + b_ii + W_hi h_(t−1) + b_hi)",
        "f_t = σ(W_if x_t + b_if + W_hf h_(t−1) + b_hf)",
        "g_t = tanh(W_ig x_t + b_ig + W_hg h_(t−1) + b_hg)",
        "o_t = σ(W_io x_t + b_io + W_ho h_(t−1) + b_ho)",
        "c_t = f_t ⊙ c_(t−1) + i_t ⊙ g_t",
        "h_t = o_t ⊙ tanh(c_t), and h_t = W_hr h_t with proj_size > 0",
    ),
    "LSTMCell": (
        "i = σ(W_ii x + b_ii + W_hi h + b_hi)",
        "f = σ(W_if x + b_if + W_hf h + b_hf)",
        "g = tanh(W_ig x + b_ig + W_hg h + b_hg)",
        "o = σ(W_io x + b_io + W_ho h + b_ho)",
        "c' = f ⊙ c + i ⊙ g",
        "h' = o ⊙ tanh(c')",
    ),
    "GRU": (
        "r_t = σ(W_ir x_t + b_ir + W_hr h_(t−1) + b_hr)",
        "z_t = σ(W_iz x_t + b_iz + W_hz h_(t−1) + b_hz)",
        "n_t = tanh(W_in x_t + b_in + r_t ⊙ (W_hn h_(t−1) + b_hn))",
        "h_t = (1 − z_t) ⊙ n_t + z_t ⊙ h_(t−1)",
    ),
    "GRUCell": (
        "r = σ(W_ir x + b_ir + W_hr h + b_hr)",
        "z = σ(W_iz x + b_iz + W_hz h + b_hz)",
        "n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))",
        "h' = (1 − z) ⊙ n + z ⊙ h",
    ),
}

CHECKS = {
    "shape": ("wrong shape", "The outputs have the documented shapes, the dtype and the device."),
    "values": (
        "wrong values",
        (
            "Every element equals the formula where no rounding is possible, and elsewhere lies "
            "within the rounding-error bound of any order of summation (`bound` below)."
        ),
    ),
    "gradients": (
        "wrong gradients",
        (
            "Gradients of every input and parameter are the derivative of the formula, within the "
            "rounding-error bound."
        ),
    ),
    "laws": ("two calls that must agree do not", "Calls that the formula makes equal agree."),
    "layout": (
        "the answer depends on the memory layout",
        "The answer does not depend on how inputs and weights lie in memory.",
    ),
    "special": (
        "NaN, infinities or huge values are not propagated",
        (
            "NaN, infinities, signed zeros, subnormal and huge values come through the formula as "
            "IEEE 754 arithmetic has it."
        ),
    ),
    "state": (
        "wrong state",
        (
            "state_dict names, shapes and initial values are as documented, and a loaded state is "
            "what the next call uses."
        ),
    ),
    "random": (
        "random numbers are drawn otherwise than documented",
        (
            "Masks, rates and scale of what is drawn are as documented, draws differ from call to "
            "call, and nothing is drawn where nothing is to be."
        ),
    ),
    "repeat": (
        "a call depends on other calls",
        "The same call gives the same answer every time, and leaves inputs and state alone.",
    ),
    "errors": ("an invalid call is not refused", "An invalid call is refused by an exception."),
    "support": (
        "calls are declined otherwise than said",
        "A call is declined, or supported, by its arguments and shapes, and for the reason given.",
    ),
}
"""For each check a failure in a title's words, and what it asks for."""


def formula(layer: str) -> tuple[str, ...]:
    """The lines of a layer's formula, nothing for an unknown layer.

    Args:
        layer: `"Conv2d"`, `"functional.conv2d"`, ….
    """
    name = layer.removeprefix("Lazy")
    match = re.fullmatch(r"(?:functional\.)?conv(_?transpose)?([123])d", name, re.IGNORECASE)
    if match:
        axes = _AXES[match[2]]
        transposed = match[1] is not None
        lengths = [_length(axis, k, len(axes), transposed) for k, axis in enumerate(axes)]
        return (*(_TRANSPOSED if transposed else _CONV), *lengths)
    plain = {"functional.linear": "Linear", "functional.bilinear": "Bilinear"}
    return _FORMULAS.get(plain.get(name, name), ())


def _length(axis: str, k: int, dims: int, transposed: bool) -> str:
    at = "" if dims == 1 else f"[{k}]"
    kernel = f"dilation{at} × (kernel_size{at} − 1)"
    if transposed:
        return (
            f"{axis}_out = ({axis}_in − 1) × stride{at} − 2 × padding{at} + {kernel} "
            f"+ output_padding{at} + 1"
        )
    return f"{axis}_out = ⌊({axis}_in + 2 × padding{at} − {kernel} − 1) / stride{at} + 1⌋"


def page(layer: str) -> str:
    """The address of a layer's page in torch's documentation."""
    return f"https://docs.pytorch.org/docs/stable/generated/torch.nn.{layer}.html"
