"""The explorer's drawings in a real Chromium: bits, staircases, lines and the handle show what is computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import probe
from tests.browser.explorers import EXAMPLE, answer, answers, counter, recorded, says, written
from tests.browser.tools import SMALLEST, run

#: What 16 ms are on a machine that sums 200,000 tanh in 1.1 ms.
PRESS = 14
STROKES, WORDS = 3.0, 4.5


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of using the drawings of the counters' explorer."""
    return run("drawings.mjs", written(tmp_path_factory.mktemp("page")))


def counted(string: str) -> list[int]:
    """Return the ones so far after each bit."""
    return [string[: end + 1].count("1") for end in range(len(string))]


def places(values: list[float]) -> list[int]:
    """Return the whole numbers that heights of a staircase stand for."""
    assert values == pytest.approx([round(value) for value in values], abs=0.01)
    return [round(value) for value in values]


def test_three_networks_stand_beside_each_other(found: dict[str, Any]) -> None:
    """A line a unit, below each other on a phone, each bit over its values; nothing is asked for, or said."""
    assert (found["requests"], found["console"], found["csp"]) == ([], [], [])
    names = ["trained", "own initialisation", "GRU"]
    assert [(panel["name"], panel["reads"], panel["lines"]) for panel in found["shown"]] == [
        (name, EXAMPLE, 12) for name in names
    ]
    tops = found["phone"]["boxes"]
    assert (tops, found["overflow"]) == (sorted(set(tops)), 0)
    words, colours = (dict(found["legend"][part]) for part in ("words", "names"))
    assert max(found["aligned"]) < 1
    assert [colours[name] for name in names] == [*words.values(), words["trained"]]


def test_the_staircases_are_the_answers_and_the_count(found: dict[str, Any]) -> None:
    """What PyTorch answers after each bit, and the ones; a wrong one has a cross, a class and words."""
    judged = set()
    assert places(found["shown"][0]["answers"]) == answers(EXAMPLE)
    for panel, computed in zip(found["shown"], found["computed"], strict=True):
        said, right = places(panel["answers"]), counted(EXAMPLE)
        wrong = [step for step in range(10) if said[step] != right[step]]
        assert (said, places(panel["truth"]), panel["unedited"]) == (computed["answers"], right, None)
        assert panel["wrong"] == wrong
        assert panel["written"] == [[str(one), "no" if step in wrong else ""] for step, one in enumerate(said)]
        assert panel["described"].endswith(f"Wrong after bit {', '.join(str(step + 1) for step in wrong)}.")
        judged |= {9 in wrong}
    assert judged == {True, False}


def test_a_click_and_keys_at_a_bit_change_all_networks(found: dict[str, Any]) -> None:
    """A click turns it and keeps the focus; arrows, Home, End move; 0 and 1 put; Delete takes out."""
    bits, turned = found["bits"], "0100101101"
    assert (bits["before"], bits["clicked"], bits["focus"]) == (EXAMPLE, turned, "2")
    assert bits["reads"] == [turned] * 3
    assert f"The network answers: {says(turned)}" in bits["status"]
    assert bits["pressed"] == {
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
    assert (bits["more"], bits["fewer"]) == ("100111010", "10011101")
    assert "x=10011101" in bits["hash"]
    # The same string above: small, and one state with the explorer.
    said = f"It answers {answer('000111010')}. There are 4 ones. It was trained on ten bits; this string has nine."
    assert bits["above"] == ["000111010", f"{said} Open the whole network", 60]


def test_a_step_is_lit_in_all_networks(found: dict[str, Any]) -> None:
    """Under the mouse, with the focus or by touch, with each unit's value there; without the mouse the last step."""
    for how, step in (("hovered", 3), ("other", 6), ("focused", 1), ("left", -1)):
        for panel, computed in zip(found["lit"][how], found["lit"]["computed"], strict=True):
            values = [computed["memory"][step][unit] for unit in panel["units"]]
            assert panel["values"] == pytest.approx(values, abs=0.0051)
            assert panel["lit"] == (None if step < 0 else [step, True])
            assert step < 0 or panel["reading"].startswith(f"After bit {step + 1}: ")
    assert [panel["lit"] for panel in found["phone"]["touched"]] == [[5, True]] * 3


def moved() -> np.ndarray:
    """Return how far the trained counter's units move its answer in the example, (unit,), by hand."""
    weight = dict(counter().named_parameters())["head.weight"].detach().numpy()
    hidden = recorded([EXAMPLE])["hidden_state"][0].numpy()
    return np.sqrt(((weight - weight.mean(0)) ** 2).sum(0)) * np.sqrt(((hidden - hidden.mean(0)) ** 2).mean(0))


def test_units_that_move_the_answer_most_stand_first_and_bold(found: dict[str, Any]) -> None:
    """By weight in the head times spread, in the same order whatever is read, and with their own numbers."""
    far = moved()
    for panels in (found["shown"], found["lit"]["hovered"], found["handle"]["panels"]):
        assert panels[0]["units"] == np.argsort(-far, kind="stable").tolist() != sorted(panels[0]["units"])
        assert panels[0]["bold"] == (np.sort(far)[::-1] >= far.max() / 2).tolist()
        assert {True, False} == set(panels[0]["bold"])
    how = "Units that move the answer most stand first: weight in the head \N{MULTIPLICATION SIGN} standard deviation"
    assert f"{how} of h over the example. Bold: at least half as much as the first" in found["handle"]["key"]


def test_the_value_of_the_line_that_is_pointed_at_is_told(found: dict[str, Any]) -> None:
    """Its unit, step and value, under the mouse, by focus and by touch; nothing else moves."""
    lit, memory = found["lit"], [one["memory"] for one in found["lit"]["computed"]]
    # What is pointed at: in which panel which line at which step; a line stays chosen when another step is lit.
    for how, step, rows in (
        ("before", 9, (0, 0, 0)),
        ("hovered", 3, (2, 0, 0)),
        ("other", 6, (2, 0, 0)),
        ("focused", 1, (2, 0, 0)),
    ):
        for panel, row, values, name in zip(lit[how], rows, memory, "cch", strict=True):
            said, _, value = panel["pointed"].partition(": ")
            assert said == f"{name} {panel['units'][row]} after bit {step + 1}"
            assert float(value.replace("\u2212", "-")) == pytest.approx(values[step][panel["units"][row]], rel=1e-3)
            assert panel["marked"] == [f"{name} {panel['units'][row]}"]
        assert [panel["height"] for panel in lit[how]] == [panel["height"] for panel in lit["before"]]
    touched = found["phone"]["touched"][0]
    assert touched["pointed"].startswith(f"c {touched['units'][8]} after bit 6: ")


def test_the_handle_gives_what_the_edit_gives(found: dict[str, Any]) -> None:
    """The memory of seven zeros after the seventh bit: PyTorch's answers, and what is right if it held the count."""
    source, handle = recorded(["0" * 10]), found["handle"]
    signals = ("cell_state", "hidden_state")
    kept = [probe.clamp(signal, source[signal][0, 6], steps=[6]) for signal in signals]
    first = handle["panels"][0]
    assert handle["pressed"] == "true"
    assert (places(first["answers"]), places(first["unedited"])) == (answers(EXAMPLE, *kept), answers(EXAMPLE))
    assert places(first["truth"]) == counted(EXAMPLE[:6]) + counted("0" + EXAMPLE[7:])
    assert f"With them: {says(EXAMPLE, *kept)}" in handle["status"]
    assert "it would end with 2." in handle["told"]
    assert first["reading"] == "After bit 10: \N{CHECK MARK} 2, as the memory says"
    one = probe.clamp("cell_state", source["cell_state"][0, 6, [3]], units=[3], steps=[6])
    assert places(handle["one"][0]["answers"]) == answers(EXAMPLE, one)
    assert places(handle["off"][0]["answers"]) == answers(EXAMPLE)
    assert ("put=all&from=6&at=6" in handle["hash"], handle["linked"]) == (True, handle["panels"])


def test_lines_and_letters_can_be_seen_and_a_key_press_redraws_at_once(found: dict[str, Any]) -> None:
    """On both pages and on a phone; 200 presses, in loops of sums; what is pale or slow is seen."""
    for mode in ("light", "dark"):
        contrast = found["contrast"][mode]
        assert contrast["count"] > 3 * 15
        assert min(contrast["strokes"][0] / STROKES, contrast["letters"][0] / WORDS) >= 1, contrast
    pale = found["contrast"]["pale"]
    assert (pale["strokes"][0] < STROKES, pale["letters"][0] < WORDS) == (True, True)
    assert found["phone"]["letters"]["count"] > 50
    assert found["phone"]["letters"]["smallest"] >= SMALLEST
    more = found["more"]
    assert (more["before"], len(more["after"]), more["stays"]) == ([], 3, more["after"])
    assert 0 < found["speed"]["loops"] <= PRESS < found["slow"]["loops"]
