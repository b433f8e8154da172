"""What the checks ask, and what their failures are, in words."""

from __future__ import annotations

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
    "laws": ("two calls that must agree differ", "Calls that the formula makes equal agree."),
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
        "calls are declined otherwise than declared",
        "A call is declined, or supported, by its arguments and shapes, and for the reason given.",
    ),
}
"""For each check a failure in a title's words, and what it asks for."""
