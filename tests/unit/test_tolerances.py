"""Five tolerances of well-known tests, each with a bug that it passes and the derived bound sees.

docs/tolerances.md tells them, with their sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's documentation calls it so

from conformance import assert_conforms, bounds


@dataclass(frozen=True)
class Replaced:
    """A comparison of a test.

    Args:
        call: the call that is tested, as `bounds` takes it.
        right, wrong: answers.
        passes: whether the old tolerance accepts an answer.
    """

    call: tuple[Any, ...]
    right: torch.Tensor
    wrong: torch.Tensor
    passes: Callable[[torch.Tensor], bool]


def _numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.manual_seed(seed))


def _liger_rms_norm() -> Replaced:
    x, w = _numbers(4, 512, seed=0).bfloat16(), _numbers(512, seed=1).abs().bfloat16()

    def normalise(count: int) -> torch.Tensor:
        h = x.float()
        mean = h.pow(2).sum(-1, keepdim=True) / count
        return w * (h * torch.rsqrt(mean + 1e-6)).bfloat16()

    right = normalise(512)
    return Replaced(
        (F.rms_norm, x, (512,), w, 1e-6),
        right,
        normalise(496),
        lambda y: torch.allclose(y, right, atol=2e-1, rtol=2e-2),
    )


def _triton_layer_norm() -> Replaced:
    x = (-2.3 + 0.5 * _numbers(16, 1024, seed=2)).half()
    w, b = (_numbers(1024, seed=k).sigmoid().half() for k in (3, 4))

    def normalise(eps: float) -> torch.Tensor:
        return F.layer_norm(x.float(), (1024,), w.float(), b.float(), eps).half()

    right = normalise(1e-5)
    return Replaced(
        (F.layer_norm, x, (1024,), w, b, 1e-5),
        right,
        normalise(1e-3),
        lambda y: bool((y.float() - right.float()).abs().max() < 1.5e-2),
    )


def _liger_cross_entropy() -> Replaced:
    x = _numbers(8, 1000, seed=5).bfloat16()
    target = torch.arange(8)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits.float(), target, reduction="none").bfloat16()

    right = loss(x)
    return Replaced(
        (F.cross_entropy, x, target, None, None, -100, None, "none"),
        right,
        loss(x[:, :900]),
        lambda y: torch.allclose(y, right, atol=1e-8, rtol=5e-2),
    )


def _kernel_bench_convolution() -> Replaced:
    torch.manual_seed(6)
    conv, norm = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8).eval()
    norm.running_var.copy_(torch.rand(8) + 0.5)
    norm.running_mean.copy_(torch.randn(8))
    x = torch.randn(4, 3, 16, 16)

    def block(x: torch.Tensor) -> torch.Tensor:
        return F.relu(norm(conv(x)))

    def fold(eps: float) -> torch.Tensor:
        scale = norm.weight / torch.sqrt(norm.running_var + eps)
        assert conv.bias is not None
        shift = (conv.bias - norm.running_mean) * scale + norm.bias
        return F.relu(F.conv2d(x, conv.weight * scale.view(-1, 1, 1, 1), shift)).detach()

    reference = block(x).detach()
    return Replaced(
        (block, x),
        fold(1e-5),
        fold(1e-4),
        lambda y: torch.allclose(y, reference, atol=1e-4, rtol=1e-4),
    )


def _flash_attention() -> Replaced:
    q, k, v = (_numbers(1, 2, 128, 64, seed=s) for s in (7, 8, 9))
    v[:, 0] *= 50  # the values of one head are larger than those of the other
    q, k, v = (x.bfloat16() for x in (q, k, v))

    def attend(keys: int) -> torch.Tensor:
        parts = (x[..., :keys, :].float() for x in (k, v))
        return F.scaled_dot_product_attention(q.float(), *parts).bfloat16()

    reference = F.scaled_dot_product_attention(q.float(), k.float(), v.float())
    in_half = torch.softmax(q @ k.transpose(-1, -2) / 8, -1) @ v
    allowed = 2 * (in_half.float() - reference).abs().max()
    right, wrong = attend(128), attend(128)
    wrong[:, 1] = attend(127)[:, 1]
    return Replaced(
        (F.scaled_dot_product_attention, q, k, v),
        right,
        wrong,
        lambda y: bool((y.float() - reference).abs().max() <= allowed),
    )


@pytest.mark.parametrize(
    "make",
    [
        _liger_rms_norm,
        _triton_layer_norm,
        _liger_cross_entropy,
        _kernel_bench_convolution,
        _flash_attention,
    ],
)
def test_the_derived_bound_sees_what_the_old_tolerance_passes(
    make: Callable[[], Replaced],
) -> None:
    replaced = make()
    assert replaced.passes(replaced.right)
    assert replaced.passes(replaced.wrong)
    assert_conforms(replaced.right, *replaced.call)
    with pytest.raises(AssertionError):
        assert_conforms(replaced.wrong, *replaced.call)
    assert 0 < bounds(*replaced.call).margin(replaced.right) <= 1
