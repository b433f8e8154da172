"""A bug that is planted after a file of known failures was written still fails the run.

Each case has two planted bugs of a layer. The entries are written from a run with the first one.
They keep that run green, and the same run with both bugs fails. A bug that shows only in calls that
fail already cannot be noticed, so there are none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from conformance.reports.results import Run
from planted import BUGS
from planted.bug import replacement_namespaces
from planted.together import both_bugs
from test_report import identity

from conformance.backends import ModuleBackend
from conformance.commands.known_writer import draft_known_file
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure, parse_entries
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

EXAMPLES = 300
PAIRS = (
    ("selu-constants-of-five-decimals", "selu-short-constants"),
    ("mseloss-square-multiplied-out", "mse-loss-halved"),
    ("silu-quick", "silu-hard"),
    ("functional-mse-loss-weights-counted", "functional-mse-loss-weights-squared"),
    ("mish-clamped-at-minus-twenty", "mish-of-tanh-and-sigmoid"),
)
MORE_PAIRS = (
    (
        "functional-linear-cross-entropy-smoothed-over-the-others",
        "functional-linear-cross-entropy-class-weights-not-divided-by",
    ),
    ("leakyrelu-default-of-keras", "leakyrelu-slope-in-half"),
    ("clip-grad-norm-each-alone", "clip-grad-norm-no-epsilon"),
    ("linear-drops-features-past-a-tile-of-sixteen", "linear-no-input-features-loses-bias"),
    ("cosinesimilarity-root-of-the-product", "cosinesimilarity-eps-added"),
    ("pdist-by-inner-products", "functional-pdist-lower-triangle"),
    ("functional-normalize-eps-added", "functional-normalize-last-axis"),
    ("embedding-renormalised-after-reading", "embedding-padding-comes-out-as-zero"),
    ("nllloss-ignored-targets-weigh-as-class-zero", "nllloss-weighted-mean-over-the-count"),
    ("init-eye-square-only", "init-eye-from-the-end"),
    ("bilinear-square-inputs-exchanged", "bilinear-leading-dimensions-crossed"),
    (
        "crossentropyloss-soft-targets-divided-by-their-weight",
        "crossentropyloss-smoothing-without-class-weights",
    ),
    ("functional-huber-loss-mean-over-the-weights", "functional-huber-loss-is-smooth-l1"),
    (
        "functional-cross-entropy-only-negative-targets-ignored",
        "functional-cross-entropy-soft-targets-not-smoothed",
    ),
    (
        "functional-nll-loss-weights-without-reduction",
        "functional-nll-loss-planes-read-transposed",
    ),
    (
        "functional-hinge-embedding-loss-mean-over-the-active",
        "functional-hinge-embedding-loss-margin-beside-the-hinge",
    ),
    ("clip-grad-value-above-only", "clip-grad-value-after-a-gap"),
    ("get-total-norm-sum-of-norms", "get-total-norm-in-bfloat16"),
    ("embedding-max-norm-on-every-row", "embedding-padding-reads-zero"),
    ("unfold-channels-fastest", "unfold-padding-of-the-edge"),
    ("poissonnllloss-eps-inside-and-outside", "poissonnllloss-stirling-for-small-counts"),
    ("functional-linear-square-batch-bias", "functional-linear-in-tf32"),
    ("smooth-l1-loss-beta-ignored", "smooth-l1-loss-jumps"),
    ("kldivloss-nothing-times-its-logarithm", "kldivloss-one-distribution-is-one-sample"),
    (
        "hingeembeddingloss-margin-of-whole-numbers",
        "hingeembeddingloss-similar-pairs-not-below-zero",
    ),
)
BY_NAME = {bug.name: bug for bug in BUGS}


def _run(layer: str, implementation: Any, known: Sequence[KnownFailure] = ()) -> Run:
    item = Item(layer, "values", "float32", "cpu")
    backend = ModuleBackend("planted", **replacement_namespaces(layer, implementation))
    run_identity = replace(
        identity((item.id,)),
        backend="planted",
        examples=EXAMPLES,
        seed=0,
        dtypes=("float32",),
        options={},
        places={},
    )
    return Run(run_identity, (Engine(backend, EXAMPLES, 0, known).run(item),))


@pytest.mark.parametrize(
    ("first", "second"),
    [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.nightly) for pair in MORE_PAIRS)],
)
def test_a_bug_planted_after_the_file_was_written_fails(first: str, second: str) -> None:
    known_bug, later_bug = BY_NAME[first], BY_NAME[second]
    layer = known_bug.layer
    run = _run(layer, known_bug.implementation)
    assert [v.status for v in run.verdicts] == ["failed"]
    text = draft_known_file(run).text.replace('reason = ""', 'reason = "known"')
    entries = parse_entries(text, "known.toml")
    assert [v.status for v in _run(layer, known_bug.implementation, entries).verdicts] == ["known"]
    both = _run(layer, both_bugs(known_bug, later_bug), entries)
    assert [v.status for v in both.verdicts] == ["failed"], text


def test_there_are_thirty_pairs_of_different_layers() -> None:
    layers = [BY_NAME[first].layer for first, _ in (*PAIRS, *MORE_PAIRS)]
    assert len(set(layers)) == len(layers) == 30
