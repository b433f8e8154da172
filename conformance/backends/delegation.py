"""Which operators of torch do the work that a function under test should do itself.

A function may use torch to allocate memory, to look at tensors from another side and to copy them.
What sums, sorts, contracts or normalises is its own work. What else is its own work depends on the
operator that it replaces:

- an element-by-element operator: functions such as exp, and limits such as clamp;
- one that moves numbers: indexing, concatenation and padding.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FREE = _words(
    "clone copy _to_copy contiguous empty empty_like empty_strided empty_permuted new_empty "
    "new_empty_strided zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full "
    "scalar_tensor fill zero arange resize set detach alias lift_fresh lift_fresh_copy item "
    "_local_scalar_dense is_same_size is_nonzero equal size stride numel dim is_contiguous "
    "sym_size sym_stride sym_numel storage_offset record_stream is_pinned pin_memory result_type "
    "broadcast_tensors expand_copy view_copy _unsafe_view _reshape_copy _efficientzerotensor "
    "_has_compatible_shallow_copy_type set_data data _version retains_grad requires_grad "
    "set_source_Storage_storage_offset"
)
"""Operators that allocate, copy or describe, besides all views."""
PICKING = _words(
    "index _unsafe_index index_select gather take take_along_dim cat concat stack hstack "
    "vstack constant_pad_nd pad roll flip fliplr flipud repeat tile repeat_interleave scatter "
    "index_put _index_put_impl index_copy index_fill masked_select masked_fill masked_scatter "
    "where tril triu rot90 diag_embed pixel_shuffle pixel_unshuffle channel_shuffle nonzero "
    "embedding reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d "
    "replication_pad2d replication_pad3d upsample_nearest1d upsample_nearest2d "
    "upsample_nearest3d im2col max_unpool2d max_unpool3d"
)
"""Operators that choose or place numbers."""
ARITHMETIC = _words(
    "add sub mul div neg rsub abs sign sgn floor ceil round trunc frac fmod remainder reciprocal "
    "square true_divide floor_divide addcmul addcdiv lerp eq ne lt le gt ge isnan isinf isfinite "
    "isneginf isposinf logical_and logical_or logical_not logical_xor bitwise_and bitwise_or "
    "bitwise_not bitwise_xor bitwise_left_shift bitwise_right_shift __lshift__ __rshift__ __and__ "
    "__or__ __xor__ copysign signbit nan_to_num conj_physical _conj_physical positive"
)
"""Element-by-element operators that no layer consists of alone."""


LIBRARIES = (
    "mkl", "mkldnn", "mkldnn_prepacked", "onednn", "prepacked", "quantized", "sparse",
)  # fmt: skip
"""Namespaces by which torch calls libraries: their operators compute."""
TORCHS = ("aten", "prims", *LIBRARIES)
"""Namespaces of torch's operators; what runs within an operator of another one is looked at."""
SUMMING = _words("index_put _index_put_impl scatter")
"""Operators that place numbers, and sum them where `accumulate` or `reduce` says so."""
STORED_FORMS = ("Sparse", "SparseCsr", "Quantized", "NestedTensor")
"""Tensors that are stored otherwise have kernels of their own, under keys that begin so."""
_ANY_DEVICE = "CompositeExplicitAutograd"
SUMS = ".accumulate"
"""How the reported name of such a call ends."""
_FAMILIES = (
    (
        "mm addmm bmm baddbmm addbmm matmul linear mv addmv dot vdot inner outer einsum tensordot "
        "chain_matmul bilinear _trilinear kron"
    ),
    "softmax _softmax log_softmax _log_softmax logsumexp",
    (
        "convolution _convolution convolution_overrideable mkldnn_convolution conv1d conv2d conv3d "
        "conv_transpose1d conv_transpose2d conv_transpose3d slow_conv3d thnn_conv2d "
        "_slow_conv2d_forward _conv_depthwise2d conv_depthwise3d"
    ),
    (
        "layer_norm native_layer_norm group_norm native_group_norm batch_norm native_batch_norm "
        "_native_batch_norm_legit instance_norm rms_norm _fused_rms_norm var_mean var std std_mean"
    ),
    "sum mean nansum nanmean cumsum",
    (
        "max amax aminmax max_pool1d max_pool2d max_pool3d max_pool2d_with_indices "
        "max_pool3d_with_indices"
    ),
    (
        "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
        "adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d"
    ),
)
FAMILY = {name: members.split()[0] for members in _FAMILIES for name in members.split()}
"""Operator → the first of those that do the same work in another form."""


EVERY_KIND = frozenset(("picks", "arithmetic", "elementwise", "computes", "foreign"))


def base_name(name: str) -> str:
    """An operator's name without namespace, overload and mark of writing: `"add"`."""
    base = name.partition("::")[2].partition(".")[0] or name
    return base if base.startswith("__") else base.rstrip("_")


def kind_of(overload: Any) -> str:
    """The kind of an operator: `free`, `picks`, `arithmetic`, `elementwise` or `computes`.

    One that is not torch's own is `foreign`: what runs within it has a kind.
    """
    name = base_name(overload._schema.name)
    if overload.namespace not in TORCHS:
        return "foreign"
    if overload.namespace in LIBRARIES:
        return "computes"
    if name in FREE or overload.is_view:
        return "free"
    if name in SUMMING and "reduce" in overload._overloadname:
        return "computes"
    if name in PICKING:
        return "picks"
    if name in ARITHMETIC:
        return "arithmetic"
    return "elementwise" if torch.Tag.pointwise in overload.tags else "computes"


def kind_of_call(overload: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> str:
    """The kind of a call: an operator that places numbers may sum them."""
    if base_name(overload._schema.name) in SUMMING and overload.namespace in TORCHS:
        names = [x.name for x in overload._schema.arguments]
        arguments = {**dict(zip(names, args, strict=False)), **keywords}
        if arguments.get("accumulate"):
            return "computes"
    return kind_of(overload)


def kinds_of_own_work(overload: Any) -> frozenset[str]:
    """The kinds of operators that do the work of the given operator."""
    own = {"picks": ("picks",), "arithmetic": ("arithmetic", "elementwise"), "foreign": ()}
    kind = kind_of(overload)
    return frozenset(("computes", *own.get(kind, (kind,))))


def find_delegated(needed: Collection[str], ran: Collection[str]) -> tuple[str, ...]:
    """The operators to which an implementation leaves the work of a module.

    It does so if they cover everything that the module's own operators do. What a module of one
    operator does, any operator that computes may do in parts. Those of a larger module are compared
    by what they do: a product, a softmax. An operator that is not torch's own does the work of the
    module only if the module calls it, too.

    Args:
        needed, ran: names of the operators that the module and the implementation call.
    """
    # The implementation's process reports names, which may be anything.
    ran = [name for name in ran if _overload(name) is not None]
    own = [name for name in needed if _kind_of_name(name) in ("computes", "foreign")]
    kinds = ("computes",) if own else ("computes", "elementwise")
    own = own or [name for name in needed if _kind_of_name(name) in kinds]
    foreign = [name for name in own if _kind_of_name(name) == "foreign"]
    working = [name for name in ran if _kind_of_name(name) in kinds or name in foreign]
    is_covered = bool(own) and all(
        any(len(own) == 1 or _family(x) == _family(name) for x in working) for name in own
    )
    return tuple(working) if is_covered else ()


def _kind_of_name(name: str) -> str:
    return "computes" if name.endswith(SUMS) else kind_of(_overload(name))


def _family(name: str) -> str:
    return FAMILY.get(base_name(name), base_name(name))


def _overload(name: str) -> Any:
    """The first overload of an operator; None if torch has no such operator."""
    space, _, rest = name.partition("::")
    packet = getattr(getattr(torch.ops, space, None), rest.partition(".")[0], None)
    if not isinstance(packet, torch._ops.OpOverloadPacket):
        return None
    return getattr(packet, packet.overloads()[0])  # type: ignore[no-untyped-call]


def call_logged(function: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Any, tuple[str, ...]]:
    """What a call returns, and the names of the operators that it runs."""
    names: dict[str, None] = {}
    with _Log(lambda overload, kind: names.setdefault(overload._schema.name)), torch.no_grad():
        result = function(*inputs)
    return result, tuple(names)


class _Log(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes each operator of its thread.

    Attributes:
        is_inside: an operator of torch runs, and with it those that it is made of. What a tensor
            of another class, or an operator of another namespace, runs is looked at by itself.
    """

    def __init__(self, note: Callable[[Any, str], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._note, self.is_inside = note, False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Note an operator with the kind of the call, and run it."""
        keywords = kwargs or {}
        self._note(func, kind_of_call(func, args, keywords))
        outer, self.is_inside = self.is_inside, func.namespace in TORCHS and not types
        try:
            return func(*args, **keywords)
        finally:
            self.is_inside = outer

    def is_running_kernel(self) -> bool:
        """Whether torch itself, within an operator that is noted, runs the current kernel.

        A finalizer may run within an operator, too, when that frees memory; its calls are noted.
        """
        frame = sys._getframe(1) if self.is_inside else None
        while frame is not None and frame.f_code is not _NOTE_CODE:
            if not frame.f_code.co_filename.startswith((_TORCH_FOLDER, __file__)):
                return False
            frame = frame.f_back
        return frame is not None


_NOTE_CODE = _Log.__torch_dispatch__.__code__
_TORCH_FOLDER = os.path.dirname(torch.__file__) + os.sep


def _remove_hooks() -> None:
    """Remove profilers, tracers and monitoring callbacks that a function has installed."""
    sys.setprofile(None)
    sys.settrace(None)
    monitoring: Any = getattr(sys, "monitoring", None)  # since Python 3.12
    for tool in range(6) if monitoring else ():
        if monitoring.get_tool(tool) is not None:
            monitoring.set_events(tool, monitoring.events.NO_EVENTS)


@dataclass(frozen=True)
class _Running:
    """A function that runs on a thread: the kinds that are its own work, and the log of it."""

    own_work: frozenset[str]
    log: _Log


class OperatorWatch:
    """Reports the operators of torch that do a function's own work while it runs.

    A mode of torch's dispatcher sees the thread that runs the function. Kernels put in place of
    torch's own, which report and call them, see all other threads.

    Args:
        report: called with the name of each such operator.
        allowed: names of operators that may be called.
    """

    def __init__(self, report: Callable[[str], None], allowed: Sequence[str] = ()) -> None:
        self._report = report
        self._allowed = frozenset(map(base_name, allowed))
        self._running: dict[int, _Running] = {}
        self._libraries: list[Any] = []

    @contextmanager
    def while_running(self, overload: Any) -> Iterator[None]:
        """Watch a `with` block in which a function runs in place of an operator."""
        with self._watching(kinds_of_own_work(overload)):
            yield

    @contextmanager
    def note_all(self) -> Iterator[None]:
        """Report every operator that runs in a `with` block, on this thread or another."""
        with self._watching(EVERY_KIND):
            yield

    @contextmanager
    def _watching(self, own_work: frozenset[str]) -> Iterator[None]:
        thread = threading.get_ident()
        outer = self._running.get(thread)
        log = _Log(lambda called, kind: self._note(called, kind, own_work))
        self._running[thread] = _Running(own_work, log)
        try:
            with log:
                try:
                    yield
                finally:
                    _remove_hooks()
        finally:
            if outer is None:
                del self._running[thread]
            else:
                self._running[thread] = outer

    def note_original(self, name: str) -> None:
        """Report that a function called the operator that it replaces."""
        if base_name(name) not in self._allowed:
            self._report(name)

    def _note(self, overload: Any, kind: str, own_work: frozenset[str]) -> None:
        name = overload._schema.name
        if base_name(name) not in self._allowed and kind in own_work:
            is_sum = kind == "computes" and base_name(name) in SUMMING
            self._report(f"{name}{SUMS}" if is_sum else name)

    def watch_threads(self, key: str) -> None:
        """Watch the operators that work, on every thread.

        Args:
            key: dispatch key of the device.
        """
        for form in ("", *STORED_FORMS):
            dispatch_key = getattr(torch._C.DispatchKey, f"{form}{key}", None)
            if dispatch_key is not None and hasattr(torch.library, "get_kernel"):
                self._replace_kernels(f"{form}{key}", torch._C.DispatchKeySet(dispatch_key))

    def _replace_kernels(self, key: str, keys: Any) -> None:
        library_class: Any = torch.library.Library
        libraries = {space: library_class(space, "IMPL") for space in ("aten", *LIBRARIES)}
        has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
        for overload in _watched_operators():
            name = overload._name
            # Operators of TorchScript have no kernels, and some kernels cannot be replaced.
            with suppress(RuntimeError, ValueError):
                # Some that compute have one kernel for all devices.
                computes = kind_of(overload) == "computes"
                if has_kernel(name, key) or (computes and has_kernel(name, _ANY_DEVICE)):
                    original = torch.library.get_kernel(name, key)
                    run = self._reporting(overload, original, keys)
                    libraries[overload.namespace].impl(overload, run, key)
        self._libraries += libraries.values()

    def _reporting(self, overload: Any, original: Any, keys: Any) -> Callable[..., Any]:
        """A kernel that reports calls which no log sees, and calls torch's own."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            self._note_unlogged(overload)
            return original.call_boxed(keys, *arguments, **keywords)

        return run

    def _note_unlogged(self, overload: Any) -> None:
        """Report an operator that no log sees: on another thread, or with torch's modes off."""
        own = self._running.get(threading.get_ident())
        if own is not None:
            if not own.log.is_running_kernel():
                self._note(overload, kind_of(overload), own.own_work)
            return
        for running in list(self._running.values()):
            self._note(overload, kind_of(overload), running.own_work)


def _watched_operators() -> Iterator[Any]:
    """The operators that work; those that draw numbers are left out."""
    for schema in torch._C._jit_get_all_schemas():
        space, _, base = schema.name.partition("::")
        is_random = any("Generator" in str(x.type) for x in schema.arguments)
        if is_random or space not in ("aten", *LIBRARIES):
            continue
        packet = getattr(getattr(torch.ops, space), base, None)
        overload = getattr(packet, schema.overload_name or "default", None)
        if overload is not None and kind_of(overload) in ("elementwise", "computes"):
            yield overload
