"""The explorer's drawings in a real Chromium: bits, staircases, lines and the handle show what is computed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import probe
from models.zoo import networks
from tests.browser.explorers import EXAMPLE, answer, counters, page_of
from tests.browser.tools import need, run
from tests.repo.golden_runs import encoded

#: What 16 ms are on a machine that sums 200,000 tanh in 1.1 ms.
PRESS = 14
LETTERS = 11
STROKES, WORDS = 3.0, 4.5


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    need()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of using the drawings of the counters' explorer."""
    path = page_of(counters()).write(tmp_path_factory.mktemp("page") / "index.html")
    return run("drawings.mjs", path)


def counted(string: str, start: int = 0) -> list[int]:
    """Return the ones so far after each bit."""
    return [start + string[: end + 1].count("1") for end in range(len(string))]


def answers(string: str, *edits: probe.Edit) -> list[int]:
    """Return what the trained counter would answer after each bit, by its head on PyTorch's hidden states."""
    model = networks(seeds=[0])[0].model.double()
    hidden = probe.record(model, encoded([string], 1), edits=edits)["lstm[0]", "hidden_state"][0]
    with torch.no_grad():
        return model.get_submodule("head")(hidden).argmax(1).tolist()


def places(values: list[float]) -> list[int]:
    """Return the whole numbers that heights of a staircase stand for."""
    assert values == pytest.approx([round(value) for value in values], abs=0.01)
    return [round(value) for value in values]


def test_drawing_asks_says_and_violates_nothing(found: dict[str, Any]) -> None:
    """Pressed, hovered, touched and put in: no request, no console message, no violation of the policy."""
    assert (found["requests"], found["console"], found["csp"]) == ([], [], [])


def test_three_networks_stand_beside_each_other(found: dict[str, Any]) -> None:
    """Each with what it reads and a line a unit; on a phone one below the other, and nothing is too wide."""
    assert [panel["name"] for panel in found["shown"]] == ["trained", "own initialisation", "GRU"]
    assert {panel["reads"] for panel in found["shown"]} == {EXAMPLE}
    assert [panel["lines"] for panel in found["shown"]] == [12, 12, 12]
    tops = found["phone"]["boxes"]
    assert tops == sorted(set(tops))
    assert found["overflow"] == 0


def test_a_legend_says_what_each_colour_is(found: dict[str, Any]) -> None:
    """Once for each role that is drawn, in the colour of its panels: two of them are trained."""
    words, names = (dict(found["legend"][part]) for part in ("words", "names"))
    assert list(words) == ["trained", "untrained weights, untrained head"]
    assert [names["trained"], names["own initialisation"], names["GRU"]] == [*words.values(), words["trained"]]
    assert len(set(words.values())) == 2


def test_the_staircases_are_the_answers_and_the_count(found: dict[str, Any]) -> None:
    """Their heights are what the engine answers after each bit, which is PyTorch's, and the ones so far."""
    for panel, computed in zip(found["shown"], found["computed"], strict=True):
        assert places(panel["answers"]) == computed["answers"]
        assert places(panel["truth"]) == counted(EXAMPLE)
        assert panel["unedited"] is None
    assert places(found["shown"][0]["answers"]) == answers(EXAMPLE)


def test_a_wrong_answer_is_marked_and_said(found: dict[str, Any]) -> None:
    """By a cross in its column, a class on its number, and in words, and no right one is."""
    judged = set()
    for panel in found["shown"]:
        said, right = places(panel["answers"]), counted(EXAMPLE)
        wrong = [step for step in range(10) if said[step] != right[step]]
        assert panel["wrong"] == wrong
        assert panel["written"] == [[str(one), "no" if step in wrong else ""] for step, one in enumerate(said)]
        assert f"on: {', '.join(map(str, said))}. Right (ones): {', '.join(map(str, right))}." in panel["described"]
        assert panel["described"].endswith(f"Wrong after bit {', '.join(str(step + 1) for step in wrong)}.")
        last = f"\N{MULTIPLICATION X} {said[-1]}, wrong: {right[-1]} is right"
        assert panel["reading"].removeprefix("After bit 10: ") == (
            last if 9 in wrong else f"\N{CHECK MARK} {said[-1]}, right"
        )
        judged |= {9 in wrong}
    assert judged == {True, False}


def test_a_click_turns_a_bit_for_all_networks(found: dict[str, Any]) -> None:
    """The sequence, the answer and every panel follow, and the bit keeps the focus."""
    bits = found["bits"]
    turned = "0100101101"
    assert (bits["before"], bits["clicked"], bits["focus"]) == (EXAMPLE, turned, "2")
    assert bits["reads"] == [turned] * 3
    assert f"The network answers: {answer(turned)} (probability" in bits["status"]


def test_keys_at_a_bit_put_and_move(found: dict[str, Any]) -> None:
    """Arrows, Home and End move; 0 and 1 put and go on; Delete takes a bit out; Enter turns it; others do nothing."""
    expected = {
        "ArrowRight": ["0100101101", "5"],
        "ArrowLeft": ["0100101101", "4"],
        "0": ["0100001101", "5"],
        "1": ["0100011101", "6"],
        "End": ["0100011101", "9"],
        "Home": ["0100011101", "0"],
        "Delete": ["100011101", "0"],
        "Backspace": ["00011101", "0"],
        "Enter": ["10011101", "0"],
        "x": ["10011101", "0"],
    }
    assert found["bits"]["pressed"] == expected
    assert (found["bits"]["more"], found["bits"]["fewer"]) == ("100111010", "10011101")
    assert "x=10011101" in found["bits"]["hash"]


@pytest.mark.parametrize(("how", "step"), [("hovered", 3), ("other", 6), ("focused", 1)])
def test_a_step_is_lit_in_all_networks(found: dict[str, Any], how: str, step: int) -> None:
    """Under the mouse or with the focus: the same column everywhere, with each unit's value there."""
    lit = found["lit"]
    for panel, computed in zip(lit[how], lit["computed"], strict=True):
        assert panel["lit"] == [step, True]
        assert panel["values"] == pytest.approx(computed["memory"][step], abs=0.0051)
        assert panel["reading"].startswith(f"After bit {step + 1}: ")
        assert "At the chosen step: " in panel["memory"]


def test_a_step_is_lit_by_touch_and_goes_dark_without_the_mouse(found: dict[str, Any]) -> None:
    """A finger lights it; once the mouse leaves, the values are the last step's."""
    assert [panel["lit"] for panel in found["phone"]["touched"]] == [[5, True]] * 3
    assert [panel["lit"] for panel in found["lit"]["left"]] == [None] * 3
    for panel, computed in zip(found["lit"]["left"], found["lit"]["computed"], strict=True):
        assert panel["values"] == pytest.approx(computed["memory"][-1], abs=0.0051)


def test_the_handle_gives_what_the_edit_gives(found: dict[str, Any]) -> None:
    """The memory of seven zeros after the seventh bit: PyTorch's answers, and what is right if it held the count."""
    model = networks(seeds=[0])[0].model.double()
    source = probe.record(model, encoded(["0" * 10], 1))
    kept = [
        probe.clamp(signal, source["lstm[0]", signal][0, 6], steps=[6]) for signal in ("cell_state", "hidden_state")
    ]
    handle = found["handle"]
    assert handle["pressed"] == "true"
    first = handle["panels"][0]
    assert places(first["answers"]) == answers(EXAMPLE, *kept)
    assert places(first["unedited"]) == answers(EXAMPLE)
    assert places(first["truth"]) == counted(EXAMPLE[:6]) + counted("0" + EXAMPLE[7:])
    assert [panel["put"] for panel in handle["panels"]] == [1, 1, 1]
    assert f"With them: {answer(EXAMPLE, *kept)} (probability" in handle["status"]
    assert handle["status"].endswith("\N{CHECK MARK} as the memory says")
    assert "it would end with 2." in handle["told"]
    assert "if the memory held it" in handle["key"]
    assert first["reading"] == "After bit 10: \N{CHECK MARK} 2, as the memory says"
    one = probe.clamp("cell_state", source["lstm[0]", "cell_state"][0, 6, [3]], units=[3], steps=[6])
    assert places(handle["one"][0]["answers"]) == answers(EXAMPLE, one)
    assert [panel["put"] for panel in handle["off"]] == [0, 0, 0]
    assert places(handle["off"][0]["answers"]) == answers(EXAMPLE)


def test_a_memory_that_was_put_in_can_be_linked(found: dict[str, Any]) -> None:
    """The address holds it, and a page that is opened from it shows the same."""
    assert "put=all&from=6&at=6" in found["handle"]["hash"]
    assert found["handle"]["linked"] == found["handle"]["panels"]


def test_more_has_every_table(found: dict[str, Any]) -> None:
    """Folded at first; opened, all tables are seen, each row's letter is said once in words, and it stays open."""
    more = found["more"]
    assert more["before"] == []
    tables = [
        "What programs would answer",
        "The probability of each answer after the last step",
        "Layer lstm[0] at every step",
    ]
    assert (more["after"], more["stays"]) == (tables, tables)
    assert [head.split() for head in more["steps"]] == [
        ["step", "read"],
        *([str(step + 1), bit] for step, bit in enumerate(EXAMPLE)),
    ]
    heads = [head.partition(":")[0] for head in more["heads"]]
    assert heads == [
        "answer, were this step the last",
        "input gate i",
        "forget gate f",
        "cell candidate g",
        "output gate o",
        "cell state c",
        "hidden state h",
    ]


def test_lines_and_letters_can_be_seen(found: dict[str, Any]) -> None:
    """On the light and on the dark page, with an answer that an edit changed; letters on a phone are no smaller."""
    for mode in ("light", "dark"):
        contrast = found["contrast"][mode]
        assert contrast["count"] > 3 * 15
        assert contrast["strokes"][0] >= STROKES, contrast
        assert contrast["letters"][0] >= WORDS, contrast
    pale = found["contrast"]["pale"]
    assert pale["strokes"][0] < STROKES
    assert pale["letters"][0] < WORDS
    assert found["phone"]["letters"]["count"] > 50
    assert found["phone"]["letters"]["smallest"] >= LETTERS


def test_a_key_press_redraws_at_once(found: dict[str, Any]) -> None:
    """The median of 200 presses, in loops of plain sums that run beside them; twenty loops more are seen."""
    assert found["speed"]["count"] == 200
    assert 0 < found["speed"]["loops"] <= PRESS < found["slow"]["loops"]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("names", [("trained",), ("trained", "own initialisation", "GRU")])
def test_the_last_line_ends_at_the_last_bit(names: tuple[str, ...], width: int, tmp_path: Path) -> None:
    """From 1 to 32 bits, one network and several: the value after a bit stands under that bit, on a phone as well."""
    explorer = counters()
    chosen = [one for one in explorer.networks if one.name in names]
    page = page_of(dataclasses.replace(explorer, networks=chosen, experiments=())).write(tmp_path / "index.html")
    found = run("columns.mjs", page, str(width))
    assert (found["requests"], found["console"], found["csp"]) == ([], [], [])
    assert len(found["found"]) == 32
    for count, panels in enumerate(found["found"], start=1):
        assert [panel["bits"] for panel in panels] == [count] * len(names)
        for panel in panels:
            bits, stairs, lines = panel["drawn"].values()
            assert stairs == pytest.approx(bits, abs=0.5), (count, width)
            assert lines == pytest.approx(bits, abs=0.5), (count, width)
            assert panel["beyond"] <= 0
