"""Bounds of modules and functions that are made of several layers and operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so
from torch import nn

from conformance import assert_conforms, bounds
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.networks.bounds import NetworkBounds, trace_bounds
from conformance.networks.evaluation import evaluate_trace, pull_cotangents
from conformance.networks.intermediates import run_modules
from conformance.networks.recording import record
from conformance.oracles.operators.table import MOVEMENTS, OPERATORS, TRIANGLES

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def _numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.manual_seed(seed + 7 * len(shape)))


# --- each operator against torch in float64, and its pull-back against autograd ---

X, Y, Z = _numbers(3, 4), _numbers(3, 4, seed=1), _numbers(4, 5, seed=2)
B, C = _numbers(2, 3, 4), _numbers(2, 4, 2, seed=3)
CALLS: dict[str, Callable[..., Any]] = {
    "add": lambda: torch.add(X, Y, alpha=2) + X[0] + 1.5,
    "sub": lambda: torch.sub(X, Y, alpha=0.5) - Y - 2,
    "rsub": lambda: 1.5 - X,
    "mul": lambda: X * Y * 3,
    "div": lambda: X / (Y.abs() + 1) / 3,
    "rdiv": lambda: 2 / (X.abs() + 1),
    "pow": lambda: X**2 + X**3 + X.abs() ** 0.5,
    "neg": lambda: -X,
    "abs": lambda: X.abs(),
    "square": lambda: torch.square(X),
    "sqrt": lambda: X.abs().sqrt(),
    "rsqrt": lambda: X.abs().rsqrt(),
    "reciprocal": lambda: torch.reciprocal(X),
    "exp": lambda: X.exp(),
    "expm1": lambda: torch.expm1(X),
    "log": lambda: X.abs().log(),
    "log1p": lambda: torch.log1p(X.abs()),
    "erf": lambda: torch.erf(X),
    "sigmoid": lambda: torch.sigmoid(X),
    "tanh": lambda: X.tanh(),
    "relu": lambda: torch.relu(X),
    "clamp": lambda: X.clamp(-0.5, 0.5) + torch.clamp(X, min=0.1),
    "clamp_min": lambda: X.clamp_min(0.2),
    "clamp_max": lambda: X.clamp_max(0.2),
    "maximum": lambda: torch.maximum(X, Y),
    "minimum": lambda: torch.minimum(X, Y),
    "sum": lambda: X.sum(0, keepdim=True) + X.sum(),
    "mean": lambda: X.mean((0, 1)) + X.mean(1),
    "var": lambda: X.var(1) + X.var(0, unbiased=False).sum(),
    "std": lambda: X.std(1, correction=0),
    "norm": lambda: X.norm(dim=1) + torch.norm(X, p=1, dim=1),
    "vector_norm": lambda: torch.linalg.vector_norm(X, dim=1),
    "amax": lambda: X.amax(1),
    "amin": lambda: X.amin(0),
    "max": lambda: X.max(1)[0] + torch.max(X) + torch.max(X, Y).sum(),
    "min": lambda: X.min(1).values + X.min() + torch.min(X, Y).sum(),
    "softmax": lambda: torch.softmax(X, 1),
    "log_softmax": lambda: torch.log_softmax(X, 0),
    "logsumexp": lambda: torch.logsumexp(X, 1, keepdim=True),
    "cumsum": lambda: X.cumsum(1),
    "cumprod": lambda: X.cumprod(1) + torch.cumprod(X, dim=0),
    "prod": lambda: X.prod() + X.prod(1) * torch.prod(X, 0, keepdim=True)[0, 0],
    "matmul": lambda: X @ Z + torch.matmul(X, Z[:, 0]).unsqueeze(1) + torch.matmul(X[0], Z),
    "mm": lambda: torch.mm(X, Z),
    "bmm": lambda: torch.bmm(B, C),
    "mv": lambda: torch.mv(X, Z[:, 0]),
    "dot": lambda: torch.dot(X[0], Y[0]),
    "einsum": lambda: (
        torch.einsum("bij,bjk->bki", B, C)
        + torch.einsum("bij,bjk,bi->ki", [B, C, B[:, :, 0]])
        + torch.einsum("ij->j", X)[0]
    ),
    "addmm": lambda: torch.addmm(Z[:3], X, Z, beta=0.5, alpha=2),
    "baddbmm": lambda: torch.baddbmm(B[:, :, :2], B, C),
    "where": lambda: torch.where(X > 0, Y, 0.25 * X),
    "masked_fill": lambda: X.masked_fill(X > 0, 2.0),
}
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    CALLS[_name] = lambda name=_name: X.masked_fill(getattr(torch, name)(X, Y), 0.5)
for _name in ("argmax", "argmin"):
    CALLS[_name] = lambda name=_name: X.gather(1, getattr(torch, name)(X, 1, keepdim=True))
MOVES: dict[str, Callable[..., Any]] = {
    "views": lambda: B.reshape(2, 12).view(4, 6).T.flatten().unsqueeze(0).squeeze(),
    "axes": lambda: B.permute(2, 0, 1).transpose(0, 1).movedim(0, 2).mT.contiguous(),
    "copies": lambda: X.expand(2, 3, 4).repeat(1, 2, 1).roll(1, -1).flip(0).clone(),
    "parts": lambda: torch.cat([B.chunk(2, 2)[1], B.split(2, -1)[0], B[..., 1::2]], -1),
    "stacks": lambda: torch.stack([X, Y], 1).unbind(1)[0].narrow(0, 1, 2),
    "rows": lambda: X.index_select(0, torch.tensor([2, 0, 2])),
    "windows": lambda: X.unfold(1, 2, 1).unfold(0, 2, 1).reshape(6, 4),
    "copied": lambda: torch.zeros_like(X).copy_(Y) + X,
    "flags": lambda: X.masked_fill(~torch.ones(3, 4, dtype=torch.bool).tril(), 0.5),
    "triangles": lambda: torch.tril(X, -1) + torch.triu(Y),
}


def _differentiate(call: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """The result of a call in float64, and the gradients of its sum of squares."""
    originals = [X, Y, Z, B, C]
    leaves = [x.double().requires_grad_() for x in originals]
    names = ("X", "Y", "Z", "B", "C")
    scope = call.__globals__
    scope.update(zip(names, leaves, strict=True))
    try:
        result = call()
    finally:
        scope.update(zip(names, originals, strict=True))
    gradients = torch.autograd.grad(result.square().sum(), leaves, allow_unused=True)
    return result.detach(), [None if g is None else g.numpy() for g in gradients]


@pytest.mark.parametrize("name", [*CALLS, *MOVES])
def test_an_operator_gives_torchs_value_and_gradient(name: str) -> None:
    call = {**CALLS, **MOVES}[name]
    wanted, wanted_gradients = _differentiate(call)
    trace = record(call, (), {}, None)
    network = NetworkBounds(trace)
    assert not network.uncertified
    np.testing.assert_allclose(network.value.numpy(), wanted.numpy(), rtol=1e-13, atol=1e-13)
    evaluation = evaluate_trace(trace, Precision.of, by_sources=True)
    seeds = {trace.outputs[0]: 2 * network.value.numpy()}
    cotangents = pull_cotangents(evaluation, seeds).total
    sources = {k: x for k, x in trace.sources.items() if k in cotangents}
    for original, gradient in zip([X, Y, Z, B, C], wanted_gradients, strict=True):
        if gradient is not None:
            index = next(
                k for k, x in sources.items() if np.array_equal(x, original.double().numpy())
            )
            np.testing.assert_allclose(cotangents[index], gradient, rtol=1e-11, atol=1e-11)


def test_every_operator_is_tested() -> None:
    assert set(CALLS) == set(OPERATORS)
    assert MOVEMENTS.isdisjoint(OPERATORS)
    assert TRIANGLES.isdisjoint(MOVEMENTS)


# --- networks that are right ---


class Attention(nn.Module):
    """A block of self-attention, written out by primitive operators."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm, self.heads = nn.LayerNorm(width), heads
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Any) -> Any:
        """Return x plus a scaled attention of its norm."""
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.project(self.norm(x)).chunk(3, -1)
        )
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(width // self.heads)
        mask = torch.tril(torch.ones(length, length)).bool()
        weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), -1)
        mixed = (weights @ v).transpose(1, 2).contiguous().view(batch, length, width)
        return x + self.scale * self.out(mixed)


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(36, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 5),
        nn.Softmax(-1),
    ).eval()  # fmt: skip


def _deep() -> nn.Module:
    layers = [m for _ in range(4) for m in (nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU())]
    return nn.Sequential(*layers)


NETWORKS = {
    "convolutional": (_convolutional, (2, 2, 6, 6)),
    "deep": (_deep, (3, 16)),
    "attention": (Attention, (2, 5, 16)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_torch_is_within_the_bounds_of_a_network(name: str, dtype: Any) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(3)
    network, x = make().to(dtype), _numbers(*shape).to(dtype)
    want = trace_bounds(network, (x,), {}, None)
    assert not want.uncertified
    with torch.no_grad():
        got = network(x)
    margin = want.examine(got)
    assert 0 < margin.ratio <= 1
    assert margin.suspicion <= 1
    assert margin.probes > 16
    assert not want.find_fault(got)
    assert want.margin(got) == margin.ratio


def test_bounds_go_into_a_stack_of_layers() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    network, x = nn.Sequential(nn.TransformerEncoder(layer, 4)).eval(), _numbers(2, 3, 8)
    want = bounds(network, x)
    with torch.no_grad():
        assert 0 < want.margin(network(x)) <= 1
    assert want.bound_at((0, 0, 0)) < 1e-3  # of the stack as one layer: infinite
    module: nn.Module = network[0].layers[2].linear1
    with torch.no_grad():
        module.weight[0, 0] += 1e-3
        assert want.margin(network(x)) > 1
    assert want.find_first_fault(run_modules(network, [x])).startswith("0.layers.2.linear1: ")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_kink_within_a_result_s_bound_is_no_false_alarm(dtype: Any) -> None:
    # Of the 2,048 sums before the ReLU, several differ from 0 by less than their bound.
    for seed in range(10):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(32, 64), nn.ReLU()).to(dtype)
        x = torch.randn(32, 32).to(dtype)
        with torch.no_grad():
            assert not trace_bounds(network, (x,), {}, None).find_fault(network(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_value_may_be_stored_for_one_user_and_not_for_another(dtype: Any) -> None:
    weight, x = _numbers(8, 16).to(dtype), _numbers(4, 16, seed=2).to(dtype)

    def network(x: Any) -> Any:
        scores = F.linear(x, weight)
        return scores - scores.amax(-1, keepdim=True)

    wide = x.float() @ weight.float().T  # a fused kernel, which stores the maximum only
    got = (wide - wide.amax(-1, keepdim=True).to(dtype).float()).to(dtype)
    assert (got.amax(-1) != 0).any()
    want = trace_bounds(network, (x,), {}, None)
    assert not want.find_fault(got)
    assert want.margin(got + 0.25) > 1


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_an_answer_without_finite_numbers_is_wrong(number: float) -> None:
    network, x = Attention(), _numbers(2, 5, 16)
    want = trace_bounds(network, (x,), {}, None)
    got = torch.full_like(x, number)
    assert want.margin(got) == math.inf
    assert "got    nan" in want.find_fault(got) or "got    inf" in want.find_fault(got)
    got = network(x).detach()
    got[0, 0, :2] = number
    assert want.margin(got) == math.inf


def test_infinite_numbers_that_are_right_are_right() -> None:
    x = torch.tensor([0.0, 1.0, 2.0])
    want = trace_bounds(lambda x: torch.cat([torch.log(x), x * 0.1]), (x,), {}, None)
    right = torch.cat([torch.log(x), x * 0.1])
    assert not want.find_fault(right)
    assert want.margin(torch.where(right.isinf(), -3e38, right)) == math.inf
    assert want.margin(right + 1e-5) > 1


def test_operators_and_containers_of_torch_are_networks() -> None:
    x = _numbers(3, 4)
    assert_conforms(torch.matmul(x, x.T), torch.matmul, x, x.T)
    container = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    assert_conforms(container(x).detach(), container, x)


@pytest.mark.parametrize("wrap", [torch.jit.script, lambda network: network, torch.compile])
def test_what_runs_below_python_is_recorded(wrap: Any) -> None:
    class Inner(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x) * 0.3 + x

    x = _numbers(3, 4)
    want = bounds(wrap(Inner()), x)
    assert not want.uncertified
    assert max(want.bound_at((i, k)) for i in range(3) for k in range(4)) > 0
    assert want.margin(torch.relu(x) * 0.3 + x) <= 1
    want = bounds(torch.jit.trace(lambda x: torch.sin(x) + 1, x), x)
    assert any("sin" in text for text in want.uncertified)
    with pytest.raises(TypeError, match=r"vmap|operand"):
        bounds(lambda x: torch.vmap(lambda row: row * 2)(x), x)


def test_assert_conforms_takes_any_module() -> None:
    network, x = Attention(), _numbers(2, 5, 16)
    assert isinstance(bounds(network, x), NetworkBounds)
    got = network(x).detach()
    assert_conforms(got, network, x)
    got[1, 2, 3] += 1e-4
    with pytest.raises(AssertionError, match=r"output 0\[1, 2, 3\]"):
        assert_conforms(got, network, x)
    with pytest.raises(AssertionError, match="shape"):
        assert_conforms(got[:1], network, x)
    with pytest.raises(AssertionError, match="dtype"):
        assert_conforms(got.double(), network, x)
    with pytest.raises(AssertionError, match="2 outputs"):
        assert_conforms((got, got), network, x)


def test_correct_orders_of_evaluation_are_no_false_alarms() -> None:
    # Sums in any order, with each term rounded at random: 0 of these may be wrong.
    weight, x = _numbers(8, 32), _numbers(4, 32, seed=5)

    def network(x: Any) -> Any:
        return torch.sigmoid(F.layer_norm(F.linear(x, weight), (8,)) * 2).sum(1)

    want = trace_bounds(network, (x,), {}, None)
    for seed in range(50):
        order = torch.randperm(32, generator=torch.manual_seed(seed))
        y = torch.zeros(4, 8)
        for k in order:
            y = y + x[:, k : k + 1] * weight[:, k]
        columns = torch.randperm(8, generator=torch.manual_seed(seed))
        z = torch.sigmoid(F.layer_norm(y, (8,)) * 2)[:, columns].sum(1)
        assert want.margin(z) <= 1


# --- what is not certified ---


def _write_to_a_view(x: Any) -> Any:
    y = x * 2
    y.view(-1).add_(1)
    return y


def _write_an_element(x: Any) -> Any:
    y = x * 2
    y[0] = 0
    return y


NOT_CERTIFIED = {
    "no oracle knows the operator 'sin'": lambda x: torch.sin(x) + x,
    "the program reads it": lambda x: x * 2 if x.sum() > 0 else x,
    "shared memory": _write_to_a_view,
    "shared memory ": _write_an_element,
    "it draws numbers": lambda x: F.dropout(x, training=True),
    "randn_like: it draws numbers": lambda x: x + torch.randn_like(x),
    "randn: it draws numbers": lambda x: x + torch.randn(4),
    "its memory has not been written": lambda x: x + torch.empty(4),
    "randperm: it draws numbers": lambda x: x[:, torch.randperm(4)],
    "bernoulli: it draws numbers": lambda x: x * torch.bernoulli(torch.ones(4) / 2),
    "mixes": lambda x: x + x.double(),
    "changes the dtype": lambda x: torch.zeros_like(x).copy_(x.double() / 3),
    "returns no tensor": lambda x: None,
    "complex numbers": lambda x: torch.complex(x, x).abs(),
    "depends on roundings": lambda x: (x * 0.1 - x / 10).argmax(-1) * x.sum(-1),
    "its bound is infinite": lambda x: F.layer_norm(x * 2e38, (4,)) + x,
}


@pytest.mark.parametrize("reason", NOT_CERTIFIED)
def test_what_is_not_certified_is_named_with_its_line(reason: str) -> None:
    function, x = NOT_CERTIFIED[reason], _numbers(3, 4)
    want = trace_bounds(function, (x,), {}, None)
    place = "" if "no tensor" in reason else "test_networks.py:"
    assert any(reason.strip() in text and place in text for text in want.uncertified)
    with pytest.raises(AssertionError, match="not certified"):
        assert_conforms(function(x), function, x)


def test_operands_that_cannot_be_read_and_outputs_of_another_name_are_errors() -> None:
    x = _numbers(3, 4)
    with pytest.raises(TypeError, match="meta"):
        bounds(lambda x: x * 2, x.to("meta"))

    def named(x: Any) -> Any:
        return {"a": x * 2, "b": x * 3}

    assert_conforms({"b": x * 3, "a": x * 2}, named, x)
    with pytest.raises(AssertionError, match=r"outputs \['a', 'c'\], wanted \['a', 'b'\]"):
        assert_conforms({"a": x * 2, "c": x * 3}, named, x)


def test_arrays_of_numpy_are_operands_of_a_network() -> None:
    x = _numbers(3, 4)
    assert_conforms((x * 2).numpy(), lambda a: a * 2, x.numpy())
    assert bounds(lambda a: a * 2, x.numpy()).margin(x.numpy() * 2.1) > 1


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_nan_and_infinity_must_arrive(number: float) -> None:
    network, x = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), _numbers(3, 4)
    x[1, 1] = number
    got = network(x).detach()
    assert_conforms(got, network, x)
    with pytest.raises(AssertionError, match="wanted nan"):
        assert_conforms(torch.nan_to_num(got), network, x)


def test_a_recorded_call_leaves_no_traces() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Any) -> Any:
            return self.norm(F.dropout(x.add_(1.0)))

    network, x = Counting(), _numbers(3, 4)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    before, generator = x.clone(), torch.random.get_rng_state()
    trace_bounds(network, (x,), {}, None)
    trace_bounds(network.forward, (x,), {}, None)
    assert torch.equal(x, before)
    assert torch.equal(torch.random.get_rng_state(), generator)
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_an_integer_with_more_digits_than_a_float_is_rounded() -> None:
    x = torch.tensor([2**24 + 1, 3])
    want = trace_bounds(lambda x: x.float() + 0.0, (x,), {}, None)
    assert want.value.tolist() == [2.0**24, 3.0]
    assert not want.find_fault(x.float() + 0.0)
    assert want.find_fault(x.float() + torch.tensor([2.0, 0.0]))


def test_a_problem_on_which_no_output_depends_does_no_harm() -> None:
    def network(x: Any) -> Any:
        torch.sin(x)
        return x * 2

    x = _numbers(3)
    assert_conforms(x * 2, network, x)


def test_a_list_that_grows_after_a_call_does_no_harm() -> None:
    def dense(x: Any) -> Any:
        parts = [x]
        for _ in range(3):
            parts.append(torch.relu(torch.cat(parts, 1)[:, :4] * 0.5))
        return torch.cat(parts, 1)

    x = _numbers(2, 4)
    assert_conforms(dense(x), dense, x)


def test_exact_networks_must_be_equal() -> None:
    def network(x: Any) -> Any:
        return F.relu(torch.cat([x, -x], 1) @ torch.ones(8, 3)) * 4

    x = torch.arange(-6.0, 6.0).reshape(3, 4)
    want = trace_bounds(network, (x,), {}, None)
    got = network(x)
    assert want.margin(got) == 0
    got[0, 0] += 1
    assert want.margin(got) > 1


def test_a_leaf_pulls_back_what_it_gets() -> None:
    x = leaf(np.ones(2), Precision.of("float32"))
    cotangent = Rounded(np.full(2, 3.0), np.zeros(2), x.precision)
    assert pull_back([x], [cotangent], [x])[0].value.tolist() == [3.0, 3.0]


def test_an_error_cannot_hide_behind_errors_that_are_permitted() -> None:
    """An attack on the judge: late sums err as much as they may, so that no other is looked at."""
    x = torch.from_numpy(np.random.default_rng(3).standard_normal(8000)).float()
    network = partial(torch.cumsum, dim=0)
    sums = np.cumsum(x.double().numpy())
    permitted = 0.4 * np.arange(8000) * 2.0**-24 * np.abs(x.double().numpy()).cumsum()
    size = np.abs(sums) + 1e-3 * np.sqrt(np.mean(sums**2))
    largest, relative = (np.argsort(-score)[:30] for score in (permitted, permitted / size))
    answer = sums.copy()
    chosen = np.union1d(largest, relative)
    answer[chosen] += permitted[chosen]
    least = np.minimum(
        0.9 * permitted[largest].min(), 0.9 * (permitted / size)[relative].min() * size
    )[:200]
    answer[:200] -= np.clip(sums[:200], -least, least)
    want = trace_bounds(network, (x,), {}, None)
    assert not want.find_fault(network(x))
    margin = want.examine(torch.from_numpy(answer).float())
    assert margin.ratio > 1
    assert margin.place[0] < 200


def test_whole_numbers_beyond_float64_are_compared_exactly() -> None:
    x = torch.tensor([2**62 + 1, 7])
    want = trace_bounds(lambda x: x.flip(0), (x,), {}, None)
    assert not want.find_fault(x.flip(0))
    assert want.find_fault(torch.tensor([7, 2**62]))
