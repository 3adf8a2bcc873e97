"""Rival programs and experiments of the explorer: what they answer, what a page carries of them, what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from refusing import refused
from torch import nn

import probe
from probe.explorer import Explorer, ExplorerEdit, ExplorerExperiment, ExplorerNetwork, ExplorerProgram
from probe.methods.abstraction.programs import run_program
from probe.report import Page, Section

BITS = {"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 0.5], "c": [1.0, 1.0, 1.0]}
FLAT = dict.fromkeys("abc", 0)
BS = ExplorerProgram("bs", 0, {"a": 0, "b": 1, "c": 0}, "count each b")
HOSTILE = "</script><img src=x onerror=alert(1)>"


def data(*networks: ExplorerNetwork, **options: Any) -> dict[str, Any]:
    """Return what the script reads of an explorer over three symbols."""
    made = Explorer(networks, options.pop("example", "abca"), options.pop("alphabet", BITS), **options)
    assert made.data is not None
    return json.loads(made.data)


def test_a_program_is_a_number_that_each_symbol_changes() -> None:
    """An offset alone adds; a pair multiplies first; the answer follows the last symbol, at any length."""
    counted = ExplorerProgram("counted", 2, {"0": 0, "1": 1})
    assert [counted(text) for text in ("", "0", "0110")] == [2.0, 2.0, 4.0]
    parity = ExplorerProgram("parity", 0, {"0": 0, "1": (-1, 1)})
    assert [parity("1" * length) for length in range(5)] == [0.0, 1.0, 0.0, 1.0, 0.0]
    affine = ExplorerProgram("affine", 1, {"x": (3, 0.5), "y": (0, 7)})
    assert affine("xx") == 3 * 3.5 + 0.5
    assert affine("xyx") == 21.5


def test_a_program_reads_what_networks_read() -> None:
    """Of whole numbers it gives what it gives of the symbols that write them."""
    counted = ExplorerProgram("counted", 0, {"0": 0, "1": 1})
    x = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert run_program("counted", counted, x).tolist() == [2.0, 1.0]


def test_what_a_program_does_not_read_is_said() -> None:
    """The symbols that it reads are listed."""
    with refused():
        _ = BS("abd")


def test_a_program_is_frozen_and_keeps_what_it_was_given() -> None:
    """It is hashed and compared as a value, and a change of the mapping that it was made of changes nothing."""
    steps: dict[str, Any] = {"a": 0, "b": (2, 1)}
    made = ExplorerProgram("p", 1, steps)
    same = ExplorerProgram("p", 1.0, {"a": (1, 0), "b": (2.0, 1.0)})
    steps["a"] = 5
    assert made.steps == {"a": (1.0, 0.0), "b": (2.0, 1.0)}
    assert made == same
    assert hash(made) == hash(same)


WRONG_PROGRAMS: list[dict[str, Any]] = [
    {"name": " "},
    {"steps": {}},
    {"steps": {"ab": 1}},
    {"start": float("nan")},
    {"start": True},
    {"steps": {"a": float("inf")}},
    {"steps": {"a": (1, 2, 3)}},
]


@pytest.mark.parametrize("change", WRONG_PROGRAMS)
def test_what_is_no_program_is_refused(change: dict[str, Any]) -> None:
    """The message says what was given and what is allowed."""
    with refused():
        _ = ExplorerProgram(**{"name": "p", "start": 0, "steps": {"a": 1}, **change})


def test_a_network_has_the_explorers_programs_and_its_own(tagger: nn.Module) -> None:
    """One of the same name takes the other's place among them, further ones come after them."""
    fitted = ExplorerProgram("bs", 0.5, {"a": -0.25, "b": 1, "c": 0}, "with a drift")
    further = ExplorerProgram("further", 0, FLAT)
    last = ExplorerProgram("last", 0, FLAT)
    plain, own = data(
        ExplorerNetwork("plain", tagger),
        ExplorerNetwork("own", tagger, programs=[further, fitted]),
        programs=[BS, last],
    )["networks"]
    assert [program["name"] for program in plain["programs"]] == ["bs", "last"]
    assert [program["name"] for program in own["programs"]] == ["bs", "last", "further"]
    assert plain["programs"][0]["steps"] == {"a": [1, 0], "b": [1, 1], "c": [1, 0]}
    assert own["programs"][0] == {
        "name": "bs",
        "role": "with a drift",
        "start": 0.5,
        "steps": {"a": [1, -0.25], "b": [1, 1], "c": [1, 0]},
    }


def test_a_program_stands_beside_no_network_that_says_no_class(tagger: nn.Module) -> None:
    """Without an alphabet, without a head, or where scores are no classes': what lacks is said, and what to do."""
    for network in (ExplorerNetwork("n", nn.GRU(3, 4)), ExplorerNetwork("n", tagger, softmax=False)):
        with refused():
            _ = data(network, programs=[BS])
    with refused():
        _ = data(ExplorerNetwork("n", tagger), programs=[BS], alphabet=None, example=[[0.0, 1.0, 2.0]])


WRONG_LISTS: list[list[Any]] = [
    [BS, BS],
    [ExplorerProgram("p", 0, {"a": 0, "b": 0})],
    [ExplorerProgram("p", 0, FLAT | {"d": 0})],
]


@pytest.mark.parametrize("programs", WRONG_LISTS)
def test_programs_must_fit_the_alphabet(tagger: nn.Module, programs: list[Any]) -> None:
    """Given to the explorer or to one network, the same is refused."""
    with refused():
        _ = data(ExplorerNetwork("n", tagger), programs=programs)
    with refused():
        _ = data(ExplorerNetwork("n", tagger, programs=programs))


def test_an_experiment_is_what_the_form_would_hold(tagger: nn.Module) -> None:
    """Sequences as typed and edits as fields, their steps from 1; what is not given is the explorer's own."""
    network, gru = ExplorerNetwork("n", tagger), ExplorerNetwork("gru", nn.GRU(3, 4))
    edits = [
        ExplorerEdit("clamp", "forget_gate", 1),
        ExplorerEdit("steer", "cell_state", -0.5, units=[0, -1], steps=[2, -1], layer="lstm[0]"),
        ExplorerEdit("resample", "hidden_state", 3, steps=[0]),
    ]
    plain, edited = data(
        network,
        gru,
        experiments=[
            ExplorerExperiment("longer", "abcabc", network="gru"),
            ExplorerExperiment("edits", second=["bbbb", "cccc"], edits=edits),
        ],
    )["experiments"]
    assert plain == {"label": "longer", "state": {"network": 1, "x": "abcabc", "view": "after", "edits": []}}
    assert edited["state"] | {"edits": []} == {
        "network": 0,
        "x": "abca",
        "y": "bbbb cccc",
        "view": "after",
        "edits": [],
    }
    first, second, third = edited["state"]["edits"]
    assert first == {
        "kind": "clamp",
        "layer": 0,
        "signal": "forget_gate",
        "units": "all",
        "steps": "all",
        "value": "1",
    }
    assert [second[name] for name in ("units", "steps", "value")] == ["0 -1", "3 -1", "-0.5"]
    assert third["value"] == "3"


def patches(*signals: str, **site: Any) -> list[ExplorerEdit]:
    """Return a patch of each signal at the same site."""
    return [ExplorerEdit("patch", signal, **site) for signal in signals]


ALL, CELL, HIDDEN = ("cell_state", "hidden_state"), ("cell_state",), ("hidden_state",)


@pytest.mark.parametrize(
    ("edits", "put"),
    [
        (patches(*ALL, steps=[1]), ("all", 1, 1)),
        (patches(*reversed(ALL), steps=[-1]), ("all", 2, 3)),
        (patches(*CELL, steps=[-2]), ("c", 1, 2)),
        (patches(*HIDDEN, steps=[0]), ("h", 0, 0)),
        (patches(*CELL, steps=[2], units=[3]), ("u3", 2, 2)),
        (patches(*CELL, steps=[2], units=[-1]), ("u4", 2, 2)),
    ],
)
def test_a_memory_that_is_put_in_stands_in_the_handle(
    tagger: nn.Module, edits: list[ExplorerEdit], put: tuple[str, int, int]
) -> None:
    """At one step, of a sequence of three into one of four: the form of edits stays empty."""
    tried = ExplorerExperiment("e", second=["bbc"], edits=edits)
    (found,) = data(ExplorerNetwork("n", tagger), experiments=[tried])["experiments"]
    assert (found["state"]["put"], found["state"]["from"], found["state"]["at"]) == put
    assert (found["state"]["y"], found["state"]["edits"]) == ("bbc", [])


def test_the_one_state_of_a_gru_is_all_that_it_keeps() -> None:
    """The handle calls it so; a stack of two has another memory in each layer, and no handle for one of them."""
    tried = ExplorerExperiment("e", second=["bbb"], edits=patches(*HIDDEN, steps=[1]))
    (found,) = data(ExplorerNetwork("n", nn.GRU(3, 4)), experiments=[tried])["experiments"]
    assert (found["state"]["put"], found["state"]["edits"]) == ("all", [])
    (found,) = data(ExplorerNetwork("n", nn.GRU(3, 4, num_layers=2)), experiments=[tried])["experiments"]
    assert ("put" in found["state"], len(found["state"]["edits"])) == (False, 1)


@pytest.mark.parametrize(
    "edits",
    [
        patches(*CELL, steps=[0, 1]),
        patches(*CELL),
        patches(*CELL, steps=[1], units=[0, 1]),
        patches(*HIDDEN, steps=[1], units=[0]),
        patches("forget_gate", steps=[1]),
        [*patches(*CELL, steps=[1]), *patches(*HIDDEN, steps=[2])],
        [*patches(*CELL, steps=[1]), ExplorerEdit("clamp", "hidden_state", steps=[1])],
        [ExplorerEdit("mean", "cell_state", steps=[1])],
    ],
)
def test_what_the_handle_cannot_say_stays_an_edit(tagger: nn.Module, edits: list[ExplorerEdit]) -> None:
    """Several steps or units, a gate, a mean, or an edit beside it: all of them fill the form."""
    tried = ExplorerExperiment("e", second=["bbbb"], edits=edits)
    (found,) = data(ExplorerNetwork("n", tagger), experiments=[tried])["experiments"]
    assert "put" not in found["state"]
    assert len(found["state"]["edits"]) == len(edits)


def test_an_experiment_may_be_a_table_of_numbers() -> None:
    """Without an alphabet sequences are rows of numbers, and a layer is found by its name."""
    network = ExplorerNetwork("n", nn.RNN(2, 3, num_layers=2))
    edit = ExplorerEdit("patch", "hidden_state", steps=[0], layer="[1]")
    tried = ExplorerExperiment("e", [[0.5, 1.0], [2.0, 3.0]], second=[[[1.0, 2.0]]], edits=[edit])
    (found,) = data(network, alphabet=None, example=[[0.0, 0.0]], experiments=[tried])["experiments"]
    assert (found["state"]["x"], found["state"]["y"]) == ("0.5 1.0;2.0 3.0", "1.0 2.0")
    assert found["state"]["edits"][0]["layer"] == 1


def test_sequences_stand_apart_by_what_is_no_symbol(tagger: nn.Module) -> None:
    """A comma where the space is a symbol; where both are, only one sequence can be given."""
    network, two = ExplorerNetwork("n", tagger), ExplorerExperiment("e", second=["a a", "b b"])
    spaced = data(network, alphabet={**BITS, " ": BITS["c"]}, experiments=[two])
    assert spaced["experiments"][0]["state"]["y"] == "a a,b b"
    both = {**BITS, " ": BITS["c"], ",": BITS["c"]}
    with refused():
        _ = data(network, alphabet=both, experiments=[two])
    one = data(network, alphabet=both, experiments=[ExplorerExperiment("e", second="a a")])
    assert one["experiments"][0]["state"]["y"] == "a a"


def test_the_edit_of_an_experiment_is_that_of_the_library(tagger: nn.Module) -> None:
    """Each kind equals the edit that the function of its name makes."""
    x = torch.tensor([[BITS[symbol] for symbol in text] for text in ("abca", "bbbb")])
    source = probe.record(tagger, x, signals=probe.Signal)
    site: dict[str, Any] = {"units": [1, 2], "steps": [0, 3]}
    made = {
        kind: ExplorerEdit(kind, "cell_state", 2, **site).made("lstm[0]", 5, source)
        for kind in ("clamp", "steer", "ablate", "mean", "resample", "patch")
    }
    site["layer"] = "lstm[0]"
    assert made == {
        "clamp": probe.clamp("cell_state", 2.0, **site),
        "steer": probe.steer("cell_state", [2.0, 2.0], **site),
        "ablate": probe.ablate("cell_state", **site),
        "mean": probe.ablate("cell_state", kind="mean", reference=source, **site),
        "resample": probe.ablate("cell_state", kind="resample", reference=source, seed=2, **site),
        "patch": probe.patch("cell_state", source, source_rows=[0], **site),
    }


def edited(*given: Any, **options: Any) -> dict[str, Any]:
    """Return options of an experiment with one edit."""
    return {"edits": [ExplorerEdit(*given, **options)]}


WRONG_EXPERIMENTS: list[dict[str, Any]] = [
    {"label": " "},
    {"sequence": ""},
    {"second": ["ab", ""]},
    {"sequence": "abd"},
    {"second": ["ab", "abc"]},
    {"network": "m"},
    edited("clamp", "forgotten_gate"),
    edited("clamp", "update_gate"),
    edited("clamp", "forget_gate", units=[5]),
    edited("clamp", "forget_gate", steps=[4]),
    edited("clamp", "forget_gate", layer="gru"),
    edited("patch", "cell_state"),
]


@pytest.mark.parametrize("change", WRONG_EXPERIMENTS)
def test_an_experiment_that_cannot_be_run_is_refused(tagger: nn.Module, change: dict[str, Any]) -> None:
    """It is run when the explorer is made: no button of a page leads to an error."""
    with refused():
        _ = data(ExplorerNetwork("n", tagger), experiments=[ExplorerExperiment(**{"label": "try", **change})])


def test_there_are_six_kinds_of_edits() -> None:
    """Another one is refused with their names."""
    with refused():
        _ = ExplorerEdit("zero", "cell_state")


@pytest.mark.parametrize(("kind", "value"), [("clamp", float("nan")), ("resample", 0.5), ("resample", -1)])
def test_a_value_is_a_number_and_a_seed_a_whole_one(kind: str, value: float) -> None:
    """What the form would not take is refused here."""
    with refused():
        _ = ExplorerEdit(kind, "cell_state", value)


def test_hostile_names_of_programs_and_experiments_stay_text(tagger: nn.Module) -> None:
    """They end no script, and a page with them is the same twice."""
    hostile = ExplorerProgram(HOSTILE, 0, FLAT, HOSTILE)

    def text() -> str:
        made = Explorer(
            [ExplorerNetwork("n", tagger)],
            "abca",
            BITS,
            programs=[hostile],
            experiments=[ExplorerExperiment(HOSTILE)],
        )
        return Page("t", "l", [Section("s", [made], "s")]).render()

    assert "<img" not in text()
    assert (
        json.loads(text().split('id="explorer-data">')[1].split("</script>")[0])["experiments"][0]["label"] == HOSTILE
    )
    assert text() == text()
