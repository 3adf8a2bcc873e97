"""Programs, quantised states, reduced models and dynamics on planted counters: what must come out is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import TypeCheckError

import probe
from analyses.counter import common, programs, study
from models.tasks import bit_strings
from probe.evidence.measurements import only
from probe.methods.abstraction.automata import automaton_of
from tests.repo import asked_once

NAMES = ("accuracy", "other_lengths", "programs", "quantised_states", "reduced_models", "dynamics")
#: Which planted networks more tell what these questions are for.
DRIFTING = ("drift-0.25", "drift-0.5", "drift-0.8")
MORE = {"programs": ("zeros", "balance", "geometric"), "other_lengths": DRIFTING, "dynamics": DRIFTING}


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    """Return what was measured, some of it of more planted networks."""
    found = {name: asked_once.tables()[name] for name in NAMES}
    for name, planted in MORE.items():
        more = asked_once.measure(name, common.planted_networks(planted))
        found[name] = pd.concat([found[name], more], ignore_index=True)
    return found


def value(table: pd.DataFrame, metric: str, network: str, kind: str = "", length: int | None = None) -> float:
    """Return the one value of a metric of a network."""
    rows = only(table, metric=metric, network=network, kind=kind)
    rows = rows[rows["at"].isna() if length is None else rows["at"] == length]
    assert len(rows) == 1
    return rows["value"].item()


@pytest.mark.parametrize("name", ["programs", "reduced_models"])
def test_figures_do_without_controls(name: str) -> None:
    """Without its own initialisation and a fitted head beside it, a figure says nothing of them."""
    table = asked_once.tables()[name]
    few = table[table["role"].isin(["trained", "planted"])].reset_index(drop=True)
    draw = study.questions([name])[0].draw
    assert draw is not None
    figure = draw(few)
    assert "nan" not in figure.alt
    assert ": ." not in figure.alt


@pytest.mark.parametrize(("drift", "read"), [("0.25", 0.25), ("0.5", 0.5), ("0.8", 0.8)])
def test_planted_drifts_come_back(tables: dict[str, pd.DataFrame], drift: str, read: float) -> None:
    """d within .035 over 6 to 14 bits; the answer falls by d on a zero and rises by 1 - d on a one."""
    network = f"planted/drift-{drift}"
    assert value(tables["other_lengths"], "drift", network) == pytest.approx(read, abs=0.035)
    assert value(tables["dynamics"], "silent_speed", network) == pytest.approx(read, abs=0.05)
    assert value(tables["dynamics"], "driven_speed", network) == pytest.approx(1 - read, abs=0.06)


@pytest.mark.parametrize(
    ("network", "program"),
    [("ones", "ones"), ("zeros", "zeros backwards"), ("balance", "balance"), ("geometric", "zeros backwards")],
)
def test_planted_counters_run_their_own_programs(tables: dict[str, pd.DataFrame], network: str, program: str) -> None:
    """At every length, and no other program does; all of them agree on ten bits."""
    table = tables["programs"]
    for name in programs.PROGRAMS:
        assert value(table, "agreement", f"planted/{network}", name, 10) == 1
    assert value(table, "unseen_agreement", f"planted/{network}", program) == 1
    others = {"ones", "zeros backwards", "balance"} - {program}
    assert all(value(table, "unseen_agreement", f"planted/{network}", name) < 0.5 for name in others)


def test_the_planted_counter_has_the_ideal_automaton_and_a_rest_for_each_count(
    tables: dict[str, pd.DataFrame],
) -> None:
    """66 states; alone it runs on them; under zeros nothing moves and each count is a fixed point."""
    for name in ("planted/ones", "planted/ones-alone"):
        assert value(tables["accuracy"], "automaton_states", name) == 66
        assert value(tables["dynamics"], "silent_speed", name) < 1e-3
        assert value(tables["dynamics"], "fixed_points", name) >= 7
        assert value(tables["reduced_models"], "law_r_squared", name) == pytest.approx(1, abs=1e-6)
        assert value(tables["reduced_models"], "affine_unseen_agreement", name) == 1
    assert value(tables["quantised_states"], "states", "planted/ones-alone", "by_step") == 66
    assert value(tables["quantised_states"], "states", "planted/ones-alone", "over_steps") == 11
    for metric in ("accuracy_kept_by_step", "accuracy_kept_over_steps"):
        assert value(tables["quantised_states"], metric, "planted/ones-alone") == 1


def test_a_fitted_head_passes_the_law_and_is_no_drifting_counter(tables: dict[str, pd.DataFrame]) -> None:
    """What one number predicts needs no learning: the answers of the fitted head are a law too."""
    control = "counter/seed-2000/fitted head"
    assert value(tables["reduced_models"], "law_r_squared", control) > 0.9
    assert abs(value(tables["other_lengths"], "drift", control)) < 0.1


def test_the_count_of_ten_bits_is_66_states_and_askable_strings_have_answers() -> None:
    """The ideal of claim 0, and the restriction of the lengths above ten."""
    ideal = automaton_of(common.STRINGS, common.COUNTS[:, -1].numpy())
    assert ideal is not None
    assert ideal.sizes == tuple(range(1, 12))
    x = bit_strings(12)
    count = x[[common.askable(bits) for bits in x.numpy()]][:, :, 0].sum(1)
    assert (int(count.min()), int(count.max())) == (2, 10)
    assert len(count) == 4096 - 2 * (1 + 12)
    with pytest.raises((probe.ProbeError, TypeCheckError)):
        automaton_of(torch.zeros(4, 2, 1), np.zeros(3))
