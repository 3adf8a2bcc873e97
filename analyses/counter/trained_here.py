"""Where does the network that `make report` trained on this machine stand among those of the study?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import pandas as pd

from analyses.counter import QUESTIONS, alignment, common, study
from models import zoo
from probe import Finding, ProbeError
from probe.evidence import DataFigure, Rule
from probe.evidence.measurements import Network, tabulate
from probe.plots.style import GREY, new_figure, role_style, style

QUESTION, TITLE = "trained_here", "Is the network that was trained here one of them?"
RULES: tuple[Rule, ...] = ()
#: Measurements are kept with nine digits.
SAME = 1e-6
Tables = Mapping[str, pd.DataFrame]


def find(
    checkpoint: Path,
    folder: Path | None = None,
    questions: Sequence[str] = QUESTIONS,
    among: Tables | None = None,
) -> Finding:
    """Measure one network by every rule of some questions and find its place among those that they are judged on.

    Args:
        checkpoint: folder of the network, as `python -m models.train` wrote it.
        folder: of measurements; None for the committed ones.
        questions: whose rules.
        among: what was measured of the networks that the rules are judged on, where it was read before.

    Raises:
        ProbeError: no question has a rule, or a network or its measurements cannot be read.
    """
    if not any(import_module(f"analyses.counter.{name}").RULES for name in questions):
        raise ProbeError(
            f"--here places a network by rules, and {', '.join(questions)} has none. Leave --here out, or ask a "
            "question with rules."
        )
    networks = common.pick(common.networks_of(checkpoint), "trained")
    here = {name: import_module(f"analyses.counter.{name}").measure(networks) for name in questions}
    among = among or study.judged_material(questions, folder)[1]
    pair = str(networks[0].pair)
    seed = int(pair)
    committed = study.groups("counter", [seed]) if seed in zoo.committed_seeds("counter") else []
    before = study.read(committed, questions, folder)[1] if committed else {}
    data = pd.DataFrame(places(here, among, before))
    with style():
        picture = _picture(data)
    rows = [
        common.row(QUESTION, "place", networks[0].name, place, pair=pair, kind=key)
        for key, place in zip(data["claim"], data["place"], strict=True)
    ]
    return common.finding(
        QUESTION,
        TITLE,
        tabulate(rows),
        # Another network than the committed one of its name.
        studied=[dataclasses.replace(network, name=f"here/{network.name}") for network in networks],
        figures=[picture],
        notes={"answer": _answer(networks[0], data, bool(committed))},
    )


def places(here: Tables, among: Tables, before: Tables) -> list[dict[str, object]]:
    """Return for each rule the value of one network and where it stands among others.

    Args:
        here: what was measured of the network.
        among: what was measured of the others, the planted ones included.
        before: what was measured of the committed network of its seed; nothing where there is none.
    """
    here, before, among = (_completed(tables, among) for tables in (here, before, among))
    rows = []
    for name in here:
        for rule in import_module(f"analyses.counter.{name}").RULES:
            value, every = _values(here[name], rule).item(), _values(among[name], rule)
            row = {"claim": rule.key, "metric": " ".join(filter(None, (rule.metric, rule.signal))), "here": value}
            if name in before:
                row["committed"] = _values(before[name], rule).item()
            row |= {"smallest": every.min(), "median": every.median(), "largest": every.max()}
            rows.append(row | {"place": float((every < value).mean() + (every == value).mean() / 2)})
    return rows


def _completed(tables: Tables, among: Tables) -> Tables:
    """Return tables, with the differences to the ceiling of the searches, which is measured among the others."""
    if "alignment" not in tables:
        return tables
    own, ceiling = (
        table[(table["network"] == alignment.CEILING) == is_ceiling]
        for table, is_ceiling in ((tables["alignment"], False), (among["alignment"], True))
    )
    return {**tables, "alignment": alignment.complete(pd.concat([own, ceiling], ignore_index=True))}


def _values(table: pd.DataFrame, rule: Rule) -> pd.Series:
    rows = common.of_rule(table, rule)
    return rows[rows["role"] == "trained"]["value"]


def _picture(data: pd.DataFrame) -> DataFigure:
    figure, axes = new_figure(height=0.19 * len(data) + 0.8)
    ax = axes[0, 0]
    ax.barh(range(len(data)), 1.0, color=GREY, alpha=0.15)
    ax.plot(data["place"], range(len(data)), "o", color=role_style("trained").color)
    ax.set_yticks(range(len(data)), data["claim"])
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of the study's networks that lie below it")
    inside = ((data["here"] >= data["smallest"]) & (data["here"] <= data["largest"])).sum()
    return DataFigure.from_figure(
        figure,
        name=QUESTION,
        title="The place of the network that was trained here, claim by claim",
        alt=f"One dot a claim. In {inside} of {len(data)} the network lies between the smallest and the largest.",
        caption="Each row is a claim's metric: how many of the study's networks have a smaller value, ties by half.",
        data=data,
    )


def _answer(network: Network, data: pd.DataFrame, committed: bool) -> str:
    inside = ((data["here"] >= data["smallest"]) & (data["here"] <= data["largest"])).sum()
    said = (
        f"{network.name} was trained and measured on this machine. Each claim has a metric. In {inside} of the "
        f"{len(data)} metrics the network lies between the smallest and the largest of the study's networks."
    )
    if not committed:
        return said
    gap = (data["here"] - data["committed"]).abs()
    if gap.max() < SAME:
        return f"{said} It equals the committed network of its seed in all of them."
    where = data["metric"].tolist()[int(gap.to_numpy().argmax())]
    return (
        f"{said} It differs from the committed network of its seed by up to {gap.max():.2g} ({where}). Another "
        "processor rounds otherwise, and then training goes another way."
    )
