"""Who is asked what in the study, whom its rules are judged on, and what is said of all populations together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

import probe
from analyses.counter import (
    QUESTIONS,
    accuracy,
    command,
    common,
    measured,
    other_lengths,
    study,
    training_signal,
)
from models import planted
from models.populations import CELLS, CONFIRMING, EXPLORING, SECOND_JUDGED, Population
from models.recipes import CODES, DOSES, experiment_recipe
from probe.evidence.measurements import Network, measurement, tabulate
from probe.studies import store

DRIFT = {"": 0.8, "reversed": 0.2, "signed": 0.5, "half-signed": 0.5, "shifted": 0.95}


def test_judged_counters_and_planted_networks_are_asked_everything_and_others_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of other recipes the errors and the drift; of smaller ones and of those asked at every step, more."""
    monkeypatch.setattr(study, "is_whole", lambda population: True)
    asked = {group.recipe: group.questions for group in study.compared()}
    rest = set(asked) - {"every-step", *study.SMALLER}
    assert all(asked[name] == (*study.BRIEF, study.MOVING_ZERO) for name in study.SMALLER)
    assert {"counter", "gru", "truncated"} <= rest
    assert "template" not in rest
    assert all(asked[name] == study.BRIEF for name in rest)
    more = (study.ONE_CELL, study.MOVING_ZERO)
    assert study.Group("every-step", "seed-1000").questions == (*study.BRIEF, *more)
    assert study.Group("planted", "decoy").questions == study.Group("counter", "seed-2000").questions == QUESTIONS
    assert study.Group("after-500-steps", "seed-3000").questions == study.ON_THE_WAY
    assert study.Group("counter", "seed-1000").questions == study.BRIEF


def test_rules_are_judged_on_counters_that_are_of_no_other_population() -> None:
    """And no group is there twice."""
    judged = study.judged()
    counters = [group.seed for group in judged if group.recipe == "counter"]
    assert counters == list(SECOND_JUDGED.seeds)
    assert [group.member for group in judged if group.recipe == "planted"] == list(planted.battery())
    assert all(set(group.questions) >= set(QUESTIONS) for group in judged)
    for groups in (judged, study.compared()):
        assert len({(group.recipe, group.member) for group in groups}) == len(groups)
    assert {group.seed for group in study.compared() if group.recipe == "counter"} == set(CONFIRMING.seeds)


def test_groups_are_named_by_recipe_and_member() -> None:
    """All committed ones unless seeds are given; a recipe that does not exist is named."""
    assert study.groups("hidden-1", [0]) == [study.Group("hidden-1", "seed-0")]
    assert study.Group("hidden-1", "seed-0") in study.groups("hidden-1")
    assert [network.name for network in study.Group("planted", "decoy").networks()] == ["planted/decoy"]
    with pytest.raises(probe.ProbeError, match=r"'planted', 'all'\. Did you mean 'counter'"):
        study.groups("conter")
    with pytest.raises(probe.ProbeError, match="There is no recipe 'foo'"):
        study.groups("foo", [0])


def test_measured_networks_are_judged_as_if_they_were_measured_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First the groups one by one, then the answers from their files: the same claims, to nine digits."""
    groups = [*study.groups("counter", [2000, 2001]), *study.groups("planted")[:5]]
    monkeypatch.setattr(study, "judged", lambda: groups)
    place = ["--measured", str(tmp_path / "measured")]
    names = ["accuracy", "other_lengths"]
    answer = [*place, "--out", str(tmp_path / "out")]
    assert command.run([*names, *answer]) == command.FAILED
    loading, error = capsys.readouterr().err.splitlines()
    assert loading == "Loading the networks and what was measured of them."
    assert error.startswith(f"error: The folder {str(tmp_path / 'measured')!r} does not exist. Give one that holds ")
    assert "`python -m analyses counter --recipe all` with this --measured" in error
    assert command.run([*names, "--recipe", "counter", "--seeds", "2000:2002", *place]) == 0
    assert command.run([*names, "--recipe", "planted", *place]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'measured'}: 2 of 2 groups of counter measured")
    assert command.run([*names, *answer]) == 0
    written = capsys.readouterr()
    assert written.err.splitlines() == [loading, "Answered accuracy, 1 of 2.", "Answered other-lengths, 2 of 2."]
    lines = written.out.splitlines()
    for name in names:
        found = probe.Finding.read(tmp_path / "out" / name)
        assert f"{name.replace('_', '-')}: {found.notes['answer']}" in lines
        assert [line.split() for line in lines].count([found.claims[0].rule.key, found.claims[0].verdict]) == 1
    assert f"  {len(probe.Finding.read(tmp_path / 'out' / 'other_lengths').claims)} undecided" in lines
    figures = [Path(line.strip()) for line in lines if line.endswith(".svg")]
    assert sorted(figures) == sorted((tmp_path / "out").rglob("*.svg"))
    assert lines[-1] == str(tmp_path / "out" / "findings.json")
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    assert command.run([*names, *answer, "--figures", str(tmp_path / "figures")]) == 0
    printed = {line.strip() for line in capsys.readouterr().out.splitlines()}
    wanted = {
        str(tmp_path / "figures" / figure.parts[-3] / f"{figure.stem}.{form}")
        for figure in figures
        for form in ("svg", "pdf", "png")
    }
    assert {str(path) for path in (tmp_path / "figures").glob("*/*")} == wanted
    assert wanted <= printed
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()} == before
    networks, _ = study.judged_material(names, tmp_path / "measured")
    assert [network.name for network in networks] == [one.name for group in groups for one in group.networks()]
    for module in (accuracy, other_lengths):
        found = probe.Finding.read(tmp_path / "out" / module.__name__.rpartition(".")[2])
        wanted = module.find(networks, module.measure(networks))
        assert [claim.verdict for claim in found.claims] == [claim.verdict for claim in wanted.claims]
        assert [claim.value for claim in found.claims] == pytest.approx(
            [claim.value for claim in wanted.claims], rel=1e-5
        )
        assert len(found.measurements) == len(wanted.measurements)
        assert found.notes == wanted.notes


Fake = Callable[[study.Group, str], pd.DataFrame]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[study.Group], Fake], Path]:
    """Return what gives every group one tiny network, of low seeds with a control, and writes what was made up."""
    monkeypatch.setattr(
        common,
        "group",
        lambda recipe, seed: [tiny(recipe, seed, control) for control in ("", *["fitted head"] * (seed < 1000))],
    )

    def write(groups: list[study.Group], made_up: Fake) -> Path:
        populations: dict[str, dict[str, store.Measured]] = {}
        for group in groups:
            tables = {question: made_up(group, question) for question in group.questions}
            versions = measured.versions(tables)
            made = {question: {"commit": "abc"} for question in tables}
            one = store.Measured(measured.digests(group.networks()), versions, tables, made)
            populations.setdefault(group.recipe, {})[group.member] = one
        for recipe, members in populations.items():
            assert store.write(tmp_path / f"{recipe}{store.SUFFIX}", members, QUESTIONS).is_file()
        return tmp_path

    return write


def tiny(recipe: str, seed: int, control: str) -> Network:
    """Return a network by its name, and a control of it."""
    name = f"{recipe}/seed-{seed}"
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    role = "trained" if recipe == "counter" else "other"
    return common.Studied(f"{name}/{control}" if control else name, control or role, model, seed)


def values(group: study.Group, question: str, **metrics: float) -> pd.DataFrame:
    """Return metrics of a group's network, and 0 for its control where it has one."""
    networks = group.networks()
    signals = {"direction_score": "ols"}
    return tabulate(
        measurement(question, metric, one, value if one is networks[0] else 0.0, signal=signals.get(metric, ""))
        for metric, value in metrics.items()
        for one in networks
    )


@pytest.mark.parametrize(
    ("drifts", "middle"),
    [
        ({1: 0.5, 2: 0.1, 10: 0.9}, 1),
        ({1: 0.1, 2: 0.9, 10: 0.5}, 10),
        ({1: 0.2, 2: 0.8, 3: 0.4, 10: 0.6}, 3),
        ({1: 0.3, 2: 0.3, 10: 0.3}, 10),
    ],
)
def test_the_network_of_median_drift_is_shown_in_detail(
    fake: Callable[[list[study.Group], Fake], Path],
    monkeypatch: pytest.MonkeyPatch,
    drifts: dict[int, float],
    middle: int,
) -> None:
    """With its controls and no other (seed 1 is not 10); of an even number the lower one, of equal ones by name."""
    groups = study.groups("counter", drifts)
    monkeypatch.setattr(study, "judged", lambda: groups)
    folder = fake(
        groups,
        lambda group, question: values(group, question, drift=drifts[group.seed or 0]),
    )
    networks, tables = study.judged_material(["accuracy"], folder)
    marked = [network.name for network in networks if isinstance(network, common.Studied) and network.detail]
    assert marked == [f"counter/seed-{middle}", f"counter/seed-{middle}/fitted head"]
    assert common.in_detail(networks).name == f"counter/seed-{middle}"
    assert len(tables["accuracy"]) == 2 * len(drifts)


def world(drift: dict[str, float]) -> Fake:
    """Return measurements of every cell: drifts by code that fall with the dose."""
    cells = {experiment_recipe(code, dose).name: (code, dose) for code in CODES for dose in DOSES}

    def made_up(group: study.Group, question: str) -> pd.DataFrame:
        code, dose = cells.get(group.recipe, ("", 0))
        if question == "accuracy":
            return values(group, question, test_error=0.002)
        if question == "other_lengths":
            jitter = ((group.seed or 0) % 10 - 2.5) / 1000
            return values(group, question, drift=drift[code] - 0.06 * dose + jitter)
        return values(group, question)

    return made_up


@pytest.fixture
def populations(monkeypatch: pytest.MonkeyPatch) -> list[study.Group]:
    """Return the groups of a study of six seeds a cell, one recipe more, and counters for exploring."""
    few = [Population(each.name, each.recipe, range(1000, 1006), each.purpose) for each in (CONFIRMING, *CELLS)]
    few.append(Population("gru", "gru", range(1000, 1006), "Another cell."))
    few.append(EXPLORING)
    monkeypatch.setattr(study, "FIRST", tuple(few))
    monkeypatch.setattr(study, "is_whole", lambda population: True)
    return study.compared()


def test_recipes_are_compared_by_their_drift(
    fake: Callable[[list[study.Group], Fake], Path], populations: list[study.Group]
) -> None:
    """Each recipe with its networks; no verdict about few of them."""
    found = training_signal.find(fake(populations, world(DRIFT)))
    (figure,) = found.figures
    assert set(figure.data["recipe"]) == {group.recipe for group in populations}
    assert figure.data.set_index("recipe")["networks"].to_dict() == dict.fromkeys(figure.data["recipe"], 6)
    assert figure.data["median_drift"].is_monotonic_increasing
    claims = {claim.rule.key: claim for claim in found.claims}
    assert {key: (claim.n, claim.verdict) for key, claim in claims.items()} == {
        "23a": (6, "undecided"),
        "23b": (6, "undecided"),
    }
    assert claims["23a"].value == pytest.approx(0.3)
    assert claims["23b"].value == pytest.approx(0.2)
    assert set(found.measurements["role"]) == {"other", "trained"}
    assert "moves the median drift from 0.20 to 0.95" in found.notes["answer"]
    assert (
        "The drift is lowest with bits read as 1 and 0, and highest with bits read as 1 and 2."
        in (found.notes["answer"])
    )
    assert len(figure.svg.encode()) <= 25_000
    assert found.provenance["command"] == "python -m analyses counter"


def test_a_population_that_is_not_whole_is_left_out(
    fake: Callable[[list[study.Group], Fake], Path],
    populations: list[study.Group],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part of its networks would be a choice; a rule about it is then not judged."""
    monkeypatch.setattr(study, "is_whole", lambda population: population.recipe == "counter")
    found = training_signal.find(fake([group for group in populations if group.recipe == "counter"], world(DRIFT)))
    assert set(found.figures[0].data["recipe"]) == {"counter"}
    assert not found.claims


def test_a_population_is_whole_when_none_of_its_networks_is_missing() -> None:
    """Seed 0 of a recipe is not its population."""
    assert study.is_whole(CONFIRMING)
    assert not study.is_whole(Population("few", "hidden-1", range(777, 779), "Not all are there."))


def test_a_population_that_was_not_measured_is_named(
    fake: Callable[[list[study.Group], Fake], Path], populations: list[study.Group]
) -> None:
    """Nothing is said about all of them while one is missing."""
    folder = fake(populations[:-1], world(DRIFT))
    with pytest.raises(
        probe.ProbeError, match=r"gru.csv.xz' holds nothing that was measured of gru/seed-1005 .*`make study`"
    ):
        training_signal.find(folder)
