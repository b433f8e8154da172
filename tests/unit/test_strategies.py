"""Drawn cases are valid, representable and reproducible, shrink well, and reach all values."""

from __future__ import annotations

import inspect
import itertools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support import ENOUGH, LAYERS, cases, first_failure

from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.generation.drawing import Sample, draw_cases, shrink
from conformance.layers import CATALOGUE, COMPLEX, DTYPES
from conformance.layers.describe import case_text
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.case import Case, find_by_layer_name, is_function
from conformance.model.failure import Failure
from conformance.model.formats import round_to
from conformance.oracles.convolution import paddings, per_dimension

pytestmark = pytest.mark.in_fork

CONVS = tuple(name for name in LAYERS if "conv" in name.lower())
RECURRENT = ("RNN", "LSTM", "GRU")


LOG_LAYERS = ("CTCLoss", "functional.ctc_loss")


@pytest.mark.parametrize("layer", LAYERS)
def test_torch_accepts_every_case(layer: str) -> None:
    examples = 60 if ENOUGH else 200
    search = first_failure(torch_backend, layer, "shape", "float32", examples, seed=3)
    assert search.passed, search
    assert search.compared + search.known == examples


@pytest.mark.parametrize("layer", [name for name in CONVS if "ConvTranspose" in name])
def test_a_call_is_valid_without_the_output_size_that_it_is_given(layer: str) -> None:
    """Checks repeat calls without output_size; torch refuses a call whose output is empty."""
    sized = [case for case in cases(layer) if "output_size" in case.keywords]
    assert sized
    for case in sized:
        plain = Trial(torch_backend, CATALOGUE[layer], replace(case, keywords={}))
        plain.layer(*plain.natives)


@pytest.mark.parametrize(
    ("layer", "dtype"),
    [
        (layer, dtype)
        for layer in LAYERS
        for dtype in (*DTYPES, *(COMPLEX if CATALOGUE[layer].signature.supports_complex else ()))
    ],
)
def test_every_element_is_representable(layer: str, dtype: str) -> None:
    numbers, spec = 0, CATALOGUE[layer]
    roles = {x.name: x.role for x in spec.signature.inputs}
    for case in cases(layer, dtype, 60, tiled=True):
        inputs_by_name = dict(zip(spec.signature.input_names, case.inputs, strict=False))
        for name, array in (inputs_by_name | dict(case.call.state)).items():
            if array is not None and array.dtype.kind in "fc":
                assert np.array_equal(round_to(array, dtype), array, equal_nan=True)
                # −∞ in a mask hides, as a logarithm it says that a class is impossible, what is
                # compared may be any number; nothing else is infinite.
                may_be_infinite = roles.get(name) == "mask" or (
                    layer in LOG_LAYERS and name == "log_probs"
                )
                is_hidden = np.isneginf(array.real) & may_be_infinite
                assert (
                    np.isfinite(array) | is_hidden | spec.oracle.propagation.specials_may_dominate
                ).all()
                numbers += array.size
    only_indices = spec.is_function and all(x.role == "index" for x in spec.signature.inputs)
    assert only_indices or numbers > 200


@pytest.mark.parametrize("layer", LAYERS)
def test_first_case_is_the_plainest(layer: str) -> None:
    case = cases(layer, examples=4)[0]
    optional = set(case.call.arguments) - set(CATALOGUE[layer].signature.required)
    optional -= {a.name for a in CATALOGUE[layer].signature.arguments if a.large_default}
    if "fractional" in layer.lower():
        optional -= {"output_size"}  # this or a ratio
    # A call needs either a size or a factor.
    assert not optional - {"scale_factor"}, case_text(case)
    # An input that is normalized by itself, or halved, has at least two elements. So has a point
    # of an image; its matrix has six.
    # Labels and the blank are two classes.
    smallest = 2 if re.search("instance|group|glu|softmax2d|grid_sample|ctc", layer.lower()) else 1
    smallest = 6 if "affine" in layer else smallest
    assert all(x is None or x.size <= smallest for x in case.inputs)


def test_failing_cases_shrink_to_the_plainest_call() -> None:
    def grouped(case: Case) -> Failure | None:
        return Failure("groups") if case.call.arguments.get("groups", 1) > 1 else None

    first = next(k for k, case in enumerate(cases("Conv2d")) if grouped(case))
    shrunk = shrink(Sample("Conv2d", "float32", 200, 0), first, grouped)
    assert shrunk is not None
    text = case_text(shrunk[0])
    assert text.startswith("Conv2d(2, 2, 1, groups=2"), text
    assert all(x.size <= 4 for x in shrunk[0].inputs)


def test_same_seed_same_cases_in_another_folder_and_process(tmp_path: Any) -> None:
    script = (
        "import sys, json, csv, sqlite3\n"
        "from conformance.generation.drawing import draw_cases\n"
        "from conformance.layers.encoding import encode_case\n"
        "print(json.dumps([encode_case(c) for c in draw_cases('Conv2d', 'float32', 40, 7)]))\n"
    )
    (tmp_path / "local.py").write_text("A, B = 12345, 'a constant that a local module holds'\n")
    (tmp_path / "run.py").write_text("import local\n" + script)
    import json

    other = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert json.loads(other.stdout) == json.loads(
        json.dumps([encode_case(c) for c in draw_cases("Conv2d", "float32", 40, 7)])
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_cases_survive_json(layer: str) -> None:
    import json

    for case in cases(layer, "float32", 30):
        decoded = decode_case(json.loads(json.dumps(encode_case(case))))
        assert case_text(decoded) == case_text(case)
        for a, b in zip(case.inputs, decoded.inputs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or (a.tobytes() == b.tobytes() and a.shape == b.shape)
        assert {k: v.tobytes() for k, v in case.call.state.items()} == {
            k: v.tobytes() for k, v in decoded.call.state.items()
        }
        assert dict(decoded.call.arguments) == dict(case.call.arguments)


# --- the space ---


def _conv_facts(case: Case) -> dict[str, Any]:
    """What a case draws from each part of the space of convolutions."""
    call = case.call
    functional = is_function(call.layer)
    weight = case.inputs[1] if functional else call.state["weight"]
    dims = weight.ndim - 2
    transposed = "ranspose" in call.layer
    argument = call.arguments.get
    stride, dilation = (per_dimension(argument(k, 1), dims) for k in ("stride", "dilation"))
    kernel, padding, groups = weight.shape[2:], argument("padding", 0), argument("groups", 1)
    x = case.inputs[0]
    channels = x.shape[-dims - 1]
    facts: dict[str, Any] = {
        "stride": "1" if max(stride) == 1 else "several",
        "dilation": "1" if max(dilation) == 1 else "several",
        "groups": "1" if groups == 1 else "depthwise" if groups == channels else "several",
        "bias": (case.inputs[2] is not None) if functional else "bias" in call.state,
        "batch": "unbatched" if x.ndim == dims + 1 else "empty" if x.shape[0] == 0 else "batched",
        "kernel": "1" if max(kernel) == 1 else "even" if min(k % 2 for k in kernel) == 0 else "odd",
        "size 1": 1 in x.shape[-dims:],
        "stride > kernel": any(s > k for s, k in zip(stride, kernel, strict=True)),
    }
    facts["written"] = any(
        argument(k) == v for k, v in (("stride", 1), ("dilation", 1), ("groups", 1), ("padding", 0))
    )
    structure_arguments = [argument(k) for k in ("stride", "padding", "dilation", "kernel_size")]
    facts["tuple"] = any(isinstance(v, tuple) for v in structure_arguments)
    if dims > 1:
        facts["asymmetric"] = any(
            isinstance(v, tuple) and len(set(v)) > 1 for v in structure_arguments
        )
    if transposed:
        facts["output_padding"] = max(per_dimension(argument("output_padding", 0), dims)) > 0
        facts["padding"] = max(per_dimension(padding, dims)) > 0
        if not functional:
            facts["output_size"] = "output_size" in case.keywords
        return facts
    facts["padding"] = (
        padding if isinstance(padding, str) else str(max(per_dimension(padding, dims)) > 0)
    )
    pads = paddings(padding, kernel, dilation)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    facts["wholly in padding"] = any(p[0] >= r for p, r in zip(pads, extents, strict=True))
    facts["kernel = padded input"] = all(
        n + sum(p) == r for n, p, r in zip(x.shape[-dims:], pads, extents, strict=True)
    )
    if not functional:
        facts["padding_mode"] = argument("padding_mode", "zeros")
    return facts


def _recurrent_facts(case: Case) -> dict[str, Any]:
    argument = case.call.arguments.get
    x = case.inputs[0]
    batch_first = argument("batch_first", False)
    lengths = case.keywords.get("lengths")
    facts: dict[str, Any] = {
        "num_layers": argument("num_layers", 1),
        "bias": argument("bias", True),
        "batch_first": batch_first,
        "bidirectional": argument("bidirectional", False),
        "dropout": argument("dropout", 0.0) > 0,
        "state given": case.inputs[1] is not None,
        "unbatched": x.ndim == 2,
        "one step": x.shape[0 if x.ndim == 2 or not batch_first else 1] == 1,
        "packed": "no"
        if lengths is None
        else "sorted"
        if lengths == sorted(lengths, reverse=True)
        else "unsorted",
    }
    if case.call.layer == "RNN":
        facts["nonlinearity"] = argument("nonlinearity", "tanh")
    if case.call.layer == "LSTM":
        facts["proj_size"] = argument("proj_size", 0) > 0
    return facts


def _cell_facts(case: Case) -> dict[str, Any]:
    x = case.inputs[0]
    facts: dict[str, Any] = {
        "bias": case.call.arguments.get("bias", True),
        "state given": case.inputs[1] is not None,
        "batch": "unbatched" if x.ndim == 1 else "empty" if x.shape[0] == 0 else "batched",
    }
    if case.call.layer == "RNNCell":
        facts["nonlinearity"] = case.call.arguments.get("nonlinearity", "tanh")
    return facts


def _linear_facts(case: Case) -> dict[str, Any]:
    x = case.inputs[0]
    facts: dict[str, Any] = {
        "leading": x.ndim if case.call.layer == "Identity" else x.ndim - 1,
        "empty": 0 in (x.shape if case.call.layer == "Identity" else x.shape[:-1]),
        "regime": case.labels["regime"],
    }
    if "inear" in case.call.layer:
        last = case.inputs[-1]
        functional = is_function(case.call.layer)
        facts["bias"] = last is not None if functional else case.call.arguments.get("bias", True)
    return facts


def _norm_facts(case: Case) -> dict[str, Any]:
    """What a case draws from each part of the space of normalisations."""
    call, get_argument = case.call, case.call.arguments.get
    functional = is_function(call.layer)
    x, *tensors = case.inputs
    facts: dict[str, Any] = {"empty": x.size == 0, "regime": case.labels["regime"]}
    defaults = CATALOGUE[call.layer].signature.defaults
    if "size" in call.arguments:
        facts |= {name: get_argument(name, defaults[name]) for name in ("alpha", "beta", "k")}
        return facts | {"even": get_argument("size") % 2 == 0, "ndim": x.ndim}
    facts["eps"] = get_argument("eps", defaults["eps"])
    if functional:
        names = CATALOGUE[call.layer].signature.input_names[1:]
        has_tensor = dict(zip(names, (w is not None for w in tensors), strict=True))
        facts |= {name: has_tensor[name] for name in ("weight", "bias") if name in has_tensor}
    else:
        affine = defaults.get("affine", True)
        facts["affine"] = get_argument("affine", get_argument("elementwise_affine", affine))
        if "bias" in defaults:
            facts["bias"] = get_argument("bias", True)
    if "num_groups" in call.arguments:
        count = get_argument("num_groups")
        group_kind = "one" if count == 1 else "channels" if count == x.shape[1] else "some"
        return facts | {"groups": group_kind, "ndim": x.ndim}
    if "normalized_shape" in call.arguments:
        sizes = get_argument("normalized_shape")
        facts["dimensions"] = 1 if isinstance(sizes, int) else len(sizes)
        facts["leading"] = min(x.ndim - facts["dimensions"], 2)
        return facts
    uses_input_stats = get_argument(
        "use_input_stats", defaults.get("use_input_stats", get_argument("training", False))
    )
    facts["training"] = uses_input_stats if functional else call.training
    facts["momentum"] = get_argument("momentum", 0.1)
    if functional:
        facts["ndim"] = x.ndim
    else:
        facts["tracked"] = get_argument("track_running_stats", defaults["track_running_stats"])
    return facts


def _attention_facts(case: Case) -> dict[str, Any]:
    query, key, value, *masks = case.inputs
    mask = masks[-1]
    facts: dict[str, Any] = {
        "mask": "none" if mask is None else mask.dtype.kind,
        "several keys": key.shape[-2] > 1,
        "regime": case.labels["regime"],
    }
    argument = {**case.call.arguments, **case.keywords}.get
    if case.call.layer != "MultiheadAttention":
        return facts | {
            "leading": query.ndim - 2,
            "is_causal": argument("is_causal", False),
            "enable_gqa": argument("enable_gqa", False),
            "scale": argument("scale") is not None,
            "Ev = E": query.shape[-1] == value.shape[-1],
        }
    names = ("add_bias_kv", "add_zero_attn", "batch_first")
    return (
        facts
        | {name: argument(name, False) for name in names}
        | {
            "bias": argument("bias", True),
            "need_weights": argument("need_weights", True),
            "average_attn_weights": argument("average_attn_weights", True),
            "one object": query is key and key is value,
            "unbatched": query.ndim == 2,
            "padded": masks[0] is not None,
        }
    )


def _case_facts(case: Case) -> dict[str, Any]:
    layer = case.call.layer
    if CATALOGUE[layer].family == "normalization":
        return _norm_facts(case)
    if CATALOGUE[layer].family == "attention":
        return _attention_facts(case)
    if layer in CONVS:
        return _conv_facts(case)
    if layer in RECURRENT:
        return _recurrent_facts(case)
    return _cell_facts(case) if layer.endswith("Cell") else _linear_facts(case)


# Pairs that no valid call has.
IMPOSSIBLE = {
    frozenset({("padding", "same"), ("stride", "several")}),
    frozenset({("padding", "same"), ("wholly in padding", True)}),
    frozenset({("padding", "valid"), ("wholly in padding", True)}),
    frozenset({("padding", "False"), ("wholly in padding", True)}),
    frozenset({("stride", "1"), ("stride > kernel", True)}),
    frozenset({("padding", "same"), ("stride > kernel", True)}),
    frozenset({("kernel", "even"), ("size 1", True), ("padding", "valid")}),
    frozenset({("stride", "1"), ("dilation", "1"), ("output_padding", True)}),
    frozenset({("output_size", True), ("output_padding", True)}),
    frozenset({("stride", "1"), ("output_padding", True), ("output_size", True)}),
    frozenset({("asymmetric", True), ("tuple", False)}),
    frozenset({("dropout", True), ("num_layers", 1)}),
    frozenset({("mask", "b"), ("is_causal", True)}),
    frozenset({("mask", "f"), ("is_causal", True)}),
    frozenset({("leading", 0), ("enable_gqa", True)}),
    # Scores that are exact, or large enough, need a scale that is.
    frozenset({("regime", "zero"), ("scale", False)}),
    frozenset({("regime", "saturated"), ("scale", False)}),
    frozenset({("packed", "sorted"), ("unbatched", True)}),
    frozenset({("packed", "unsorted"), ("unbatched", True)}),
    frozenset({("packed", "unsorted"), ("one step", True)}),
    frozenset({("empty", True), ("leading", 0)}),
    # In these the deviation is 1.5, and ε makes the variance 4.
    *(frozenset({("regime", "pairs"), ("eps", eps)}) for eps in (None, 1e-5, 0.1, 1e-12, 0.0)),
    # Padding by reflection or round the edge needs an input at least as long as the padding.
    frozenset({("padding_mode", "reflect"), ("wholly in padding", True), ("size 1", True)}),
    frozenset({("size 1", True), ("kernel", "even"), ("padding", "False")}),
    frozenset({("stride > kernel", True), ("kernel = padded input", True), ("stride", "1")}),
}
# Unlikely together, because one kernel or length must meet both; longer runs draw them.
RARE = ("kernel = padded input", "size 1", "stride > kernel", "wholly in padding", "written")


def _pairs(facts: dict[str, Any]) -> Iterator[frozenset[tuple[str, Any]]]:
    for pair in itertools.combinations(facts.items(), 2):
        yield frozenset(pair)


# The other families have tests of their own.
FAMILIES = ("convolution", "recurrent", "linear", "normalization", "attention")


@pytest.mark.parametrize("layer", [x for x in LAYERS if CATALOGUE[x].family in FAMILIES])
def test_every_value_and_pair_is_reached_at_the_standard_profile(layer: str) -> None:
    values: dict[str, set[Any]] = {}
    pairs: Counter[frozenset[tuple[str, Any]]] = Counter()
    for dtype in DTYPES:
        for case in cases(layer, dtype, 200):
            facts = _case_facts(case)
            for name, value in facts.items():
                values.setdefault(name, set()).add(value)
            pairs.update(_pairs(facts))
    for name, values_expected in _least_values(layer).items():
        assert values[name] >= values_expected, (name, values[name])
    missed = []
    for (a, many_a), (b, many_b) in itertools.combinations(sorted(values.items()), 2):
        if a in RARE or b in RARE:
            continue
        for pair in itertools.product(many_a, many_b):
            wanted = frozenset({(a, pair[0]), (b, pair[1])})
            if not pairs[wanted] and not any(wanted <= x and len(x) == 2 for x in IMPOSSIBLE):
                missed.append(sorted(wanted, key=str))
    assert not missed


def _least_values(layer: str) -> dict[str, set[Any]]:
    """The values that the documentation names, independent of the strategies."""
    both = {True, False}
    if CATALOGUE[layer].family == "normalization":
        usual = {"empty": both, "bias": both, "eps": {1e-5, 0.1, 1.75, 1e-12}}
        rows = {"dimensions": {1, 2, 3}, "leading": {0, 1, 2}}
        if "crossmap" in layer.lower():
            return {"empty": both, "even": {False}, "ndim": {4}, "beta": {0.75, 1.0}}
        if "response" in layer.lower():
            return {"empty": both, "even": both, "ndim": {3, 4, 5}, "beta": {0.75, 1.0}}
        if "rms" in layer.lower():
            return {"empty": both, "eps": {None, 1e-5, 0.1, 1.75, 1e-12}, **rows}
        if "layer" in layer.lower():
            return {**usual, **rows}
        if "group" in layer.lower():
            return {**usual, "groups": {"one", "some", "channels"}, "ndim": {2, 3, 4, 5}}
        ranks = {3, 4, 5} if "instance" in layer else {2, 3, 4, 5}
        own = {"ndim": ranks} if "functional" in layer else {"tracked": both}
        return {**usual, **own, "training": both, "momentum": {0.1, 0.5, 0.0, 1.0}}
    if layer == "MultiheadAttention":
        names = ("add_bias_kv", "add_zero_attn", "batch_first", "bias", "need_weights")
        attention_facts = ("average_attn_weights", "one object", "unbatched", "padded")
        return {"mask": {"none", "b", "f"}} | dict.fromkeys((*names, *attention_facts), both)
    if CATALOGUE[layer].family == "attention":
        names = ("is_causal", "enable_gqa", "scale", "Ev = E", "several keys")
        return {"mask": {"none", "b", "f"}, "leading": {0, 1, 2, 3}} | dict.fromkeys(names, both)
    if layer in CONVS:
        values_of_layer: dict[str, set[Any]] = {
            "stride": {"1", "several"},
            "dilation": {"1", "several"},
            "groups": {"1", "several", "depthwise"},
            "bias": both,
            "batch": {"unbatched", "batched", "empty"},
            "kernel": {"1", "even", "odd"},
            "size 1": both,
            "stride > kernel": both,
            "tuple": both,
            "written": both,
        }
        if not layer.endswith("1d"):
            values_of_layer["asymmetric"] = both
        if "ranspose" in layer:
            values_of_layer |= {"output_padding": both, "padding": both}
            if not is_function(layer):
                values_of_layer["output_size"] = both
            return values_of_layer
        values_of_layer |= {
            "padding": {"True", "False", "same", "valid"},
            "wholly in padding": both,
            "kernel = padded input": both,
        }
        if not is_function(layer):
            values_of_layer["padding_mode"] = {"zeros", "reflect", "replicate", "circular"}
        return values_of_layer
    if layer in RECURRENT:
        names = ("bias", "batch_first", "bidirectional", "dropout", "state given", "unbatched")
        values_of_layer = dict.fromkeys((*names, "one step"), both)
        values_of_layer |= {"num_layers": {1, 2, 3}, "packed": {"no", "sorted", "unsorted"}}
        if layer == "RNN":
            values_of_layer["nonlinearity"] = {"tanh", "relu"}
        if layer == "LSTM":
            values_of_layer["proj_size"] = both
        return values_of_layer
    if layer.endswith("Cell"):
        return {"bias": both, "state given": both, "batch": {"unbatched", "batched", "empty"}}
    return {"leading": {0, 1, 2, 3}, "empty": both}


@pytest.mark.parametrize("layer", [*RECURRENT, *(f"{name}Cell" for name in RECURRENT)])
def test_every_regime_of_a_recurrent_layer_is_reached(layer: str) -> None:
    common_regimes = {"ramp", "integers", "full", "normal", "mixed", "large"}
    by_layer = {"RNN": {"zero", "bits", "saturated", "rectified"}}
    further_regimes = by_layer.get(
        layer.removesuffix("Cell"), {"zero", "bits", "saturated", "hold"}
    )
    profiles = {"plain", "full", "wide"}
    if layer in RECURRENT:
        further_regimes, profiles = further_regimes | {"gentle"}, profiles | {"long"}
    for dtype in DTYPES:
        drawn = Counter(case.labels["regime"] for case in cases(layer, dtype))
        assert set(drawn) == common_regimes | further_regimes
        assert min(drawn[regime] for regime in common_regimes | further_regimes - {"gentle"}) >= 5
        assert {case.labels["profile"] for case in cases(layer, dtype)} == profiles


def _optional_arguments(layer: str) -> set[str]:
    """Optional arguments of a layer, without those that a call gives beside its inputs."""
    spec = CATALOGUE[layer]
    large_arguments = {a.name for a in spec.signature.arguments if a.large_default}
    return (
        set(spec.signature.defaults)
        - spec.signature.keyword_arguments
        - {"lengths"}
        - large_arguments
    )


def _optional_in_torch(layer: str) -> set[str] | None:
    """Optional arguments in torch's own signature, without inputs; None if torch shows none."""
    if not CATALOGUE[layer].in_torch:
        return None
    function = find_by_layer_name(layer, torch.nn, torch.nn.functional)
    if inspect.isclass(function) and function.__init__ is torch.nn.Module.__init__:
        return set()
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a built-in function, whose documentation begins with it
        signature_text = function.__doc__.strip().partition(")")[0]
        names = set(re.findall(r"(\w+) ?=", signature_text))
    else:
        if any(p.kind is p.VAR_POSITIONAL for p in parameters):
            return None
        names = {p.name for p in parameters if p.default is not p.empty}
    deprecated, placement = {"size_average", "reduce", "_stacklevel"}, {"device", "dtype"}
    return names - deprecated - placement - set(CATALOGUE[layer].signature.input_names)


def _misjudged_layers(optional: Mapping[str, set[str]]) -> set[str]:
    """Layers with optional arguments only in torch, or only in the catalogue."""
    of_torch = {layer: _optional_in_torch(layer) for layer in optional}
    return {
        layer
        for layer, names in of_torch.items()
        if names is not None and bool(names) != bool(optional[layer])
    }


def test_rows_have_no_argument_to_leave_out_only_where_torch_has_none() -> None:
    optional = {layer: _optional_arguments(layer) for layer in LAYERS}
    assert not _misjudged_layers(optional)
    forgotten = {layer: set[str]() for layer in LAYERS}
    misjudged = _misjudged_layers(forgotten)
    assert misjudged == {layer for layer in LAYERS if optional[layer] and _optional_in_torch(layer)}
    assert {"Linear", "functional.gelu", "EmbeddingBag"} <= misjudged
    assert _misjudged_layers({**optional, "Tanh": {"inplace"}}) == {"Tanh"}


@pytest.mark.parametrize("layer", [name for name in LAYERS if _optional_arguments(name)])
def test_arguments_are_left_out_in_a_good_share_of_cases(layer: str) -> None:
    lopsided: dict[str, float] = {}
    # A share near a limit is counted again in more cases.
    for examples in (200, 1600):
        drawn = cases(layer, examples=examples)
        written = Counter(name for case in drawn for name in case.call.arguments)
        shares = {name: written[name] / len(drawn) for name in _optional_arguments(layer)}
        lopsided = {name: share for name, share in shares.items() if not 0.05 < share < 0.95}
        if not lopsided:
            break
    assert not lopsided
