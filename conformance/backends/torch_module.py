"""How PyTorch documents that modules are copied, converted, saved, frozen, switched and hooked.

https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html and `torch.save`.
"""

from __future__ import annotations

import copy
import io
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import Module
from torch.nn.parameter import is_lazy

from conformance.backends.torch_calls import construct_module, torch_arguments
from conformance.backends.torch_containers import container_facts
from conformance.backends.torch_network import COMPOSED
from conformance.model.case import Call, NotOffered, Unsupported, class_and_method

Fact = tuple[Any, Any]
"""What a module shows, and what the documentation says."""


def _load_state(module: Module, state: Mapping[str, torch.Tensor], **options: Any) -> Module:
    module.load_state_dict(dict(state), **options)
    return module


def _pickled(module: Module, make: Callable[..., Module]) -> Module:
    try:
        text = pickle.dumps(module)
    except (RuntimeError, AttributeError, pickle.PicklingError) as error:
        # Parametrised modules refuse it; a local class has no name to be found by.
        raise Unsupported("pickle") from error
    restored: Module = pickle.loads(text)
    return restored


def _saved(module: Module, make: Callable[..., Module]) -> Module:
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    return _load_state(make(), torch.load(file, weights_only=True))


def _emptied(module: Module, make: Callable[..., Module]) -> Module:
    fresh = make(device="meta")
    if _is_lazy(fresh):
        raise Unsupported("a lazy module before its first call")
    state = module.state_dict()
    device = next((x.device for x in state.values()), torch.device("cpu"))
    return _load_state(fresh.to_empty(device=device), state)


def _assigned(module: Module, make: Callable[..., Module]) -> Module:
    return _load_state(make(device="meta"), _cloned(module), assign=True)


def _is_lazy(module: Module) -> bool:
    return any(map(is_lazy, (*module.parameters(), *module.buffers())))


def _cloned(module: Module) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in module.state_dict().items()}


def _widened(module: Module, make: Callable[..., Module]) -> Module:
    dtypes = {x.dtype for x in module.parameters()}
    if len(dtypes) != 1:
        raise Unsupported("parameters of one dtype")
    return copy.deepcopy(module).double().to(dtypes.pop())


def construct_anew(
    target: Callable[..., Any],
    call: Call,
    tensors: Mapping[str, torch.Tensor],
    nn: Any,
    **factory: Any,
) -> Module:
    """Construct the module of a call; `factory` replaces its dtype or device.

    With `device=None` the module is made on torch's default device.
    """
    placement = {name: value for name, value in factory.items() if value is not None}
    names: dict[str, Any] = {k: str(x).removeprefix("torch.") for k, x in placement.items()}
    placed_call, is_composed = replace(call, **names), call.layer in COMPOSED
    names_device = len(placement) == len(factory)
    if not names_device and (tensors or is_composed or _has_modules(placed_call, nn)):
        raise Unsupported("a module with parts that are made on another device")
    if is_composed:
        module = COMPOSED[call.layer](placed_call, nn)
    else:
        placed = {name: x.clone().to(**placement) for name, x in tensors.items()}
        module = construct_module(target, placed_call, placed, nn, names_device=names_device)
    module.train(call.training)
    return module


def _has_modules(call: Call, nn: Any) -> bool:
    return any(isinstance(x, Module) for x in torch_arguments(call, nn).values())


COPIES: dict[str, Callable[[Module, Callable[..., Module]], Module]] = {
    "deepcopy": lambda module, make: copy.deepcopy(module),
    "pickle": _pickled,
    "torch.save of its state": _saved,
    "to_empty from device meta": _emptied,
    "load_state_dict(assign=True) from device meta": _assigned,
    "double() and back": _widened,
}
"""How a module is copied → (module, its constructor) → the copy."""


class ModuleCall:
    """A module, made anew for each question, and its call.

    Args:
        make: constructs a module with the state of the layer; keywords are factory arguments.
        call: calls a module on given inputs.
        inputs: natives of the call.
        has_hooks: the call is one of the module, not of a method, which calls no hooks.
        containers: namespace of classes that hold modules, if the module is made of others.
    """

    def __init__(
        self,
        make: Callable[..., Module],
        call: Callable[[Module, Sequence[Any]], Any],
        inputs: Sequence[Any],
        has_hooks: bool,
        containers: Any = None,
    ) -> None:
        self.make, self.call, self.inputs, self.has_hooks = make, call, inputs, has_hooks
        self.containers = containers

    def run(self, module: Module) -> Any:
        """Call the module on the inputs, and record gradients."""
        with torch.enable_grad():
            return self.call(module, self.inputs)

    def run_backward(self, module: Module) -> bool:
        """Call the module and differentiate the sum of its outputs; False if nothing records."""
        result = self.run(module)
        outputs = result if isinstance(result, tuple) else (result,)
        recorded = [y for y in outputs if y is not None and y.requires_grad]
        if recorded:
            torch.autograd.backward(recorded, [torch.ones_like(y) for y in recorded])
        return bool(recorded)


def module_facts(tested: ModuleCall) -> dict[str, Fact]:
    """What a module shows, and what the documentation says, by the name of the fact."""
    facts: dict[str, Fact] = {}
    for question in _QUESTIONS:
        module = tested.make()
        try:
            facts.update(question(tested, module))
        except Unsupported:
            continue
        except Exception as error:
            name = question.__name__.removeprefix("_")
            facts[name] = f"{type(error).__name__}: {error}"[:300], "no exception"
    return facts


def _mode_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    parts = len(list(module.modules()))
    yield "train() returns the module", (module.train() is module, True)
    yield "modules in train mode", (sum(x.training for x in module.modules()), parts)
    yield "eval() returns the module", (module.eval() is module, True)
    yield "modules in eval mode", (sum(not x.training for x in module.modules()), parts)
    visited = list[Module]()
    module.apply(visited.append)
    yield "modules that apply() visits", (len(visited), parts)


def _state_dict_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    names = list(module.state_dict())
    prefixed = [f"at.{name}" for name in names]
    yield "state_dict(prefix='at.')", (list(module.state_dict(prefix="at.")), prefixed)
    parent = Module()
    parent.add_module("at", module)
    yield "state_dict() of a parent", (list(parent.state_dict()), prefixed)
    saved = {f"at.{name}": x for name, x in _cloned(tested.make()).items()}
    parent.load_state_dict(saved)
    yield (
        "state_dict() of a parent after its load",
        (_state_texts(parent.state_dict()), _state_texts(saved)),
    )
    keys = [name for name, _ in module.named_parameters()]
    yield "named_parameters() names each once", (len(set(keys)), len(list(module.parameters())))


def _state_texts(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Names, dtypes and numbers, as text."""
    return [f"{name} {x.dtype} {x.flatten()[:5].tolist()}" for name, x in state.items()]


def _repr_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    """What a class that is made of torch's says of itself; torch documents no rule of its own."""
    if next(module.children(), None) is not None:
        return
    bases: list[Any] = [x for x in type(module).__mro__ if x.__module__.startswith("torch.nn.")]
    said = bases[0].extra_repr(module)
    yield (
        "arguments in its repr",
        (_arguments_named_in(repr(module)), _arguments_named_in(f"({said})")),
    )


def _arguments_named_in(text: str) -> list[str]:
    return sorted(set(re.findall(r"(\w+)=", text.partition("\n")[0])))


def _load_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    state = _cloned(module)
    parameters = [name for name, _ in module.named_parameters() if name in state]
    if not parameters:
        return
    missing = {name: x for name, x in state.items() if name != parameters[0]}
    yield "load_state_dict without a parameter", (_load_error_name(module, missing), "RuntimeError")
    result = tested.make().load_state_dict(missing, strict=False)
    yield "missing keys of a load that is not strict", (list(result.missing_keys), parameters[:1])
    extra = {**state, "no.such": torch.zeros(1)}
    yield (
        "load_state_dict with another name",
        (_load_error_name(tested.make(), extra), "RuntimeError"),
    )
    result = tested.make().load_state_dict(extra, strict=False)
    yield "unexpected keys of a load", (list(result.unexpected_keys), ["no.such"])
    filled = [name for name in parameters if state[name].numel()]
    for assign, shared in ((False, list[str]()), (True, filled)):
        target = tested.make()
        target.load_state_dict(state, assign=assign)
        own = target.state_dict()
        sharing = [k for k in filled if own[k].data_ptr() == state[k].data_ptr()]
        yield f"parameters that share memory with the state, assign={assign}", (sharing, shared)


def _load_error_name(module: Module, state: Mapping[str, Any]) -> str:
    try:
        module.load_state_dict(dict(state))
    except Exception as error:
        return type(error).__name__
    return "no exception"


def _trainable_names(module: Module) -> list[str]:
    return [name for name, x in module.named_parameters() if x.requires_grad]


def _requires_grad_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    names = [name for name, _ in module.named_parameters()]
    yield "requires_grad_(False) returns the module", (module.requires_grad_(False) is module, True)
    yield "parameters that learn after requires_grad_(False)", (_trainable_names(module), [])
    yield "parameters of a frozen copy that learn", (_trainable_names(copy.deepcopy(module)), [])
    yield (
        "parameters that learn after requires_grad_()",
        (_trainable_names(module.requires_grad_()), names),
    )
    if names:
        dict(module.named_parameters())[names[0]].requires_grad_(False)
        yield (
            "parameters of a copy that learn",
            (_trainable_names(copy.deepcopy(module)), names[1:]),
        )
        yield "parameters that learn after double()", (_trainable_names(module.double()), names[1:])


def _zero_grad_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    if not tested.run_backward(module):
        return
    module.zero_grad(set_to_none=False)
    left = [k for k, x in module.named_parameters() if x.grad is not None and x.grad.any()]
    yield "gradients other than 0 after zero_grad(set_to_none=False)", (left, [])
    module.zero_grad()
    left = [k for k, x in module.named_parameters() if x.grad is not None]
    yield "gradients after zero_grad()", (left, [])


def _dtype_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    before = module.state_dict().values()
    if any(x.is_complex() for x in before) or not any(x.is_floating_point() for x in before):
        return
    for name, dtype in (
        ("half()", torch.float16),
        ("bfloat16()", torch.bfloat16),
        ("double()", torch.float64),
        ("float()", torch.float32),
    ):
        changed = getattr(tested.make(), name[:-2])()
        yield f"dtypes after {name}", (_float_dtypes(changed), [str(dtype)])
        yield f"integers after {name}", (_integer_dtypes(changed), _integer_dtypes(module))
    moved = tested.make().to(torch.float16)
    yield "dtypes after to(torch.float16)", (_float_dtypes(moved), ["torch.float16"])
    made = tested.make(dtype=torch.float64)
    yield "dtypes with dtype=torch.float64", (_float_dtypes(made), ["torch.float64"])


def _integer_dtypes(module: Module) -> list[str]:
    return [str(x.dtype) for x in module.state_dict().values() if not x.is_floating_point()]


def _float_dtypes(module: Module) -> list[str]:
    floats = [x for x in module.state_dict().values() if x.is_floating_point()]
    return sorted({str(x.dtype) for x in floats})


def _device_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    made = tested.make(device="meta")
    if made.state_dict() and not _is_lazy(made):
        yield "devices with device='meta'", (_device_types(made), ["meta"])
        yield "devices after to_empty", (_device_types(made.to_empty(device="cpu")), ["cpu"])
        with torch.device("meta"):
            made = tested.make(device=None)
        yield "devices in a context of device 'meta'", (_device_types(made), ["meta"])


def _memory_format_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    for name, dims in (("channels_last", 4), ("channels_last_3d", 5)):
        memory_format, moved = getattr(torch, name), tested.make()
        names = [k for k, x in moved.named_parameters() if x.ndim == dims]
        if not names:
            continue
        # Stubs before torch 2.15 lack the overload; `**` is right for both.
        layout: dict[str, Any] = {"memory_format": memory_format}
        moved.to(**layout)
        parameters = dict(moved.named_parameters())
        laid = [k for k in names if parameters[k].is_contiguous(memory_format=memory_format)]
        yield f"parameters in {name} after to(memory_format={name})", (laid, names)


def _device_types(module: Module) -> list[str]:
    return sorted({x.device.type for x in (*module.parameters(), *module.buffers())})


def _hook_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    if not tested.has_hooks:
        return
    called = list[bool]()
    handle = module.register_forward_hook(lambda m, args, y: called.append(m is module))
    plain = tested.run(module)
    yield "calls of a forward hook", (called, [True])
    handle.remove()
    tested.run(module)
    yield "calls of a removed hook", (len(called), 1)
    first = tested.inputs[0]
    if not isinstance(plain, torch.Tensor) or not first.ndim:
        return
    replaced = tested.make()
    replaced.register_forward_hook(lambda m, args, y: torch.zeros_like(y))
    yield "a forward hook's output", (bool(tested.run(replaced).any()), False)
    flipped = tested.make()
    flipped.register_forward_pre_hook(lambda m, args: (args[0].flip(0), *args[1:]))
    watched = tested.make()  # with a hook, too: some modules then take another path
    watched.register_forward_pre_hook(lambda m, args: None)
    with torch.no_grad():
        got = tested.call(flipped, tested.inputs)
        wanted = tested.call(watched, [first.flip(0), *tested.inputs[1:]])
    is_same = bool(torch.equal(torch.nan_to_num(got), torch.nan_to_num(wanted)))
    yield "a pre-hook's input counts", (is_same, True)
    yield from _backward_hook_facts(tested)


def _backward_hook_facts(tested: ModuleCall) -> Iterator[tuple[str, Fact]]:
    for with_forward_hook in (False, True):
        module, ones = tested.make(), list[bool]()

        def note(module: Module, gx: Any, gy: Any, ones: list[bool] = ones) -> None:
            ones.append(bool((gy[0] == 1).all()))

        module.register_full_backward_hook(note)
        if with_forward_hook:
            module.register_forward_hook(lambda m, args, y: None)
        try:
            recorded = tested.run_backward(module)
        except RuntimeError as error:
            if "modified inplace" in str(error):
                return  # documented: no hook on a module that works in place
            raise
        if recorded:
            yield f"calls of a backward hook, forward hook: {with_forward_hook}", (ones, [True])


def _container_facts(tested: ModuleCall, module: Module) -> Iterator[tuple[str, Fact]]:
    if tested.containers is not None:
        yield from container_facts(tested.containers).items()


_QUESTIONS = (
    _mode_facts, _repr_facts, _state_dict_facts, _load_facts, _requires_grad_facts,
    _zero_grad_facts, _dtype_facts, _device_facts, _memory_format_facts, _hook_facts,
    _container_facts,
)  # fmt: skip


def require_builtin_device(call: Call) -> None:
    """Decline other devices: MPS lacks float64, and `copy` knows none of another package."""
    if torch.device(call.device).type not in ("cpu", "cuda"):
        raise NotOffered(f"copies and transforms on {call.device}")


class ModuleMembers:
    """The members of a layer that copy its module and ask for its facts; `ModuleLayer` is one."""

    module: Module | None
    _call: Call
    construct: Callable[..., Module] | None = None
    """Constructs the module of the call, with other factory arguments on request."""
    containers: Any = None
    """Namespace of classes that hold modules, if the module is made of others."""

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        raise NotImplementedError

    def _with_module(self, module: Module) -> Any:
        """A layer of the same call with another module."""
        raise NotImplementedError

    def copy_layer(self, how: str) -> Any:
        """A layer whose module is a copy of this one's, made in a way that PyTorch documents."""
        if self.module is None or self.construct is None:
            raise Unsupported("a copy of a function")
        require_builtin_device(self._call)
        return self._with_module(COPIES[how](self.module, self.construct))

    def module_facts(self, inputs: Sequence[Any], **keywords: Any) -> dict[str, Fact]:
        """What the module shows, and what PyTorch documents, by the name of the fact."""
        construct, own = self.construct, self.module
        if own is None or construct is None:
            raise Unsupported("the facts of a function")
        require_builtin_device(self._call)
        state = _cloned(own)

        def make(**factory: Any) -> Module:
            module = construct(**factory)
            if not factory:
                module.load_state_dict(state)
                module.train(own.training)
            return module

        def call(module: Module, inputs: Sequence[Any]) -> Any:
            copies = [x.detach().clone() if x is not None else None for x in inputs]
            return self._with_module(module)._forward(*copies, **keywords)

        has_hooks = not class_and_method(self._call.layer)[1]
        return module_facts(ModuleCall(make, call, inputs, has_hooks, self.containers))
