"""A study says what is true of its network: what was planted is found, and what was not learned is not said to be."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from studied import Report, answer, bits, ones, planted, report_of, study_of, without_pictures
from torch import nn

from probe import Concept, Finding, Readout, Study
from probe.explorer import Explorer
from probe.report.inline import plain


class Stacked(nn.Module):
    """Two layers of GRU and a head on the last hidden state of each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, 10, 2, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the hidden states of the upper layer."""
        return self.rnn(x)[0]


def brackets(count: int, seed: int, time: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences of brackets of depth 0 to 3 as one-hot inputs, and their lengths."""
    rng = np.random.default_rng(seed)
    lengths, x = rng.integers(5, time + 1, count), np.zeros((count, time, 2), np.float32)
    for row, length in enumerate(lengths):
        now = 0
        for step in range(length):
            opens = now == 0 or (now < 3 and rng.random() < 0.5)
            now += 1 if opens else -1
            x[row, step, int(not opens)] = 1
    return x, lengths


def depth(x: np.ndarray) -> np.ndarray:
    """Return how many brackets are open."""
    return np.cumsum(x[:, 0] - x[:, 1])


@pytest.fixture(scope="module")
def trained() -> Stacked:
    """Return a stack that was trained to answer the depth at the last step."""
    torch.manual_seed(0)
    model, (x, lengths) = Stacked(), brackets(256, 0)
    ends = torch.tensor([depth(row[:length])[-1] for row, length in zip(x, lengths, strict=True)]).long()
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    loss = torch.zeros(())
    for _ in range(150):
        h = model(torch.tensor(x))[torch.arange(len(x)), torch.tensor(lengths - 1)]
        loss = nn.functional.cross_entropy(model.head(h), ends)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss.item() < 0.1
    return model.eval()


def value(finding: Finding, **wanted: object) -> float:
    """Return the only value of a finding's rows with these cells."""
    table = finding.measurements
    for column, cell in wanted.items():
        table = table[table[column] == cell]
    (found,) = table["value"]
    return float(found)


def test_the_planted_unit_is_found(of_planted: Report) -> None:
    """Unit 0 follows the count with |r| 1, and the words name it."""
    reading, single = of_planted.findings["reading-ones"], of_planted.findings["single-units"]
    assert value(single, metric="largest_correlation", role="trained") == pytest.approx(1, abs=1e-5)
    assert single.notes["answer"].startswith("Unit 0 of the cell state of [0] follows “ones” best within steps")
    assert value(reading, metric="score", role="trained", signal="cell_state") > 0.999


def test_the_answer_follows_the_planted_unit_alone(of_planted: Report) -> None:
    """Unit 0 put into another run gives all answers, and controls do not; its ablation alone costs something."""
    found = of_planted.findings
    patched = found["interchange"].measurements
    rows = patched[(patched["metric"] == "followed") & (patched["role"] == "trained")]
    followed = rows[rows["at"].isna() | (rows["at"] == 1)].set_index("kind")["value"]
    assert followed["whole"] == 1
    assert followed["units"] == 1
    assert followed["nothing"] == 0
    assert rows[rows["kind"] == "random"]["value"].max() < 0.3
    assert "The best of its parts, 1 unit chosen by the concept (0): 100%" in found["interchange"].notes["answer"]
    own = found["ablation"].measurements.query("role == 'trained'")
    drops = own[own["metric"] == "unit_drop"].set_index("units")["value"]
    assert drops["0"] > 0.5
    assert drops.drop("0").abs().max() == 0
    assert "Unit 0 costs most" in found["ablation"].notes["answer"]
    assert "unit 0 alone keeps 1.00, which is enough" in found["ablation"].notes["answer"]


def test_answers_and_rival_programs_are_scored(of_planted: Report) -> None:
    """The network is right on every sequence, answers as the counting program does, and not as the length."""
    answers = of_planted.findings["answers"]
    assert value(answers, metric="accuracy", role="trained") == 1
    programs = of_planted.findings["programs"]
    own = programs.measurements.query("metric == 'agreement' and role == 'trained' and at.isna()").set_index("kind")
    assert own["value"]["count"] == 1
    assert own["value"]["length"] < 0.1
    assert "“count” agrees with the network most often" in programs.notes["answer"]


def test_one_network_decides_nothing_about_a_recipe(of_planted: Report) -> None:
    """The rule about the recipe is undecided for one network. The page says so, and shows no verdict beside it."""
    page, found = of_planted.page, of_planted.findings
    (claim,) = found["reading-ones"].claims
    assert (claim.verdict, claim.n) == ("undecided", 1)
    assert "One network says nothing about the recipe" in plain(page.lead)
    text = page.render()
    assert "its verdict is “undecided”" in text
    assert 'class="verdict' not in text
    assert "<strong>" not in text


def test_a_page_of_pictures_is_not_large(of_planted: Report) -> None:
    """All figures and the explorer of a small network are in it, and it stays below 500,000 bytes."""
    text = of_planted.page.render()
    drawn = [len(found.figures) for found in of_planted.findings.values()]
    assert max(drawn) == 4
    shown, left_out = text.count('<figure class="plot"'), text.count("Its pictures lie in")
    assert sum(map(bool, drawn)) <= shown + left_out
    assert shown > 15
    assert len(text.encode()) < 500_000


def test_a_network_that_nobody_trained_is_not_said_to_have_learned(of_random: Report) -> None:
    """What can be read from it can be read from others like it, which the words say."""
    page, found = of_random.page, of_random.findings
    reading = found["reading-ones"]
    best = reading.measurements.query("metric == 'score' and role == 'random weights'")["value"].max()
    assert value(reading, metric="best_score", role="trained") < best + 0.05
    assert "It is not read clearly better than" in reading.notes["answer"]
    assert "the best of 32 networks with random weights" in plain(page.lead)
    assert "No control does as well" not in page.render()
    assert "more than any control" not in found["interchange"].notes["answer"].replace(
        "not clearly more than any", ""
    )


def test_where_the_answer_follows_no_state_parts_of_it_say_nothing(
    of_random: Report,
) -> None:
    """A head on states that it was not made for: neither units nor searched directions are said to carry anything."""
    found = of_random.findings
    assert "The answers are mostly wrong" in found["interchange"].notes["answer"]
    assert "With such answers we cannot say" in found["interchange"].notes["answer"]
    assert found["ablation"].notes["answer"].startswith("Not asked: the network answers “ones” right on 6.2%")


def test_controls_stand_beside_the_score(of_planted: Report) -> None:
    """All controls are measured, 32 networks with random weights among them; shuffled values cannot be read."""
    table = of_planted.findings["reading-ones"].measurements
    scores = table[table["metric"] == "score"]
    assert {"step alone", "last 4 inputs", "relabelled 1"} <= set(scores["network"])
    assert scores[scores["role"] == "random weights"]["network"].nunique() == 32
    nulls = scores[scores["role"] == "null"]
    assert nulls[nulls["network"].str.startswith("relabelled")]["value"].max() < 0.3
    by_step = scores.set_index("network")["value"]["step alone"]
    # The mean of a count grows with the step, and its spread around it does too.
    assert 0 < by_step < 0.7


@pytest.mark.parametrize("drawn", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_a_stack_of_several_lengths(drawn: bool, trained: Stacked, tmp_path: Path) -> None:
    """Two layers, sequences of 5 to 12 steps: the depth is read and used, and padding is no data."""
    x, lengths = brackets(160, 1)
    x[np.arange(12) >= lengths[:, None]] = np.nan
    head = trained.head
    study = Study(
        trained,
        x,
        {"depth": depth, "opened": Concept(lambda one: ["(" if step[0] else ")" for step in one])},
        lengths=lengths,
        readout=Readout("depth", function=head),
    )
    with nullcontext() if drawn else without_pictures():
        report = report_of(study, tmp_path / "report")
    page, found = report.page, report.findings
    assert value(found["reading-depth"], metric="best_score", role="trained") > 0.95
    assert value(found["answers"], metric="accuracy", role="trained") > 0.95
    last = found["reading-opened"]
    assert "not read clearly better than from inputs alone (the last 4 inputs, 1.00)" in last.notes["answer"]
    patched = found["interchange"].measurements
    rows = patched[(patched["metric"] == "followed") & (patched["role"] == "trained")]
    followed = rows.drop_duplicates("kind").set_index("kind")["value"]
    assert followed["whole"] > followed["nothing"] + 0.3
    assert {"rnn[0]", "rnn[1]"} <= set(rows[rows["kind"] == "part"]["layer"])
    steps = found["gates"].measurements.query("metric == 'mean'")
    assert np.isfinite(steps["value"]).all()
    assert "160 sequences of 5 to 12 steps" in found["network"].notes["answer"]
    assert len(page.render().encode()) < 600_000


def test_without_a_readout_nothing_causal_is_said(of_bare: Report) -> None:
    """The page says why, and has neither answers nor patches."""
    asked = {name for name, found in of_bare.findings.items() if len(found.measurements)}
    shown = {"one-sequence", "state-space", "gates"}
    assert asked == {"network", "reading-ones", "single-units", "fixed-points"} | shown
    assert "Without a readout we can say nothing causal" in of_bare.page.render()
    assert "Without a readout we cannot say whether" in plain(of_bare.page.lead)


@pytest.mark.usefixtures("undrawn")
def test_a_concept_as_an_array_is_patched_at_the_last_step_unless_combine_says_more() -> None:
    """Without combine only last states are patched, and the page says so; with `added` earlier ones are."""
    x = bits()
    values = np.cumsum(x[:, :, 0], axis=1)
    given = study_of(planted()).readout
    assert given is not None
    for combine, sentence in ((None, "after the last step"), ("added", "steps before the end")):
        readout = Readout("ones", weight=given.weight, bias=given.bias, combine=combine)
        patched = answer(study_of(planted(), concepts={"ones": values}, readout=readout), "interchange")
        assert sentence in patched.notes["setup"]
        assert value(patched, metric="followed", kind="units", at=1) == 1


def test_a_run_gives_the_same_bytes(of_bare: Report, tmp_path: Path) -> None:
    """Two runs of one study write the same page, tables and pictures."""
    again = report_of(study_of(planted(), readout=None), tmp_path / "again")
    files = [path.relative_to(of_bare.folder) for path in of_bare.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if path.suffix} == {".html", ".json", ".csv", ".svg", ".png", ".xz"}
    assert all((of_bare.folder / file).read_bytes() == (again.folder / file).read_bytes() for file in files)


@pytest.mark.usefixtures("undrawn")
def test_another_seed_draws_other_things(of_bare: Report) -> None:
    """In the same study, random weights and shuffled values are others; the tables are as long."""
    other = answer(study_of(planted(), readout=None, seed=1), "reading-ones").measurements
    own = of_bare.findings["reading-ones"].measurements
    assert own.shape == other.shape
    for role in ("null", "random weights"):
        one, two = (table[table["role"] == role]["value"].tolist() for table in (own, other))
        assert one != two


@pytest.mark.usefixtures("undrawn")
def test_a_plain_rnn_has_no_gates(tmp_path: Path) -> None:
    """The page says so instead of a picture; its fixed points are looked for all the same."""
    torch.manual_seed(0)
    found = report_of(study_of(nn.RNN(1, 6, batch_first=True), readout=None), tmp_path).findings
    assert "A plain RNN has no gates" in found["gates"].notes["answer"]
    assert not found["gates"].figures
    assert "fixed point" in found["fixed-points"].notes["answer"]


def test_few_sequences_and_constant_concepts_are_said(tmp_path: Path) -> None:
    """With five sequences no control can be made; a constant cannot be read; each is a sentence, and no number."""
    constant = np.ones(bits().shape[:2])
    few = report_of(study_of(planted(), inputs=bits(5), readout=None), tmp_path).findings["reading-ones"]
    same = answer(study_of(planted(), concepts={"ones": ones, "same": constant}, readout=None), "reading-same")
    assert "in 5 sequences; 8 are needed to hold some out" in few.notes["answer"]
    assert "does not vary cannot be read" in same.notes["answer"]
    assert few.measurements.empty
    assert same.measurements.empty


def test_the_explorer_runs_the_network_with_its_head(of_planted: Report) -> None:
    """A small network is on the page, with the head's answers as classes."""
    explorer = of_planted.page.live
    assert isinstance(explorer, Explorer)
    assert explorer.data is not None
    described = json.loads(explorer.data)
    assert described["classes"] == [str(answer) for answer in range(9)]
    assert described["networks"][0]["scores"] == 9
