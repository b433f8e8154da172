"""Each constraint that counts as documented is quoted from torch's page of the layer."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.utils.parametrizations
from conformance.strategies.invalid.breaks import all_breaks
from packaging.version import Version

from conformance.layers import CATALOGUE
from conformance.layers.documented import documented_constraints

pytestmark = pytest.mark.skipif(
    Version(torch.__version__).release[:2] != (2, 13), reason="the quotes are of torch 2.13"
)

_ROLE = r":(?:class|func|meth):`[^`]+`"
# "See :class:`~torch.nn.A`, :class:`~torch.nn.B` for details"; "See also" names what differs.
_REFERENCE = re.compile(
    rf"[Ss]ee (?:the docs in )?((?:{_ROLE}(?:, and |, | and | or )?)+)"
    r"\s*(?:for (?:more |concrete |the definition|details)|\.)"
)
# The module of a method, and what an in-place function is a version of.
_OTHER_PAGES = {
    "AdaptiveLogSoftmaxWithLoss.log_prob": ["AdaptiveLogSoftmaxWithLoss"],
    "AdaptiveLogSoftmaxWithLoss.predict": ["AdaptiveLogSoftmaxWithLoss"],
    "functional.pairwise_distance": ["PairwiseDistance"],
    "functional.rrelu_": ["functional.rrelu"],
    "functional.hardtanh_": ["functional.hardtanh"],
    "functional.celu_": ["functional.celu"],
}


def _find(name: str) -> Any:
    found: Any = torch.nn
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _page(name: str) -> str:
    """One page with normalised space, and what a module's page shows of `forward`."""
    found = _find(name)
    texts = (getattr(x, "__doc__", None) or "" for x in (found, getattr(found, "forward", None)))
    return " ".join(" ".join(texts).split())


def _referred_pages(page: str) -> list[str]:
    paths = (p for roles in _REFERENCE.findall(page) for p in re.findall(r"`~?\.?([\w.]+)", roles))
    bare = [path.removeprefix("torch.").removeprefix("nn.") for path in paths]
    return [name for b in bare for name in (b, f"functional.{b}") if _find(name) is not None]


@cache
def _documentation(layer: str) -> str:
    """A layer's page, and the pages to which it refers for details."""
    names = [layer, layer.removeprefix("Lazy"), *_OTHER_PAGES.get(layer, ())]
    names += _referred_pages(_page(layer))
    return " ".join(map(_page, dict.fromkeys(names)))


def _breaks(layer: str) -> set[tuple[str, str]]:
    invalid = CATALOGUE[layer].generation.invalid
    return set() if invalid is None else {(b.name, b.argument) for b in all_breaks(invalid)}


def test_every_quote_is_on_the_page_of_its_layer() -> None:
    missing = [
        (layer, key, quote)
        for key, quotes in documented_constraints().items()
        for layer, quote in quotes.items()
        if quote not in _documentation(layer)
    ]
    assert not missing


def test_a_quote_that_is_not_on_the_page_is_seen() -> None:
    assert "must both be divisible by" in _documentation("Conv2d")
    assert "must both be divisible by" not in _documentation("ReLU")


def test_every_quote_is_of_a_break_of_its_layer() -> None:
    unknown = [
        (layer, key)
        for key, quotes in documented_constraints().items()
        for layer in quotes
        if key not in _breaks(layer)
    ]
    assert not unknown
