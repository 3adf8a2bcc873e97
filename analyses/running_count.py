"""Does some cell keep a running count? Seven tests that together would show it, on every network."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from probe import DataFigure, Finding, Rule
from probe.plots.style import ROLE_STYLE, new_figure, style

from .summaries import Findings, judged, rows_of, summary

QUESTION, TITLE = "running_count", "Does some cell dimension encode a running count?"
#: What each test asks, in the order in which the answer needs them.
TESTS = {
    "1a": "one cell follows the count",
    "1b": "read off it at each late step",
    "1c": "by one map at all steps",
    "2": "a linear probe reads it",
    "1d": "one cell carries the answer",
    "8": "the probe's direction does",
    "17a": "it goes on at other lengths",
}
#: Shown one by one: what a running count in one cell gives, and what only looks like one.
TOGETHER = ("trained", "untrained", "readout", "template")
#: Of the others, by recipe; of the planted ones, some.
RECIPES = ("every-step", "tf1")
ALONE = ("planted/ones", "planted/rotated", "planted/decoy", "planted/zeros")

COLUMNS = ("networks", "claim", "holds_in", "of")
#: (subject, network) -> the key of a test -> whether its rule holds.
Passes = dict[tuple[str, str], dict[str, bool]]


def find(findings: Findings) -> Finding:
    """Apply each of the seven rules to every network alone."""
    by_key = {claim.rule.key: (claim.rule, rows) for claim, rows in judged(findings)}
    tests = {key: by_key[key] for key in TESTS}
    passes = _passes(tests)
    grid = _grid(passes)
    with style():
        figure, axes = new_figure(width=8.8, height=4.2)
        _draw(grid, axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name=QUESTION,
            title="Seven tests that a running count in one cell passes",
            alt=_alt(grid),
            caption="How many networks of each kind satisfy each rule, each taken alone; filled: all of them; "
            "blank: not asked. A running count in one cell passes all seven, as the planted counter shows. To pass "
            "is no proof: a planted one spread over eight cells (rotated) passes "
            f"{_passed(grid, 'planted/rotated')}, the decoy, whose second counting cell nothing reads, "
            f"{_passed(grid, 'planted/decoy')}. A cell that counts zeros down from ten passes "
            f"{_passed(grid, 'planted/zeros')}. In 1d the readout twins have shares above 1, which others cancel "
            f"(median {_share(tests['1d'][1], 'readout')}). every-step: asked for the count after every step; tf1: "
            "trained by TensorFlow.",
            data=grid,
        )
    verdict, details = _answer(passes, rows_of(findings, "unit_shares", "largest_unit_share", subject="trained"))
    notes = {"verdict": verdict, "answer": f"{verdict}, {details}"} | _every_step(findings, passes)
    notes["otherwise"] = OTHERWISE
    table = pd.concat([rows for _, rows in tests.values()], ignore_index=True)
    return summary(QUESTION, TITLE, table, findings=findings, figures=[picture], notes=notes)


def _passes(tests: Mapping[str, tuple[Rule, pd.DataFrame]]) -> Passes:
    """Return for each network which of the rules hold, of those that were measured on it."""
    passes: Passes = {}
    for key, (rule, rows) in tests.items():
        for subject, network, value in zip(rows["subject"], rows["network"], rows["value"], strict=True):
            passes.setdefault((subject, network), {})[key] = value in rule.established_if
    return passes


def _grid(passes: Passes) -> pd.DataFrame:
    """Return how many networks of each group hold each rule."""
    groups = {subject: [own for (one, _), own in passes.items() if one == subject] for subject in TOGETHER}
    groups |= {name: [own for (_, one), own in passes.items() if one == name] for name in ALONE}
    groups |= {name: [own for (_, one), own in passes.items() if one.startswith(f"{name}/")] for name in RECIPES}
    rows = []
    for group, networks in groups.items():
        for key in TESTS if networks else ():
            held = [own[key] for own in networks if key in own]
            rows.append({"networks": group, "claim": key, "test": TESTS[key], "holds_in": sum(held), "of": len(held)})
    return pd.DataFrame(rows)


def _draw(grid: pd.DataFrame, ax: Axes) -> None:
    groups, keys = list(dict.fromkeys(grid["networks"])), list(TESTS)
    for group, key, holds_in, of in zip(*(grid[name] for name in COLUMNS), strict=True):
        if not of:
            continue
        x, y = groups.index(group), keys.index(key)
        role = group.split("/")[0]
        color = ROLE_STYLE[role].color if role in ROLE_STYLE else "black"
        full = holds_in == of
        ax.plot(x, y, "o", ms=17, mfc=color if full else "none", mec=color)
        ax.annotate(
            f"{holds_in}" if of > 1 else ("yes" if full else "no"),
            (x, y),
            ha="center",
            va="center",
            fontsize=8,
            color="white" if full else "black",
        )
    sizes = grid.groupby("networks")["of"].max().to_dict()
    ax.set_xticks(range(len(groups)), [_label(group, sizes[group]) for group in groups], fontsize=8)
    ax.set_yticks(range(len(keys)), [f"{TESTS[key]} ({key})" for key in keys])
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set_ylim(len(keys) - 0.5, -0.5)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def _label(group: str, size: int) -> str:
    return f"{group}\n(of {size})" if size > 1 else group.replace("/", "\n")


def _share(rows: pd.DataFrame, subject: str) -> str:
    return f"{rows[rows['subject'] == subject]['value'].median():.2f}"


def _passed(grid: pd.DataFrame, network: str) -> str:
    own = grid[grid["networks"] == network]
    return f"{own['holds_in'].sum()} of {own['of'].sum()}"


OTHERWISE = (
    "What would have said yes: trained networks that pass all seven tests, as the planted counter does, and the "
    "first four in more of them than of their untrained twins. One alone of the last three would have told of a "
    "cell, or a direction, that the answer follows."
)


def _answer(passes: Passes, largest: pd.DataFrame) -> tuple[str, str]:
    """Return the verdict, and what it rests on; whatever is counted, a cell that holds it has the largest share."""
    trained, twins = ([own for (one, _), own in passes.items() if one == part] for part in ("trained", "untrained"))
    every = sum(all(own.get(key, False) for key in TESTS) for own in trained)
    counts = {key: sum(own.get(key, False) for own in trained) for key in TESTS}
    same = f", and in {sum(own['1a'] for own in twins)} of {len(twins)} that were never trained" if twins else ""
    planted = sum(passes["planted", "planted/ones"].values())
    found = f"Perhaps, in {every} of {len(trained)} trained networks, which pass all seven tests"
    verdict = found if every else f"No, in none of the {len(trained)} trained networks"
    return verdict, (
        "if a running count means that one cell holds the count, that the answer uses it, and that it goes on being "
        f"a count. Nor a count of anything else: one cell carries half of the answer in {counts['1d']} (the largest "
        f"share is {largest['value'].min():.0%} to {largest['value'].max():.0%}). A cell follows the count in "
        f"{counts['1a']} of them{same}; it can be read off it at each late step in {counts['1b']}, by one map at all "
        f"steps in {counts['1c']}. A linear probe reads the count in {counts['2']}, and the answer follows what it "
        f"reads in {counts['8']}; at other lengths {counts['17a']} go on counting. The planted counter passes "
        f"{planted} of the {len(TESTS)}."
    )


def _every_step(findings: Findings, passes: Passes) -> dict[str, str]:
    """Return what becomes of the tests where each step's answer is asked for: a running count is the task."""
    if not (networks := {one: own for (_, one), own in passes.items() if one.startswith("every-step/")}):
        return {}
    every = sum(all(own.get(key, False) for key in TESTS) for own in networks.values())
    counts = {key: sum(own.get(key, False) for own in networks.values()) for key in TESTS}
    excess = rows_of(findings, "other_lengths", "mean_excess")
    lengths = excess["units"].astype(int)
    shortest = excess[lengths == lengths.min()]
    off = shortest[shortest["network"].isin(list(networks))]["value"].median()
    trained = shortest[shortest["subject"] == "trained"]["value"].median()
    read = rows_of(findings, "linear_readout", "last_step_r_squared")
    probed = read[read["network"].isin(list(networks))]["value"].median()
    told = (
        "Asked for the count after every step, networks must keep a running one: the answers to "
        f"{lengths.min()} bits, which they were trained on, exceed the ones by {off:.2f} (median; trained on the "
        f"last answer alone: by {trained:.2f}). Yet {every} of {len(networks)} such networks pass all seven tests: "
        f"a cell follows the count in {counts['1a']}, one map reads it off one cell at all steps in {counts['1c']}, "
        f"one cell carries half of the answer in {counts['1d']}, a linear probe reads it in {counts['2']} (median "
        f"R² {probed:.2f}), and over {lengths.min()} to {lengths.max()} bits {counts['17a']} do not drift."
    )
    return {"every_step": told + ("" if every else " A running count need be neither in one cell nor on a line.")}


def _alt(grid: pd.DataFrame) -> str:
    trained = grid[grid["networks"] == "trained"]
    columns = (trained[name] for name in ("test", "holds_in", "of"))
    parts = [f"{test}: {holds_in} of {of}" for test, holds_in, of in zip(*columns, strict=True)]
    return f"A grid of seven tests by kinds of networks. Trained networks: {'; '.join(parts)}."
