"""Would the second verdicts be others with another head, step, estimator, split or dose of noise?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from analyses.counter import common, one_cell, second
from probe import Finding
from probe.evidence import DataFigure, Rule, judge
from probe.evidence.measurements import FITTED_HEADS, Network, only, tabulate
from probe.plots.style import GREY, new_figure, style
from probe.questions.interventions import unit_shares
from probe.questions.states import linear_readout, single_units

QUESTION, TITLE = "other_choices", "Would the second verdicts be others, had we chosen otherwise?"
VERSION = 1
RULES: tuple[Rule, ...] = ()
#: After which steps the units are patched beside the usual one, step 6; base and source differ two steps before.
STEPS = (4, 5, 7, 8)
HALF = 0.5
#: Seeds of the splits on which states are read, beside the usual seed 0.
SPLITS = range(1, 10)
_SHARES = ("largest_unit_share", "negative_unit_shares")
_READ = ("mean_monotone_accuracy", "lasting_monotone_accuracy", "last_step_r_squared")
MEASURED = (*_SHARES, *_READ)
#: Doses of noise beside the usual one of .1 standard deviations.
DOSES = (0.03, 0.06, 0.2)
#: By what all bounds of the five tests of a cell are multiplied.
BOUNDS = (0.9, 0.8, 0.7, 0.6, 0.5)
SAME = "The bounds of the five tests do not decide this. "


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the units' shares at other steps, and what is read from states on other splits.

    Metrics: `largest_unit_share` and `negative_unit_shares` of trained networks at each of `STEPS` (`step`);
    `mean_monotone_accuracy`, `lasting_monotone_accuracy` and `last_step_r_squared` of these and of their
    initialisations on each of `SPLITS` (`at`).
    """
    asked = common.subjects(common.pick(networks, "trained"))
    states = common.subjects(common.pick(networks, "trained", "own initialisation"))
    found = [unit_shares.measure(asked, step=step, changed=step - 2) for step in STEPS if asked]
    for split in SPLITS if states else ():
        parts = single_units.measure(states, seed=split), linear_readout.measure(states, seed=split)
        found += [part.assign(at=float(split)) for part in parts]
    rows = [table[table["metric"].isin(MEASURED)] for table in found]
    return pd.concat(rows, ignore_index=True).assign(question=QUESTION) if rows else tabulate([])


def find(networks: Sequence[Network], tables: Mapping[str, pd.DataFrame]) -> Finding:
    """Judge the second judgement's rules again under other choices.

    Args:
        networks: those of the second judgement.
        tables: what was measured of them, by question.
    """
    cells = other_bounds(tables[one_cell.QUESTION])
    rows = [*_heads(tables), *_steps(tables), *_estimators(tables), *_doses(tables), *_splits(tables)]
    data = pd.DataFrame(rows)
    with style():
        picture = _picture(data)
    notes = {"answer": _answer(data), "carried": _carried(tables), "cells": _cells_in_words(cells)}
    provenance = common.provenance(QUESTION, networks)
    return Finding(QUESTION, TITLE, tables[QUESTION], (), (picture,), provenance, notes)


def _carried(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return after how many bits one cell carries half of a count in most networks, and in how many."""
    other = only(tables[QUESTION], metric="largest_unit_share")
    usual = only(tables["unit_shares"], metric="largest_unit_share", role="trained")
    rows = pd.concat([other, usual], ignore_index=True)
    steps = rows["step"].astype(int)
    carrying = (rows["value"] >= HALF).groupby(steps).sum()
    most = int(carrying.index.to_numpy(int)[int(carrying.to_numpy().argmax())])
    return (
        f"We also looked after {steps.min() + 1} to {steps.max() + 1} bits for a cell that carries half of a count. "
        f"Most networks have one after {most + 1} bits: {carrying.max()} of "
        f"{usual['network'].nunique()}. After the last of these bits {carrying.iloc[-1]} have one."
    )


def _line(varied: str, choice: str, *, claim: str, usual: str, judged: tuple[str, float]) -> dict[str, object]:
    verdict, median = judged
    return {"varied": varied, "choice": choice, "claim": claim, "usual": usual, "verdict": verdict, "median": median}


def _verdict(table: pd.DataFrame, rule: Rule) -> tuple[str, float]:
    (claim,) = judge(table, [rule], family=second.family())
    return claim.verdict, claim.value


def _heads(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return each rule about answers against one head alone."""
    found = []
    for name, rule in second.rules_by_question():
        if not any(control.role == second.STRONGEST for control in rule.controls):
            continue
        table = second.with_strongest(second.rows_of(tables, name, rule), [rule])
        usual, value = _verdict(table, rule)
        if usual == "refuted":
            continue  # by the networks themselves: no control could change it
        for head in FITTED_HEADS:
            alone = replace(rule, controls=tuple(replace(control, role=head) for control in rule.controls))
            again = _verdict(table, alone)[0], value
            found.append(_line("head", head, claim=rule.key, usual=usual, judged=again))
    return found


def _steps(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return the two rules about units' shares at other steps, without their controls."""
    found = []
    rules = {
        rule.metric: replace(rule, controls=()) for name, rule in second.rules_by_question() if name == "unit_shares"
    }
    for metric, rule in rules.items():
        usual, _ = _verdict(only(tables["unit_shares"], metric=metric), rule)
        for step in STEPS:
            rows = tables[QUESTION][tables[QUESTION]["step"] == step]
            again = _verdict(only(rows, metric=metric), rule)
            found.append(_line("step", f"after {step + 1} bits", claim=rule.key, usual=usual, judged=again))
    return found


def _estimators(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return claim 8 by each estimator of the probe's direction."""
    rule = next(replace(rule, controls=()) for name, rule in second.rules_by_question() if rule.key == "II.8")
    table = tables["directions"]
    usual, _ = _verdict(common.of_rule(table, rule), rule)
    scores = table[table["metric"] == rule.metric]
    found = []
    for estimator in sorted(set(scores["kind"]) - {rule.signal}):
        again = _verdict(scores, replace(rule, signal=estimator))
        found.append(_line("estimator", estimator, claim=rule.key, usual=usual, judged=again))
    return found


def _doses(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return claim 5b at other doses, against the strongest head at the same dose."""
    rule = next(rule for name, rule in second.rules_by_question() if rule.key == "II.5b")
    table = tables["noise_margin"]
    usual, _ = _verdict(second.with_strongest(common.of_rule(table, rule), [rule]), rule)
    found = []
    for dose in DOSES:
        rows = table[(table["metric"] == "accuracy_by_dose") & (table["at"] == dose)].assign(metric=rule.metric)
        again = _verdict(second.with_strongest(rows, [rule]), rule)
        found.append(_line("noise", f"{dose:g} sd", claim=rule.key, usual=usual, judged=again))
    return found


def _splits(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Return the claims about what is read from states, on each other split."""
    found = []
    for name, rule in second.rules_by_question():
        if rule.metric in _READ:
            usual, _ = _verdict(common.of_rule(tables[name], rule), rule)
            for split in SPLITS:
                again = _verdict(tables[QUESTION][tables[QUESTION]["at"] == split], rule)
                found.append(_line("split", f"split {split}", claim=rule.key, usual=usual, judged=again))
    return found


def other_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """Return in which networks one cell passes the five tests with other bounds, or all but some of the tests.

    Args:
        table: what `one_cell.measure` returned.

    Returns:
        Measurements of `all_tests`, their `kind` the target, with a column `choice` more: what was chosen otherwise.
    """
    own = one_cell.BOUNDS
    choices = {f"bounds x {scale:g}": {test: scale * bound for test, bound in own.items()} for scale in BOUNDS}
    for left_out in own:
        choices[f"without “{left_out}”"] = {test: own[test] for test in own if test != left_out}
    choices["answers alone"] = {test: bound for test, bound in own.items() if test not in one_cell.READING}
    rows = only(table, metric="cell_test")
    wide = rows.pivot_table(index=["role", "network", "pair", "units"], columns="kind", values="value")
    found = []
    for choice, bounds in choices.items():
        for target in one_cell.TARGETS:
            passed = [wide[one_cell.kind_of(test, target)] >= bound for test, bound in bounds.items()]
            whole = pd.concat(passed, axis=1).all(axis=1).groupby(["role", "network", "pair"]).any()
            found.append(whole.astype(float).reset_index(name="value").assign(choice=choice, kind=target))
    asked = only(table, metric="all_tests")["network"]
    every = pd.concat(found, ignore_index=True).assign(metric="all_tests", question=QUESTION)
    return every[every["network"].isin(asked)].reset_index(drop=True)


def _cells_in_words(cells: pd.DataFrame) -> str:
    """Return in how many networks one cell passes for some target, with other bounds and without some tests."""
    best = cells.groupby(["choice", "role", "network"])["value"].max().reset_index()

    def passing(choice: str, roles: Sequence[str]) -> tuple[int, int]:
        """Return how many networks pass, and of how many."""
        own = best[(best["choice"] == choice) & best["role"].isin(roles)]["value"]
        return int(own.sum()), len(own)

    def told(choice: str) -> tuple[str, str]:
        """Return the same in words, of trained networks and of heads on untrained weights."""
        trained, heads = (passing(choice, roles) for roles in (("trained",), FITTED_HEADS))
        return f"{trained[0]} of {trained[1]}", f"{heads[0]} of {heads[1]}"

    without = [str(choice) for choice in cells["choice"].unique() if "without" in choice]
    most = max(without, key=lambda choice: passing(choice, ("trained", *FITTED_HEADS))[0])
    (own, heads), left_out, answers = told(f"bounds x {min(BOUNDS):g}"), told(most), told("answers alone")[0]
    trained = cells[cells["role"] == "trained"]["value"]
    same, nor = ("", "Three") if trained.any() else (SAME, "Nor does what a cell is thought to count: three")
    return (
        f"{same}With all of them halved one cell passes in {own} trained "
        f"networks and in {heads} with a head on untrained weights. With one test left out most pass {most}: "
        f"{left_out[0]} and {left_out[1]}. {nor} of the tests ask for the "
        f"answer alone, and one cell passes these in {answers}."
    )


def _picture(data: pd.DataFrame) -> DataFigure:
    same = (data["usual"] == data["verdict"]).groupby(data["varied"], sort=False).agg(["sum", "size"])
    figure, axes = new_figure(height=0.42 * len(same) + 1.0)
    ax = axes[0, 0]
    ax.barh(range(len(same)), 100 * same["sum"] / same["size"], color=GREY)
    ax.set_yticks(range(len(same)), [f"{varied} ({size})" for varied, size in same["size"].items()])
    ax.set(xlabel="verdicts that stay as they are, %", xlim=(0, 100))
    ax.invert_yaxis()
    said = "; ".join(f"{varied}: {kept} of {size}" for varied, (kept, size) in same.iterrows())
    return DataFigure.from_figure(
        figure,
        name=QUESTION,
        title="How many verdicts another choice leaves as they are",
        alt=f"Bars, one for each choice that we varied. Verdicts that stay: {said}.",
        caption="We judged rules again with one head alone in place of the strongest, and at other steps. We also "
        "took other estimators of the probe's direction, other doses of noise and other splits. In brackets: how "
        "many verdicts.",
        data=data.iloc[(data["usual"] == data["verdict"]).to_numpy().argsort(kind="stable")],
    )


def _answer(data: pd.DataFrame) -> str:
    changed = data[data["usual"] != data["verdict"]]
    changes = changed["varied"].value_counts()
    listed = ", ".join(f"the {varied} ({changes[varied]})" for varied in changes.index)
    said = (
        f" The other verdicts depend on the choice of: {listed}. The table below lists them first." if listed else ""
    )
    return (
        f"{len(data) - len(changed)} of {len(data)} verdicts stay as they are when we choose otherwise. The rules "
        "leave choices open: which fitted head is the control, after how many bits we look, how we fit a probe, how "
        "much noise we add, and how we split the strings. We judged each rule again with every other choice that "
        "concerns it. The figure counts how many verdicts stay. Rules that the networks themselves refute are not "
        f"judged with other heads, because no control could change their verdict.{said}"
    )
