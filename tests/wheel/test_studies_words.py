"""What a study's sentences say is true of the numbers beside them, and each number says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from studied import STUDY, Report, answer, bits, ones, planted, report_of, study_of, written
from torch import nn

from probe import Concept, ProbeError, Readout, Study
from probe.questions.states import linear_readout_drawn as drawn
from probe.questions.telling import judgements as reading
from probe.report import Page, Section, Text
from probe.report.inline import plain
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects import ends
from probe.subjects.budget import Budget
from probe.subjects.plans import FEWEST_PAIRS, ITERATIONS, plan_of

NONE = (
    "was not found",
    "hardly be read",
    "the step tells",
    "other sequences",
    "no memory",
    "training put it there",
    "better than from any",
)


def verdict(score: float, beside: dict[str, float], copies: int = 8, alike: bool = False) -> str:
    """Return the verdict on a score beside controls, whose intervals have no width."""
    kinds = {
        "clock": drawn.CLOCK,
        "last": drawn.RECENT,
        "last_4": drawn.RECENT,
        "always": drawn.CONSTANT,
        "shuffled": drawn.RELABELLED,
        "random": drawn.RANDOM,
    }
    controls = {
        kinds[key]: reading.Beside(
            kinds[key], value, score - value, key == "random" and alike, 4 if key == "last_4" else 1
        )
        for key, value in beside.items()
    }
    return reading.verdict(reading.judge(controls, score, score, copies))


@pytest.mark.parametrize(
    ("score", "beside", "said"),
    [
        (
            0.004,
            {"clock": 0.0, "last": 0.0, "shuffled": 0.0, "random": 0.0},
            "was not found: the interval of a linear probe's score reaches 0.",
        ),
        (
            0.02,
            {"clock": 1.0, "last": 1.0, "shuffled": 0.9, "random": 0.9},
            "can hardly be read: a linear probe's score is above 0, but it is not shown to exceed it by 0.05.",
        ),
        (
            0.5,
            {"clock": 0.5, "last": 0.5, "always": 0.5, "shuffled": 0.5},
            "reaches the score of naming one value for all.",
        ),
        (0.52, {"clock": 0.5, "always": 0.5, "shuffled": 0.5}, "for all, but it is not shown to exceed it by 0.05"),
        (0.6, {"clock": 0.57, "shuffled": 0.3}, "the step alone predicts it nearly as well"),
        (0.6, {"clock": 0.6, "shuffled": 0.3}, "the step alone predicts it about as well"),
        (
            0.97,
            {"clock": 1.0, "last": 0.0, "shuffled": 0.97, "random": 0.9},
            "the step alone predicts it better: noth",
        ),
        (
            0.94,
            {"clock": 1.0, "last": 0.0, "shuffled": 0.94, "random": 0.9},
            "the step alone predicts it better: nothing beyon",
        ),
        (
            0.9,
            {"clock": 0.9, "last": 0.9, "always": 0.5, "shuffled": 0.9},
            "the step alone predicts it about as well",
        ),
        (
            0.68,
            {"clock": 0.69, "last_4": 0.96, "shuffled": 0.6, "random": 0.98},
            "the last 4 inputs alone predict it better: no memory beyond them is shown",
        ),
        (
            0.6,
            {"clock": 0.3, "last": 0.6, "shuffled": 0.6, "random": 0.6},
            "values of other sequences at the same step",
        ),
        (
            0.9,
            {"clock": 0.3, "last": 0.9, "shuffled": 0.3, "random": 0.9},
            "the last input alone predicts it about as well",
        ),
        (
            0.9,
            {"clock": 0.3, "last_4": 1.0, "shuffled": 0.3},
            "the last 4 inputs alone predict it better: no memory beyond t",
        ),
        (
            0.9,
            {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.9},
            "but about as well from networks with random",
        ),
        (
            0.9,
            {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.87},
            "better than from networks with random weights, but not by the margin that we ask for: this is",
        ),
        (
            0.996,
            {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.963},
            "better than from any network with random weights",
        ),
        (
            0.8,
            {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.9},
            "but better from networks with random weights",
        ),
        (
            0.9,
            {"clock": 0.3, "last": 0.3, "shuffled": 0.3, "random": 0.3},
            "better than from any network with random weights",
        ),
    ],
)
def test_the_strongest_objection_is_said(score: float, beside: dict[str, float], said: str) -> None:
    """Nothing, then the step, then values of other sequences, then the last inputs, then random weights."""
    found = verdict(score, beside)
    assert said in found
    assert sum(objection in found for objection in NONE) == 1


def test_number_and_random_weights_are_said_right() -> None:
    """One input is `it`; controls that differ as much are no evidence; without random weights none are named."""
    beside = {"clock": 0.3, "shuffled": 0.3}
    assert "no memory beyond it is shown" in verdict(0.9, beside | {"last": 0.9})
    assert "no memory beyond them is shown" in verdict(0.9, beside | {"last_4": 0.9})
    assert "differ among each other as much" in verdict(0.9, beside | {"last": 0.3, "random": 0.5}, alike=True)
    assert verdict(0.9, beside | {"last": 0.3}, 0) == (
        "can be read: better than from the step, the last inputs or shuffled values."
    )


@pytest.mark.usefixtures("undrawn")
def test_a_clock_is_said_to_be_a_clock() -> None:
    """The step number is read with an R² near 1 by nearly any network, and the page says what that is."""
    torch.manual_seed(0)
    x = bits(120, 10)
    clock = np.tile(np.arange(10.0), (120, 1))
    notes = answer(Study(nn.GRU(1, 12, batch_first=True), x, {"step": clock}), "reading-step").notes
    assert "nothing beyond what the step tells is shown" in notes["verdict"]
    assert "not found" not in notes["answer"]
    assert "the comparison means nothing" in notes["selectivity"]


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_read_is_not_found() -> None:
    """Random numbers and random categories, which no state holds."""
    rng = np.random.default_rng(0)
    x = bits(120, 10)
    concepts = {
        "noise": rng.normal(size=(120, 10)),
        "kinds": Concept(rng.integers(0, 3, (120, 10)), "categorical"),
    }
    torch.manual_seed(0)
    study = Study(nn.GRU(1, 12, batch_first=True), x, concepts)
    for name in concepts:
        assert "was not found" in answer(study, f"reading-{name}").notes["verdict"]


def test_an_error_of_the_users_file_reads_as_a_sentence(tmp_path: Path) -> None:
    """One full stop at its end."""
    path = written(tmp_path)
    for body, expected in (
        ("raise ValueError('Wrong.')", "ValueError: Wrong, functions.py, line 1. Mend it first."),
        ("open('nowhere.txt')", "nowhere.txt', functions.py, line 1. Mend it first."),
    ):
        (tmp_path / "functions.py").write_text(body)
        with pytest.raises(ProbeError) as caught:
            _ = read_study(path)
        assert expected in str(caught.value)
        assert ".." not in str(caught.value).replace("...", "")


def test_a_function_that_opens_a_file_is_told_where_paths_begin(tmp_path: Path) -> None:
    """The sentence names the folder that the command runs in."""
    path = written(tmp_path, STUDY.partition("[readout]")[0])
    (tmp_path / "functions.py").write_text("def ones(x):\n    return open('nowhere.txt')\n")
    with pytest.raises(
        ProbeError, match=r"raised FileNotFoundError .*relative to the folder that the command runs in"
    ):
        _ = read_study(path).run(tmp_path / "report")


def test_what_was_decided_is_told_apart(tmp_path: Path) -> None:
    """Several choices are parts of one text, with a mark between them."""
    from probe.subjects.networks.network_file import _joined

    assert _joined(["a=1 for x", "b=2 for y."]) == "a=1 for x; b=2 for y"
    assert _joined([]) == "nothing"


def test_distances_off_support_stand_beside_those_of_states_that_occur(of_planted: Report) -> None:
    """The distance from a state to the nearest other one stands beside, in the same unit, in words and table."""
    found = of_planted.findings["interchange"]
    (apart,) = found.measurements.query("metric == 'apart'")["value"]
    assert apart > 0
    assert f"from the state after one prefix to the nearest one after another is {apart:.2f}" in found.notes["setup"]


@pytest.mark.usefixtures("undrawn")
def test_short_sequences_are_counted_where_the_end_is_run() -> None:
    """The sentence on what was ablated says of how many of the study's these are a part."""
    lengths = np.where(np.arange(160) % 8, 8, 5)
    setup = answer(study_of(planted(), lengths=lengths), "ablation").notes["setup"]
    assert "140 sequences (of the study's 160), their whole length" in setup


@pytest.mark.usefixtures("undrawn")
def test_the_lead_has_a_sentence_for_each_concept(tmp_path: Path) -> None:
    """The first of its answer; of more than four concepts the others are counted."""
    concepts = {"ones": ones, "last": lambda x: x[:, 0], "first": lambda x: x[:1, 0].repeat(len(x))}
    concepts |= {"noughts": lambda x: np.cumsum(1 - x[:, 0]), "step": lambda x: np.arange(len(x))}
    report = report_of(study_of(planted(), concepts=concepts), tmp_path)
    lead, findings = plain(report.page.lead), report.findings
    first = [
        findings[name].notes["answer"].partition(". ")[0]
        for name in (*map("reading-{}".format, concepts), "interchange")
    ]
    assert lead.startswith(first[0])
    assert all(sentence in lead for sentence in (*first[:4], first[-1]))
    assert "1 more finding below." in lead
    titles = [section.title for section in report.page.sections]
    assert all(sentence.rstrip(".") in titles for sentence in first)


def test_contents_stand_in_lines_above_a_page_of_many_sections() -> None:
    """Nine sections are listed a line each; of more the style sheet lets them wrap."""
    for count, wraps in ((9, False), (10, True)):
        page = Page("t", "l", [Section(f"s{one}", [Text("a")], f"s{one}") for one in range(count)])
        assert ("flex-wrap: wrap; gap: 0 1.25rem" in page.render()) is wraps


class Slow(nn.Module):
    """A readout that multiplies many matrices before it answers."""

    def __init__(self, times: int, width: int = 400) -> None:
        super().__init__()
        self.times, self.wide, self.narrow = times, nn.Linear(6, width), nn.Linear(width, 9)
        self.middle = nn.Linear(width, width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Return nine scores."""
        h = self.wide(h)
        for _ in range(self.times):
            h = self.middle(h).tanh()
        return self.narrow(h)


def test_a_readout_that_takes_long_is_counted() -> None:
    """Its products of matrices are part of the budget: fewer pairs and steps of the search, the same each time."""
    x, plans = bits(), []
    for times in (0, 30, 1_000):
        (subject,) = prepare(study_of(planted(), inputs=x, readout=Readout("ones", function=Slow(times))))
        counted = ends.cost_of_head(subject)
        assert counted == pytest.approx(2 * (6 * 400 + 400 * 9 + times * 400 * 400))
        plans.append(plan_of(subject))
    cheap, dear, too_dear = plans
    assert (cheap.pairs, cheap.iterations) == (Budget().most_pairs, ITERATIONS)
    assert FEWEST_PAIRS <= dear.pairs < cheap.pairs
    assert 0 < dear.iterations < cheap.iterations
    assert (too_dear.pairs, too_dear.iterations) == (FEWEST_PAIRS, 0)


def test_a_readout_outside_of_torch_costs_nothing_that_is_counted() -> None:
    """What a function does in numpy is not seen, and what fails under the counter does not end the study."""
    ran: list[int] = []

    def twice_only(h: torch.Tensor) -> torch.Tensor:
        ran.append(1)
        if len(ran) > 1:
            raise ValueError("no more")
        return torch.as_tensor(h.numpy() @ np.ones((6, 9)))

    (subject,) = prepare(study_of(planted(), readout=Readout("ones", function=twice_only)))
    assert ends.cost_of_head(subject) == 0
