"""`groups=` of a study: what is fitted on some sequences is scored on those of other groups."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from studied import STUDY, answer, bits, ones, parts, planted, study_of, written
from torch import nn

import probe
from probe.evidence.measurements import only
from probe.methods.causal.alignment_controls import halves
from probe.methods.probing.groups import folds
from probe.questions.interventions import single_answers
from probe.questions.readings import own_reading, points_of, why_unread
from probe.questions.states import linear_readout, single_units
from probe.studies.identity import tied
from probe.studies.prepare import prepare
from probe.studies.study_file import read_study
from probe.subjects.ends import ends_of, machine_of, part_of
from probe.subjects.states import recorded_rows

#: Twenty speakers of eight sequences each.
SPEAKER = np.arange(160) // 8
RNG = np.random.default_rng(0)
#: Ten copies of each of 20 sequences, and a number of each of the 20 that has nothing to do with it.
COPIES = np.repeat(RNG.normal(size=(20, 6, 4)), 10, axis=0) + 1e-6 * RNG.normal(size=(200, 6, 4))
CONDITION = np.arange(200) // 10
NOISE = np.repeat(RNG.normal(size=(20, 1)), 10, axis=0).repeat(6, axis=1)


def of_copies(**more: Any) -> probe.Study:
    """Return a study of an untrained network that read copies."""
    torch.manual_seed(0)
    gru = nn.GRU(4, 30, batch_first=True, dtype=torch.float64)
    return probe.Study(gru, COPIES, {"noise": NOISE}, **more)


def test_readings_of_a_study_have_its_groups() -> None:
    """Whole groups lie in one fold, and the loss is summed by group."""
    (subject,) = prepare(study_of(planted(), groups=SPEAKER))
    points = points_of(subject, "ones", "[0]")
    own = SPEAKER[recorded_rows(subject)][points.sequence]
    assert all(len(np.unique(points.fold[own == speaker])) == 1 for speaker in range(20))
    recording = probe.record(subject.model, subject.x, signals=["cell_state"])
    concept = np.cumsum(bits()[:, :, 0], axis=1)
    theirs = probe.linear_probe(recording, concept, groups=SPEAKER).table.query("signal == 'cell_state'")
    mine = own_reading(subject, "ones").table.query("signal == 'cell_state'")
    columns = ["network", "score", "low", "high", "states", "sequences"]
    assert mine[columns].reset_index(drop=True).equals(theirs[columns].reset_index(drop=True))


def test_without_groups_copies_let_noise_be_read() -> None:
    """So a study warns, and with groups= neither the drawn probes nor those by halves read noise."""
    with pytest.warns(UserWarning, match=r"200 sequences are nearly equal .* groups="):
        (alone,) = prepare(of_copies())
    with warnings.catch_warnings(record=True) as met:
        (grouped,) = prepare(of_copies(groups=CONDITION))
    assert not met
    best = [own_reading(one, "noise").summary["score"].max() for one in (alone, grouped)]
    assert best[0] > 0.3
    assert best[1] < 0.05
    tables = [linear_readout.measure([one]) for one in (alone, grouped)]
    for metric in ("r_squared", "pooled_r_squared"):
        without, within = (only(table, metric=metric)["value"].iloc[-1] for table in tables)
        assert without > 0.3, metric
        assert within < 0.05, metric


def test_a_unit_is_chosen_and_scored_on_other_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each step and of all steps together, no group lies in two parts."""
    met = list[tuple[np.ndarray, list[np.ndarray]]]()

    def seen(size: int, parts: int, *, groups: np.ndarray) -> list[np.ndarray]:
        met.append((groups, folds(size, parts, groups=groups)))
        return met[-1][1]

    monkeypatch.setattr(single_units, "folds", seen)
    (subject,) = prepare(study_of(planted(), groups=SPEAKER))
    _ = single_units.measure([subject])
    assert met
    for groups, cut in met:
        assert sum(len(np.unique(groups[part])) for part in cut) == len(np.unique(groups))


def test_directions_are_searched_and_scored_on_other_groups() -> None:
    """Both halves of the prefixes of a machine hold other groups; so do those of several answers."""
    (subject,) = prepare(study_of(planted(), groups=SPEAKER))
    rows = ends_of(subject).rows
    first, second = halves(machine_of(subject), 6, least=2, groups=subject.groups_of(rows))
    machine = machine_of(subject)
    shown = [
        machine.clean.prefixes[6].rows[torch.isin(machine.clean.prefixes[6].rows, way.test)]
        for way in (first, second)
    ]
    groups = [set(SPEAKER[rows[each.numpy()]]) for each in shown]
    assert groups[0]
    assert groups[0].isdisjoint(groups[1])
    (alone,) = halves(machine, 6, least=2, groups=np.zeros(len(rows), dtype=int))
    assert torch.equal(alone.train, alone.test)
    train, pairs = single_answers._halves([subject], machine, 3, 50)
    tested = torch.cat([pairs.base, pairs.source]).numpy()
    assert set(SPEAKER[train]).isdisjoint(SPEAKER[tested])


def test_a_page_says_how_many_groups_there_are() -> None:
    """In the sentence on what the network read."""
    found = answer(study_of(planted(), groups=SPEAKER), "network")
    assert (
        "160 sequences of 8 steps each, 1 feature a step in 20 groups, each held out as a whole"
        in found.notes["answer"]
    )
    assert "group" not in answer(study_of(planted()), "network").notes["answer"]


def test_a_concept_of_few_groups_is_not_asked() -> None:
    """Defined in the sequences of three speakers: whole ones cannot be held out in four folds."""
    few = np.where(SPEAKER[:, None] < 3, np.cumsum(bits()[:, :, 0], axis=1), np.nan)
    (subject,) = prepare(study_of(planted(), groups=SPEAKER, concepts={"ones": ones, "few": few}))
    assert "“few” has a value in 3 groups, and whole groups lie in one of 4 folds" in (
        why_unread(subject, "few") or ""
    )
    assert why_unread(replace(subject, groups=None), "few") is None


def test_other_groups_make_another_study(tmp_path: Path) -> None:
    """A file, or a list in the study file; what was measured without groups, or with others, is measured anew."""
    np.save(tmp_path / "speaker.npy", SPEAKER.astype(str))
    found = {}
    for name, line in {"": "", "file": 'groups = "speaker.npy"', "list": f"groups = {SPEAKER.tolist()}"}.items():
        text = STUDY.replace('"inputs.npy"', f'"inputs.npy"\n{line}')
        (found[name],) = prepare(read_study(written(tmp_path, text)))
    assert found[""].groups is None
    assert np.array_equal(found["file"].groups, SPEAKER)
    silent, file, listed = map(parts, found.values())
    assert [part for part in silent if silent[part] != file[part]] == ["inputs"]
    assert file == listed
    assert len({*tied([found[""]], 1).values(), *tied([found["file"]], 1).values()}) == 2
    some = part_of(found["file"], 40)
    assert some.groups is not None
    assert len(some.groups) == len(some.x) == 40


@pytest.mark.parametrize(
    "groups", [SPEAKER[1:], ["Ada"] * 160, [None, *SPEAKER[1:]], SPEAKER % 3, SPEAKER[:, None] + np.zeros(8)]
)
def test_groups_that_do_not_fit_are_refused(groups: Any) -> None:
    """When the study is prepared, in the words of the probes."""
    with refused():
        prepare(study_of(planted(), groups=groups))


def test_groups_of_prepared_networks_count() -> None:
    """They are set on each network, or refused where they do not fit."""
    subjects = prepare(study_of(planted()))
    (subject,) = prepare(probe.Study.of(subjects, groups=SPEAKER))
    assert subject.groups is not None
    assert subject.groups.tolist() == SPEAKER.tolist()
    with refused():
        prepare(probe.Study.of(subjects, groups=SPEAKER[1:]))
