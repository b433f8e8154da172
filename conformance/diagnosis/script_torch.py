"""Write steps of a torch-shaped backend as code that needs only torch and NumPy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformance.backends.guard import unguarded_backend
from conformance.backends.numpy_layouts import (
    enlarged_memory,
    overlapping_windows,
    swapped_axes,
    unexpanded,
)
from conformance.diagnosis.literals import literal, number_list_literal
from conformance.diagnosis.transcript import Again, Step
from conformance.layers import CATALOGUE
from conformance.layers.describe import argument_text, input_texts, made_text, value_text
from conformance.layers.describe_network import network_class_lines, sequence_texts
from conformance.model.case import GRADIENTS, Call, class_and_method, find_by_layer_name
from conformance.spec.layer_spec import LayerSpec

_TENSOR_HELPER = """
def tensor(data, shape, dtype=dtype):
    return torch.tensor(np.array(data).reshape(shape), dtype=dtype, device=device)
"""
_NUMBERS_HELPER = '''
def numbers(x):
    """A tensor's numbers on the host."""
    wide = torch.complex128 if x.is_complex() else torch.float64
    wide = wide if x.is_complex() or x.is_floating_point() else torch.int64
    kept = torch.bool if x.dtype == torch.bool else wide
    return x.detach().cpu().to(kept).numpy().copy()
'''
_ROOM_HELPER = '''
def room(x, size, *place):
    """The tensor as a view of larger memory; all other elements are NaN or -2**40."""
    whole = x.dtype in (torch.int64, torch.bool)
    memory = torch.full(size, -(2**40) if whole else float("nan"), dtype=x.dtype, device=device)
    part = memory[place]
    return (part if part.shape == x.shape else part.view(x.shape)).copy_(x)
'''
_WINDOWS_HELPER = '''
def windows(x, frames, place, size, step, order):
    """The tensor as a view of overlapping windows of a signal."""
    first, *further = x.unbind(frames)
    signal = torch.cat([first, *(y.narrow(place, size - step, step) for y in further)], place)
    return signal.unfold(place, size, step).permute(order)
'''
_FLAT_HELPER = '''
def flat(outputs):
    """(output, (h_n, c_n)) as (output, h_n, c_n)."""
    found = []
    for x in outputs if type(outputs) is tuple else [outputs]:
        found.extend(x if type(x) is tuple else [x])
    return tuple(found) if type(outputs) is tuple else outputs
'''
_PACKED_HELPER = '''
def packed(layer, batch_first, lengths, x, *states):
    """Call a layer on a packed sequence and pad its output again."""
    ordered = list(lengths) == sorted(lengths, reverse=True)
    packed_input = torch.nn.utils.rnn.pack_padded_sequence(
        x, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=ordered
    )
    output, states = layer(packed_input, *states)
    total = x.shape[1 if batch_first else 0]
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(
        output, batch_first=batch_first, total_length=total
    )
    return padded, states
'''
_CHANGED_HELPER = '''
def changed(function, gradients, **arguments):
    """What a call on parameters with gradients returns, and the gradients after it.

    An odd number of parameters is passed as a generator, as `Module.parameters()` returns one.
    """
    parameters = []
    for x in gradients:
        parameters.append(torch.nn.Parameter(torch.zeros(()) if x is None else torch.zeros_like(x)))
        parameters[-1].grad = x
    operand = (x for x in parameters) if len(parameters) % 2 else parameters
    result = function(operand, **arguments)
    return (*[result][: int(result is not None)], *(x.grad for x in parameters))
'''
_LEAVES_HELPER = '''
def leaves(inputs, without):
    """Leaves that record gradients, except at the places `without`; one object is one leaf."""
    found = {}
    for k, x in enumerate(inputs):
        if x is not None and id(x) not in found:
            has = k not in without and (x.is_floating_point() or x.is_complex())
            found[id(x)] = x.detach().requires_grad_(has)
    return [None if x is None else found[id(x)] for x in inputs]
'''
_VJP_HELPER = '''
def vjp(call, inputs, cotangents, parameters=(), without=(), written=(), only=None, value=False):
    """Gradients of the inputs, and of parameters by name; only those in `only` if it is given.

    With `value=True` the outputs come first.
    """
    named = dict(parameters)
    for name, x in named.items():
        x.requires_grad_(only is None or name in only)
    with torch.enable_grad():
        operands = leaves(inputs, without)
        copied = [k in written and x is not None for k, x in enumerate(operands)]
        result = call(*[x.clone() if copy else x for x, copy in zip(operands, copied)])
        outputs = result if isinstance(result, tuple) else (result,)
        seeded = [(y, c) for y, c in zip(outputs, cotangents) if c is not None and y.requires_grad]
        wanted = [x for x in (*operands, *named.values()) if x is not None and x.requires_grad]
        found = [torch.zeros_like(x) for x in wanted]
        if seeded:
            found = torch.autograd.grad(
                [y for y, _ in seeded], wanted, [c for _, c in seeded],
                allow_unused=True, materialize_grads=True,
            )
    by = {id(x): gradient for x, gradient in zip(wanted, found)}
    return (*[result][: int(value)],
        tuple(None if x is None else by.get(id(x)) for x in operands),
        {name: by.get(id(x)) for name, x in named.items()},
    )
'''
_ACCUMULATED_HELPER = '''
def accumulated(call, inputs, calls, parameters=(), without=()):
    """What backward passes add to the gradients of inputs and parameters.

    `calls` has for each call the cotangents of its passes; all but the last keep the graph.
    """
    named = dict(parameters)
    for x in named.values():
        x.requires_grad_(True)
    operands = leaves(inputs, without)
    wanted = {id(x): x for x in (*operands, *named.values()) if x is not None and x.requires_grad}
    for x in wanted.values():
        x.grad = None
    with torch.enable_grad():
        for passes in calls:
            result = call(*operands)
            outputs = result if isinstance(result, tuple) else (result,)
            for k, cotangents in enumerate(passes, 1):
                seeded = [(y, c) for y, c in zip(outputs, cotangents) if c is not None]
                seeded = [(y, c) for y, c in seeded if y.requires_grad]
                if seeded and wanted:
                    torch.autograd.backward(
                        [y for y, _ in seeded], [c for _, c in seeded],
                        retain_graph=k < len(passes), inputs=list(wanted.values()),
                    )
    by = {k: torch.zeros_like(x) if x.grad is None else x.grad for k, x in wanted.items()}
    return (
        tuple(None if x is None else by.get(id(x)) for x in operands),
        {name: by.get(id(x)) for name, x in named.items()},
    )
'''
_RECORDING_HELPER = '''
def recording(call, inputs, without=(), written=()):
    """The outputs, computed while gradients are recorded."""
    with torch.enable_grad():
        operands = leaves(inputs, without)
        for k in written:
            if operands[k:] and operands[k] is not None:
                operands[k] = operands[k].clone()
        result = call(*operands)
    for k in written:
        if operands[k:] and operands[k] is not None:
            inputs[k].copy_(operands[k].detach())
    return result
'''
_COMPILED_HELPER = '''
def compiled(function):
    """The function, compiled as one graph."""
    torch._dynamo.config.allow_rnn = True
    return torch.compile(function, fullgraph=True, dynamic=False)
'''
_HELPERS: Mapping[str, str] = {
    "tensor": _TENSOR_HELPER, "numbers": _NUMBERS_HELPER, "room": _ROOM_HELPER,
    "windows": _WINDOWS_HELPER,
    "flat": _FLAT_HELPER, "packed": _PACKED_HELPER, "changed": _CHANGED_HELPER,
    "leaves": _LEAVES_HELPER, "vjp": _VJP_HELPER, "accumulated": _ACCUMULATED_HELPER,
    "recording": _RECORDING_HELPER,
}  # fmt: skip


class TorchPrinter:
    """Writes steps as calls of torch, or of the modules of a torch-shaped backend.

    Args:
        backend: the backend whose classes and functions are called; None = torch's.
        call: the case's call, for its device and dtype.
        seed: seed of torch's random numbers; None = the script sets none.
    """

    declining_exception = ""
    helpers: Mapping[str, str] = _HELPERS

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        self._backend, self._call, self._seed = backend, call, seed
        self._imports: dict[str, None] = {}

    def header_lines(self) -> Sequence[str]:
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

    def step_lines(self, step: Step) -> Sequence[str]:
        """The lines of one step."""
        match step.member:
            case "build":
                return list(self._build_lines(step))
            case "put":
                return [f"{step.name} = {self._put_text(*step.arguments, **step.keywords)}"]
            case "get":
                return [f"{step.name} = numbers({literal(step.arguments[0])})"]
            case "call":
                return [f"{step.name} = {self._call_text(step, *map(literal, step.arguments))}"]
            case "vjp" | "vjp_of" | "value_and_vjp" | "accumulate" | "forward_grad":
                return [f"{step.name} = {self._gradient_call_text(step)}"]
            case "state":
                return [f"{step.name} = dict(layer{step.layer}.state_dict())"]
            case "train":
                return [f"layer{step.layer}.train({literal(step.arguments[0])})"]
            case "load":
                return list(self._load_lines(step, *step.arguments, **step.keywords))
        return [f"{step.name} = {self._fact_text(step)}"]

    def _spec(self, step: Step) -> LayerSpec:
        return CATALOGUE[step.call.layer]

    def _build_lines(self, step: Step) -> Iterator[str]:
        call, spec = step.call, self._spec(step)
        if spec.is_function:
            return
        layer = f"layer{step.layer}"
        if spec.signature.graph_arguments:
            (nodes,) = (call.arguments[name] for name in spec.signature.graph_arguments)

            def constructor_text(inner: str, arguments: Mapping[str, Any]) -> str:
                made = made_text(inner, arguments)
                return (
                    self._implementation_name(replace(call, layer=inner)) + made[made.index("(") :]
                )

            modules = ", ".join(sequence_texts(nodes, constructor_text))
            if not modules:
                yield from network_class_lines(nodes, constructor_text)
                yield ""
            container = self._implementation_name(call) if spec.in_torch else "torch.nn.Sequential"
            network = f"{container}({modules})" if modules else "Network()"
            yield f"{layer} = {network}.to(device, dtype).train({call.training})"
            if call.state:
                yield from self._load_lines(step, call.state, call.layouts)
            return
        constructed = spec.state.constructor_state(call.state)
        argument_texts = [value_text(value) for value in call.arguments.get("*", ())]
        keyword_arguments = ((k, v) for k, v in call.arguments.items() if k != "*")
        argument_texts += [f"{k}={argument_text(call.layer, k, v)}" for k, v in keyword_arguments]
        argument_texts += [f"{k}={self._put_text(x)}" for k, x in constructed.items()]
        argument_texts += (
            ["device=device", "dtype=dtype"] if spec.signature.takes_device_and_dtype else []
        )
        yield f"{layer} = {self._implementation_name(call)}({', '.join(argument_texts)})"
        yield f"{layer}.train({call.training})"
        if len(call.state) > len(constructed):
            yield from self._load_lines(step, call.state, call.layouts)

    def _load_lines(self, step: Step, state: Any, layouts: Any = None) -> Iterator[str]:
        layer, layouts = f"layer{step.layer}", layouts or {}
        assign = any(x != "contiguous" for x in layouts.values())
        yield f"{layer}.load_state_dict({{"
        for name, x in state.items():
            yield f"    {name!r}: {self._put_text(x, layouts.get(name, 'contiguous'))},"
        yield "}, assign=True)" if assign else "})"
        if assign and step.error is not None:
            # Reading the strides fails if a tensor is missing.
            yield f"[{layer}.state_dict()[name].stride() for name in {list(state)}]"

    def _put_text(
        self, value: np.ndarray | Again, layout: str = "contiguous", dtype: str | None = None
    ) -> str:
        x = value.array if isinstance(value, Again) else value
        literal_text = value.text if isinstance(value, Again) else number_list_literal(value)
        dtype_text = {"i": "torch.int64", "b": "torch.bool"}.get(x.dtype.kind)
        if isinstance(value, Again):
            dtype_text = f"torch.int64 if {literal_text}.dtype.kind == 'i' else dtype"
        dtype_text = f"torch.{dtype}" if dtype else dtype_text
        tensor_text = f"tensor({literal_text}, {x.shape}{f', {dtype_text}' if dtype_text else ''})"
        if layout == "channels_last":
            memory_format = "channels_last" if x.ndim == 4 else "channels_last_3d"
            return f"{tensor_text}.to(memory_format=torch.{memory_format})"
        if layout == "transposed" and (pair := swapped_axes(x)):
            transpose_text = f".transpose({pair[0]}, {pair[1]})"
            return f"{tensor_text}{transpose_text}.contiguous(){transpose_text}"
        if gap_layout := enlarged_memory(x, layout):
            size, position = gap_layout
            return f"room({tensor_text}, {size}, {', '.join(map(repr, position))})"
        if layout == "expanded" and (first := unexpanded(x)) is not None:
            slice_text = ", ".join(f":{n}" for n in first.shape)
            return f"{tensor_text}[{slice_text}].contiguous().expand({x.shape})"
        if layout == "unfolded" and (windows := overlapping_windows(x)):
            size, place, step = x.shape[windows.axis], windows.place, windows.step
            order = windows.order(x.ndim)
            return f"windows({tensor_text}, {windows.frames}, {place}, {size}, {step}, {order})"
        return tensor_text

    def _implementation_name(self, call: Call) -> str:
        """The name of the implementation under test, the backend's own or torch's."""
        spec, name = CATALOGUE[call.layer], class_and_method(call.layer)[0]
        spaces = (getattr(self._backend, space, None) for space in ("nn", "functional"))
        implementation = find_by_layer_name(call.layer, *spaces)
        module, qualified = (
            getattr(implementation, "__module__", None),
            getattr(implementation, "__qualname__", None),
        )
        is_torch = module is not None and module.split(".")[0] == "torch"
        if not module or not qualified or "<" in qualified or is_torch:
            return f"torch.nn.{call.layer if spec.is_function else name}"
        root_name = qualified.split(".")[0]
        self._imports[f"from {module} import {root_name}  # the implementation under test"] = None
        return str(qualified)

    def _call_text(self, step: Step, *inputs: str) -> str:
        """The call as code; `inputs` are expressions."""
        call, spec, keywords = step.call, self._spec(step), dict(step.keywords)
        argument_texts = list(inputs)
        if not spec.signature.bundles.state_count:
            while argument_texts and argument_texts[-1] == "None" and not spec.is_function:
                argument_texts.pop()
            on_host = [x.passing.on_host and call.device != "cpu" for x in spec.signature.inputs]
            texts = [t + ".cpu()" * host for t, host in zip(argument_texts, on_host, strict=False)]
            argument_texts = input_texts(spec, texts)
        if spec.is_function:
            extra = {k: v for k, v in call.arguments.items() if k != "*"}
            argument_texts += [value_text(v) for v in call.arguments.get("*", ())]
            for name, value in (extra | keywords).items():
                argument_texts.append(f"{name}={argument_text(call.layer, name, value)}")
            if GRADIENTS in spec.signature.bundles.composite_arguments.values():
                return f"changed({self._implementation_name(call)}, {', '.join(argument_texts)})"
            text = f"{self._implementation_name(call)}({', '.join(argument_texts)})"
            return f"tuple({text})" if spec.signature.bundles.returns_list else text
        layer, (_, method) = f"layer{step.layer}", class_and_method(call.layer)
        layer += method and f".{method}"
        if not spec.signature.bundles.state_count:
            argument_texts += [f"{k}={literal(v)}" for k, v in keywords.items()]
            return f"{layer}({', '.join(argument_texts)})"
        states = [x for x in argument_texts[1:] if x != "None"]
        states_text = (
            f"({', '.join(states)})"
            if spec.signature.bundles.state_count > 1
            else "".join(states[:1])
        )
        hidden = [states_text] if states else []
        lengths = keywords.pop("lengths", None)
        keyword_texts = [f"{k}={literal(v)}" for k, v in keywords.items()]
        if lengths is None:
            return f"flat({layer}({', '.join([argument_texts[0], *hidden, *keyword_texts])}))"
        batch_first = bool(call.arguments.get("batch_first", False))
        parts = [layer, str(batch_first), literal(list(lengths)), argument_texts[0], *hidden]
        return f"flat(packed({', '.join(parts)}))"

    def _gradient_call_text(self, step: Step) -> str:
        """The call while gradients are recorded, and its gradients if the step has cotangents."""
        spec, call = self._spec(step), step.call
        has_gradients, is_partial = step.member != "forward_grad", step.member == "vjp_of"
        accumulates = step.member == "accumulate"
        operand_names, *arguments = step.arguments if is_partial else ((), *step.arguments)
        inputs = arguments[0] if has_gradients else arguments
        names = [f"i{k}" if x is not None else "None" for k, x in enumerate(inputs)]
        parameters = ", ".join(f"i{k}" for k in range(len(inputs)))
        parts = [f"lambda {parameters}: {self._call_text(step, *names)}", literal(list(inputs))]
        if has_gradients:
            cotangents = arguments[1]
            parts.append(literal(cotangents if accumulates else list(cotangents)))
            if not spec.is_function:
                parts.append(f"parameters=layer{step.layer}.named_parameters()")
        without = [
            k
            for k, x in enumerate(spec.signature.inputs[: len(inputs)])
            if not x.differentiable or (is_partial and x.name not in operand_names)
        ]
        parts += [f"without={without}"] if without else []
        if spec.traits.updates_state(call):
            written = [
                k for k in spec.signature.input_indices("data") if spec.signature.inputs[k].updated
            ]
            parts += [f"written={written}"] if written else []
        if is_partial and not spec.is_function:
            parts.append(f"only={list(operand_names)}")
        parts += ["value=True"] if step.member == "value_and_vjp" else []
        helper = "accumulated" if accumulates else "vjp" if has_gradients else "recording"
        return f"{helper}({', '.join(parts)})"

    def _fact_text(self, step: Step) -> str:
        argument_texts = [literal(x) for x in step.arguments]
        layer = f"layer{step.layer}"
        match step.member:
            case "shape":
                return f"tuple({argument_texts[0]}.shape)"
            case "dtype":
                return f'str({argument_texts[0]}.dtype).removeprefix("torch.")'
            case "device":
                return f"str({argument_texts[0]}.device)"
            case "aliases":
                first, second = (f"{x}.untyped_storage().data_ptr()" for x in argument_texts)
                return f"{first} == {second} != 0"
            case "same":
                return " is ".join(argument_texts)
        names = [x for x in step.result if x != "class"]
        attribute_texts = [f"{x!r}: getattr({layer}, {x!r}, None)" for x in names]
        class_text = [f'"class": type({layer}).__name__'] if "class" in step.result else []
        return "{" + ", ".join([*class_text, *attribute_texts]) + "}"


class CompiledPrinter(TorchPrinter):
    """Writes calls of torch that `torch.compile` compiles, each as one graph.

    `backend.dynamic` tells whether sizes are symbols in the compiled graphs.
    """

    def __init__(self, backend: Any, call: Call, seed: int | None = None) -> None:
        super().__init__(None, call, seed)
        helper = _COMPILED_HELPER.replace("dynamic=False", f"dynamic={backend.dynamic}")
        self.helpers = {**_HELPERS, "compiled": helper}

    def _call_text(self, step: Step, *inputs: str) -> str:
        names = [x if x == "None" else f"i{k}" for k, x in enumerate(inputs)]
        operands = {name: x for name, x in zip(names, inputs, strict=True) if x != "None"}
        text = super()._call_text(step, *names)
        parameters = ", ".join(operands)
        layer = f"layer{step.layer}"
        function = layer if text == f"{layer}({parameters})" else f"lambda {parameters}: {text}"
        return f"compiled({function})({', '.join(operands.values())})"


def is_torch_shaped(backend: Any) -> bool:
    """Whether the backend's layers are torch modules and functions that are called directly."""
    # A backend of another framework may run without torch: do not import it here.
    module = sys.modules.get("conformance.backends.module")
    backend_class = type(unguarded_backend(backend))
    if module is None or not issubclass(backend_class, module.ModuleBackend):
        return False
    base_class = module.ModuleBackend
    return backend_class.wrap is base_class.wrap and backend_class.build is base_class.build


@contextlib.contextmanager
def seeded(backend: Any, seed: int) -> Iterator[None]:
    """Seed torch within the context, and restore its random state afterwards.

    Does nothing for a backend that is not torch-shaped.

    Args:
        seed: argument of `torch.manual_seed`.
    """
    if not is_torch_shaped(backend):
        yield
        return
    torch = sys.modules["torch"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
