"""Write steps of a torch-shaped backend as code that needs only torch and NumPy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from conformance.backends.guard import inner
from conformance.backends.numpy_layouts import repeated, room, swapped
from conformance.diagnosis.literals import literal, numbers
from conformance.diagnosis.transcript import Again, Step
from conformance.layers import CATALOGUE
from conformance.layers.describe import argument_text, together, typed
from conformance.model.case import GRADIENTS, Call, class_and_method, looked_up
from conformance.spec.layer_spec import LayerSpec

_TENSOR = """
def tensor(data, shape, dtype=dtype):
    return torch.tensor(np.array(data).reshape(shape), dtype=dtype, device=device)
"""
_NUMBERS = '''
def numbers(x):
    """A tensor's numbers on the host."""
    wide = torch.complex128 if x.is_complex() else torch.float64
    wide = wide if x.is_complex() or x.is_floating_point() else torch.int64
    kept = torch.bool if x.dtype == torch.bool else wide
    return x.detach().cpu().to(kept).numpy().copy()
'''
_ROOM = '''
def room(x, size, *place):
    """The tensor as a view of larger memory; all other elements are NaN or -2**40."""
    whole = x.dtype in (torch.int64, torch.bool)
    memory = torch.full(size, -(2**40) if whole else float("nan"), dtype=x.dtype, device=device)
    part = memory[place]
    return (part if part.shape == x.shape else part.view(x.shape)).copy_(x)
'''
_FLAT = '''
def flat(outputs):
    """(output, (h_n, c_n)) as (output, h_n, c_n)."""
    found = []
    for x in outputs if type(outputs) is tuple else [outputs]:
        found.extend(x if type(x) is tuple else [x])
    return tuple(found) if type(outputs) is tuple else outputs
'''
_PACKED = '''
def packed(layer, batch_first, lengths, x, *states):
    """Call a layer on a packed sequence and pad its output again."""
    ordered = list(lengths) == sorted(lengths, reverse=True)
    given = torch.nn.utils.rnn.pack_padded_sequence(
        x, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=ordered
    )
    output, states = layer(given, *states)
    total = x.shape[1 if batch_first else 0]
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(
        output, batch_first=batch_first, total_length=total
    )
    return padded, states
'''
_CHANGED = '''
def changed(function, gradients, **arguments):
    """What a call on parameters with gradients returns, and the gradients after it.

    An odd number of parameters is passed as a generator, as `Module.parameters()` returns one.
    """
    parameters = []
    for x in gradients:
        parameters.append(torch.nn.Parameter(torch.zeros(()) if x is None else torch.zeros_like(x)))
        parameters[-1].grad = x
    given = (x for x in parameters) if len(parameters) % 2 else parameters
    result = function(given, **arguments)
    return (*[result][: int(result is not None)], *(x.grad for x in parameters))
'''
_RECORDED = '''
def leaves(inputs, without):
    """Leaves that record gradients, except at the places `without`; one object is one leaf."""
    found = {}
    for k, x in enumerate(inputs):
        if x is not None and id(x) not in found:
            has = k not in without and (x.is_floating_point() or x.is_complex())
            found[id(x)] = x.detach().requires_grad_(has)
    return [None if x is None else found[id(x)] for x in inputs]
'''
_VJP = '''
def vjp(call, inputs, cotangents, parameters=(), without=(), written=(), only=None, value=False):
    """Gradients of the inputs, and of parameters by name; only those in `only` if it is given.

    With `value=True` the outputs come first.
    """
    named = dict(parameters)
    for name, x in named.items():
        x.requires_grad_(only is None or name in only)
    with torch.enable_grad():
        given = leaves(inputs, without)
        copied = [k in written and x is not None for k, x in enumerate(given)]
        result = call(*[x.clone() if copy else x for x, copy in zip(given, copied)])
        outputs = result if isinstance(result, tuple) else (result,)
        kept = [(y, c) for y, c in zip(outputs, cotangents) if c is not None and y.requires_grad]
        wanted = [x for x in (*given, *named.values()) if x is not None and x.requires_grad]
        found = [torch.zeros_like(x) for x in wanted]
        if kept:
            found = torch.autograd.grad(
                [y for y, _ in kept], wanted, [c for _, c in kept],
                allow_unused=True, materialize_grads=True,
            )
    by = {id(x): gradient for x, gradient in zip(wanted, found)}
    return (*[result][: int(value)],
        tuple(None if x is None else by.get(id(x)) for x in given),
        {name: by.get(id(x)) for name, x in named.items()},
    )
'''
_FORWARD = '''
def recording(call, inputs, without=(), written=()):
    """The outputs, computed while gradients are recorded."""
    with torch.enable_grad():
        given = leaves(inputs, without)
        given = [x if x is None or k not in written else x.clone() for k, x in enumerate(given)]
        result = call(*given)
    for k in written:
        if given[k:] and given[k] is not None:
            inputs[k].copy_(given[k].detach())
    return result
'''
_HELPERS: Mapping[str, str] = {
    "tensor": _TENSOR, "numbers": _NUMBERS, "room": _ROOM, "flat": _FLAT, "packed": _PACKED,
    "changed": _CHANGED, "leaves": _RECORDED, "vjp": _VJP, "recording": _FORWARD,
}  # fmt: skip


class TorchPrinter:
    """Writes steps as calls of torch, or of the modules of a torch-shaped backend.

    Args:
        backend: the backend whose classes and functions are called; None = torch's.
        call: the case's call, for its device and dtype.
        seed: seed of torch's random numbers; None = the script sets none.
    """

    declined = ""
    helpers = _HELPERS

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        self._backend, self._call, self._seed = backend, call, seed
        self._imports: dict[str, None] = {}

    def head(self) -> Sequence[str]:
        """The imports, and the lines that set seed, device and dtype."""
        call = self._call
        return [
            "import numpy as np",
            "import torch",
            *self._imports,
            "",
            "torch.set_grad_enabled(False)",
            *([] if self._seed is None else [f"torch.manual_seed({self._seed})"]),
            f"device, dtype = {call.device!r}, torch.{call.dtype}",
        ]

    def step(self, step: Step) -> Sequence[str]:
        """The lines of one step."""
        match step.member:
            case "build":
                return list(self._build(step))
            case "put":
                return [f"{step.name} = {self._put(*step.arguments, **step.keywords)}"]
            case "get":
                return [f"{step.name} = numbers({literal(step.arguments[0])})"]
            case "call":
                return [f"{step.name} = {self._calling(step, *map(literal, step.arguments))}"]
            case "vjp" | "vjp_of" | "value_and_vjp" | "forward_grad":
                return [f"{step.name} = {self._recorded(step)}"]
            case "state":
                return [f"{step.name} = dict(layer{step.layer}.state_dict())"]
            case "train":
                return [f"layer{step.layer}.train({literal(step.arguments[0])})"]
            case "load":
                return list(self._load(step, *step.arguments, **step.keywords))
        return [f"{step.name} = {self._fact(step)}"]

    def _row(self, step: Step) -> LayerSpec:
        return CATALOGUE[step.call.layer]

    def _build(self, step: Step) -> Iterator[str]:
        call, row = step.call, self._row(step)
        if row.function:
            return
        constructed = row.state.constructed(call.state)
        names = [typed(value) for value in call.arguments.get("*", ())]
        given = ((k, v) for k, v in call.arguments.items() if k != "*")
        names += [f"{k}={argument_text(call.layer, k, v)}" for k, v in given]
        names += [f"{k}={self._put(x)}" for k, x in constructed.items()]
        names += ["device=device", "dtype=dtype"] if row.signature.placed else []
        layer = f"layer{step.layer}"
        yield f"{layer} = {self._target(call)}({', '.join(names)})"
        yield f"{layer}.train({call.training})"
        if len(call.state) > len(constructed):
            yield from self._load(step, call.state, call.layouts)

    def _load(self, step: Step, state: Any, layouts: Any = None) -> Iterator[str]:
        layer, layouts = f"layer{step.layer}", layouts or {}
        assign = any(x != "contiguous" for x in layouts.values())
        yield f"{layer}.load_state_dict({{"
        for name, x in state.items():
            yield f"    {name!r}: {self._put(x, layouts.get(name, 'contiguous'))},"
        yield "}, assign=True)" if assign else "})"
        if assign and step.error is not None:
            # Reading the strides fails if a tensor is missing.
            yield f"[{layer}.state_dict()[name].stride() for name in {list(state)}]"

    def _put(
        self, given: np.ndarray | Again, layout: str = "contiguous", dtype: str | None = None
    ) -> str:
        x = given.array if isinstance(given, Again) else given
        data = given.text if isinstance(given, Again) else numbers(given)
        kind = {"i": "torch.int64", "b": "torch.bool"}.get(x.dtype.kind)
        if isinstance(given, Again):
            kind = f"torch.int64 if {data}.dtype.kind == 'i' else dtype"
        kind = f"torch.{dtype}" if dtype else kind
        plain = f"tensor({data}, {x.shape}{f', {kind}' if kind else ''})"
        if layout == "channels_last":
            last = "channels_last" if x.ndim == 4 else "channels_last_3d"
            return f"{plain}.to(memory_format=torch.{last})"
        if layout == "transposed" and (pair := swapped(x)):
            turned = f".transpose({pair[0]}, {pair[1]})"
            return f"{plain}{turned}.contiguous(){turned}"
        if found := room(x, layout):
            size, place = found
            return f"room({plain}, {size}, {', '.join(map(repr, place))})"
        if layout == "expanded" and (first := repeated(x)) is not None:
            part = ", ".join(f":{n}" for n in first.shape)
            return f"{plain}[{part}].contiguous().expand({x.shape})"
        return plain

    def _target(self, call: Call) -> str:
        """The name of the implementation under test, the backend's own or torch's."""
        row, name = CATALOGUE[call.layer], class_and_method(call.layer)[0]
        spaces = (getattr(self._backend, space, None) for space in ("nn", "functional"))
        found = looked_up(call.layer, *spaces)
        module, qualified = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
        torchs = module is not None and module.split(".")[0] == "torch"
        if not module or not qualified or "<" in qualified or torchs:
            return f"torch.nn.{call.layer if row.function else name}"
        first = qualified.split(".")[0]
        self._imports[f"from {module} import {first}  # the implementation under test"] = None
        return str(qualified)

    def _calling(self, step: Step, *inputs: str) -> str:
        """The call as code; `inputs` are expressions."""
        call, row, named = step.call, self._row(step), dict(step.keywords)
        given = list(inputs)
        if not row.signature.bundles.states:
            while given and given[-1] == "None" and not row.function:
                given.pop()
            on_host = [x.passed.on_host and call.device != "cpu" for x in row.signature.inputs]
            texts = [t + ".cpu()" * host for t, host in zip(given, on_host, strict=False)]
            given = together(row, texts)
        if row.function:
            extra = {k: v for k, v in call.arguments.items() if k != "*"}
            given += [typed(v) for v in call.arguments.get("*", ())]
            for name, value in (extra | named).items():
                given.append(f"{name}={argument_text(call.layer, name, value)}")
            if GRADIENTS in row.signature.bundles.wholes.values():
                return f"changed({self._target(call)}, {', '.join(given)})"
            text = f"{self._target(call)}({', '.join(given)})"
            return f"tuple({text})" if row.signature.bundles.lists else text
        layer, (_, method) = f"layer{step.layer}", class_and_method(call.layer)
        layer += method and f".{method}"
        if not row.signature.bundles.states:
            given += [f"{k}={literal(v)}" for k, v in named.items()]
            return f"{layer}({', '.join(given)})"
        states = [x for x in given[1:] if x != "None"]
        both = f"({', '.join(states)})" if row.signature.bundles.states > 1 else "".join(states[:1])
        hidden = [both] if states else []
        lengths = named.pop("lengths", None)
        rest = [f"{k}={literal(v)}" for k, v in named.items()]
        if lengths is None:
            return f"flat({layer}({', '.join([given[0], *hidden, *rest])}))"
        first = bool(call.arguments.get("batch_first", False))
        parts = [layer, str(first), literal(list(lengths)), given[0], *hidden]
        return f"flat(packed({', '.join(parts)}))"

    def _recorded(self, step: Step) -> str:
        """The call while gradients are recorded, and its gradients if the step has cotangents."""
        row, call = self._row(step), step.call
        vjp, some = step.member != "forward_grad", step.member == "vjp_of"
        wanted, *given = step.arguments if some else ((), *step.arguments)
        inputs = given[0] if vjp else given
        names = [f"i{k}" if x is not None else "None" for k, x in enumerate(inputs)]
        taken = ", ".join(f"i{k}" for k in range(len(inputs)))
        parts = [f"lambda {taken}: {self._calling(step, *names)}", literal(list(inputs))]
        if vjp:
            parts.append(literal(list(given[1])))
            if not row.function:
                parts.append(f"parameters=layer{step.layer}.named_parameters()")
        without = [
            k
            for k, x in enumerate(row.signature.inputs[: len(inputs)])
            if not x.differentiable or (some and x.name not in wanted)
        ]
        parts += [f"without={without}"] if without else []
        if row.traits.updates(call):
            written = [k for k in row.signature.places("data") if row.signature.inputs[k].updated]
            parts += [f"written={written}"] if written else []
        if some and not row.function:
            parts.append(f"only={list(wanted)}")
        parts += ["value=True"] if step.member == "value_and_vjp" else []
        return f"{'vjp' if vjp else 'recording'}({', '.join(parts)})"

    def _fact(self, step: Step) -> str:
        given = [literal(x) for x in step.arguments]
        layer = f"layer{step.layer}"
        match step.member:
            case "shape":
                return f"tuple({given[0]}.shape)"
            case "dtype":
                return f'str({given[0]}.dtype).removeprefix("torch.")'
            case "device":
                return f"str({given[0]}.device)"
            case "aliases":
                first, second = (f"{x}.untyped_storage().data_ptr()" for x in given)
                return f"{first} == {second} != 0"
            case "same":
                return " is ".join(given)
        names = [x for x in step.result if x != "class"]
        read = [f"{x!r}: getattr({layer}, {x!r}, None)" for x in names]
        kind = [f'"class": type({layer}).__name__'] if "class" in step.result else []
        return "{" + ", ".join([*kind, *read]) + "}"


def torch_shaped(backend: Any) -> bool:
    """Whether the backend's layers are torch modules and functions that are called directly."""
    # A backend of another framework may run without torch: do not import it here.
    module = sys.modules.get("conformance.backends.module")
    kind = type(inner(backend))
    if module is None or not issubclass(kind, module.ModuleBackend):
        return False
    plain = module.ModuleBackend
    return kind.wrap is plain.wrap and kind.build is plain.build


@contextlib.contextmanager
def seeded(backend: Any, seed: int) -> Iterator[None]:
    """Seed torch within the context, and restore its random state afterwards.

    Does nothing for a backend that is not torch-shaped.

    Args:
        seed: argument of `torch.manual_seed`.
    """
    if not torch_shaped(backend):
        yield
        return
    torch = sys.modules["torch"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
