"""A failing case as a script that runs on its own."""

from __future__ import annotations

import pprint
import textwrap

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.model.case import bare_name
from conformance.model.describe import typed
from conformance.run.trial import Trial

FOREIGN = "The backend is not torch-shaped: this shows what torch gives in its place."


def reproducer(trial: Trial, check: str, message: str, *, deadly: bool = False) -> str:
    """A script that builds the layer, calls it and holds the result against literal values.

    It needs torch and NumPy, and the module of a torch-shaped backend that is not torch's own.

    Args:
        trial: the failing trial.
        check: the check that failed.
        message: of its failure.
        deadly: the case ends the process: the script only runs it.
    """
    call = trial.case.call
    beyond = not shows_all(check)
    seen = "makes more calls than this" if deadly else "looks at more than these outputs"
    more = f"The check {seen}; `nn-conformance replay` shows the failure."
    foreign = not hasattr(trial.backend, "nn") and not hasattr(trial.backend, "functional")
    head = [
        f'"""{_safe(trial.text())}',
        "",
        f"Check {check!r} on backend {_safe(trial.backend.name)}:",
        *(f"  {_safe(line)}" for line in message.splitlines()[:12]),
        *(["", FOREIGN] if foreign else []),
        *(["", more] if beyond else []),
        '"""',
        "",
        "import numpy as np",
        "import torch",
        "",
        f"device, dtype = {call.device!r}, torch.{call.dtype}",
        "",
        "",
        "def tensor(data, shape, dtype=dtype):",
        "    return torch.tensor(np.array(data).reshape(shape), dtype=dtype, device=device)",
        "",
        "",
    ]
    body = [*_inputs(trial), *_calling(trial)]
    if deadly:
        body = [*body, 'print("the process is still there")']
    else:
        body = _refused(body) if check == "errors" else [*body, *_comparing(trial)]
    return "\n".join([*head, *body]) + "\n"


def shows_all(check: str) -> bool:
    """Whether a reproducer of a check shows all that the check looks at."""
    return check in ("shape", "values", "errors")


def _refused(body: list[str]) -> list[str]:
    """An invalid call must be refused; any other exception ends in its traceback."""
    return [
        "try:",
        *textwrap.indent("\n".join(body), "    ").splitlines(),
        "except (ValueError, TypeError, RuntimeError) as error:",
        '    print("passed: refused:", error)',
        "    raise SystemExit(0) from None",
        'raise SystemExit("FAILED: accepted, a refusal was expected")',
    ]


def _safe(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''")


def _literal(array: np.ndarray) -> str:
    data = array.reshape(-1).tolist()
    whole = array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.rint(array)).all()
    negative_zero = array.dtype.kind == "f" and bool(np.signbit(array[array == 0]).any())
    if whole and not negative_zero and (np.abs(array) < 2**53).all():
        data = [int(value) for value in data]
    text = pprint.pformat(data, width=96, compact=True) if len(data) > 12 else repr(data)
    return text.replace("nan", 'float("nan")').replace("inf", 'float("inf")')


def _tensor(array: np.ndarray | None) -> str:
    if array is None:
        return "None"
    kind = {"i": ", dtype=torch.int64", "b": ", dtype=torch.bool"}.get(array.dtype.kind, "")
    return f"tensor({_literal(array)}, {array.shape}{kind})"


def _inputs(trial: Trial) -> list[str]:
    names = trial.row.input_names
    return [f"{names[k]} = {_tensor(array)}" for k, array in enumerate(trial.case.inputs)]


def _calling(trial: Trial) -> list[str]:
    call, keywords = trial.case.call, dict(trial.case.keywords)
    arguments = [typed(value) for value in call.arguments.get("*", ())]
    arguments += [f"{k}={typed(v)}" for k, v in call.arguments.items() if k != "*"]
    names = list(trial.row.input_names[: len(trial.case.inputs)])
    imported, target = _target(trial)
    if trial.row.function:
        given = zip(trial.row.inputs, names, strict=False)
        names = [f"{name}={name}" if x.by_name else name for x, name in given]
        return [*imported, f"result = {target}({', '.join([*names, *arguments])})"]
    placed = ["device=device", "dtype=dtype"] if trial.row.traits.placed else []
    constructed = trial.row.constructed(call.state)
    arguments += [f"{name}={_tensor(array)}" for name, array in constructed.items()]
    lines = [
        *imported,
        f"layer = {target}({', '.join([*arguments, *placed])})",
        f"layer.train({call.training})",
    ]
    if len(call.state) > len(constructed):
        lines.append("layer.load_state_dict({")
        lines += [f"    {name!r}: {_tensor(array)}," for name, array in call.state.items()]
        lines.append("})")
    lengths = keywords.pop("lengths", None)
    batch_first = bool(call.arguments.get("batch_first", False))
    first = names[0]
    if lengths is not None:
        ordered = lengths == sorted(lengths, reverse=True)
        first = "packed"
        lines.append(
            "packed = torch.nn.utils.rnn.pack_padded_sequence(\n"
            f"    input, torch.tensor({lengths!r}), batch_first={batch_first}, "
            f"enforce_sorted={ordered}\n)"
        )
    inputs = [first, *_states(trial, names[1:])]
    inputs += [f"{name}={value!r}" for name, value in keywords.items()]
    lines += ["with torch.no_grad():", f"    result = layer({', '.join(inputs)})"]
    if lengths is not None:
        lines += [
            "output, states = result",
            "output, _ = torch.nn.utils.rnn.pad_packed_sequence(",
            f"    output, batch_first={batch_first},",
            f"    total_length=input.shape[{1 if batch_first else 0}],\n)",
            "result = (output, states)",
        ]
    return lines


def _states(trial: Trial, names: list[str]) -> list[str]:
    """The hidden state as torch's modules take it: left out, alone, or as a pair."""
    together = trial.row.traits.states
    if not together:
        return [n for n, x in zip(names, trial.case.inputs[1:], strict=True) if x is not None]
    if all(array is None for array in trial.case.inputs[1:]):
        return []
    return [f"({', '.join(names)})"] if together > 1 else names[:1]


def _target(trial: Trial) -> tuple[list[str], str]:
    """Where the implementation is imported from: a torch-shaped backend's own module, or torch."""
    layer = trial.case.call.layer
    space, name = "functional" if trial.row.function else "nn", bare_name(layer)
    found = getattr(getattr(trial.backend, space, None), name, None)
    module, qualified = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    own = module is not None and module.split(".")[0] == "torch"
    if not module or not qualified or "<" in qualified or own:
        return [], f"torch.nn.{layer}"
    first = qualified.split(".")[0]
    return [f"from {module} import {first}  # the implementation under test"], qualified


def _comparing(trial: Trial) -> list[str]:
    lines = [
        "",
        "outputs = []",
        "for part in result if isinstance(result, tuple) else (result,):",
        "    outputs += part if isinstance(part, tuple) else [part]",
    ]
    # A meta device has only shapes.
    expected = () if trial.case.call.device == "meta" else trial.expected
    lines += ["wanted = ["]
    for value in expected:
        several = value.alternatives if isinstance(value, Choices) else (value,)
        lines += ["    [", *map(_alternative, several), "    ],"]
    dtypes = [str(trial.row.dtype(trial.case, k)) for k in range(len(trial.shapes))]
    lines += [
        "]",
        "failed = len(outputs) != " + str(len(trial.shapes)),
        f"for got, shape, dtype in zip(outputs, {list(trial.shapes)!r}, {dtypes!r}):",
        '    print("shape", tuple(got.shape), "wanted", shape, "dtype", got.dtype)',
        "    failed |= tuple(got.shape) != shape",
        '    failed |= str(got.dtype) != "torch." + dtype',
        "for got, ways in zip(outputs, wanted):  # several ways: any is right, element by element",
        "    whole = not (got.is_floating_point() or got.is_complex())",
        "    wide = torch.complex128 if got.is_complex() else torch.float64",
        "    got = got.cpu().to(torch.int64 if whole else wide).numpy()",
        "    near = np.zeros(got.shape, bool)",
        "    for value, bound in ways:",
        '        print("got", got, "wanted", value, "bound", bound, sep="\\n")',
        "        near |= (abs(got - value) <= bound) | (got == value) | ~np.isfinite(bound)",
        "        near |= np.isnan(got) & np.isnan(value)",
        "    failed |= not bool(near.all())",
        'print("FAILED" if failed else "passed")',
        "raise SystemExit(failed)",
    ]
    return lines


def _alternative(value: Rounded) -> str:
    numbers = value.value
    if numbers.dtype.kind != "i":
        numbers = numbers.astype(complex if np.iscomplexobj(numbers) else float)
    return (
        f"    (np.array({_literal(numbers)}).reshape({value.shape}),\n"
        f"     np.array({_literal(value.error)}).reshape({value.shape})),"
    )
