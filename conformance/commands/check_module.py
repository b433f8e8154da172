"""`nn-conformance check-module`: hold an implementation of a module against the module's bounds."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib import invalidate_caches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.model.breaches import KINDS
from conformance.model.limits import SEED_COUNT
from conformance.model.plain_text import visible
from conformance.model.usage_error import UsageError

if TYPE_CHECKING:
    from conformance.networks.checking import CheckedCall, Subject

_FORM = "a file with Model, get_inputs and get_init_inputs, or MODULE:ATTR or FILE.py:ATTR of a "
COMPILED, EXPORTED = "inductor", "onnxruntime"
"""The words for the module compiled by `torch.compile`, and exported to ONNX Runtime."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `nn-conformance`."""
    parser = commands.add_parser(
        "check-module", help="test an implementation of a module against derived bounds"
    )
    parser.add_argument(
        "reference", metavar="MODULE",
        help=f"{_FORM}function that returns a module and its inputs",
    )  # fmt: skip
    parser.add_argument(
        "--against", required=True, metavar="IMPLEMENTATION",
        help=f"{COMPILED}, {EXPORTED}, a file with ModelNew, or MODULE:ATTR or FILE.py:ATTR of a "
        "function that takes the same inputs",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds (default: 3)")
    parser.add_argument(
        "--dtype", default="float32", help="dtype of parameters and inputs (default: float32)"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="first seed (default: 0, drawn if sealed)"
    )
    parser.add_argument("--isolation", choices=("sealed", "none"), metavar="KIND",
        default="sealed" if os.name == "posix" else "none",
        help="sealed (default): the implementation runs in a process that its judge alone can ask; "
        "none: in this process")  # fmt: skip
    parser.add_argument("--allow", default="", metavar="OPERATORS",
        help="comma list of torch's operators that the implementation may call to do its work"
        )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the calls, and print what they show.

    Returns:
        0 if every answer is right, 1 if one is wrong or nothing is certified.
    """
    if options.seeds < 1:
        raise UsageError(f"--seeds={options.seeds}: expected at least 1")
    from conformance.networks.checking import check_call, find_first_wrong, plan_calls, shrink

    is_sealed = options.isolation == "sealed" and options.against not in (COMPILED, EXPORTED)
    subject = _load_subject(options.reference, options.against, options.dtype, sealed=is_sealed)
    first = options.seed
    if first is None:
        # Drawn after the implementation was loaded, so that no answer can be prepared.
        first = secrets.randbelow(SEED_COUNT) if is_sealed else 0
    calls: list[CheckedCall] = []
    for planned in plan_calls(range(first, first + options.seeds)):
        call = check_call(subject, planned)
        if call is None:
            continue
        if call.status == "wrong":
            calls.append(find_first_wrong(subject, shrink(subject, call)))
            break
        calls.append(call)
    counts = Counter(call.status for call in calls)
    is_right = not counts["wrong"] and not counts["not certified"] and bool(calls)
    breaches: dict[str, tuple[str, ...]] = {}
    if is_sealed:
        sealed: Any = subject.fast
        breaches = sealed.breaches(_allowed(options.allow))
        sealed.close()
    verdict = next((kind for kind in KINDS if kind in breaches), "right" if is_right else "wrong")
    if not counts["wrong"] and verdict == "wrong":
        verdict = "not certified"
    result = ModuleResult(verdict, tuple(calls), breaches, first)
    print(_json(result) if options.json else "\n".join(_lines(result)))
    return 0 if verdict == "right" else 1


def _allowed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclasses.dataclass(frozen=True)
class ModuleResult:
    """What the calls show; `--json` prints these fields, and whether the verdict is right.

    Args:
        verdict: `"right"`, `"wrong"`, `"not certified"`, or one of `breaches.KINDS`.
        calls: those that were made, in their order.
        breaches: what a sealed implementation did besides computing: kind → texts.
        seed: the first seed.
    """

    verdict: str
    calls: tuple[CheckedCall, ...]
    breaches: Mapping[str, tuple[str, ...]]
    seed: int


def _lines(result: ModuleResult) -> list[str]:
    calls = result.calls
    counts = Counter(call.status for call in calls)
    listing = ", ".join(f"{number} {status}" for status, number in counts.items())
    ratios = [call.margin.ratio for call in calls if call.margin is not None]
    shown = result.verdict if result.verdict in ("right", *result.breaches) else "not right"
    lines = [f"{shown}: of {len(calls)} calls {listing or 'none'}"]
    lines += [f"{kind}: {', '.join(texts)}" for kind, texts in result.breaches.items()]
    if ratios:
        lines.append(f"largest error ÷ bound {max(ratios):.4g}")
    worst = next((x for x in calls if x.status in ("wrong", "not certified")), None)
    if worst is not None:
        shapes = ", ".join(str(shape) for shape in worst.shapes)
        how = f"seed {worst.seed}, {worst.regime}, {worst.layout}"
        lines += ["", f"{worst.status}: {how}, inputs of shape {shapes or 'unknown'}"]
        lines += worst.text.splitlines()
        if worst.first_wrong:
            lines += ["", *f"first wrong: {worst.first_wrong}".splitlines()]
    if result.seed:
        lines.append(f"seed {result.seed}")
    return list(map(visible, lines))


def _json(result: ModuleResult) -> str:
    fields = {"right": result.verdict == "right", **dataclasses.asdict(result)}
    return json.dumps(fields, indent=1, default=str)


def _load_subject(module: str, against: str, dtype: str, *, sealed: bool) -> Subject:
    import torch

    from conformance.networks.checking import Subject

    wanted = getattr(torch, dtype, None)
    if not isinstance(wanted, torch.dtype) or not wanted.is_floating_point:
        raise UsageError(f"--dtype={dtype!r}: expected float32, float64, bfloat16 or float16")

    def cast(x: Any) -> Any:
        return x.to(wanted) if torch.is_tensor(x) and x.is_floating_point() else x

    torch.manual_seed(0)
    arguments: Sequence[Any] = ()
    if ":" in module:
        made = _load(module)()
        if not isinstance(made, tuple) or len(made) != 2:
            raise UsageError(f"{module}: expected a function that returns (module, inputs)")
        right, example = made

        def draw(seed: int) -> list[Any]:
            """Inputs like the example: new numbers of a standard normal distribution."""
            generator = torch.manual_seed(seed)
            return [
                torch.randn(x.shape, generator=generator)
                if torch.is_tensor(x) and x.is_floating_point() and seed
                else x
                for x in example
            ]
    else:
        benchmark = _import_file(module)
        arguments = _member(benchmark, "get_init_inputs", module)()
        right = _member(benchmark, "Model", module)(*arguments)

        def draw(seed: int) -> list[Any]:
            """Inputs of the benchmark, drawn with a seed."""
            torch.manual_seed(seed)
            return list(benchmark.get_inputs())

    if isinstance(right, torch.nn.Module):
        right = right.to(wanted).eval()
    if sealed:
        fast: Any = _seal(against, right, arguments, dtype)
    else:
        fast = _load_implementation(against, right, arguments, dtype)
    numerics = fast.numerics(dtype) if against == EXPORTED else None
    vary = _weights_setter(right, fast, against)
    return Subject(right, fast, lambda seed: [cast(x) for x in draw(seed)], numerics, vary)


def _weights_setter(right: Any, fast: Any, against: str) -> Callable[[int], None]:
    """What gives a module and its implementation other weights for each seed.

    Weights stay as they were drawn where only the module takes others: the implementation is a
    function, was exported, or has other parameters.
    """
    import torch

    from conformance.networks.weights import vary_state

    if not isinstance(right, torch.nn.Module) or not right.state_dict():
        return lambda seed: None
    original = {name: x.clone() for name, x in right.state_dict().items()}
    seeds: list[int] = []

    def set_weights(seed: int) -> None:
        if seeds == [seed]:
            return
        seeds[:] = [seed]
        varied = vary_state(original, seed)
        if against == COMPILED or _load_weights(fast, varied):
            right.load_state_dict(varied)

    return set_weights


def _load_weights(fast: Any, state: Mapping[str, Any]) -> bool:
    """Load weights into an implementation; False if it has not the same."""
    import torch

    from conformance.backends.implementation import takes_state
    from conformance.networks.sealed_module import SealedModule

    if isinstance(fast, SealedModule):
        return fast.load(state)
    if not isinstance(fast, torch.nn.Module) or not takes_state(fast, state):
        return False
    fast.load_state_dict(dict(state))
    return True


def _seal(against: str, right: Any, arguments: Sequence[Any], dtype: str) -> Any:
    from conformance.backends.implementation import ModuleSettings
    from conformance.networks.sealed_module import SealedModule

    if ":" not in against and not Path(against).is_file():
        raise UsageError(f"{against}: no such file")
    return SealedModule(ModuleSettings(against, dtype), right, arguments)


def _load_implementation(against: str, right: Any, arguments: Sequence[Any], dtype: str) -> Any:
    import torch

    if against == COMPILED:
        return torch.compile(right)
    if against == EXPORTED:
        return _export(right)
    if ":" in against:
        return _load(against)
    from conformance.backends.implementation import NEW_CLASS, build_new

    state = right.state_dict() if isinstance(right, torch.nn.Module) else {}
    return build_new(_member(_import_file(against), NEW_CLASS, against), arguments, state, dtype)


def _export(right: Any) -> Any:
    import torch

    if not isinstance(right, torch.nn.Module):
        raise UsageError(f"--against={EXPORTED}: expected a module, got a function")
    try:
        import onnxscript  # noqa: F401 - the exporter needs it

        from conformance.networks.exported import ExportedModule
    except ImportError as error:
        extra = "pip install 'nn-conformance[onnxruntime-export]'"
        raise UsageError(f"--against={EXPORTED}: {error}; {extra}") from error
    return ExportedModule(right)


def _member(module: Any, name: str, path: str) -> Any:
    if not hasattr(module, name):
        raise UsageError(f"{path}: it has no {name}")
    return getattr(module, name)


def _load(location: str) -> Any:
    """Load an attribute of a module or of a file.

    Raises:
        UsageError: if there is none.
    """
    from conformance.backends.kernel import import_function

    if "." not in sys.path:
        sys.path.append(".")
    invalidate_caches()  # "." may have been another folder
    try:
        return import_function(location)
    except Exception as error:
        raise UsageError(f"{location}: {type(error).__name__}: {error}") from error


def _import_file(path: str) -> Any:
    from conformance.backends.kernel_folder import import_file

    if not Path(path).is_file():
        raise UsageError(f"{path}: no such file")
    try:
        return import_file(Path(path))
    except Exception as error:
        raise UsageError(f"{path}: {type(error).__name__}: {error}") from error
