"""Rival programs and experiments of the explorer: what they answer, what a page carries of them, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from bodies import Model
from pages_read import BITS, carried
from refusing import refused
from torch import nn

from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.methods.abstraction.programs import run_program

FLAT = dict.fromkeys("abc", 0)
BS = ExplorerProgram("bs", 0, {"a": 0, "b": 1, "c": 0}, "count each b")
SPACED = {**BITS, " ": BITS["c"]}


def headed() -> Model:
    """Return an LSTM with a head on its last hidden state."""
    parts = {"lstm": nn.LSTM(3, 5, batch_first=True), "head": nn.Linear(5, 3)}
    return Model(lambda m, x: m.head(m.lstm(x)[0][:, -1]), **parts)


def data(*networks: ExplorerNetwork, **options: Any) -> dict[str, Any]:
    """Return what the script reads of an explorer over three symbols, by default of one LSTM."""
    given = networks or (ExplorerNetwork("n", headed()),)
    return carried(Explorer(given, options.pop("example", "abca"), options.pop("alphabet", BITS), **options))


def tried(model: nn.Module | None = None, **changed: Any) -> dict[str, Any]:
    """Return what a page holds of one experiment."""
    network = ExplorerNetwork("n", model or headed())
    options = {name: changed.pop(name) for name in ("alphabet", "example") if name in changed}
    given: dict[str, Any] = {"label": "try"} | changed
    return data(network, experiments=[ExplorerExperiment(**given)], **options)["experiments"][0]["state"]


def test_a_program_is_a_number_that_each_symbol_changes() -> None:
    """An offset alone adds; a pair multiplies first; what it was made of may change, and it does not."""
    cases: list[tuple[float, Any, dict[str, float]]] = [
        (2, {"0": 0, "1": 1}, {"": 2, "0": 2, "0110": 4}),
        (0, {"0": 0, "1": (-1, 1)}, {"1": 1, "11": 0, "111": 1, "1111": 0}),
        (1, {"x": (3, 0.5), "y": (0, 7)}, {"xx": 11, "xyx": 21.5}),
    ]
    for start, steps, answers in cases:
        made, same = ExplorerProgram("p", start, steps), ExplorerProgram("p", float(start), dict(steps))
        assert (made, hash(made)) == (same, hash(same))
        steps.clear()
        assert {text: made(text) for text in answers} == answers
    # Of whole numbers it gives what it gives of the symbols that write them.
    counted, x = ExplorerProgram("c", 0, {"0": 0, "1": 1}), torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert run_program("counted", counted, x).tolist() == [2.0, 1.0]


def test_a_network_has_the_explorers_programs_and_its_own(tagger: nn.Module) -> None:
    """One of the same name takes the other's place among them, further ones come after them."""
    fitted = ExplorerProgram("bs", 0.5, {"a": -0.25, "b": 1, "c": 0}, "with a drift")
    further, last = (ExplorerProgram(name, 0, FLAT) for name in ("further", "last"))
    networks = [ExplorerNetwork("plain", tagger), ExplorerNetwork("own", tagger, programs=[further, fitted])]
    plain, own = (network["programs"] for network in data(*networks, programs=[BS, last])["networks"])
    assert [program["name"] for program in plain] == ["bs", "last"]
    assert [program["name"] for program in own] == ["bs", "last", "further"]
    assert plain[0]["steps"] == {"a": [1, 0], "b": [1, 1], "c": [1, 0]}
    steps = {"a": [1, -0.25], "b": [1, 1], "c": [1, 0]}
    assert own[0] == {"name": "bs", "role": "with a drift", "start": 0.5, "steps": steps}


def test_an_experiment_is_what_the_form_would_hold(tagger: nn.Module) -> None:
    """Sequences as typed and edits as fields, their steps from 1; what is not given is the explorer's own."""
    edits = [
        ExplorerEdit("clamp", "forget_gate", 1),
        ExplorerEdit("steer", "cell_state", -0.5, units=[0, -1], steps=[2, -1], layer="lstm[0]"),
        ExplorerEdit("resample", "hidden_state", 3, steps=[0]),
    ]
    chosen = [ExplorerNetwork("n", tagger), ExplorerNetwork("gru", nn.GRU(3, 4))]
    longer = ExplorerExperiment("longer", "abcabc", network="gru")
    plain, edited = data(*chosen, experiments=[longer, ExplorerExperiment("e", second=["bb", "cc"], edits=edits)])[
        "experiments"
    ]
    assert plain == {"label": "longer", "state": {"network": 1, "x": "abcabc", "view": "after", "edits": []}}
    first, second, third = edited["state"].pop("edits")
    assert edited["state"] == {"network": 0, "x": "abca", "y": "bb cc", "view": "after"}
    site = {"layer": 0, "units": "all", "steps": "all"}
    assert first == {"kind": "clamp", "signal": "forget_gate", "value": "1"} | site
    assert [second[name] for name in ("units", "steps", "value")] == ["0 -1", "3 -1", "-0.5"]
    assert third["value"] == "3"


def patches(*signals: str, **site: Any) -> list[ExplorerEdit]:
    """Return a patch of each signal at the same site."""
    return [ExplorerEdit("patch", signal, **site) for signal in signals]


ALL, CELL, HIDDEN = ("cell_state", "hidden_state"), ("cell_state",), ("hidden_state",)


def test_a_memory_that_is_put_in_at_one_step_stands_in_the_handle() -> None:
    """Of a sequence of three into one of four, and the form stays empty; what the handle cannot say stays an edit."""
    cases: list[tuple[nn.Module | None, list[ExplorerEdit], tuple[str, int, int] | None]] = [
        (None, patches(*ALL, steps=[1]), ("all", 1, 1)),
        (None, patches(*reversed(ALL), steps=[-1]), ("all", 2, 3)),
        (None, patches(*CELL, steps=[-2]), ("c", 1, 2)),
        (None, patches(*HIDDEN, steps=[0]), ("h", 0, 0)),
        (None, patches(*CELL, steps=[2], units=[3]), ("u3", 2, 2)),
        (None, patches(*CELL, steps=[2], units=[-1]), ("u4", 2, 2)),
        (nn.GRU(3, 4), patches(*HIDDEN, steps=[1]), ("all", 1, 1)),
        (nn.GRU(3, 4, num_layers=2), patches(*HIDDEN, steps=[1]), None),
        (None, patches(*CELL, steps=[0, 1]), None),
        (None, patches(*CELL, steps=[1], units=[0, 1]), None),
        (None, patches(*HIDDEN, steps=[1], units=[0]), None),
        (None, patches("forget_gate", steps=[1]), None),
        (None, [*patches(*CELL, steps=[1]), *patches(*HIDDEN, steps=[2])], None),
        (None, [*patches(*CELL, steps=[1]), ExplorerEdit("clamp", "hidden_state", steps=[1])], None),
        (None, [ExplorerEdit("mean", "cell_state", steps=[1])], None),
    ]
    for model, edits, put in cases:
        found = tried(model, second=["bbc"], edits=edits)
        assert (found["y"], len(found["edits"])) == ("bbc", 0 if put else len(edits))
        assert (found.get("put"), found.get("from"), found.get("at")) == (put or (None, None, None))


def test_sequences_may_be_numbers_or_stand_apart_by_what_is_no_symbol() -> None:
    """A comma where the space is a symbol; where both are, one can be given; a layer is found by its name."""
    edit = ExplorerEdit("patch", "hidden_state", steps=[0], layer="[1]")
    rows = {"alphabet": None, "example": [[0.0, 0.0]], "sequence": [[0.5, 1.0], [2.0, 3.0]], "second": [[[1.0, 2.0]]]}
    found = tried(nn.RNN(2, 3, num_layers=2), edits=[edit], **rows)
    assert (found["x"], found["y"], found["edits"][0]["layer"]) == ("0.5 1.0;2.0 3.0", "1.0 2.0", 1)
    assert tried(alphabet=SPACED, second=["a a", "b b"])["y"] == "a a,b b"
    assert tried(alphabet={**SPACED, ",": BITS["c"]}, second="a a")["y"] == "a a"


def program(**changed: Any) -> ExplorerProgram:
    """Return a program that is right but for what is given."""
    return ExplorerProgram(**({"name": "p", "start": 0, "steps": {"a": 1}} | changed))


def edited(*given: Any, **options: Any) -> dict[str, Any]:
    """Return what the page holds of an experiment with one edit."""
    return tried(edits=[ExplorerEdit(*given, **options)])


WRONG: list[Callable[[], object]] = [
    lambda: BS("abd"),
    lambda: program(name=" "),
    lambda: program(steps={}),
    lambda: program(steps={"ab": 1}),
    lambda: program(start=float("nan")),
    lambda: program(start=True),
    lambda: program(steps={"a": float("inf")}),
    lambda: program(steps={"a": (1, 2, 3)}),
    lambda: data(ExplorerNetwork("n", nn.GRU(3, 4)), programs=[BS]),
    lambda: data(ExplorerNetwork("n", headed(), softmax=False), programs=[BS]),
    lambda: data(programs=[BS], alphabet=None, example=[[0.0, 1.0, 2.0]]),
    lambda: data(programs=[BS, BS]),
    lambda: data(programs=[ExplorerProgram("p", 0, {"a": 0, "b": 0})]),
    lambda: data(programs=[ExplorerProgram("p", 0, FLAT | {"d": 0})]),
    lambda: data(ExplorerNetwork("n", headed(), programs=[ExplorerProgram("p", 0, {"a": 0, "b": 0})])),
    lambda: tried(label=" "),
    lambda: tried(sequence=""),
    lambda: tried(second=["ab", ""]),
    lambda: tried(sequence="abd"),
    lambda: tried(second=["ab", "abc"]),
    lambda: tried(network="m"),
    lambda: tried(alphabet={**SPACED, ",": BITS["c"]}, second=["a a", "b b"]),
    lambda: edited("clamp", "forgotten_gate"),
    lambda: edited("clamp", "update_gate"),
    lambda: edited("clamp", "forget_gate", units=[5]),
    lambda: edited("clamp", "forget_gate", steps=[4]),
    lambda: edited("clamp", "forget_gate", layer="gru"),
    lambda: edited("patch", "cell_state"),
    lambda: edited("zero", "cell_state"),
    lambda: edited("clamp", "cell_state", float("nan")),
    lambda: edited("resample", "cell_state", 0.5),
    lambda: edited("resample", "cell_state", -1),
]


def test_what_is_no_program_or_cannot_be_run_is_refused() -> None:
    """It is run when the explorer is made: no button of a page leads to an error."""
    for make in WRONG:
        with refused():
            _ = make()
