"""A planted bug of every layer and check is caught; `tox -e kill-rate` runs them all."""

from __future__ import annotations

import re

import planted
import pytest
from planted.bug import replacement_namespaces
from support import LAYERS, first_failure

from conformance.backends import ModuleBackend
from conformance.checks import CHECKS
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.model.case import class_and_method, is_function
from conformance.model.standard import STRICTEST_LEVEL, standards
from conformance.run.engine import Engine

# Those of the other checks are caught by the check's own tests.
CHECKED = ("shape", "values", "gradients")
FIRST = {(bug.layer, bug.check): bug for bug in reversed(planted.BUGS) if bug.check in CHECKED}

# Layers without a bug of a check that they have, by the reason. The lists only shrink: whoever
# plants one takes its layer out here.
#
# A lazy layer has its eager twin's code from its first call on: what is its own are the shapes that
# it infers and the state that it then has, and that is where its bugs are planted.
LAZY = {
    "shape": {"LazyConv1d", "LazyConv2d", "LazyConvTranspose1d", "LazyConvTranspose3d",
              "LazyLinear"},
    "gradients": {"LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d",
                  "LazyConvTranspose2d", "LazyLinear"},
    "laws": {"LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d",
             "LazyConvTranspose2d", "LazyConvTranspose3d"},
    "layout": {"LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d",
               "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyLinear"},
    "special": {"LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d",
                "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyLinear"},
    "state": {"LazyConv3d", "LazyConvTranspose2d"},
    "repeat": {"LazyConv1d", "LazyConv2d", "LazyConvTranspose1d", "LazyConvTranspose2d",
               "LazyConvTranspose3d", "LazyLinear"},
    "errors": {"LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d",
               "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyLinear"},
}  # fmt: skip
# A convolution, linear or bilinear form has a bug of the check in its function or module twin, or
# in another number of dimensions: oracle and check are the same code for these.
TWIN = {
    "shape": {"functional.conv3d", "functional.conv_transpose1d"},
    "gradients": {"functional.conv1d", "functional.conv_transpose2d"},
    "laws": {"functional.conv1d", "functional.conv3d", "ConvTranspose3d",
             "functional.conv_transpose1d", "functional.conv_transpose2d", "functional.bilinear"},
    "layout": {"functional.conv3d", "ConvTranspose1d", "functional.conv_transpose1d",
               "functional.conv_transpose3d"},
    "special": {"functional.conv2d", "ConvTranspose1d", "functional.conv_transpose3d",
                "functional.bilinear"},
    "state": {"ConvTranspose1d", "ConvTranspose3d"},
    "repeat": {"functional.conv1d", "ConvTranspose1d", "ConvTranspose3d",
               "functional.conv_transpose1d", "functional.conv_transpose2d",
               "functional.conv_transpose3d", "functional.linear", "Bilinear"},
    "errors": {"functional.conv2d", "functional.conv_transpose2d", "functional.conv_transpose3d",
               "functional.bilinear"},
}  # fmt: skip
# The first families: each has a bug of every check.
FAMILIES = ("convolution", "recurrent", "linear")
# Nobody has planted one yet.
MISSING = {
    "shape": {"GRUCell"},
    "laws": {"LSTMCell", "Identity"},
    "state": {"GRUCell"},
}


def _backend(bug: planted.Bug) -> ModuleBackend:
    return ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))


@pytest.mark.parametrize("bug", FIRST.values(), ids=lambda bug: bug.name)
def test_bug_is_caught_by_its_check(bug: planted.Bug) -> None:
    searches = (
        first_failure(_backend(bug), bug.layer, bug.check, dtype)
        for dtype in ("float32", "bfloat16", "float16", "float64")
    )
    assert any(search.failure for search in searches) or _is_caught_in_a_run(bug), bug.story


def _is_caught_in_a_run(bug: planted.Bug) -> bool:
    """Whether an item fails: a run also has cases with planned sizes."""
    items = (Item(bug.layer, bug.check, dtype, "cpu") for dtype in ("float32", "bfloat16"))
    return any(Engine(_backend(bug), 200, 0).run(item).status == "failed" for item in items)


# The bugs of a layer that is made of others are wrong rewrites: test_network.py.
@pytest.mark.parametrize(
    "layer",
    [
        x
        for x in LAYERS
        if CATALOGUE[x].family not in FAMILIES and CATALOGUE[x].oracle.parts is None
    ],
)
def test_each_layer_has_bugs(layer: str) -> None:
    bugs = [bug for bug in planted.BUGS if bug.layer == layer]
    twins = [bug for bug in planted.BUGS if _family(bug.layer) == _family(layer)]
    assert bugs
    assert len(twins) >= 6


def _family(layer: str) -> str:
    """What a layer shares with its lazy form, its function, and other numbers of dimensions.

    Of small functions of one namespace, which are built of each other, that is their family.
    """
    if layer.startswith(("init.", "utils.")):
        return CATALOGUE[layer].family
    if not is_function(layer):
        layer = class_and_method(layer)[0]  # the module whose method it is
    return re.sub(r".*\.|lazy|_|\dd", "", layer.lower()).removesuffix("loss")


@pytest.mark.parametrize("check", CHECKS)
def test_every_layer_has_a_bug_of_each_check_but_those_named(check: str) -> None:
    layers_with_bugs = {bug.layer for bug in planted.BUGS if bug.check == check}
    checked_layers = {layer for layer in LAYERS if CHECKS[check].applies(CATALOGUE[layer])}
    assert layers_with_bugs <= checked_layers
    first, *later = (standard.levels[STRICTEST_LEVEL] for standard in standards().values())
    if check not in first:
        bugs = [bug.name for bug in planted.BUGS if bug.check == check]
        needed = 20 if any(check in checks for checks in later) else 3
        assert len(bugs) >= needed, (
            "a new check has 3 planted bugs, one that a later standard has 20"
        )
        return
    # The first three families have a bug of each check; of the others test_each_layer_has_bugs.
    first_layers = {name for name, spec in CATALOGUE.items() if spec.family in FAMILIES}
    layers_with_bugs, checked_layers = (
        layers_with_bugs & first_layers,
        checked_layers & first_layers,
    )
    exceptions = [reason.get(check, set()) for reason in (LAZY, TWIN, MISSING)]
    assert checked_layers - layers_with_bugs == set().union(*exceptions)
    assert len(checked_layers - layers_with_bugs) == sum(map(len, exceptions)), "named twice"
    assert {*map(_family, (*exceptions[0], *exceptions[1]))} <= {*map(_family, layers_with_bugs)}
