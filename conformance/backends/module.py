"""`ModuleBackend`: namespaces of modules and functions that have torch's interface."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from conformance.backends import torch_composites, torch_sequences
from conformance.backends.torch_calls import (
    Method,
    as_torch_has_them,
    construct,
    constructor_tensors,
    missing_kernels_declined,
    newer_arguments_declined,
    trimmed,
)
from conformance.backends.torch_layouts import laid_out
from conformance.model.case import (
    STORED,
    Call,
    Numerics,
    Unsupported,
    class_and_method,
    is_function,
    looked_up,
)


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


STORES = tuple(STORED)
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
            The default is `STORES` for a base of `"torch"`.
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
        self.stored = STORES if base == "torch" and not stored else stored
        pin_precision()

    def inherits(self, layer: str) -> bool:
        """Whether a layer is torch's own object, called without any change."""
        if type(self) is not ModuleBackend:
            return False
        theirs = looked_up(layer, torch.nn, torch.nn.functional)
        return theirs is not None and looked_up(layer, self.nn, self.functional) is theirs

    def info(self) -> Mapping[str, str]:
        """Version, precision switches and GPUs of torch."""
        return info()

    def devices(self) -> Sequence[str]:
        """The CPU and every CUDA device that torch sees."""
        return devices()

    def numerics(self, dtype: str) -> Numerics:
        """Declare that bfloat16 flushes subnormal numbers, and what half precision stores.

        x86 CPUs multiply bfloat16 by VDPBF16PS or AMX, which read and write subnormal numbers as
        zero in every mode (Intel, *Architecture Instruction Set Extensions*). The second
        declaration is `stored` of the constructor.
        """
        half = dtype in ("bfloat16", "float16")
        return Numerics(flush_to_zero=dtype == "bfloat16", stored=self.stored if half else ())

    def wrap(self, module: torch.nn.Module) -> Any:
        """Return the module unchanged; override it to transform the module, e.g. by compiling."""
        return module

    def build(self, call: Call) -> ModuleLayer:
        """Build the module or find the function, then load the state and set the mode."""
        found = looked_up(call.layer, self.nn, self.functional)
        if found is None:
            raise Unsupported(f"layer {call.layer}")
        if is_function(call.layer):
            return ModuleLayer(call, None, found)
        method = class_and_method(call.layer)[1]
        tensors = constructor_tensors(call)
        module = construct(found, call, tensors, self.nn)
        layer = ModuleLayer(call, module, module)
        layer.train(call.training)
        # The call may give only tensors that the constructor took, and not a complete state.
        others = call.state.keys() - tensors.keys()
        if call.state and (others or not module.state_dict().keys() - tensors.keys()):
            layer.load(call.state, call.layouts)
        layer.function = self.wrap(Method(module, method) if method else module)
        return layer


class ModuleLayer:
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

        self._row = CATALOGUE.get(call.layer)
        self._states = 0 if self._row is None else self._row.signature.bundles.states
        self.arguments = as_torch_has_them(call)

    def put(
        self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None
    ) -> torch.Tensor:
        """Copy a host array to a tensor on the call's device."""
        named = {"i": torch.int64, "b": torch.bool}.get(array.dtype.kind, self._dtype)
        wanted = getattr(torch, dtype) if dtype else named
        tensor = torch.tensor(array, dtype=wanted, device=self._device)
        if layout == "contiguous":
            return tensor
        with missing_kernels_declined():
            return laid_out(tensor, array, layout)

    def aliases(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        """Whether two tensors share memory."""
        first, second = (x.untyped_storage().data_ptr() for x in (a, b))
        return first == second != 0

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Call without recording a gradient; recurrent layers take and return flat states."""
        with torch.no_grad():
            return self._forward(*inputs, **keywords)

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        with (
            missing_kernels_declined(),
            newer_arguments_declined(self.function, self._call),
        ):
            result = self._called(*inputs, **keywords)
        listed = self._row is not None and self._row.signature.bundles.lists
        # A named tuple is a tuple.
        return tuple(result) if isinstance(result, (tuple, list) if listed else tuple) else result

    def _called(self, *inputs: Any, **keywords: Any) -> Any:
        if self.module is None:
            placed, named = self._placed(inputs)
            given = placed if self._row is None else torch_composites.handed(self._row, placed)
            result = self.function(*given, **self.arguments, **named, **keywords)
            return result if self._row is None else torch_composites.read(self._row, placed, result)
        if not self._states:
            inputs, named = self._placed(inputs)
            return self.function(*trimmed(inputs), **named, **keywords)
        if "lengths" in keywords and self._device.type == "meta":
            raise Unsupported("lengths on device 'meta'")
        batch_first = bool(self._call.arguments.get("batch_first", False))
        return torch_sequences.call(self.function, self._states, batch_first, *inputs, **keywords)

    def _placed(self, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Combine inputs that torch takes as one argument; split positional from keyword ones."""
        row = self._row
        if row is None or not any(
            x.passed.by_name or x.passed.part_of or x.passed.on_host for x in row.signature.inputs
        ):
            return inputs, {}
        pairs = torch_composites.put_together(row, inputs)
        by_name = {x.name: None for x in row.signature.inputs if x.passed.said}
        by_name |= {
            x.name: native for x, native in pairs if x.passed.by_name and native is not None
        }
        return tuple(native for x, native in pairs if not x.passed.by_name), by_name

    def get(self, native: Any) -> np.ndarray:
        """Copy a tensor to the host as float64, complex128, int64 or bool.

        Sparse gradients become dense.
        """
        if not isinstance(native, torch.Tensor):
            raise TypeError(f"expected a torch.Tensor, got {type(native).__name__}: {native!r:.80}")
        if native.is_meta:
            raise Unsupported("values on device 'meta'")
        tensor = native.detach().to("cpu")
        if tensor.layout == torch.sparse_coo:
            tensor = tensor.to_dense()
        if tensor.is_complex():
            wide = torch.complex128
        else:
            wide = torch.float64 if tensor.is_floating_point() else torch.int64
        if tensor.dtype == torch.bool:
            return np.array(tensor)
        array = tensor.to(wide).resolve_conj().resolve_neg().numpy()
        # A conversion of the dtype has copied the tensor already.
        return np.array(array) if tensor.dtype == wide else array

    def forward_grad(self, *inputs: Any, **keywords: Any) -> Any:
        """Call while gradients are recorded, and return the outputs."""
        with torch.enable_grad():
            leaves = self._recording(inputs)
            given = self._writable(leaves)
            result = self._forward(*given, **keywords)
        for leaf, copy, x in zip(leaves, given, inputs, strict=True):
            if copy is not leaf:
                x.copy_(copy.detach())
        return result

    def _writable(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        """Clone the leaves that an in-place call writes into, because torch refuses a leaf."""
        row = self._row
        if row is None or not row.traits.updates(self._call):
            return tuple(leaves)
        written = {k for k in row.signature.places("data") if row.signature.inputs[k].updated}
        given = enumerate(leaves)
        return tuple(x.clone() if k in written and x is not None else x for k, x in given)

    def _recording(
        self, inputs: Sequence[Any], wanted: Collection[str] | None = None
    ) -> tuple[Any, ...]:
        """Detach the inputs into leaves that record gradients; one object becomes one leaf.

        If names are wanted, only inputs with these names record gradients.
        """
        found: dict[int, Any] = {}
        for place, x in enumerate(inputs):
            if x is not None and id(x) not in found:
                known = () if self._row is None else self._row.signature.inputs[place : place + 1]
                has = all(one.differentiable for one in known)
                has = has and (wanted is None or any(one.name in wanted for one in known))
                recorded = has and (x.is_floating_point() or x.is_complex())
                found[id(x)] = x.detach().requires_grad_(recorded)
        return tuple(None if x is None else found[id(x)] for x in inputs)

    def vjp(
        self, inputs: Sequence[Any], cotangents: Sequence[Any], **keywords: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of Σ⟨output, cotangent⟩ with respect to the inputs and the parameters."""
        return self._pulled(None, inputs, cotangents, keywords)[1:]

    def value_and_vjp(
        self, inputs: Sequence[Any], cotangents: Sequence[Any], **keywords: Any
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The outputs of one call, and the gradients of that same call."""
        return self._pulled(None, inputs, cotangents, keywords)

    def vjp_of(
        self,
        wanted: Collection[str],
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of the wanted inputs and parameters only; the others record no gradient."""
        named = {} if self.module is None else dict(self.module.named_parameters())
        spared = [x for name, x in named.items() if name not in wanted and x.requires_grad]
        try:
            for x in spared:
                x.requires_grad_(False)
            _, inputs, found = self._pulled(wanted, inputs, cotangents, keywords)
        finally:
            for x in spared:
                x.requires_grad_(True)
        return inputs, {name: x for name, x in found.items() if name in wanted}

    def _pulled(
        self,
        wanted: Collection[str] | None,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        keywords: Mapping[str, Any],
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        with torch.enable_grad():
            named = {} if self.module is None else dict(self.module.named_parameters())
            leaves = self._recording(inputs, wanted)
            result = self._forward(*self._writable(leaves), **keywords)
            outputs = result if isinstance(result, tuple) else (result,)
            kept = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if c is not None]
            asked = [x for x in (*leaves, *named.values()) if x is not None and x.requires_grad]
            with missing_kernels_declined():
                found = _gradients([(y, c) for y, c in kept if y.requires_grad], asked)
        return (
            result,
            tuple(None if x is None else found.get(id(x)) for x in leaves),
            {name: found.get(id(x)) for name, x in named.items()},
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
        kept = self.module.state_dict()
        for name, tensor in tensors.items():
            if kept[name].stride() != tensor.stride():
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
            names = ("training", *self._readable())
            read = {name: getattr(self.module, name, None) for name in names}
            plain = (bool, int, float, str, tuple)
            facts |= {name: value for name, value in read.items() if isinstance(value, plain)}
        return facts

    def _readable(self) -> tuple[str, ...]:
        """Argument names of the layer, and of the eager layer that a lazy layer becomes."""
        from conformance.layers import CATALOGUE

        row = self._row
        if row is None:
            return ()
        rows = (row,) if row.lazy is None else (row, CATALOGUE[row.lazy.eager])
        return tuple(argument.name for r in rows for argument in r.signature.arguments)

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


def _gradients(kept: Sequence[tuple[Any, Any]], wanted: Sequence[Any]) -> dict[int, Any]:
    if not kept:
        return {id(x): torch.zeros_like(x) for x in wanted}
    outputs, cotangents = zip(*kept, strict=True)
    found = torch.autograd.grad(
        outputs, list(wanted), cotangents, allow_unused=True, materialize_grads=True
    )
    return {id(x): gradient for x, gradient in zip(wanted, found, strict=True)}
