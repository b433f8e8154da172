"""Transforms of a torch layer: forward mode, gradients of gradients, and vmap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.func import functional_call, vjp, vmap

from conformance.backends.torch_module import require_builtin_device
from conformance.model.case import Call, Unsupported

_LIMITATION = re.compile(
    # Operators without such a formula, https://docs.pytorch.org/docs/stable/notes/autograd.html.
    r"Trying to use forward AD with \S+ that does not support it"
    r"|derivative for \S+ is not implemented"
    r"|does not support double backward"
    # https://docs.pytorch.org/docs/stable/func.ux_limitations.html
    r"|\.item\(\) on a Tensor"
    r"|inplace arithmetic\(self, \*extra_args\) is not possible"
    r"|Batching rule not implemented"
    r"|vmap: we do not yet support|We cannot support this"
    r"|please provide an explicit positive num_classes"
    r"|it must override the setup_context staticmethod|You must implement the jvp function"
    r"|don't support automatic differentiation"
    r"|data-dependent control flow"
    r"|dynamic shape"
    r"|Cannot access data pointer of Tensor|from the 'SparseCPU' backend"
)


@contextmanager
def decline_limitations() -> Iterator[None]:
    """Decline a call of which torch says that it has no such transform.

    `torch.func` cannot transform what reads values of a tensor or writes into a captured one.
    """
    try:
        yield
    except RuntimeError as error:  # NotImplementedError is one
        if not _LIMITATION.search(str(error)):
            raise
        raise Unsupported(str(error).splitlines()[0].split(". ")[0]) from error


def withdraw_transforms(layer: Transforms) -> None:
    """Let a layer offer no transforms."""
    for member in ("jvp", "double_vjp", "jvp_vjp", "vmap", "vmap_vjp"):
        setattr(layer, member, None)


class Transforms:
    """The members of a layer that transform its call; `ModuleLayer` is one."""

    module: torch.nn.Module | None
    _call: Call
    function: Callable[..., Any]

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        raise NotImplementedError

    def _make_leaves(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        raise NotImplementedError

    def _clone_written(self, leaves: Sequence[Any]) -> tuple[Any, ...]:
        raise NotImplementedError

    def jvp(
        self,
        inputs: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[Any, ...]:
        """Tangents of the outputs in forward mode; None for integers and absent outputs.

        One input at two places has one tangent.
        """
        require_builtin_device(self._call)
        with torch.no_grad(), dual_level(), decline_limitations():
            duals: dict[int, Any] = {}
            for x, tangent in zip(inputs, tangents, strict=True):
                if x is not None and id(x) not in duals:
                    copy = x.detach().clone()
                    duals[id(x)] = copy if tangent is None else _make_dual(copy, tangent)
            parameters = {
                name: _make_dual(x.detach(), parameter_tangents[name])
                for name, x in self._named_parameters().items()
                if name in parameter_tangents
            }
            with self._use_parameters(parameters):
                arguments = [None if x is None else duals[id(x)] for x in inputs]
                result = self._forward(*self._clone_written(arguments), **keywords)
            outputs = result if isinstance(result, tuple) else (result,)
            return tuple(map(_tangent, outputs))

    def double_vjp(
        self,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any], tuple[Any, ...]]:
        """Gradients of Σ⟨gradient, tangent⟩ by the inputs, the parameters and the cotangents."""
        require_builtin_device(self._call)
        with torch.enable_grad(), decline_limitations():
            parameters = self._named_parameters()
            leaves = self._make_leaves(inputs)
            result = self._forward(*self._clone_written(leaves), **keywords)
            outputs = result if isinstance(result, tuple) else (result,)
            seeds = [None if c is None else c.detach().requires_grad_() for c in cotangents]
            pairs = [
                (y, c)
                for y, c in zip(outputs, seeds, strict=True)
                if c is not None and y.requires_grad
            ]
            sources = recorded((*leaves, *parameters.values()))
            gradients = compute_gradients(pairs, sources, create_graph=True)
            directions = {
                id(x): tangent
                for x, tangent in (
                    *zip(leaves, tangents, strict=True),
                    *((x, parameter_tangents.get(name)) for name, x in parameters.items()),
                )
                if tangent is not None
            }
            products = [
                (gradients[id(x)], directions[id(x)])
                for x in sources
                if id(x) in directions and gradients[id(x)].requires_grad
            ]
            second = compute_gradients(products, [*sources, *recorded(seeds)])
        return (
            tuple(None if x is None else second.get(id(x)) for x in leaves),
            {name: second.get(id(x)) for name, x in parameters.items()},
            tuple(None if c is None else second.get(id(c)) for c in seeds),
        )

    def jvp_vjp(
        self,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        tangents: Sequence[Any],
        parameter_tangents: Mapping[str, Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Tangents of the gradients, in forward mode over a backward pass."""
        require_builtin_device(self._call)
        with torch.enable_grad(), dual_level(), decline_limitations():
            leaves = self._make_leaves(inputs)
            duals = {
                id(x): _make_dual(x, v)
                for x, v in zip(leaves, tangents, strict=True)
                if x is not None and v is not None
            }
            parameters = {
                name: _make_dual(x, parameter_tangents[name])
                for name, x in self._named_parameters().items()
                if name in parameter_tangents
            }
            arguments = [duals.get(id(x), x) for x in leaves]
            with self._use_parameters(parameters):
                result = self._forward(*self._clone_written(arguments), **keywords)
            outputs = result if isinstance(result, tuple) else (result,)
            pairs = [
                (y, c)
                for y, c in zip(outputs, cotangents, strict=True)
                if c is not None and y.requires_grad
            ]
            gradients = compute_gradients(pairs, [*duals.values(), *parameters.values()])
            by_operand = {key: _tangent(x) for key, x in gradients.items()}
        return (
            tuple(None if x is None else by_operand.get(id(x)) for x in arguments),
            {name: by_operand[id(x)] for name, x in parameters.items()},
        )

    def vmap(
        self,
        inputs: Sequence[Any],
        in_dims: Sequence[int | None],
        parameters: Mapping[str, Any],
        parameter_dims: Mapping[str, int],
        out_dim: int,
        **keywords: Any,
    ) -> tuple[Any, ...]:
        """The outputs of `torch.func.vmap` over some inputs and parameters.

        Args:
            in_dims: the batch axis of each input; None = it has none.
            parameters: those that have a batch axis, by name.
            parameter_dims: that axis.
            out_dim: the batch axis of each output.
        """
        axes = (list(in_dims), dict(parameter_dims))
        return self._map_calls(inputs, parameters, axes, out_dim, "error", keywords)

    def vmap_random(
        self, inputs: Sequence[Any], in_dims: Sequence[int | None], randomness: str, **keywords: Any
    ) -> tuple[Any, ...]:
        """The outputs of a batch of calls that draw random numbers; the batch axis comes first.

        Args:
            randomness: `"same"` for all calls, or `"different"`.
        """
        return self._map_calls(inputs, {}, (list(in_dims), {}), 0, randomness, keywords)

    def _map_calls(
        self,
        inputs: Sequence[Any],
        parameters: Mapping[str, Any],
        axes: tuple[Any, ...],
        out_dim: int,
        randomness: str,
        keywords: Mapping[str, Any],
    ) -> tuple[Any, ...]:
        require_builtin_device(self._call)
        is_present = list[bool]()

        def function(given: Sequence[Any], batched: Mapping[str, Any]) -> tuple[Any, ...]:
            with self._use_parameters(batched):
                result = self._forward(*given, **keywords)
            outputs = result if isinstance(result, tuple) else (result,)
            is_present[:] = [y is not None for y in outputs]
            return tuple(y for y in outputs if y is not None)

        mapped = vmap(function, axes, out_dim, randomness=randomness)
        with torch.no_grad(), decline_limitations():
            outputs = iter(mapped(list(inputs), dict(parameters)))
        return tuple(next(outputs) if present else None for present in is_present)

    def vmap_vjp(
        self,
        inputs: Sequence[Any],
        in_dims: Sequence[int | None],
        parameters: Mapping[str, Any],
        parameter_dims: Mapping[str, int],
        cotangents: Sequence[Any],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of each call of a batch, by `vmap` of `torch.func.vjp`.

        Args:
            in_dims, parameters, parameter_dims: as those of `vmap`.
            cotangents: the batch axis comes first, as in the result.
        """
        require_builtin_device(self._call)
        leaves = self._make_leaves(inputs)
        places = [k for k, x in enumerate(leaves) if x is not None and x.requires_grad]
        own = {name: x.detach() for name, x in self._named_parameters().items() if x.requires_grad}

        def gradients(
            given: Sequence[Any], batched: Mapping[str, Any], seeds: Sequence[Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            def outputs(leaves: Sequence[Any], parameters: Mapping[str, Any]) -> tuple[Any, ...]:
                arguments = list(given)
                for k, x in zip(places, leaves, strict=True):
                    arguments[k] = x
                with self._use_parameters(parameters):
                    result = self._forward(*arguments, **keywords)
                result = result if isinstance(result, tuple) else (result,)
                pairs = zip(result, cotangents, strict=True)
                return tuple(y for y, c in pairs if c is not None)

            pull_back = vjp(outputs, tuple(given[k] for k in places), {**own, **batched})[1]
            result: tuple[tuple[Any, ...], dict[str, Any]] = pull_back(tuple(seeds))
            return result

        given_cotangents = [c for c in cotangents if c is not None]
        axes = (list(in_dims), dict(parameter_dims), [0] * len(given_cotangents))
        with torch.enable_grad(), decline_limitations():
            by_place, by_name = vmap(gradients, axes)(
                [None if x is None else x.detach() for x in leaves],
                dict(parameters),
                given_cotangents,
            )
        at_places = dict(zip(places, by_place, strict=True))
        return tuple(at_places.get(k) for k in range(len(leaves))), by_name

    def _named_parameters(self) -> dict[str, Any]:
        return {} if self.module is None else dict(self.module.named_parameters())

    @contextmanager
    def _use_parameters(self, tensors: Mapping[str, Any]) -> Iterator[None]:
        """Compute with these tensors in place of the parameters of these names."""
        if not tensors:
            yield
            return
        original = self.function
        if not isinstance(original, torch.nn.Module):
            raise Unsupported("parameters of a function that is no module")
        names = {id(x): name for name, x in self._named_parameters().items()}
        replaced = {
            name: tensors[names[id(x)]]
            for name, x in original.named_parameters()
            if names.get(id(x)) in tensors
        }
        self.function = lambda *inputs, **keywords: functional_call(
            original, replaced, inputs, keywords
        )
        try:
            yield
        finally:
            self.function = original


def _make_dual(x: Any, tangent: Any) -> Any:
    return make_dual(x, tangent)  # type: ignore[no-untyped-call]


def _tangent(output: Any) -> Any:
    if output is None or not (output.is_floating_point() or output.is_complex()):
        return None
    tangent = unpack_dual(output).tangent  # type: ignore[no-untyped-call]
    return torch.zeros_like(output) if tangent is None else tangent.clone()


def recorded(tensors: Sequence[Any]) -> list[Any]:
    """The tensors that record gradients, each once."""
    return list({id(x): x for x in tensors if x is not None and x.requires_grad}.values())


def compute_gradients(
    pairs: Sequence[tuple[Any, Any]], sources: Sequence[Any], *, create_graph: bool = False
) -> dict[int, Any]:
    """The gradient of each source, by its id, for pairs of an output and its cotangent."""
    if not pairs or not sources:
        return {id(x): torch.zeros_like(x) for x in sources}
    outputs, cotangents = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(
        outputs,
        list(sources),
        cotangents,
        allow_unused=True,
        materialize_grads=True,
        create_graph=create_graph,
    )
    return {id(x): gradient for x, gradient in zip(sources, gradients, strict=True)}
