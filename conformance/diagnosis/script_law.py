"""Write the script of a law that calculates with the outputs, or of a whole check: it runs either.

The steps' arrays alone do not show such a failure, since the compared numbers are computed from
them. With recorded numbers in their place, the script would pass with any other wrong layer. A
check may also take steps that no script writes, such as transforms.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from conformance.backends.registry import loaded_as
from conformance.checks.trial import Trial
from conformance.diagnosis.literals import literal
from conformance.diagnosis.script import title_docstring
from conformance.diagnosis.script_contract import call_literal


def build_law_script(
    title: Sequence[str], trial: Trial, check: str, law: str, *, draws: int, torch_seed: int | None
) -> str:
    """Write a script that checks one law on the case and exits with 1 if it does not hold.

    Args:
        title: lines of its docstring.
        check: the check that it runs if there is no law.
        law: name of the law; may be empty.
        draws: how often the script checks it until it fails.
        torch_seed: argument of `torch.manual_seed`; None = the script does not import torch.
    """
    case, name = trial.case, loaded_as(trial.backend) or trial.backend.name
    numerics = "promised_numerics(numerics_of(backend, call.dtype, layer=call.layer), call.dtype)"
    array_lines, inputs = _input_lines(case.inputs)
    case_parts = ["call", inputs, f"labels={literal(dict(case.labels))}", f"seed={case.seed}"]
    case_parts += [f"keywords={literal(dict(case.keywords))}"] if case.keywords else []
    case_parts += [f"layouts={literal(tuple(case.layouts))}"] if case.layouts else []
    trial_lines = [
        f"trial = Trial(backend, CATALOGUE[{case.call.layer!r}], case, {numerics})",
        f"check_named_law(trial, {law!r})" if law else f"EVERY_CHECK[{check!r}].run(trial)",
    ]
    if draws > 1:
        loop = f"for _ in range({draws}):  # random numbers are drawn"
        trial_lines = [loop, *textwrap.indent("\n".join(trial_lines), "    ").splitlines()]
    lines = [
        title_docstring(title),
        "",
        "import numpy as np",
        *([] if torch_seed is None else ["import torch"]),
        "",
        "from conformance import Call, Case, Unsupported",
        "from conformance.arithmetic.grading import promised_numerics",
        "from conformance.backends.capabilities import numerics_of",
        "from conformance.backends.registry import load",
        "from conformance.checks.laws import check_named_law"
        if law
        else "from conformance.checks import EVERY_CHECK",
        "from conformance.checks.trial import Trial",
        "from conformance.layers import CATALOGUE",
        "from conformance.model.failure import Failure, Inapplicable",
        "",
        *([] if torch_seed is None else [f"torch.manual_seed({torch_seed})"]),
        f"backend = load({name!r})",
        f"call = {call_literal(case.call)}",
        *array_lines,
        f"case = Case({', '.join(case_parts)})",
        "",
        *(["# Both sides of the law come from the layer under test."] if law else []),
        "try:",
        *textwrap.indent("\n".join(trial_lines), "    ").splitlines(),
        "except Failure as failure:",
        "    print(failure)",
        '    print("FAILED")',
        "    raise SystemExit(1) from None",
        "except (Unsupported, Inapplicable) as reason:",
        '    print("not compared:", reason)',
        "    raise SystemExit(0) from None",
        'print("passed")',
        "raise SystemExit(0)",
    ]
    return "\n".join(lines) + "\n"


def _input_lines(inputs: Sequence[np.ndarray | None]) -> tuple[list[str], str]:
    """Lines that make the inputs, and the tuple of their names; one object stays one object."""
    lines, names = list[str](), list[str]()
    for index, x in enumerate(inputs):
        first = next(k for k in range(index + 1) if inputs[k] is x)
        if x is None or first < index:
            names.append("None" if x is None else names[first])
            continue
        names.append(f"x{index + 1}")
        lines.append(f"x{index + 1} = {literal(x)}")
    return lines, f"({', '.join(names)}{',' * (len(names) == 1)})"
