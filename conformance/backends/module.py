"""`ModuleBackend`: namespaces of modules and functions that have torch's interface."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from conformance.backends import torch_composites, torch_sequences
from conformance.backends.torch_autocast import Autocast
from conformance.backends.torch_calls import (
    MethodModule,
    construct_module,
    constructor_tensors,
    decline_missing_kernels,
    decline_newer_arguments,
    torch_arguments,
    trim_trailing_none,
)
from conformance.backends.torch_layouts import apply_layout, share_memory
from conformance.backends.torch_module import ModuleMembers, construct_anew
from conformance.backends.torch_network import COMPOSED
from conformance.backends.torch_transforms import Transforms, compute_gradients, recorded
from conformance.model.case import (
    STORED,
    Call,
    NotOffered,
    Numerics,
    Unsupported,
    class_and_method,
    find_by_layer_name,
    is_function,
)

_THREADS_AT_START = torch.get_num_threads()


def devices() -> tuple[str, ...]:
    """The CPU and every CUDA device that torch sees."""
    return ("cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count())))


def info() -> dict[str, str]:
    """Version of torch, its precision switches, and the names of its GPUs."""
    facts = {
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "float32 matmul precision": torch.get_float32_matmul_precision(),
        "matmul tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "cudnn tf32": str(torch.backends.cudnn.allow_tf32),
        "mkldnn": str(torch.backends.mkldnn.is_available()),  # type: ignore[no-untyped-call]
    }
    if torch.cuda.is_available():
        facts["cuda"] = str(torch.version.cuda)
        facts["cudnn"] = str(torch.backends.cudnn.version())  # type: ignore[no-untyped-call]
        for index in range(torch.cuda.device_count()):
            facts[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    return facts


def pin_precision() -> None:
    """Switch TF32 and reduced-precision accumulation off, so that float32 means float32."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads and threads.isdigit():
        torch.set_num_threads(int(threads))


TORCH_STORED = tuple(
    name for name in STORED if name not in ("normalised", "exponentials", "log_sum")
)
"""Intermediate results that torch's CPU kernels store in half precision, measured on torch 2.13.

For [100, 100.5, 101, 101.5] in bfloat16 the mean is 101 instead of 100.75. BatchNorm2d then returns
[-1.63, -0.82, 0, 0.82] instead of [-1.34, -0.45, 0.45, 1.34].
"""


class ModuleBackend:
    """A backend whose layers are torch modules and functions on torch tensors.

    Args:
        name: the backend's name.
        nn: namespace of the layer classes. If neither namespace is given, both are torch's own. If
            only one is given, the layers of the other are Unsupported.
        functional: namespace of the functions.
        base: name of the backend whose kernels all layers call, e.g. `"torch"`. The backend
            inherits its known failures. A layer that is torch's own object always has base torch.
        stored: intermediate results that are stored in half precision, as in `Numerics.stored`.
            The default is `TORCH_STORED` for a base of `"torch"`.
    """

    def __init__(
        self,
        name: str,
        nn: Any = None,
        functional: Any = None,
        base: str | None = None,
        stored: tuple[str, ...] = (),
    ) -> None:
        if nn is None and functional is None:
            nn, functional = torch.nn, torch.nn.functional
        self.name, self.nn, self.functional, self.base = name, nn, functional, base
        self.stored = TORCH_STORED if base == "torch" and not stored else stored
        pin_precision()

    def inherits(self, layer: str) -> bool:
        """Whether a layer is torch's own object, called without any change."""
        if type(self) is not ModuleBackend:
            return False
        torch_object = find_by_layer_name(layer, torch.nn, torch.nn.functional)
        return (
            torch_object is not None
            and find_by_layer_name(layer, self.nn, self.functional) is torch_object
        )

    def info(self) -> Mapping[str, str]:
        """Version, precision switches and GPUs of torch."""
        return info()

    def devices(self) -> Sequence[str]:
        """The CPU and every CUDA device that torch sees."""
        return devices()

    def numerics(self, dtype: str, device: str = "cpu") -> Numerics:
        """Declare that bfloat16 flushes subnormal numbers, and what half precision stores.

        x86 CPUs multiply bfloat16 by VDPBF16PS or AMX, which read and write subnormal numbers as
        zero in every mode (Intel, *Architecture Instruction Set Extensions*). The second
        declaration is `stored` of the constructor, which is about kernels of CPUs.
        """
        stores = dtype in ("bfloat16", "float16") and device == "cpu"
        return Numerics(flush_to_zero=dtype == "bfloat16", stored=self.stored if stores else ())

    def use_threads(self, count: int | None) -> None:
        """Let kernels on the CPU use so many threads; None = as many as at the start."""
        torch.set_num_threads(_THREADS_AT_START if count is None else count)

    def wrap(self, module: torch.nn.Module) -> Any:
        """Return the module unchanged; override it to transform the module, e.g. by compiling."""
        return module

    def build(self, call: Call) -> ModuleLayer:
        """Build the module or find the function, then load the state and set the mode."""
        target = find_by_layer_name(call.layer, self.nn, self.functional)
        is_composed = self.nn is not None and call.layer in COMPOSED
        if target is None and not is_composed:
            raise NotOffered(f"layer {call.layer}")
        if is_function(call.layer):
            return ModuleLayer(call, None, target)
        method = class_and_method(call.layer)[1]
        tensors = constructor_tensors(call)
        module = (
            COMPOSED[call.layer](call, self.nn)
            if is_composed
            else construct_module(target, call, tensors, self.nn)
        )
        layer = ModuleLayer(call, module, module)
        layer.train(call.training)
        layer.construct = partial(construct_anew, target, call, tensors, self.nn)
        layer.containers = self.nn if is_composed else None
        # The call may give only tensors that the constructor took, and not a complete state.
        other_names = call.state.keys() - tensors.keys()
        if call.state and (other_names or not module.state_dict().keys() - tensors.keys()):
            layer.load(call.state, call.layouts)
        layer.function = self.wrap(MethodModule(module, method) if method else module)
        return layer


class ModuleLayer(Transforms, ModuleMembers, Autocast):
    """A layer of a `ModuleBackend`.

    Args:
        module: the module, None for a function.
        function: the callable that computes: the function, or the possibly wrapped module.
    """

    def __init__(
        self, call: Call, module: torch.nn.Module | None, function: Callable[..., Any]
    ) -> None:
        self._call, self.module, self.function = call, module, function
        self._device = torch.device(call.device)
        self._dtype: torch.dtype = getattr(torch, call.dtype)
        # Imported here, because importing the backends must not import the strategies.
        from conformance.layers import CATALOGUE

        self._spec = CATALOGUE.get(call.layer)
        self._state_count = 0 if self._spec is None else self._spec.signature.bundles.state_count
        self.arguments = torch_arguments(call)

    def put(
        self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None
    ) -> torch.Tensor:
        """Copy a host array to a tensor on the call's device."""
        default_dtype = {"i": torch.int64, "b": torch.bool}.get(array.dtype.kind, self._dtype)
        target_dtype = getattr(torch, dtype) if dtype else default_dtype
        tensor = torch.tensor(array, dtype=target_dtype, device=self._device)
        if layout == "contiguous":
            return tensor
        with decline_missing_kernels():
            return apply_layout(tensor, array, layout)

    def aliases(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        """Whether two tensors share memory."""
        return share_memory(a, b)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Call without recording a gradient; recurrent layers take and return flat states."""
        with torch.no_grad():
            return self._forward(*inputs, **keywords)

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        with (
            decline_missing_kernels(),
            decline_newer_arguments(self.function, self._call),
        ):
            result = (
                self._call_in_regions(*inputs, **keywords)
                if self._regions
                else self._call_torch(*inputs, **keywords)
            )
        returns_list = self._spec is not None and self._spec.signature.bundles.returns_list
        # A named tuple is a tuple.
        return (
            tuple(result)
            if isinstance(result, (tuple, list) if returns_list else tuple)
            else result
        )

    def _call_torch(self, *inputs: Any, **keywords: Any) -> Any:
        if self.module is None:
            positional, by_name = self._arrange_inputs(inputs)
            arguments = (
                positional
                if self._spec is None
                else torch_composites.positional_arguments(self._spec, positional)
            )
            result = self.function(*arguments, **self.arguments, **by_name, **keywords)
            return (
                result
                if self._spec is None
                else torch_composites.read_outputs(self._spec, positional, result)
            )
        if not self._state_count:
            inputs, by_name = self._arrange_inputs(inputs)
            return self.function(*trim_trailing_none(inputs), **by_name, **keywords)
        if "lengths" in keywords and self._device.type == "meta":
            raise Unsupported("lengths on device 'meta'")
        batch_first = bool(self._call.arguments.get("batch_first", False))
        return torch_sequences.call_recurrent(
            self.function, self._state_count, batch_first, *inputs, **keywords
        )

    def _arrange_inputs(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Combine inputs that torch takes as one argument; split positional from keyword ones."""
        spec = self._spec
        if spec is None or not any(
            x.passing.by_name or x.passing.part_of or x.passing.on_host
            for x in spec.signature.inputs
        ):
            return inputs, {}
        pairs = torch_composites.combine_parts(spec, inputs)
        by_name = {x.name: None for x in spec.signature.inputs if x.passing.explicit_none}
        by_name |= {
            x.name: native for x, native in pairs if x.passing.by_name and native is not None
        }
        return tuple(native for x, native in pairs if not x.passing.by_name), by_name

    def get(self, native: Any) -> np.ndarray:
        """Copy a tensor to the host as float64, complex128, int64 or bool.

        Sparse gradients become dense.
        """
        if not isinstance(native, torch.Tensor):
            raise TypeError(f"expected a torch.Tensor, got {type(native).__name__}: {native!r:.80}")
        if native.is_meta:
            raise NotOffered("values on device 'meta'")
        tensor = native.detach().to("cpu")
        if tensor.layout == torch.sparse_coo:
            tensor = tensor.to_dense()
        if tensor.is_complex():
            wide = torch.complex128
        else:
            wide = torch.float64 if tensor.is_floating_point() else torch.int64
        if tensor.dtype == torch.bool:
            return np.array(tensor)
        # `force` also resolves lazy conjugates, negatives and zeros.
        array = tensor.to(wide).numpy(force=True)
        # A conversion of the dtype has copied the tensor already.
        return np.array(array) if tensor.dtype == wide else array

    def forward_grad(self, *inputs: Any, **keywords: Any) -> Any:
        """Call while gradients are recorded, and return the outputs."""
        with torch.enable_grad():
            leaves = self._make_leaves(inputs)
            arguments = self._clone_written(leaves)
            result = self._forward(*arguments, **keywords)
        for leaf, copy, x in zip(leaves, arguments, inputs, strict=True):
            if copy is not leaf:
                x.copy_(copy.detach())
        return result

    def _clone_written(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """Clone the leaves that an in-place call writes into, because torch refuses a leaf."""
        spec = self._spec
        if spec is None or not spec.traits.updates_state(self._call):
            return tuple(leaves)
        written_places = {
            k for k in spec.signature.input_indices("data") if spec.signature.inputs[k].updated
        }
        numbered = enumerate(leaves)
        return tuple(x.clone() if k in written_places and x is not None else x for k, x in numbered)

    def _make_leaves(
        self, inputs: Sequence[Any], wanted: Collection[str] | None = None
    ) -> tuple[Any, ...]:
        """Detach the inputs into leaves that record gradients; one object becomes one leaf.

        If names are wanted, only inputs with these names record gradients.
        """
        leaves: dict[int, Any] = {}
        for place, x in enumerate(inputs):
            if x is not None and id(x) not in leaves:
                specs = () if self._spec is None else self._spec.signature.inputs[place : place + 1]
                differentiable = all(input_spec.differentiable for input_spec in specs)
                differentiable = differentiable and (
                    wanted is None or any(input_spec.name in wanted for input_spec in specs)
                )
                requires_grad = differentiable and (x.is_floating_point() or x.is_complex())
                leaves[id(x)] = x.detach().requires_grad_(requires_grad)
        return tuple(None if x is None else leaves[id(x)] for x in inputs)

    def _with_module(self, module: torch.nn.Module) -> ModuleLayer:
        """A layer of the same call with another module."""
        method = class_and_method(self._call.layer)[1]
        layer = ModuleLayer(self._call, module, MethodModule(module, method) if method else module)
        layer.construct, layer.containers = self.construct, self.containers
        return layer

    def vjp(
        self, inputs: Sequence[Any], cotangents: Sequence[Any], **keywords: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of Σ⟨output, cotangent⟩ with respect to the inputs and the parameters."""
        return self._pull_back(None, inputs, cotangents, keywords)[1:]

    def value_and_vjp(
        self, inputs: Sequence[Any], cotangents: Sequence[Any], **keywords: Any
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The outputs of one call, and the gradients of that same call."""
        return self._pull_back(None, inputs, cotangents, keywords)

    def vjp_of(
        self,
        wanted: Collection[str],
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of the wanted inputs and parameters only; the others record no gradient."""
        parameters = {} if self.module is None else dict(self.module.named_parameters())
        frozen = [x for name, x in parameters.items() if name not in wanted and x.requires_grad]
        try:
            for x in frozen:
                x.requires_grad_(False)
            _, inputs, gradients = self._pull_back(wanted, inputs, cotangents, keywords)
        finally:
            for x in frozen:
                x.requires_grad_(True)
        return inputs, {name: x for name, x in gradients.items() if name in wanted}

    def accumulate(
        self,
        inputs: Sequence[Any],
        calls: Sequence[Sequence[Sequence[Any]]],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients that several backward passes add to `grad`, as `backward()` does.

        Args:
            calls: for each call the cotangents of its backward passes; all but the last of them
                keep the graph.
        """
        parameters = {} if self.module is None else dict(self.module.named_parameters())
        leaves = self._make_leaves(inputs)
        sources = recorded((*leaves, *parameters.values()))
        try:
            with torch.enable_grad(), decline_missing_kernels():
                for passes in calls:
                    result = self._forward(*self._clone_written(leaves), **keywords)
                    for count, cotangents in enumerate(passes, 1):
                        _add_gradients(result, cotangents, sources, keep=count < len(passes))
            gradients = {id(x): torch.zeros_like(x) if x.grad is None else x.grad for x in sources}
        finally:
            for x in sources:
                x.grad = None
        return (
            tuple(None if x is None else gradients.get(id(x)) for x in leaves),
            {name: gradients.get(id(x)) for name, x in parameters.items()},
        )

    def _pull_back(
        self,
        wanted: Collection[str] | None,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        keywords: Mapping[str, Any],
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        with torch.enable_grad():
            parameters = {} if self.module is None else dict(self.module.named_parameters())
            leaves = self._make_leaves(inputs, wanted)
            result = self._forward(*self._clone_written(leaves), **keywords)
            outputs = result if isinstance(result, tuple) else (result,)
            pairs = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if c is not None]
            sources = recorded((*leaves, *parameters.values()))
            with decline_missing_kernels():
                gradients = compute_gradients(
                    [(y, c) for y, c in pairs if y.requires_grad], sources
                )
        return (
            result,
            tuple(None if x is None else gradients.get(id(x)) for x in leaves),
            {name: gradients.get(id(x)) for name, x in parameters.items()},
        )

    def dtype(self, native: Any) -> str:
        """torch's name of the tensor's dtype."""
        return str(native.dtype).removeprefix("torch.")

    def shape(self, native: Any) -> tuple[int, ...]:
        """The tensor's shape, which even a device without values knows."""
        return tuple(native.shape)

    def device(self, native: Any) -> str:
        """torch's name of the tensor's device."""
        return str(native.device)

    def state(self) -> Mapping[str, torch.Tensor]:
        """The module's state_dict."""
        return {} if self.module is None else dict(self.module.state_dict())

    def load(
        self, state: Mapping[str, np.ndarray], layouts: Mapping[str, str] | None = None
    ) -> None:
        """Load arrays by state_dict name; torch raises an error for missing or unexpected names."""
        if self.module is None:
            raise TypeError(f"{self._call.layer} has no state")
        layouts = layouts or {}
        tensors = {k: self.put(v, layouts.get(k, "contiguous")) for k, v in state.items()}
        if not any(layout != "contiguous" for layout in layouts.values()):
            self.module.load_state_dict(tensors)
            return
        # Without `assign` torch copies the values into the module's tensors, in their own layout.
        self.module.load_state_dict(tensors, assign=True)
        loaded = self.module.state_dict()
        for name, tensor in tensors.items():
            if loaded[name].stride() != tensor.stride():
                raise Unsupported(f"{name}: layout={layouts.get(name)!r} is lost in loading")

    def train(self, mode: bool) -> None:
        """Set train or eval mode."""
        if self.module is not None:
            self.module.train(mode)

    def attributes(self) -> Mapping[str, Any]:
        """Attributes that a user can read: the class, the mode, and arguments of builtin types."""
        facts: dict[str, Any] = {}
        if self.module is not None:
            facts["class"] = type(self.module).__name__
            names = ("training", *self._readable_arguments())
            values = {name: getattr(self.module, name, None) for name in names}
            builtin_types = (bool, int, float, str, tuple)
            facts |= {
                name: value for name, value in values.items() if isinstance(value, builtin_types)
            }
        return facts

    def _readable_arguments(self) -> tuple[str, ...]:
        """Argument names of the layer, and of the eager layer that a lazy layer becomes."""
        from conformance.layers import CATALOGUE

        spec = self._spec
        if spec is None:
            return ()
        specs = (spec,) if spec.lazy is None else (spec, CATALOGUE[spec.lazy.eager])
        return tuple(
            argument.name for layer_spec in specs for argument in layer_spec.signature.arguments
        )

    def sync(self) -> None:
        """Block until the device has finished its work."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy on the device; benchmarks measure the memory bandwidth with it."""
        target.copy_(source)

    def stopwatch(self) -> Callable[[], float]:
        """Start the device's clock; the returned function stops it, waits, and returns seconds."""
        if self._device.type != "cuda":
            started = time.perf_counter()
            return lambda: time.perf_counter() - started
        with torch.cuda.device(self._device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()

        def stop() -> float:
            with torch.cuda.device(self._device):
                end.record()
            self.sync()
            return float(start.elapsed_time(end)) / 1000

        return stop


def _add_gradients(
    result: Any, cotangents: Sequence[Any], sources: Sequence[Any], *, keep: bool
) -> None:
    """Run one backward pass, which adds to `grad` of the sources.

    Args:
        keep: whether the graph is kept for another pass.
    """
    outputs = result if isinstance(result, tuple) else (result,)
    pairs = [
        (y, c)
        for y, c in zip(outputs, cotangents, strict=True)
        if c is not None and y.requires_grad
    ]
    if pairs and sources:
        used_outputs, used_cotangents = zip(*pairs, strict=True)
        torch.autograd.backward(
            used_outputs, used_cotangents, retain_graph=keep, inputs=list(sources)
        )
