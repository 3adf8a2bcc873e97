"""Does the base rate decide the program? Counters trained on strings in which ones are rarer or more frequent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from analyses.counter import common, rules
from models.recipes import BASE_RATES, CROSSED_CELLS, EARLY, RATED, RECIPES
from models.tasks import bit_strings, running_count
from probe import Finding
from probe.evidence import DataFigure, judge
from probe.evidence.measurements import measurement, tabulate
from probe.methods.abstraction.programs import slope
from probe.plots.legends import figure_legend
from probe.plots.style import GREY, SMALL, new_figure, role_style, style
from probe.questions.question import Question
from probe.subjects.answers import answers_by_length
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

NAME = "base_rate"
LENGTH = common.STRINGS.shape[1]
#: Lengths that the drift is fitted on.
FITTED = range(6, LENGTH)
#: By recipe how likely a 1 is; of no other recipe is anything measured here.
RATES = {one.name: one.p_one for one in (*RATED, *CROSSED_CELLS) if one.p_one is not None}


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure what a network adds to the ones, over strings as likely as those that it was trained on.

    A string of n bits with k ones has the weight p^k (1 - p)^(n - k), p of the network's recipe; of three symbols the
    product of theirs. Metrics, one value a
    network: `start`, the expected answer of the state before the first bit; `drift`, d of g(L) = d (10 - L) over 6 to
    9 bits, g being the weighted mean of expected answer minus ones; `own_error`, the weighted share of misread
    strings of ten bits; `all_error`, that of all strings alike. By length (`at`): `g`.
    """
    rows = []
    for subject in subjects:
        recipe = RECIPES[subject.network.name.partition("/")[0]]
        p, third = RATES[recipe.name], recipe.p_other
        asked = {length: bit_strings(length, recipe.symbols) for length in range(1, LENGTH + 1)}
        given, shown = answers_by_length(subject, asked)
        machine = machine_of(subject)
        nothing = torch.zeros(1, machine.dynamics.size, dtype=torch.float64)
        likely = torch.tensor([1 - p - third, p, third], dtype=torch.float64)
        weights = {length: likely[x[:, :, 0].long()].prod(1).numpy() for length, x in asked.items()}
        ones = {length: running_count(x)[:, -1].numpy() for length, x in asked.items()}
        g = {length: float(weights[length] @ (shown[length] - ones[length])) for length in asked}
        wrong = given[LENGTH] != ones[LENGTH]
        values = {
            "start": float(machine.answers(nothing).expected[0]),
            "drift": slope(g, FITTED, LENGTH),
            "own_error": float(weights[LENGTH] @ wrong),
            "all_error": float(wrong.mean()),
        }
        row = partial(measurement, NAME, network=subject.network)
        rows += [row(metric, value=value) for metric, value in values.items()]
        rows += [row("g", value=value, at=length) for length, value in g.items()]
    return tabulate(rows)


#: What a rule is about: of a seed's five networks, trained and at their beginning, start and drift by base rate.
JUDGED: dict[str, Callable[[pd.DataFrame, pd.DataFrame], float]] = {
    "start_error": lambda trained, _: _off(trained["start"], [LENGTH * p for p in BASE_RATES]),
    "early_line": lambda _, early: _off(early["drift"], early["start"] / LENGTH),
    "early_rate": lambda _, early: _off(early["drift"], BASE_RATES),
    "early_half": lambda _, early: _off(early["drift"], [0.5] * len(BASE_RATES)),
    "drift_rise": lambda trained, _: trained["drift"].iloc[-1] - trained["drift"].iloc[0],
    "rare_ones": lambda trained, _: trained["drift"].iloc[0],
    "rare_zeros": lambda trained, _: trained["drift"].iloc[-1],
}


def _off(found: Sequence[float] | pd.Series, expected: Sequence[float] | pd.Series) -> float:
    return float(np.abs(np.asarray(found) - np.asarray(expected)).mean())


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the rules judge: a row a metric, seed and role. A head is its own beginning."""
    groups = _values(table).groupby(["role", "seed"])
    values = {key: group.pivot(index="p", columns="metric", values="value") for key, group in groups}
    rows = []
    for (role, seed), own in values.items():
        if role != "other":
            begun = values["other", seed] if role == "trained" else own
            about = {"question": NAME, "role": role, "network": f"ones/seed-{seed}/{role}", "pair": seed}
            rows += [about | {"metric": metric, "value": of(own, begun)} for metric, of in JUDGED.items()]
    return tabulate(rows)


def _values(table: pd.DataFrame) -> pd.DataFrame:
    """Return one value a network and metric, with its base rate and seed; `other` are the beginnings."""
    parts = table["network"].str.split("/", n=2, expand=True)
    p = parts[0].map(RATES)
    named = table.assign(p=p, seed=parts[1].str.removeprefix("seed-"))
    return named[named["metric"] != "g"]


def find(tables: Mapping[str, pd.DataFrame], compared: Mapping[str, pd.DataFrame], *, family: int) -> Finding:
    """Judge the rules on what was measured of the base rates, beside the drift of recipes with another code."""
    judged = by_seed(tables[NAME])
    claims = judge(judged, rules.BASE_RATE, family=family)
    shown = _values(tables[NAME])
    shown = shown[shown["role"].isin(STAGES) & shown["metric"].isin([*PANELS, "own_error", "all_error"])]
    drifts = compared["drift_law"]
    recipe = drifts["network"].str.partition("/")[0]
    drifts = drifts[(drifts["metric"] == "fitted_drift") & recipe.isin(CODED)]
    codes = drifts.groupby(recipe)["value"].median().reindex([*CODED])
    with style():
        fates = [claim.verdict == PREDICTED[claim.rule.key] for claim in claims]
        held = {claim.rule.key for claim in claims if claim.verdict == "established"}
        standing = sum(keys <= held for keys in ACCOUNTS)
        fate = f"Of the {len(fates)} verdicts that we predicted, {sum(fates)} came true."
        picture = _picture(shown, codes, fate)
    table = pd.concat([judged, tables[NAME].assign(pair="")], ignore_index=True)
    stands = f"{standing or 'Neither'} of the two accounts behind them holds."
    notes = {"answer": f"{fate} {stands} {common.said(claims)}"}
    return Finding(NAME, ACROSS.title, table, claims, (picture,), notes=notes)


def _picture(shown: pd.DataFrame, codes: pd.Series, fate: str) -> DataFigure:
    """Draw start and drift of every network by its base rate, and the drift of other codes of the bits."""
    medians = shown.groupby(["metric", "role", "p"])["value"].median()
    figure, axes = new_figure(len(PANELS), height=2.8)
    for ax, (metric, (label, line)) in zip(axes.flat, PANELS.items(), strict=True):
        for role, (stage, fill, shift) in STAGES.items():
            dot: dict[str, Any] = {"color": role_style("trained").color, "markerfacecolor": fill}
            own = shown[(shown["metric"] == metric) & (shown["role"] == role)]
            place = own["p"].map(BASE_RATES.index) + shift
            ax.plot(place, own["value"], "o", **dot, markersize=3, markeredgewidth=0.5, rasterized=True)
            ax.plot(np.arange(len(BASE_RATES)) + shift, medians[metric, role], "_", color="black", markersize=10)
            ax.plot([], [], "o", **dot, markersize=4, label=stage)
        ax.plot(range(len(BASE_RATES)), [line * p for p in BASE_RATES], color=GREY, linewidth=1, zorder=0)
        ax.set_title(label, fontsize=SMALL)
        ax.set_xticks(range(len(BASE_RATES)), [f"{p:g}".lstrip("0") for p in BASE_RATES])
    for code, value in codes.items():
        axes[0, -1].annotate(
            f"read as {CODED[str(code)]}", (len(BASE_RATES) - 0.4, value), va="center", annotation_clip=False
        )
    figure.supxlabel("how likely a bit of the training strings is a 1", fontsize=SMALL)
    figure_legend(figure, *axes[0, 0].get_legend_handles_labels(), most=2)
    spread = ", ".join(f"{value:.2f} at {p:g}" for p, value in medians["drift", "trained"].items())
    own, every = (medians[f"{whose}_error", "trained"] for whose in ("own", "all"))
    return DataFigure.from_figure(
        figure,
        name=NAME,
        title="Where a network starts and what it adds, by the frequency of ones",
        alt=f"{shown['network'].nunique()} networks. Median drift after training {spread}.",
        caption="Each dot is a network, bars are medians; grey lines mark the mean training label and the base rate. "
        "At the right: medians of networks trained at .5 on other bit codes. Of strings like their own, networks "
        f"misread at most {own.max():.1%}; of all alike, up to {every.max():.0%} (medians). {fate}",
        data=shown[["metric", "role", "network", "p", "value"]].reset_index(drop=True),
    )


#: What we predicted of each before any network with a base rate was trained. The page's account (the answer starts
#: at the mean of the labels, and a straight line joins it to ten bits) gives 29a, 29b and 29c; against it stands
#: that all eleven answers are equally likely before training, mean 5, and that the head's bias moves slowly, which
#: gives 29b and 29d, and not 29a. We held the second for likelier.
PREDICTED = {
    "29a": "refuted",
    "29b": "established",
    "29c": "refuted",
    "29d": "established",
    "29e": "established",
    "29f": "refuted",
    "29g": "established",
}
#: Which claims follow from each account.
ACCOUNTS = ({"29a", "29b", "29c"}, {"29b", "29d"})
QUESTION = Question(
    NAME,
    "Does the base rate decide the program?",
    measure,
    roles=common.ANSWERING,
)
ACROSS = common.Across(
    NAME,
    QUESTION.title,
    "We trained networks on strings in which ones are rarer or more frequent, and tested each on strings drawn like "
    "its own. We predicted the verdicts of all seven claims before training.",
    rules.BASE_RATE,
)
#: The roles of networks at the two stages: what a legend says, what fills a dot, and how far they stand apart.
STAGES = {
    "other": (f"after {EARLY} steps of training", "none", -0.15),
    "trained": ("trained", role_style("trained").color, 0.15),
}
#: The panels: what a title says, and the slope of a line through 0.
PANELS = {"start": ("answer before any bit", float(LENGTH)), "drift": ("added for a missing bit", 1.0)}
#: Recipes of another code of the bits, at a base rate of one half, and what a 0 and a 1 are in them.
CODED = {"code-reversed": "1, 0", "code-signed": "\N{MINUS SIGN}1, 1", "code-shifted": "1, 2"}
