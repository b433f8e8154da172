"""What a verdict says: every cause, inherited failures, and how much was compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import SpoiledBackend, cases, seen_here

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.capabilities import accepts_of, base_of
from conformance.backends.guard import BackendError
from conformance.checks import EVERY_CHECK
from conformance.generation.drawing import draw_cases
from conformance.items import verdicts
from conformance.items.log import Log
from conformance.items.outcomes import Outcome
from conformance.items.planning import Item
from conformance.items.stream import MAX_ROUNDS, count_structures, min_structures
from conformance.known.entry import (
    KnownFailure,
    KnownFailureError,
    load_entries,
    parse_entries,
    shipped_entries,
)
from conformance.known.matches import Excuses
from conformance.layers.documented import find_quote
from conformance.layers.encoding import decode_case, encode_case
from conformance.model.case import Call, Unsupported, Verdict
from conformance.model.cause import Cause, Excuse
from conformance.model.finding import Finding
from conformance.plugin.terminal import _torch_report_lines
from conformance.run.engine import MAX_DECLINED, Engine
from conformance.run.stale import find_not_failing

pytestmark = pytest.mark.in_fork


def _run(backend: Any, layer: str, check: str, known: Any = (), examples: int = 100) -> Verdict:
    return Engine(backend, examples, 0, known).run(Item(layer, check, "float32", "cpu"))


# --- a faithful look-alike, and a bug in it ---


def _subclassed_namespace() -> Any:
    names = [name for name in dir(torch.nn) if isinstance(getattr(torch.nn, name), type)]
    return SimpleNamespace(
        **{name: type(name, (getattr(torch.nn, name),), {}) for name in names if name != "Module"}
    )


@pytest.mark.parametrize(
    ("layer", "check"),
    [
        ("BatchNorm2d", "layout"),
        ("LazyConvTranspose2d", "errors"),
        ("GELU", "laws"),  # by the values drawn
        ("Conv2d", "values"),
    ],
)
def test_a_look_alike_inherits_what_torch_does(layer: str, check: str) -> None:
    plain = ModuleBackend("alike", nn=_subclassed_namespace(), functional=torch.nn.functional)
    based = ModuleBackend("alike", nn=_subclassed_namespace(), base="torch")
    known = load_entries("alike", base="torch")
    alone, verdict = _run(plain, layer, check), _run(based, layer, check, known)
    if check == "values":
        assert (alone.status, verdict.status) == ("passed", "passed")
        return
    assert (alone.status, alone.reference) == ("failed", "torch: same")
    assert verdict.status == "known", verdict.message
    assert {excuse.base for excuse in verdict.excuses if excuse.excused} == {"torch"}
    assert "inherited from torch" in str(verdict.message)


def test_a_look_alike_rounds_as_its_base_and_a_bug_beside_it_is_noticed() -> None:
    class Embedding(torch.nn.Embedding):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input) * (1 if self.training else 2)

    known, statuses = load_entries("alike", base="torch"), []
    for namespace in (_subclassed_namespace(), SimpleNamespace(Embedding=Embedding)):
        engine = Engine(ModuleBackend("alike", nn=namespace, base="torch"), 200, 0, known)
        statuses.append(engine.run(Item("Embedding", "state", "bfloat16", "cpu")).status)
    # max_norm is stored in half precision, which torch declares.
    assert statuses == ["passed", "failed"]


def test_a_bug_in_the_items_that_torch_fails_is_the_look_alikes_own() -> None:
    class Conv1d(torch.nn.LazyConv1d):
        def state_dict(self, *arguments: Any, **keywords: Any) -> Any:
            tensors = super().state_dict(*arguments, **keywords)
            tensors.pop("bias", None)
            return tensors

    Conv1d.__name__ = Conv1d.__qualname__ = "LazyConv1d"
    backend = ModuleBackend("alike", nn=SimpleNamespace(LazyConv1d=Conv1d), base="torch")
    verdict = _run(backend, "LazyConv1d", "state", load_entries("alike", base="torch"))
    assert verdict.status == "failed"
    assert verdict.reference == "torch: differs"
    assert verdict.examples.failed > verdict.examples.excused


def test_a_strict_entry_of_the_base_excuses_nothing_that_the_base_does_right() -> None:
    (entry,) = parse_entries(UNPINNED, "here")
    inherited = (replace(entry, backend="*", base="torch", strict=True),)

    class Wrong(SpoiledBackend):
        base = "torch"

    verdict = _run(Wrong("wrong", lambda y, _: y + 1), "Conv2d", "values", inherited)
    assert (verdict.status, verdict.reference) == ("failed", "torch: differs")
    own = (replace(entry, backend="*"),)
    assert _run(Wrong("wrong", lambda y, _: y + 1), "Conv2d", "values", own).status == "known"


def test_torchs_own_objects_have_base_torch_without_saying_so() -> None:
    mixed = ModuleBackend("mixed", nn=SimpleNamespace(Conv2d=torch.nn.Conv2d, Linear=object))
    assert mixed.inherits("Conv2d")
    assert not mixed.inherits("Linear")
    assert not mixed.inherits("functional.linear")
    assert type("Sub", (ModuleBackend,), {})("sub").inherits("Conv2d") is False


def test_a_base_or_accepts_of_another_kind_is_a_clear_error() -> None:
    class Odd:
        name, base, accepts = "odd", 3, (3,)

    with pytest.raises(BackendError, match=r"expected base to be the name of a backend.*got 3"):
        base_of(Odd(), "Linear")  # type: ignore[arg-type]
    with pytest.raises(BackendError, match="expected accepts to be names of broken constraints"):
        accepts_of(Odd())  # type: ignore[arg-type]
    Odd.accepts = "negative *"  # type: ignore[assignment]
    assert accepts_of(Odd()) == ("negative *",)  # type: ignore[arg-type]


# --- known: failed, and covered ---

ENTRY = '[[known]]\nlayer = "Conv2d"\ncheck = "values"\nreason = "wrong"\n'
UNPINNED = f"{ENTRY}strict = false\n"


def _wrong_if_grouped(call: Call, y: Any) -> Any:
    return y + 1 if call.arguments.get("groups", 1) > 1 else y


class Wrong:
    """torch with outputs that a function of the call changes."""

    name = "wrong"

    def __init__(self, change: Callable[[Call, Any], Any]) -> None:
        self._change = change

    def __getattr__(self, name: str) -> Any:
        if name in ("base", "inherits"):
            raise AttributeError(name)
        return getattr(torch_backend, name)

    def build(self, call: Call) -> Any:
        """torch's layer, its outputs changed."""
        layer, change = torch_backend.build(call), self._change

        class Layer:
            def __getattr__(self, name: str) -> Any:
                return getattr(layer, name)

            def __call__(self, *inputs: Any, **keywords: Any) -> Any:
                return change(call, layer(*inputs, **keywords))

        return Layer()


def test_known_needs_a_case_that_fails_as_the_entry_says() -> None:
    backend = Wrong(_wrong_if_grouped)
    covering = parse_entries(f'{UNPINNED}when = {{ groups = ">1" }}\n', "here")
    verdict = _run(backend, "Conv2d", "values", covering)
    (excuse,) = verdict.excuses
    assert verdict.status == "known"
    assert 0 < excuse.excused == verdict.examples.excused == verdict.examples.failed
    assert excuse.excused <= excuse.covered < verdict.examples.checked
    assert "k" in verdict.outcomes
    assert _run(torch_backend, "Conv2d", "values", covering).status == "passed"
    for extra_line in ('said = "*no such words*"\n', "at_most = 0.01\n"):
        entry = parse_entries(f'{UNPINNED}{extra_line}when = {{ groups = ">1" }}\n', "here")
        assert _run(backend, "Conv2d", "values", entry).status == "failed"
    by_message = parse_entries(f'{UNPINNED}said = "*bound*"\nwhen = {{ groups = ">1" }}\n', "here")
    assert _run(backend, "Conv2d", "values", by_message).status == "known"


def test_at_most_allows_for_chance() -> None:
    (entry,) = parse_entries(f"{UNPINNED}at_most = 0.1\n", "here")
    assert not entry.is_exceeded(10, 100)
    assert not entry.is_exceeded(20, 100)
    assert entry.is_exceeded(40, 100)
    assert not entry.is_exceeded(0, 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("at_most = 0.0", "a share above 0 up to 1"),
        ("at_most = 'some'", "expected a number"),
        ("link = 3", "expected str"),
        ("said = 3", "expected str"),
    ],
)
def test_a_bad_field_is_named(line: str, message: str) -> None:
    with pytest.raises(KnownFailureError, match=f"here, entry 1.*{message}"):
        parse_entries(f"{UNPINNED}{line}\n", "here")


def test_an_entry_that_is_not_strict_is_never_stale() -> None:
    case = json.dumps(encode_case(cases("Conv2d")[0]))
    pinned = f"{ENTRY}when = {{ groups = '>=1' }}\ncase = '''{case}'''\n{seen_here()}"
    assert "stale" in str(
        _run(torch_backend, "Conv2d", "values", parse_entries(pinned, "h")).message
    )
    not_strict = parse_entries(f"{pinned}strict = false\n", "here")
    verdict = _run(torch_backend, "Conv2d", "values", not_strict)
    assert (verdict.status, verdict.not_shown) == ("passed", ())


@pytest.mark.parametrize("seen", ["", "seen = ['torch 1.0 on Linux x86_64 GenuineIntel avx2']\n"])
def test_what_was_not_seen_on_this_machine_does_not_show_and_fails_nothing(seen: str) -> None:
    case = json.dumps(encode_case(cases("Conv2d")[0]))
    pinned = f"{ENTRY}when = {{ groups = '>=1' }}\ncase = '''{case}'''\n{seen}"
    verdict = _run(torch_backend, "Conv2d", "values", parse_entries(pinned, "here"))
    assert (verdict.status, verdict.not_shown) == ("passed", ("wrong",))
    failing = _run(Wrong(lambda call, y: y + 1), "Conv2d", "values", parse_entries(pinned, "here"))
    assert (failing.status, failing.not_shown) == ("known", ())


def test_an_entry_over_several_checks_is_stale_only_where_none_fails() -> None:
    case = json.dumps(encode_case(cases("Conv2d")[0]))
    entry = f"{ENTRY}case = '''{case}'''\n{seen_here()}".replace('"values"', '"shape,values"')
    verdict = _run(Wrong(lambda call, y: y + 1), "Conv2d", "shape", parse_entries(entry, "here"))
    assert verdict.status == "passed"


@pytest.mark.parametrize(("check", "runs"), [("values", True), ("threads", False)])
def test_a_case_that_ends_the_process_runs_only_where_a_copy_can_tell(
    check: str, runs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = json.dumps(encode_case(cases("Conv2d")[0]))
    text = f"{ENTRY}case = '''{case}'''\nstatus = 'hung'\n"
    known = parse_entries(text.replace('"values"', '"values,threads"'), "here")
    tried = list[str]()

    def run_pinned(engine: Any, item: Item, *others: Any) -> Outcome:
        tried.append(item.check)
        return Outcome("hung")

    monkeypatch.setattr("conformance.run.stale.run_pinned_case", run_pinned)
    engine: Any = SimpleNamespace(expendable=True)
    item = Item("Conv2d", check, "float32", "cpu")
    assert find_not_failing(engine, item, {0: known[0]}, (), lambda: 1.0) == []
    assert tried == [check] * runs


def test_a_mended_divergence_that_is_back_fails_although_no_drawn_case_does() -> None:
    drawn = draw_cases("Conv2d", "float32", 50, 3)  # of another seed
    special = max(drawn, key=lambda case: case.call.state["weight"].size)
    case = json.dumps(encode_case(special))
    pinned = f"{ENTRY}case = '''{case}'''\n"
    mended = parse_entries(f'{pinned}versions = {{ torch = "<1.13" }}\n', "here")
    assert _run(torch_backend, "Conv2d", "values", mended).status == "passed"
    wrong = Wrong(lambda call, y: -y if call.arguments == special.call.arguments else y)
    assert _run(wrong, "Conv2d", "values", examples=8).status == "passed"  # none is drawn
    verdict = _run(wrong, "Conv2d", "values", mended, examples=8)
    assert verdict.status == "failed"
    assert "a mended divergence is back: wrong" in str(verdict.message)
    elsewhere = f'{pinned}versions = {{ torch = "<1.13" }}\nsaid = "*IndexError*"\n'
    assert _run(wrong, "Conv2d", "values", parse_entries(elsewhere, "h"), 8).status == "passed"
    for versions in (">=99", "==1.13", ">=1.12"):
        text = f'{pinned}versions = {{ torch = "{versions}" }}\n'
        assert not parse_entries(text, "here")[0].is_mended


BOTH = {"stride": ">1", "dilation": ">1"}
SAME = {"kernel_size": (1, 3), "padding": "same"}
FACTS = [
    ("channels_per_group % 2", "==1", {"in_channels": 2, "groups": 2}, True),
    ("channels_per_group % 2", "==1", {"in_channels": 2, "groups": 1}, False),
    ("windows", "==0", {"kernel_size": 1, "stride": 9, "padding": 1}, True),
    ("windows", "==0", {"kernel_size": 1, "stride": 1, "padding": 1}, False),
    ("output_length[-1]", "==1", {"kernel_size": (1, 4)}, True),
    ("output_length[-1]", "==1", {"kernel_size": (4, 1)}, False),
    ("empty", False, {}, True),
    ("input.shape[0]", "==1", {}, True),
    ("input.shape[9]", "==1", {}, False),
    (
        "dimension",
        {"stride": ">1", "dilation": ">1"},
        {"stride": (2, 1), "dilation": (1, 2)},
        False,
    ),
    ("dimension", BOTH, {"stride": (1, 2), "dilation": (1, 2)}, True),
    ("dimension", {"padding": ">0"}, SAME, True),
    (
        "dimension",
        {"padding": ">0", "kernel_size": "==1"},
        {"kernel_size": (1, 3), "padding": "same"},
        False,
    ),
]


@pytest.mark.parametrize(("name", "wanted", "arguments", "met"), FACTS)
def test_conditions_on_derived_facts(
    name: str, wanted: Any, arguments: dict[str, Any], met: bool
) -> None:
    import numpy as np

    from conformance.known.entry import KnownFailure
    from conformance.model.case import Case

    all_arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 1, **arguments}
    x = np.ones((1, all_arguments["in_channels"], 4, 4))
    case = Case(Call("Conv2d", all_arguments, {}, "float32", "cpu"), (x,))
    assert KnownFailure("Conv2d", "values", "r", when={name: wanted}).covers(case) is met


def test_conditions_on_layouts_are_held_against_the_fewest_that_fail() -> None:
    text = ENTRY.replace("values", "layout") + "strict = false\n"
    (entry,) = parse_entries(f'{text}when = {{ "input.layout" = "channels_last" }}\n', "here")
    excuses = Excuses((entry,), EVERY_CHECK["layout"])
    checked = 0
    for case in cases("Conv2d"):
        _, layouts = EVERY_CHECK["layout"].layout_variant(case)  # type: ignore[misc]
        if layouts.get("input") == "channels_last":
            assert excuses.find_explanation(case, "message") is entry
            fewest = Finding("value", layouts={"weight": "offset"})
            assert excuses.find_explanation(case, "message", fewest) is None
            fewest = Finding("value", layouts={"input": "channels_last"})
            assert excuses.find_explanation(case, "message", fewest) is entry
            checked += 1
    assert checked


def test_an_entry_about_values_explains_wrong_outputs_of_other_checks() -> None:
    (entry,) = parse_entries(f"{UNPINNED}", "here")
    case = next(case for case in cases(entry.layer) if case.call.arguments.get("bias", True))
    excuses = {
        name: Excuses((entry,) if entry.is_about_values_in(name) else (), EVERY_CHECK[name])
        for name in ("layout", "state", "gradients", "errors")
    }
    output, layouts = Finding("value", "output"), {"input": "channels_last"}
    assert excuses["layout"].find_explanation(case, "message", replace(output, layouts={})) is entry
    laid_out = replace(output, layouts=layouts)
    assert excuses["layout"].find_explanation(case, "message", laid_out) is None
    assert excuses["state"].find_explanation(case, "message", output) is entry
    assert excuses["gradients"].find_explanation(case, "message", output) is entry
    gradient = Finding("gradient", "gradient of input")
    assert excuses["gradients"].find_explanation(case, "message", gradient) is None
    assert excuses["state"].find_explanation(case, "message", replace(output, law="batch")) is None
    assert excuses["errors"].find_explanation(case, "message", output) is None
    (seldom,) = parse_entries(f"{UNPINNED}at_most = 0.5\n", "here")
    assert not seldom.is_about_values_in("state")


def test_entries_of_one_reason_have_each_its_own_share() -> None:
    texts = (
        f"{UNPINNED}when = {{ bias = true }}\n",
        f"{UNPINNED}when = {{ bias = false }}\nat_most = 0.01\n",
    )
    always, seldom = parse_entries("\n".join(texts), "here")
    assert always.reason == seldom.reason
    excuses = Excuses((always, seldom))
    drawn = [case for case in cases(always.layer) if case.call.arguments.get("bias", True)]
    for case in drawn:
        excuses.count_covered(case)
        excuses.count_excused(always)
    # Any number of its cases is allowed; the other entry covers none of them.
    assert excuses.exceeded_entries() == []
    others = [case for case in cases(always.layer) if not case.call.arguments.get("bias", True)]
    for case in others:
        excuses.count_covered(case)
        excuses.count_excused(seldom)
    ((entry, failed, covered),) = excuses.exceeded_entries()
    assert entry is seldom
    assert failed == covered == len(others) > 4
    (line,) = excuses.list_excuses()
    assert line.covered == line.excused == len(drawn) + len(others)


# --- no verdict on too little ---


class Declines(Wrong):
    """torch that declines calls for which a rule gives a reason."""

    def __init__(self, rule: Callable[[Call], bool]) -> None:
        self._rule = rule

    def build(self, call: Call) -> Any:
        """torch's layer, or no layer."""
        if self._rule(call):
            raise Unsupported("not this one")
        return torch_backend.build(call)


def test_a_backend_that_declines_three_quarters_is_asked_more() -> None:
    def decline_reason(call: Call) -> bool:
        return bool(call.arguments.get("groups", 1) > 1 or call.arguments.get("dilation", 1) != 1)

    verdict = _run(Declines(decline_reason), "Conv2d", "shape")
    drawn = draw_cases("Conv2d", "float32", 100, 0)
    share = sum(decline_reason(case.call) for case in drawn) / len(drawn)
    assert share > 0.5
    assert verdict.status == "passed"
    assert verdict.examples.checked >= 100
    assert verdict.examples.drawn > 100 / (1 - share) * 0.7
    assert verdict.thin is None


@pytest.mark.parametrize("check", ["values", "support", "gradients"])
def test_a_backend_that_declines_every_drawn_call_is_asked_the_plainest(check: str) -> None:
    class Plain(Declines):
        def build(self, call: Call) -> Any:
            super().build(call)
            return SpoiledBackend("spoiled", lambda y, _: y * 1.5).build(call)

    def is_declined_as_drawn(seed: int) -> bool:
        drawn = draw_cases("Conv1d", "float32", 8, seed)
        return all(is_declined(case.call) for case in drawn)

    def is_declined(call: Call) -> bool:
        return call.arguments["in_channels"] == 1 or len(call.arguments) > 3

    seed = next(filter(is_declined_as_drawn, range(20)))
    backend = Plain(is_declined)
    verdict = Engine(backend, 8, seed).run(Item("Conv1d", check, "float32", "cpu"))
    assert verdict.status == ("failed" if check == "values" else "passed"), verdict.message
    assert verdict.examples.drawn > 8
    if check == "values":
        assert verdict.case is not None
        assert not is_declined(decode_case(verdict.case).call)


def test_a_backend_that_declines_the_plainest_calls_too_is_asked_further_ones() -> None:
    def is_declined(call: Call) -> bool:
        return call.arguments.get("groups", 1) == 1 or call.arguments.get("bias", True)

    verdict = _run(Declines(is_declined), "Conv2d", "shape", examples=3)
    drawn = draw_cases("Conv2d", "float32", 3, 0)
    assert all(is_declined(case.call) for case in drawn)
    assert verdict.status == "passed"
    assert verdict.examples.drawn > 2 * 3


def test_only_who_declines_the_plainest_and_further_calls_is_unsupported() -> None:
    verdict = _run(Declines(lambda _: True), "Linear", "values", examples=5)
    assert (verdict.status, verdict.examples.drawn) == ("unsupported", 5 * (MAX_ROUNDS + 1))

    verdict = _run(Declines(lambda _: True), "Linear", "values", examples=40)
    assert MAX_DECLINED <= verdict.examples.drawn < MAX_DECLINED + 40
    assert verdict.status == "unsupported"

    class WithoutGradients(Declines):
        def build(self, call: Call) -> Any:
            layer = super().build(call)

            class Layer:
                put, get = layer.put, layer.get
                dtype, shape = layer.dtype, layer.shape

                def __call__(self, input: Any) -> Any:
                    return layer(input)

            return Layer()

    verdict = _run(WithoutGradients(lambda _: False), "Linear", "gradients", examples=5)
    # What the backend lacks in every call needs no further calls.
    assert (verdict.status, verdict.examples.drawn) == ("unsupported", 5)


def test_a_verdict_on_two_structures_is_thin() -> None:
    obligatory = {"in_features", "out_features"}

    def decline_reason(call: Call) -> bool:
        sizes = call.arguments.get("in_features"), call.arguments.get("out_features")
        return set(call.arguments) != obligatory or max(sizes) > 1

    class Narrow(Declines):
        def build(self, call: Call) -> Any:
            """torch's layer, for inputs of one element."""
            layer = super().build(call)

            class Layer:
                def __getattr__(self, name: str) -> Any:
                    return getattr(layer, name)

                def __call__(self, input: Any) -> Any:
                    if tuple(input.shape) not in ((1,), (1, 1)):
                        raise Unsupported("input of another shape")
                    return layer(input)

            return Layer()

    verdict = _run(Narrow(decline_reason), "Linear", "shape", examples=200)
    assert verdict.status == "passed"
    required = min_structures(draw_cases("Linear", "float32", 200, 0))
    assert verdict.thin is not None
    assert verdict.thin.endswith(f" of {required} structures (declined)")
    assert verdict.examples.drawn <= MAX_ROUNDS * 200


def test_few_structures_reach_each_value_of_each_argument() -> None:
    from conformance.generation.argument_columns import argument_texts

    for layer in ("Conv2d", "LSTM"):
        many = draw_cases(layer, "float32", 200, 0)
        few = draw_cases(layer, "float32", 200, 0, values=10)
        assert count_structures(few) < 40
        assert len(few) >= 200
        pairs = [
            {
                pair
                for case in sample
                if "tile" not in case.labels
                for pair in argument_texts(case).items()
            }
            for sample in (many, few)
        ]
        assert pairs[0] == pairs[1]


# --- every cause ---


def test_every_cause_of_an_item_is_told() -> None:
    def fail_in_two_ways(call: Call, y: Any) -> Any:
        a = call.arguments
        if a.get("bias") is False:
            return y + 1
        return y * 2 if a.get("groups", 1) > 1 else y

    verdict = _run(Wrong(fail_in_two_ways), "Conv2d", "values", examples=200)
    assert verdict.status == "failed"
    assert len(verdict.others) == 1
    needed_arguments = [
        {need.argument for need in cause.needs if not need.fails}
        for cause in (verdict, *verdict.others)
    ]
    assert {name for names in needed_arguments for name in names} >= {"bias", "groups"}
    assert needed_arguments[0] != needed_arguments[1]
    assert "another cause: " in str(verdict.message)
    assert all(cause.reference == "torch: differs" for cause in (verdict, *verdict.others))


def test_every_broken_constraint_is_told() -> None:
    class Accepts(Wrong):
        def build(self, call: Call) -> Any:
            """A layer that takes anything."""
            return torch_backend.build(
                Call("Identity", {}, {}, call.dtype, call.device, call.training)
            )

    verdict = _run(Accepts(lambda call, y: y), "Linear", "errors")
    documented = {
        case.labels["broken"]
        for case in draw_cases("Linear", "float32", 100, 0, invalid=True)
        if find_quote("Linear", case.labels["broken"], case.labels["argument"])
        and len(case.inputs) == 1
    }
    constraints = {cause.message.split("\n")[1].partition(" (")[0] for cause in verdict.others}
    first_constraint = str(verdict.message).split("\n")[1].partition(" (")[0]
    assert len(documented) > 1
    assert constraints | {first_constraint} == documented


def test_shipped_entries_of_torch_are_inherited_by_name() -> None:
    own, inherited = shipped_entries("torch"), load_entries("mine", base="torch")
    assert len(inherited) == len(own)
    assert all(entry.base == "torch" for entry in inherited)
    assert all(not entry.base for entry in load_entries("torch", base="torch"))


def test_an_entry_of_its_own_excuses_before_an_inherited_one() -> None:
    functions = SimpleNamespace(relu=lambda x, inplace=False: torch.relu(x) + 1)
    backend = ModuleBackend("mine", functional=functions, base="torch")
    layer, check = "functional.relu", "values"
    own = KnownFailure(layer, check, "wrong value: one too much")
    inherited = replace(own, reason="wrong value: of torch", base="torch")
    item = Item(layer, check, "float32", "cpu")
    assert Engine(backend, 20, 0, [inherited, own]).run(item).status == "known"
    assert Engine(backend, 20, 0, [inherited]).run(item).status == "failed"


def test_calls_accepted_on_purpose_are_counted_though_the_process_was_lost() -> None:
    other_verdict = Verdict(
        "i", "Linear", "errors", "float32", "cpu", "passed", accepted={"scalar": 2}
    )
    assert verdicts.with_lost_cases(
        other_verdict, [Cause("lost", status="crashed")], ["ordinary"]
    ).accepted == {"scalar": 2}


@pytest.mark.parametrize("kind", ["value", "internal", "stale"])
def test_torch_is_not_blamed_for_the_suites_own_faults(kind: str) -> None:
    failure = Finding(kind)  # type: ignore[arg-type]
    verdict = SimpleNamespace(id="x", status="crashed", failure=failure, reference=None)
    identity = SimpleNamespace(backend="torch", options={})
    blamed = list(_torch_report_lines(SimpleNamespace(identity=identity, verdicts=[verdict])))
    assert bool(blamed) == (kind == "value")


def test_torch_is_not_blamed_for_code_that_does_not_call_it() -> None:
    verdict = SimpleNamespace(
        id="x", status="failed", failure=Finding("value"), reference="torch: same", excuses=()
    )
    identity = SimpleNamespace(backend="mine", options={})
    run = SimpleNamespace(identity=identity, verdicts=[verdict])
    assert next(_torch_report_lines(run)).text == "torch does the same here:"
    verdict.excuses = (Excuse("known", base="torch"),)
    assert next(_torch_report_lines(run)).text.startswith("torch itself is wrong here")


class AtOneNumber(torch.nn.SiLU):
    """Wrong at a single number of bfloat16 that hardly any case draws."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.where(input == -17.375, 1.0, super().forward(input))


@pytest.mark.parametrize("check", ["values", "gradients"])
@pytest.mark.usefixtures("searched")
def test_every_number_of_a_half_precision_is_looked_at(check: str) -> None:
    """The one failing number among 65,280 is found and reported alone."""
    AtOneNumber.__name__ = AtOneNumber.__qualname__ = "SiLU"
    backend = ModuleBackend("one number", nn=SimpleNamespace(SiLU=AtOneNumber))
    verdict = Engine(backend, 40, 0).run(Item("SiLU", check, "bfloat16", "cpu"))
    assert verdict.status == "failed"
    assert verdict.comparisons > 65_000 or verdict.examples.failed == 1
    case = decode_case(verdict.case)
    assert case.inputs[0] is not None
    assert case.inputs[0].tolist() == [-17.375]
    faithful = Engine(torch_backend, 40, 0).run(Item("SiLU", check, "bfloat16", "cpu"))
    assert faithful.status == "passed"
    assert faithful.comparisons > 65_000


@pytest.mark.parametrize(("in_every_call", "asks_further"), [(0, True), (1, True), (2, False)])
def test_most_declines_for_what_is_lacking_in_every_call_end_the_rounds(
    in_every_call: int, asks_further: bool
) -> None:
    """If one decline for another reason is enough for further rounds, the last case fails."""
    log = Log(cases("Linear")[:3])
    for index in range(3):
        log.record_declined(index, "layout='sliced'", in_every_call=index < in_every_call)
    assert log.is_declined_as_drawn() is asks_further
