"""What a study's page shows of one network: examples, the states' plane, values that are put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from known_studies import (
    Brackets,
    brackets,
    can_occur,
    depth,
)
from refusing import refused
from studied import answer, bits, report_of
from torch import nn

from probe import Readout, Study, record
from probe.evidence.measurements import only
from probe.recurrent.signals import Signal
from probe.report import Page, Panels, Section
from probe.report.blocks import Figure, walk
from probe.studies.prepare import prepare
from probe.subjects.answers import answers_if_asked
from probe.subjects.states import examples_of

pytestmark = pytest.mark.usefixtures("undrawn")


def of_brackets() -> tuple[Brackets, Study]:
    """Return a trained GRU that says how many brackets are open, and its study."""
    x, lengths = brackets(200)
    model = Brackets(x, lengths)
    readout = Readout("depth", weight=model.head.weight, bias=model.head.bias)
    more = {"lengths": lengths, "valid": can_occur, "symbols": "()"}
    return model, Study(model.encoder, x, {"depth": depth}, readout=readout, **more)


def values(table: pd.DataFrame, **columns: str) -> np.ndarray:
    """Return the values of some rows, by their step."""
    return only(table, **columns).sort_values("step")["value"].to_numpy(float)


def test_an_answer_if_asked_now_is_that_to_the_sequence_cut_there() -> None:
    """The network runs anew on every beginning of every sequence."""
    model, study = of_brackets()
    (subject,) = prepare(study)
    rows = np.arange(20)
    found = answers_if_asked(subject, rows)
    for row in rows:
        for step in range(subject.x.shape[1]):
            if step >= subject.lengths[row]:
                assert np.isnan(found[row, step])
                continue
            with torch.no_grad():
                h = model.encoder(subject.x[row : row + 1, : step + 1].float())[0][0, -1]
            assert found[row, step] == float(model.head(h).argmax())


def test_answers_in_the_output_are_asked_on_beginnings() -> None:
    """Without a head the whole model reads each beginning."""
    x = bits(40, 6)

    def total(one: torch.Tensor) -> torch.Tensor:
        return one.sum((1, 2))

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(1, 4, batch_first=True)

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return given + 0 * self.rnn(given)[0][:, :, :1]

    ones = {"ones": lambda one: np.cumsum(one[:, 0])}
    study = Study(Sums(), x, ones, readout=Readout("ones", output=(total, total)))
    (subject,) = prepare(study)
    assert np.array_equal(answers_if_asked(subject, np.arange(40)), x[:, :, 0].cumsum(1))


def test_an_example_shows_concept_reading_answer_and_units() -> None:
    """Each is what the network and the concept say; the examples are those in which the concept changes most."""
    model, study = of_brackets()
    (subject,) = prepare(study)
    table = answer(study, "one-sequence").measurements
    shown = [int(row) for row in dict.fromkeys(table["at"])]
    assert len(shown) == 4
    assert len({subject.x[row].numpy().tobytes() for row in shown}) == 4
    for row in shown:
        own, length = table[table["at"] == row], int(subject.lengths[row])
        assert np.array_equal(values(own, metric="concept"), depth(subject.x[row, :length].numpy()))
        assert np.array_equal(values(own, metric="answer"), answers_if_asked(subject, np.array([row]))[0, :length])
        state = record(model.encoder, subject.x[row : row + 1, :length].float())["[0]", "hidden_state"][0]
        for unit in range(12):
            assert values(own, metric="state", units=str(unit)) == pytest.approx(state[:, unit].numpy(), abs=1e-6)
        assert np.abs(values(own, metric="reading") - values(own, metric="concept")).mean() < 0.5


def test_a_reading_of_an_example_does_not_know_the_example() -> None:
    """Random numbers that no state tells: a probe that had seen the example's own states would know them."""
    rng = np.random.default_rng(3)
    torch.manual_seed(0)
    x = rng.normal(size=(40, 5, 2)).astype(np.float32)
    study = Study(nn.GRU(2, 256, batch_first=True), x, {"noise": rng.normal(size=(40, 5))})
    table = answer(study, "one-sequence").measurements
    read, true = (only(table, metric=metric)["value"].to_numpy(float) for metric in ("reading", "concept"))
    assert len(read) == len(true) == 20
    assert ((read - true) ** 2).mean() > 0.8 * (true**2).mean()


def test_examples_change() -> None:
    """Of sequences of one length those come first in which the concept changes at most steps."""
    x = np.zeros((30, 6, 1), np.float32)
    x[5, [1, 3]], x[7, [0, 2, 4]], x[9, 2] = 1, 1, 1
    (subject,) = prepare(Study(nn.GRU(1, 4, batch_first=True), x, {"ones": lambda one: np.cumsum(one[:, 0])}))
    assert examples_of(subject) == [5, 7, 9, 0] or examples_of(subject)[0] in (5, 7)
    assert set(examples_of(subject)) == {5, 7, 9, 0}


def test_the_plane_is_that_of_the_largest_variance() -> None:
    """Shares are those of a singular value decomposition; every state that is drawn has two coordinates."""
    _, study = of_brackets()
    from probe.subjects.states import sample_of, states_of

    (subject,) = prepare(study)
    found = answer(study, "state-space")
    table = only(found.measurements, network=subject.network.name)
    states = states_of(subject).states["[0]", Signal.HIDDEN_STATE][sample_of(subject).of["depth"]]
    sizes = np.linalg.svd(states - states.mean(0), compute_uv=False) ** 2
    assert only(table, metric="variance")["value"].to_numpy() == pytest.approx(sizes[:2] / sizes.sum())
    assert len(only(table, metric="coordinate")) == 2 * len(only(table, metric="concept")) > 100


def blocks_of(page: Page) -> list[object]:
    """Return every block of a page."""
    return list(walk([*page.hero, *page.sections]))


def test_each_finding_has_a_section(tmp_path: Path) -> None:
    """Its question or its first sentence is the heading; of several pictures the reader chooses one."""
    _, study = of_brackets()
    page = report_of(study, tmp_path).page
    keys = [section.key for section in page.sections]
    order = ["reading-depth", "one-sequence", "state-space", "answers", "interchange", "network", "explore"]
    assert [key for key in keys if key in order] == order
    (first,) = [section for section in page.sections if section.key == "one-sequence"]
    (chosen,) = [block for block in first.blocks if isinstance(block, Panels)]
    assert chosen.choose
    assert len(chosen.pictures) == 4
    assert page.render().count('type="radio"') >= 4
    (reading,) = [section for section in page.sections if section.key == "reading-depth"]
    assert reading.title == "Can “depth” be read?"
    assert "A probe reads “depth”" in str(reading.blocks[0])


def test_an_untrained_network_stands_beside_in_the_explorer(tmp_path: Path) -> None:
    """The explorer of a small network holds one with random weights whose head alone was fitted."""
    from probe.explorer import Explorer

    _, study = of_brackets()
    page = report_of(study, tmp_path).page
    (explorer,) = [block for block in blocks_of(page) if isinstance(block, Explorer)]
    assert [network.name for network in explorer.networks][1:] == ["random weights, fitted head"]


def test_choices_are_checked() -> None:
    """At most as many pictures to choose from as the style sheet knows."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    pictures = [Figure(svg, f"picture {number}", "c", f"t{number}") for number in range(17)]
    with refused():
        Panels(pictures, "c", choose="which")
    page = Page("t", "l", [Section("s", [Panels(pictures[:3], "c", choose="which")], key="s")]).render()
    assert page.count('type="radio"') == 3
    assert page.count(" checked") == 1
