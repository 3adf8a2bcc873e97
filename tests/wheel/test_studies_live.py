"""A study's concept and programs beside its network in the page: each as a number that every symbol changes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from known_studies import (
    SYMBOLS,
    brackets,
    depth,
    head_of_unit_0,
    language_model,
    one_hot,
    quoted,
    texts,
)
from torch import nn

from probe import Readout, Study
from probe.explorer import ExplorerProgram
from probe.studies.pages import live_network
from probe.studies.pages.live_programs import written
from probe.studies.prepare import prepare


def shown(study: Study) -> dict[str, Any]:
    """Return what the explorer of a study's page is given."""
    explorer = live_network.explorer(prepare(study)[0])
    assert not isinstance(explorer, str), explorer
    assert explorer.data is not None
    return json.loads(explorer.data)


def test_random_weights_with_a_fitted_head_have_the_colour_of_their_role() -> None:
    """Not the blue of trained networks: the legend and the panel say what the figures say."""
    (subject,) = prepare(of_brackets(concepts={"depth": depth}))[:1]
    control = dataclasses.replace(subject, network=dataclasses.replace(subject.network, role="fitted head"))
    explorer = live_network.explorer(subject, [control])
    assert not isinstance(explorer, str), explorer
    assert explorer.data is not None
    looks = [(one["look"], one["legend"]) for one in json.loads(explorer.data)["networks"]]
    assert looks == [("trained", "trained"), ("fitted head", "untrained weights, head fitted")]


def programs(data: dict[str, Any]) -> dict[str, ExplorerProgram]:
    """Return the programs beside the network, by name."""
    (network,) = data["networks"]
    return {one["name"]: ExplorerProgram(one["name"], one["start"], one["steps"]) for one in network["programs"]}


def of_brackets(**given: Any) -> Study:
    """Return a study of brackets with the author's symbols."""
    x, lengths = brackets(60)
    torch.manual_seed(0)
    gru, head = nn.GRU(2, 6, batch_first=True), nn.Linear(6, 4)
    return Study(gru, x, lengths=lengths, symbols="()", readout=Readout("depth", function=head), **given)


def opened(sequence: tuple) -> int:
    """Return how many brackets were opened."""
    return sum(step[0] for step in sequence)


def halves(sequence: tuple) -> int:
    """Return what no number that each symbol changes can follow."""
    return len(sequence) // 2


def sign(x: np.ndarray) -> np.ndarray:
    """Return twice the difference of the two features of each step."""
    return 2 * (x[:, 0] - x[:, 1])


def fails(sequence: tuple) -> int:
    """Answer whole sequences alone."""
    return sequence[5][0]


def test_the_concept_and_the_programs_stand_beside_the_network() -> None:
    """In the author's symbols, on what the reader types as well; a program that cannot be written is left out."""
    given = {"opened": opened, "halves": halves, "fails": fails, "depth": opened}
    data = shown(of_brackets(concepts={"depth": depth}, programs=given))
    assert data["truth"] == "depth"
    found = programs(data)
    assert list(found) == ["depth", "opened"]
    for text in ("(", "(()", "))((", "()" * 20 + "((("):
        assert found["depth"](text) == text.count("(") - text.count(")")
        assert found["opened"](text) == text.count("(")


def test_what_is_right_is_known_for_a_category_of_a_text() -> None:
    """A symbol that sets: as often as it comes, and after any other; a logit is an answer of two classes."""
    weight, bias = head_of_unit_0()
    readout = Readout("quoted", weight=weight, bias=bias, kind="logit")
    model = language_model()
    data = shown(Study(model, one_hot(texts(60)), {"quoted": quoted}, readout=readout, symbols=SYMBOLS))
    (program,) = programs(data).values()
    assert [program(text) for text in ("a b", "a«", "««b", "««b»", "»«")] == [0, 1, 1, 0, 1]
    (network,) = data["networks"]
    assert (data["truth"], data["classes"]) == ("quoted", ["0", "1"])
    assert (network["scores"], network["softmax"]) == (2, True)


def test_values_are_classes_by_their_place() -> None:
    """Where the readout answers -2, 0 and 2, the class of 0 is the second one."""
    x = np.random.default_rng(0).integers(0, 2, (60, 7, 2)).astype(np.float32)
    torch.manual_seed(0)
    readout = Readout("sign", function=nn.Linear(6, 3), answers=[-2, 0, 2])
    study = Study(nn.GRU(2, 6, batch_first=True), x, {"sign": sign}, readout=readout)
    data = shown(study)
    (program,) = programs(data).values()
    alphabet = data["networks"][0]["alphabet"]
    for symbol, (first, second) in alphabet.items():
        assert program(symbol) == 1 + first - second
    assert data["classes"] == ["-2", "0", "2"]


def test_what_no_program_gives_has_no_truth() -> None:
    """A count that stops at three, and a network without a readout: nothing is called wrong."""
    stops = shown(of_brackets(concepts={"depth": lambda x: np.minimum(np.cumsum(x[:, 0]), 3)}))
    assert (stops["truth"], programs(stops)) == ("", {})
    without = shown(Study(nn.GRU(2, 6, batch_first=True), brackets(60)[0], {"depth": depth}))
    assert without["truth"] == ""


@pytest.mark.parametrize(
    ("known", "steps", "start"),
    [
        ([("1101", [1, 0, 0, 1]), ("01", [0, 1])], {"0": (1, 0), "1": (-1, 1)}, 0),
        ([("aab", [3.5, 4.0, 8.0]), ("ba", [6.0, 6.5]), ("bb", [6.0, 12.0])], {"a": (1, 0.5), "b": (2, 0)}, 3),
        ([("aa", [5, 5]), ("ab", [5, 1]), ("ba", [1, 5]), ("bb", [1, 1])], {"a": (0, 5), "b": (0, 1)}, 0),
    ],
)
def test_a_program_is_found_from_its_values(
    known: list[tuple[str, list[float]]], steps: dict[str, tuple[float, float]], start: float
) -> None:
    """Parity, a product and the last symbol: factor and offset of each symbol, and where it starts."""
    found = written("p", "", [(text, np.array(values, float)) for text, values in known])
    assert found is not None
    assert (found.steps, found.start) == (steps, start)


@pytest.mark.parametrize(
    "known",
    [
        [],
        [("ab", [1.0, np.nan])],
        [("ab", [1.0, 2.0])],
        [("aa", [1.0, 2.0]), ("aa", [1.0, 3.0])],
        [("aaa", [1.0, 2.0, 4.0]), ("aaa", [1.0, 2.0, 3.0])],
        [("aaaa", [1.0, 2.0, 4.0, 9.0])],
        [("aa", [1.0, 2.0]), ("a", [3.0])],
    ],
)
def test_where_values_fit_no_program_there_is_none(known: list[tuple[str, list[float]]]) -> None:
    """Undefined ones, a symbol that only begins, contradictions, a curve, and two beginnings."""
    assert written("p", "", [(text, np.array(values)) for text, values in known]) is None
