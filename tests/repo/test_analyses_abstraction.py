"""Programs, quantised states, reduced models and dynamics on planted counters: what must come out is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from jaxtyping import TypeCheckError

import probe
from analyses.counter import accuracy, common, dynamics, other_lengths, programs, quantised_states, reduced_models
from models.tasks import bit_strings
from probe.methods.abstraction.automata import automaton_of
from tests.repo import asked_once

MODULES = {
    "accuracy": accuracy,
    "other_lengths": other_lengths,
    "programs": programs,
    "quantised_states": quantised_states,
    "reduced_models": reduced_models,
    "dynamics": dynamics,
}


#: Which planted networks more tell what these questions are for.
DRIFTING = ("drift-0.25", "drift-0.5", "drift-0.8")
MORE = {"programs": ("zeros", "balance", "geometric"), "other_lengths": DRIFTING, "dynamics": DRIFTING}


@pytest.fixture(scope="module")
def findings() -> dict[str, probe.Finding]:
    """Return every finding of these analyses, some about more planted networks."""
    found = {name: asked_once.finding(name) for name in MODULES if name not in MORE}
    for name, planted in MORE.items():
        more = common.planted_networks(planted)
        table = pd.concat([asked_once.table(name), asked_once.measure(name, more)], ignore_index=True)
        found[name] = MODULES[name].find([*asked_once.networks(), *more], table)
    return found


def value(finding: probe.Finding, metric: str, network: str, kind: str = "", length: int | None = None) -> float:
    """Return the one value of a metric of a network."""
    table = finding.measurements
    rows = table[(table["metric"] == metric) & (table["network"] == network) & (table["kind"] == kind)]
    rows = rows[rows["at"].isna() if length is None else rows["at"] == length]
    assert len(rows) == 1
    return rows["value"].item()


@pytest.mark.parametrize("name", MODULES)
def test_every_finding_says_in_words_what_its_figures_show(findings: dict[str, probe.Finding], name: str) -> None:
    """Alt texts and answers carry numbers; no figure is too large for a page; notes are whole sentences."""
    finding = findings[name]
    for figure in finding.figures:
        assert any(character.isdigit() for character in figure.alt)
        assert ": ." not in figure.alt
        assert len(figure.svg.encode()) <= 25_000
        assert len(figure.data)
    assert any(character.isdigit() for character in finding.notes["answer"])
    assert all(note.endswith((".", "?")) and "nan" not in note for note in finding.notes.values())


@pytest.mark.parametrize("name", MODULES)
def test_one_network_without_controls_can_be_asked_everything(name: str) -> None:
    """Words and figures do without its own initialisation and without a fitted head."""
    few = [network for network in asked_once.networks() if network.role in ("trained", "planted")]
    table = asked_once.table(name)
    table = table[table["network"].isin([network.name for network in few])].reset_index(drop=True)
    assert "nan" not in " ".join(MODULES[name].find(few, table).notes.values())


@pytest.mark.parametrize(("drift", "read"), [("0.25", 0.25), ("0.5", 0.5), ("0.8", 0.8)])
def test_planted_drifts_come_back(findings: dict[str, probe.Finding], drift: str, read: float) -> None:
    """d within .035 over 6 to 14 bits; the answer falls by d on a zero and rises by 1 - d on a one."""
    network = f"planted/drift-{drift}"
    assert value(findings["other_lengths"], "drift", network) == pytest.approx(read, abs=0.035)
    assert value(findings["dynamics"], "silent_speed", network) == pytest.approx(read, abs=0.05)
    assert value(findings["dynamics"], "driven_speed", network) == pytest.approx(1 - read, abs=0.06)


@pytest.mark.parametrize(
    ("network", "program"),
    [("ones", "ones"), ("zeros", "zeros backwards"), ("balance", "balance"), ("geometric", "zeros backwards")],
)
def test_planted_counters_run_their_own_programs(
    findings: dict[str, probe.Finding], network: str, program: str
) -> None:
    """At every length, and no other program does; all of them agree on ten bits."""
    finding = findings["programs"]
    for name in programs.PROGRAMS:
        assert value(finding, "agreement", f"planted/{network}", name, 10) == 1
    assert value(finding, "unseen_agreement", f"planted/{network}", program) == 1
    others = {"ones", "zeros backwards", "balance"} - {program}
    assert all(value(finding, "unseen_agreement", f"planted/{network}", name) < 0.5 for name in others)


def test_the_planted_counter_has_the_ideal_automaton_and_a_rest_for_each_count(
    findings: dict[str, probe.Finding],
) -> None:
    """66 states; alone it runs on them; under zeros nothing moves and each count is a fixed point."""
    for name in ("planted/ones", "planted/ones-alone"):
        assert value(findings["accuracy"], "automaton_states", name) == 66
        assert value(findings["dynamics"], "silent_speed", name) < 1e-3
        assert value(findings["dynamics"], "fixed_points", name) >= 7
        assert value(findings["reduced_models"], "law_r_squared", name) == pytest.approx(1, abs=1e-6)
        assert value(findings["reduced_models"], "affine_unseen_agreement", name) == 1
    assert value(findings["quantised_states"], "states", "planted/ones-alone", "by_step") == 66
    assert value(findings["quantised_states"], "states", "planted/ones-alone", "over_steps") == 11
    for metric in ("accuracy_kept_by_step", "accuracy_kept_over_steps"):
        assert value(findings["quantised_states"], metric, "planted/ones-alone") == 1


def test_a_fitted_head_passes_the_law_and_is_no_drifting_counter(findings: dict[str, probe.Finding]) -> None:
    """What one number predicts needs no learning: the answers of the fitted head are a law too."""
    control = "counter/seed-2000/fitted head"
    assert value(findings["reduced_models"], "law_r_squared", control) > 0.9
    assert abs(value(findings["other_lengths"], "drift", control)) < 0.1


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
