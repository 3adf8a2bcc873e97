"""A study says what is true of its network: what was planted is found, and what was not learned is not said to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studied import Report, answer, bits, ones, planted, report_of, study_of, value
from torch import nn

from probe import Readout
from probe.report import Table
from probe.report.inline import plain
from probe.studies.prepare import prepare
from probe.subjects.budget import Budget
from probe.subjects.plans import FEWEST_PAIRS, ITERATIONS, plan_of


def test_the_planted_unit_is_found_beside_its_controls(of_planted: Report) -> None:
    """Unit 0 follows the count with |r| 1, and the words name it; all controls are measured, and do worse."""
    reading, single = of_planted.findings["reading-ones"], of_planted.findings["best-unit-ones"]
    assert value(single, "within_steps_score", signal="cell_state") == pytest.approx(1, abs=1e-5)
    assert single.notes["answer"].startswith("Unit 0 of the cell state of [0] follows “ones” best within steps: R² 1")
    assert ": above every control. " in single.notes["answer"]
    assert value(reading, "score", signal="cell_state") > 0.999
    scores = reading.measurements.query("metric == 'score'")
    assert {"step alone", "last 4 inputs", "one answer for all"} <= set(scores["network"])
    assert scores[scores["role"] == "random weights"]["network"].nunique() == 8
    # The mean of a count grows with the step, and its spread around it does too.
    assert 0 < value(reading, "score", role="null", network="step alone", signal="cell_state") < 0.7


def test_the_first_picture_of_the_unit_question_is_every_unit_against_the_concept(of_planted: Report) -> None:
    """The planted unit's mean is the count itself, and the words name where it is lowest and highest."""
    tuning = of_planted.findings["best-unit-ones"].figures[0]
    assert tuning.name == "best-unit-ones-tuning"
    own = tuning.data[tuning.data["unit"] == 0]
    assert own["mean"].to_numpy() == pytest.approx(0.1 * own["concept"].astype(float).to_numpy(), abs=1e-5)
    assert own["share"].to_numpy() == pytest.approx(np.ones(len(own)))
    counts = own["n"].to_numpy()
    mean = own["mean"].to_numpy() @ counts / counts.sum()
    spread = np.sqrt((own["mean"].to_numpy() - mean) ** 2 @ counts / counts.sum())
    assert own["z"].to_numpy() == pytest.approx((own["mean"].to_numpy() - mean) / spread, abs=1e-4)
    assert "Unit 0 is lowest at 0 (" in tuning.alt


def test_the_answer_follows_the_planted_unit_alone(of_planted: Report) -> None:
    """Put into another run it gives all answers, and controls do not; its ablation alone costs; programs are told."""
    found = of_planted.findings
    patched, ablated = found["interchange"], found["ablation"]
    given = {kind: value(patched, "followed", kind=kind) for kind in ("whole", "nothing")}
    assert given == {"whole": 1, "nothing": 0}
    assert value(patched, "followed", kind="units", at=1) == 1
    rows = patched.measurements.query("metric == 'followed' and role == 'trained' and kind == 'random'")
    assert rows["value"].max() < 0.3
    assert "With 1 unit chosen by the concept (0), the best part" in patched.notes["answer"]
    drops = ablated.measurements.query("role == 'trained' and metric == 'unit_drop'").set_index("units")["value"]
    assert drops["0"] > 0.5
    assert drops.drop("0").abs().max() == 0
    assert "Unit 0 costs most" in ablated.notes["answer"]
    assert "unit 0 alone keeps 1.00, which is enough" in ablated.notes["answer"]
    assert value(found["answers"], "accuracy") == 1
    own = found["programs"].measurements.query("metric == 'agreement' and role == 'trained' and at.isna()")
    assert (own.set_index("kind")["value"]["count"], own.set_index("kind")["value"]["length"] < 0.1) == (1, True)
    assert "“count” agrees with the network most often" in found["programs"].notes["answer"]


def test_one_network_decides_nothing_about_a_recipe(of_planted: Report) -> None:
    """The page says so, and shows no verdict beside it; with all its pictures it is below 500,000 bytes."""
    (claim,) = of_planted.findings["reading-ones"].claims
    assert (claim.verdict, claim.n) == ("undecided", 1)
    text = of_planted.page.render()
    assert "A rule about a recipe needs several networks of other seeds." in text
    assert 'class="verdict' not in text
    drawn = [len(found.figures) for found in of_planted.findings.values()]
    shown, left_out = text.count('<figure class="plot"'), text.count("Its pictures lie in")
    assert sum(map(bool, drawn)) <= shown + left_out
    assert (max(drawn), shown > 15) == (4, True)
    assert len(text.encode()) < 500_000


def test_a_network_that_nobody_trained_is_not_said_to_have_learned(of_random: Report) -> None:
    """What is read can be read from others like it; neither units nor directions are said to carry its answers."""
    page, found = of_random.page, of_random.findings
    reading, patched = found["reading-ones"], found["interchange"].notes["answer"]
    best = reading.measurements.query("metric == 'score' and role == 'random weights'")["value"].max()
    assert value(reading, "best_score") < best + 0.05
    assert ": not above every control." in reading.notes["answer"]
    assert "weights" in plain(page.lead)
    assert ": above every control" not in page.render()
    assert "The answers are mostly wrong" in patched
    assert "With such answers we cannot say" in patched
    assert "more than any control" not in patched.replace("not clearly more than any", "")
    assert found["ablation"].notes["answer"].startswith("Not asked: the network answers “ones” right on 6.2%")


def test_without_a_readout_nothing_causal_is_said(of_bare: Report) -> None:
    """The page says why, and has neither answers nor patches."""
    asked = {name for name, found in of_bare.findings.items() if len(found.measurements)}
    shown = {"one-sequence", "state-space", "gates"}
    assert asked == {"network", "reading-ones", "best-unit-ones", "fixed-points"} | shown
    assert "Without a readout we can say nothing causal" in of_bare.page.render()
    assert "Without a readout we cannot say whether" in plain(of_bare.page.lead)


def test_a_run_gives_the_same_bytes_and_another_seed_draws_other_things(of_bare: Report, tmp_path: Path) -> None:
    """Two runs write the same files; of another seed, random weights and shuffled values are others."""
    again = report_of(study_of(planted(), inputs=bits(64), readout=None), tmp_path / "again")
    files = [path.relative_to(of_bare.folder) for path in of_bare.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if path.suffix} == {".html", ".json", ".csv", ".svg", ".xz"}
    assert all((of_bare.folder / file).read_bytes() == (again.folder / file).read_bytes() for file in files)
    other = answer(study_of(planted(), inputs=bits(64), readout=None, seed=1), "reading-ones").measurements
    own = of_bare.findings["reading-ones"].measurements
    assert own.shape == other.shape
    for role in ("null", "random weights"):
        assert own[own["role"] == role]["value"].tolist() != other[other["role"] == role]["value"].tolist()


@pytest.mark.usefixtures("undrawn")
def test_the_first_screen_has_a_row_for_each_concept(tmp_path: Path) -> None:
    """Five sequences are too few to read anything."""
    values = {"ones": ones, "step": lambda x: np.arange(len(x)), "first": lambda x: x[:1, 0].repeat(len(x))}
    concepts = {f"{name} {place}": one for name, one in values.items() for place in "ab"}
    given: dict[str, Any] = {"concepts": concepts, "readout": None}
    asked = [f"reading-{name.replace(' ', '-')}" for name in concepts]
    report = report_of(study_of(planted(), inputs=bits(64, 6), questions=asked, **given), tmp_path)
    (table,) = (block for block in report.page.hero if isinstance(block, Table))
    assert [row[0] for row in table.rows] == list(concepts)
    assert plain(report.page.lead) == "Without a readout we cannot say whether the network uses any of it."
    few = answer(study_of(planted(), inputs=bits(5), **given), asked[0])
    assert "has a value in 5 sequences" in few.notes["answer"]
    assert few.measurements.empty


def test_a_readout_that_takes_long_is_counted() -> None:
    """Its matrices are part of the budget: fewer pairs and steps of the search."""
    plans = []
    for width in (2, 2_000):
        wide = nn.Sequential(nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, 9))
        (subject,) = prepare(study_of(planted(), readout=Readout("ones", function=wide)))
        plan = plan_of(replace(subject, budget=Budget(pairs=7.5e9, search=3e10)))
        plans.append((plan.pairs, plan.iterations))
    assert plans == [(Budget().most_pairs, ITERATIONS), (FEWEST_PAIRS, 0)]
