"""The figures of the first page: what a planted network must give in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyses.counter import common, explored, labels
from analyses.counter.pictures import paths, put_in, shown, space
from models import planted, zoo
from models.counter import answer
from models.populations import SECOND_JUDGED
from probe.evidence.measurements import Network
from probe.plots.style import style

ROOT = Path(__file__).parents[2]


def test_a_planted_cell_moves_the_answer_alone_and_its_mean_is_the_count() -> None:
    """The whole and its cell lie on the diagonal, every other unit leaves the base; rotated none does.

    The plane has the start and 65 mean states, the count rises along it, and a picture has its steps.
    """
    group = {network.role: network for network in common.with_controls("counter", 2000)}
    own = [
        Network("planted/ones", "planted", planted.ones_counter(distractors=2)),
        group["own initialisation"],
        group["trained"],
    ]
    three = shown.Three(*common.subjects([*own, group["fitted head"]]))
    table = put_in.answered(three.planted).pivot_table(index="count", columns="put in", values="answered")
    for moves in (put_in.WHOLE, "unit 0"):
        assert table.pop(moves).to_numpy() == pytest.approx(np.arange(put_in.BITS + 1), abs=1e-4)
    assert table.to_numpy() == pytest.approx(put_in.BASE, abs=1e-4)
    rotated = common.subjects([Network("planted/rotated", "planted", planted.rotated_counter())])[0]
    wide = put_in.answered(rotated).pivot_table(index="count", columns="put in", values="answered")
    assert np.ptp(wide.drop(columns=put_in.WHOLE).to_numpy(), axis=0).max() < 4
    data, _ = space.lattice(three.cells(three.trained))
    last = data[data["bits"] == 10]
    assert (len(data), np.cov(last["ones"], last["x"])[0, 1] > 0) == (66, True)
    with style():
        svg = space.staircase(three).svg
    assert all(f'id="at-{step}-' in svg for step in range(1, 11))
    assert len(svg.encode()) <= space.BYTES


def test_the_first_figure_shows_what_a_network_says_after_every_bit() -> None:
    """A counter counts up and a countdown takes zeros off, as far as they are planted to; a fitted head counts, too.

    The example's line is what the network answers, and a page's script finds it, with the scale, by its id.
    """
    group = common.with_controls("counter", 2000, fit=["counter/seed-2000/fitted head"])[:3]
    wanted = {"ones": (0, 1), "zeros": (-1, 0), "drift-0.5": (-0.5, 0.5)}
    for name, moved in wanted.items():
        (subject,) = common.subjects(common.planted_networks([name]))
        told = paths.Paths.of(subject)
        assert told.moves() == pytest.approx(moved, abs=0.01)
        assert told.given[:, 10].tolist() == common.COUNTS[:, -1].tolist()
        assert told.expected[int("0110101101", 2)] == pytest.approx(
            [10 * -moved[0] + sum(moved[int(bit)] for bit in "0110101101"[:read]) for read in range(11)], abs=0.05
        )
    trained, own, fitted = common.subjects(group)
    (planted_ones,) = common.subjects(common.planted_networks(["ones"]))
    three = shown.Three(planted_ones, own, trained, fitted)
    titles = [one.title.partition(": ")[2] for one in paths.hero(three)]
    assert titles == ["counts up", "counts up", "takes zeros off"]
    with style():
        for place, one in zip((2, 1, 0), paths.hero(three), strict=True):
            assert one.svg.index(f'id="run-{place}-frame"') < one.svg.index(f'id="run-{place}-line"')
            assert one.data[one.data["strings"] == explored.EXAMPLE]["answer"].iloc[-1] == 6


def test_the_page_says_what_its_network_answers_where_one_string_has_a_count() -> None:
    """Of all strings whose count fewer than five have; the error by count is that of the zoo's tables."""
    networks = common.with_controls("counter", 2001, fit=False)[:2]
    group = common.subjects(networks)
    table = labels.find(group).measurements
    (trained, _) = group
    misread = zoo.trained("counter", 2001).config["errors"]
    by_count = labels.by_count(table)
    assert sum(one["misread"] for one in by_count) == misread["all"]["misread"]
    assert sum(one["misread"] for one in by_count if one["strings"] == "trained on") == misread["train"]["misread"]
    three = shown.Three(trained, trained, trained, trained)
    counts = common.COUNTS[:, -1].numpy()
    said = paths.ends(three)
    few = [count for count in range(11) if (counts == count).sum() < 5]
    assert few == list(labels.ENDS)
    for count in few:
        (row,) = np.flatnonzero(counts == count)
        told = int(answer(trained.model(common.STRINGS[row : row + 1]))[0])
        sentence = f"To {labels.ENDS[count]}, which it {'saw' if row in networks[0].train else 'never saw'} in "
        assert (f"{sentence}training, this one answers {told}." in said) == (told != count)


def test_what_readme_says_of_a_hundred_networks_is_right() -> None:
    """Nine in ten rise over the first bits and take zeros off from bit 6 on; a counter of ones only rises."""
    trained = [one for seed in SECOND_JUDGED.seeds for one in common.with_controls("counter", seed, fit=False)[:1]]
    (ones,) = common.subjects(common.planted_networks(["ones"]))
    every = [paths.Paths.of(subject) for subject in common.subjects(trained)]
    fall = [one.rise() > 0 and -one.moves()[0] > 2 * abs(one.moves()[1]) for one in every]
    assert (len(every), np.mean(fall) > 0.9) == (100, True)
    assert "Nearly all of a hundred that were trained to count them rise" in (ROOT / "README.md").read_text()
    assert paths.Paths.of(ones).rise() == pytest.approx(1.5, abs=0.01)
    assert paths.Paths.of(ones).moves()[0] == pytest.approx(0, abs=0.01)
    three = shown.Three(ones, ones, common.subjects(trained[:1])[0], ones)
    assert paths.said(three, every)["instead"].startswith("They rise at first, then take zeros off: ")
    falling = [replace(one, expected=one.expected - 3 * np.minimum(np.arange(11), 3)) for one in every]
    assert paths.said(three, falling)["instead"].startswith("They take zeros off: ")
    assert paths.said(three, [paths.Paths.of(ones)])["instead"] == ""


def test_a_panel_shows_each_trained_network_after_the_planted_one() -> None:
    """By what a 0 takes off, the least first; the words count those that take zeros off."""
    ones, zeros, half = (
        paths.Paths.of(common.subjects(common.planted_networks([name]))[0]) for name in ("ones", "zeros", "drift-0.5")
    )
    (planted_ones,) = common.subjects(common.planted_networks(["ones"]))
    drawn = paths.hundred(planted_ones, {"zeros": zeros, "ones": ones, "half": half})
    assert drawn.figure is not None
    panels = drawn.figure.axes
    hand, *others = (ax.texts[0].get_text() for ax in panels)
    assert (hand, others) == ("by hand", ["+0.00", "\N{MINUS SIGN}0.50", "\N{MINUS SIGN}1.00"])
    assert [len(ax.lines) for ax in panels] == [6] * 4
    assert "Of 3 trained networks 1 take more off" in drawn.alt
