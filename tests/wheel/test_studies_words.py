"""What a study's sentences say is true of the numbers beside them, and each number says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from studied import STUDY, Report, answer, bits, ones, planted, report_of, study_of, written
from torch import nn

from probe import Concept, ProbeError, Readout, Study
from probe.report import Page, Points, Section, Text
from probe.report.inline import plain
from probe.studies.definition.prepared import prepare
from probe.studies.questions import fixed_points, interchange
from probe.studies.questions.linear_probes_words import CLOCK, CONSTANT, SHUFFLED, Beside, _verdict
from probe.studies.rows import RANDOM_WEIGHTS
from probe.studies.sampling import tail
from probe.studies.study_file import read_study

LAST, LAST_4 = "the last input", "the last 4 inputs"
NONE = (
    "was not found",
    "hardly be read",
    "clock",
    "other sequences",
    "no memory",
    "training put it there",
    "better than from any",
)


def verdict(score: float, beside: dict[str, float], copies: int = 8, alike: bool = False) -> str:
    """Return the verdict on a score beside controls, whose intervals have no width."""
    names = {
        "clock": CLOCK,
        "last": LAST,
        "last_4": LAST_4,
        "always": CONSTANT,
        "shuffled": SHUFFLED,
        "random": RANDOM_WEIGHTS,
    }
    controls = {
        names[key]: Beside(names[key], value, score - value, key == "random" and alike)
        for key, value in beside.items()
    }
    return _verdict(controls, score, score, copies)


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
        (0.6, {"clock": 0.57, "shuffled": 0.3}, "the step alone predicts it about as well"),
        (
            0.97,
            {"clock": 1.0, "last": 0.0, "shuffled": 0.97, "random": 0.9},
            "the step alone predicts it about as well: noth",
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
    """Nothing, then the step, then values of other sequences, then the last inputs, then untrained networks."""
    found = verdict(score, beside)
    assert said in found
    assert sum(words in found for words in NONE) == 1


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
    assert "nothing beyond a clock is shown" in notes["verdict"]
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
    """One full stop at its end, and of a file that was not found where paths begin."""
    path = written(tmp_path)
    for body, expected, hint in (
        ("raise ValueError('Wrong.')", "ValueError: Wrong, functions.py, line 1. Mend it first.", False),
        (
            "open('nowhere.txt')",
            "nowhere.txt', functions.py, line 1. Mend it first. Paths inside a Python file are relative",
            True,
        ),
        ("import probe; probe.load('nowhere.npz')", "Paths inside a Python file are relative", True),
    ):
        (tmp_path / "functions.py").write_text(body)
        with pytest.raises(ProbeError) as caught:
            _ = read_study(path)
        assert expected in str(caught.value)
        assert ".." not in str(caught.value).replace("...", "")
        assert ("Path(__file__).parent" in str(caught.value)) is hint


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
    from probe.studies.definition.network import _joined

    assert _joined(["a=1 for x", "b=2 for y."]) == "a=1 for x; b=2 for y"
    assert _joined([]) == "nothing"


def test_distances_off_support_stand_beside_those_of_states_that_occur(of_planted: Report) -> None:
    """The distance from a state to the nearest other one stands beside, in the same unit, in words and table."""
    found = of_planted.findings["interchange"]
    (apart,) = found.measurements.query("metric == 'apart'")["value"]
    assert apart > 0
    assert f"from one state that occurs to the nearest other one is {apart:.2f}" in found.notes["setup"]
    assert f"States that occur lie {apart:.2f} from each other" in of_planted.page.render()
    if "off support" in found.notes["search"]:
        assert f"to the next ({apart:.2f})" in found.notes["search"]


def test_which_sequences_were_taken_is_said() -> None:
    """All of them need no word; where some are undefined, short or left out for the budget, each is counted."""
    for counts, words in (
        ((500, 500, 500, 500), ""),
        ((500, 500, 400, 400), "500, 400 have at least 7 steps)"),
        ((500, 480, 400, 227), "480 have a right answer, 400 of these have at least 7 steps and 227 of these were d"),
        ((500, 500, 500, 227), "500, 227 were drawn, as many as the budget allows)"),
    ):
        found = tail._among(*counts, steps=7)
        assert words in found
        assert bool(found) is bool(words)


@pytest.mark.usefixtures("undrawn")
def test_short_sequences_are_counted_where_the_end_is_run() -> None:
    """The sentence on what was ablated says how many of the study's sequences are long enough."""
    lengths = np.where(np.arange(160) % 8, 8, 5)
    setup = answer(study_of(planted(), lengths=lengths), "ablation").notes["setup"]
    assert "140 sequences (of the study's 160, 140 have at least 8 steps), their whole length" in setup


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((0, 0, 0, 0.0), "finds no fixed point and no slow point; 0% of the starts led to such a point."),
        ((1, 1, 0, 1.0), "finds 1 fixed point (stable) and no slow point; 100% of the starts led to such a point"),
        ((1, 0, 1, 0.5), "finds 1 fixed point (not stable) and 1 slow point; 50%"),
        ((3, 0, 2, 0.5), "finds 3 fixed points (none of them stable) and 2 slow points"),
        ((3, 3, 0, 0.5), "finds 3 fixed points (all of them stable)"),
        ((3, 2, 0, 0.5), "finds 3 fixed points (2 of them stable)"),
    ],
)
def test_fixed_points_are_counted_in_words(numbers: tuple[float, ...], said: str) -> None:
    """Any number of points makes a sentence, and none says that the network itself ends at a point."""
    names = ("fixed_points", "stable_points", "slow_points", "starts_reached")
    found = dict(zip(names, map(float, numbers), strict=True)) | {"largest_modulus": float("nan")}
    assert said in fixed_points._words("the input (0)", found)


@pytest.mark.parametrize(
    ("features", "fixed", "names"),
    [
        (1, None, ["the input (0)", "the input (1)"]),
        (2, None, ["the mean of all inputs, (0.5, 0.5),"]),
        (300, None, ["the mean of all inputs (300 features)"]),
        (300, [[0.0] * 300, [1.0] * 300], ["input 1 of 2 (300 features)", "input 2 of 2 (300 features)"]),
    ],
)
def test_inputs_of_many_numbers_are_named_by_what_they_are(features: int, fixed: object, names: list[str]) -> None:
    """Few numbers are said; a mean is said to be one; of many numbers it is said how many there are."""
    x = np.repeat(bits(20), features, axis=2)
    if features > 1:
        x = x + np.linspace(-0.1, 0.1, 160).reshape(20, 8, 1)
        x = x - x.mean() + 0.5
    study = Study(nn.GRU(features, 4, batch_first=True), x.astype(np.float32), {"ones": ones}, fixed_inputs=fixed)
    held, _ = fixed_points.inputs_of(prepare(study))
    assert [one.name for one in held] == names


@pytest.mark.usefixtures("undrawn")
def test_the_lead_is_one_verdict_and_the_list_has_the_others(tmp_path: Path) -> None:
    """Scores stand in the sections; lead and list say what they come to, and how many concepts there are."""
    concepts = {"ones": ones, "last": lambda x: x[:, 0], "first": lambda x: x[:1, 0].repeat(len(x))}
    report = report_of(study_of(planted(), concepts=concepts), tmp_path)
    lead = plain(report.page.lead)
    notes = [report.findings[f"reading-{name}"].notes for name in concepts]
    assert lead.startswith(notes[0]["verdict"])
    assert "2 more concepts below. With the whole state of another sequence 1.00" in lead
    assert "held-out" not in lead
    assert len(lead) < 400
    points = report.page.sections[0].blocks[0]
    assert isinstance(points, Points)
    for number, item in enumerate(points.items[:3]):
        assert plain(item).endswith(notes[number]["verdict"])


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
        prepared = prepare(study_of(planted(), inputs=x, readout=Readout("ones", function=Slow(times))))
        counted = tail.cost_of_head(prepared)
        assert counted == pytest.approx(2 * (6 * 400 + 400 * 9 + times * 400 * 400))
        plans.append(interchange.plan(prepared, tail.build(prepared)))
    cheap, dear, too_dear = plans
    assert (cheap.pairs, cheap.iterations) == (interchange.MOST_PAIRS, interchange.ITERATIONS)
    assert interchange.FEWEST_PAIRS <= dear.pairs < cheap.pairs
    assert 0 < dear.iterations < cheap.iterations
    assert (too_dear.pairs, too_dear.iterations) == (interchange.FEWEST_PAIRS, 0)


def test_a_readout_outside_of_torch_costs_nothing_that_is_counted() -> None:
    """What a function does in numpy is not seen, and what fails under the counter does not end the study."""
    ran: list[int] = []

    def twice_only(h: torch.Tensor) -> torch.Tensor:
        ran.append(1)
        if len(ran) > 1:
            raise ValueError("no more")
        return torch.as_tensor(h.numpy() @ np.ones((6, 9)))

    prepared = prepare(study_of(planted(), readout=Readout("ones", function=twice_only)))
    assert tail.cost_of_head(prepared) == 0
