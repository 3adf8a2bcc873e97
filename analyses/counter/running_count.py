"""Does some cell keep a running count? Seven tests that together would show it, on every network."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes

from analyses.counter.summaries import Findings, judged, rows_of, summary
from probe import Finding
from probe.evidence import DataFigure, Rule
from probe.plots.style import ROLE_STYLE, SMALL, new_figure, style

QUESTION, TITLE = "running_count", "What did the first judgement say of a running count?"
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
TOGETHER = ("trained", "own initialisation", "fitted head", "template")
#: Of the others, by recipe; of the planted ones, some.
RECIPES = ("every-step", "tf1")
ALONE = ("planted/ones", "planted/rotated", "planted/decoy", "planted/zeros", "planted/beside-clock")

COLUMNS = ("networks", "claim", "holds_in", "of")
#: (role, network) -> the key of a test -> whether its rule holds.
Passes = dict[tuple[str, str], dict[str, bool]]


def find(findings: Findings) -> Finding:
    """Apply each of the seven rules to every network alone."""
    by_key = {claim.rule.key: (claim.rule, rows) for claim, rows in judged(findings)}
    tests = {key: by_key[key] for key in TESTS}
    passes = _passes(tests)
    grid = _grid(passes)
    with style():
        figure, axes = new_figure(height=5.6)
        _draw(grid, axes[0, 0])
        picture = DataFigure.from_figure(
            figure,
            name=QUESTION,
            title="Seven tests that a running count in one cell passes",
            alt=_alt(grid),
            caption="How many networks of each kind satisfy each rule, each rule taken alone. Filled: all of them. "
            "Blank: not asked. A running count in one cell passes all seven, as the planted counter shows. But to "
            "pass is no proof. The planted counter called rotated spreads its count over eight cells, and passes "
            f"{_passed(grid, 'planted/rotated')}. In the decoy, nothing reads the second cell that counts; it passes "
            f"{_passed(grid, 'planted/decoy')}. A cell that counts zeros down from ten passes "
            f"{_passed(grid, 'planted/zeros')}. In test 1d the fitted heads have shares above one, which others "
            f"cancel (median {_share(tests['1d'][1], 'fitted head')}). We asked the networks called every-step for "
            "the count after every step, and trained those called tf1 with TensorFlow.",
            data=grid,
        )
    verdict, details = _answer(passes, rows_of(findings, "unit_shares", "largest_unit_share", role="trained"))
    notes = {"verdict": verdict, "answer": details, "flaw": _flaw(passes)} | _before(passes)
    notes |= _every_step(passes)
    notes["otherwise"] = OTHERWISE
    table = pd.concat([rows for _, rows in tests.values()], ignore_index=True)
    return summary(QUESTION, TITLE, table, findings=findings, figures=[picture], notes=notes)


def _passes(tests: Mapping[str, tuple[Rule, pd.DataFrame]]) -> Passes:
    """Return for each network which of the rules hold, of those that were measured on it."""
    passes: Passes = {}
    for key, (rule, rows) in tests.items():
        for role, network, value in zip(rows["role"], rows["network"], rows["value"], strict=True):
            passes.setdefault((role, network), {})[key] = value in rule.established_if
    return passes


def _grid(passes: Passes) -> pd.DataFrame:
    """Return how many networks of each group hold each rule."""
    groups = {role: _of(passes, role) for role in TOGETHER}
    groups |= {name: [held for (_, network), held in passes.items() if network == name] for name in ALONE}
    groups |= {name: list(_of_recipe(passes, name).values()) for name in RECIPES}
    rows = []
    for group, networks in groups.items():
        for key in TESTS if networks else ():
            held = [each[key] for each in networks if key in each]
            rows.append({"networks": group, "claim": key, "test": TESTS[key], "holds_in": sum(held), "of": len(held)})
    return pd.DataFrame(rows)


def _of(passes: Passes, role: str) -> list[dict[str, bool]]:
    return [held for (part, _), held in passes.items() if part == role]


def _of_recipe(passes: Passes, recipe: str) -> dict[str, dict[str, bool]]:
    return {network: held for (_, network), held in passes.items() if network.startswith(f"{recipe}/")}


def _counts(networks: list[dict[str, bool]]) -> dict[str, int]:
    """Return how many networks hold each rule."""
    return {key: sum(held.get(key, False) for held in networks) for key in TESTS}


def _draw(grid: pd.DataFrame, ax: Axes) -> None:
    groups, keys = list(dict.fromkeys(grid["networks"])), list(TESTS)
    for group, key, holds_in, of in zip(*(grid[name] for name in COLUMNS), strict=True):
        if not of:
            continue
        x, y = keys.index(key), groups.index(group)
        role = group.split("/")[0]
        color = ROLE_STYLE[role].color if role in ROLE_STYLE else "black"
        full = holds_in == of
        ax.plot(x, y, "o", ms=21, mfc=color if full else "none", mec=color)
        ax.annotate(
            f"{holds_in}" if of > 1 else ("yes" if full else "no"),
            (x, y),
            ha="center",
            va="center",
            fontsize=SMALL,
            color="white" if full else "black",
        )
    sizes = grid.groupby("networks")["of"].max().to_dict()
    ax.set_yticks(range(len(groups)), [_label(group, sizes[group]) for group in groups])
    ax.set_xticks(range(len(keys)), [fill(f"{TESTS[key]} ({key})", 18) for key in keys], rotation=90)
    ax.set_xlim(-0.6, len(keys) - 0.4)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)


def _label(group: str, size: int) -> str:
    return f"{group}\n(of {size})" if size > 1 else group.replace("planted/", "planted: ")


def _share(rows: pd.DataFrame, role: str) -> str:
    return f"{rows[rows['role'] == role]['value'].median():.2f}"


def _passed(grid: pd.DataFrame, network: str) -> str:
    rows = grid[grid["networks"] == network]
    return f"{rows['holds_in'].sum()} of {rows['of'].sum()}"


OTHERWISE = (
    "We would have said yes if trained networks had passed all seven tests, as the planted counter does, and had "
    "passed the first four more often than before training. If they had passed only one of the last three, there "
    "would be a cell, or a direction, that the answer follows."
)


def _flaw(passes: Passes) -> str:
    """Return what the second judgement asks otherwise, with the planted network that shows why."""
    beside = passes.get(("planted", "planted/beside-clock"), {})
    said = (
        f" A planted network that keeps a running count in a cell, beside a clock that its answer also reads, passes "
        f"{sum(beside.values())} of {len(beside)} and gets a no."
        if beside
        else ""
    )
    return (
        "These tests have two faults, and the second judgement mends them. Each test may pick another cell. And the "
        f"last one is about the answer and not about a cell.{said}"
    )


def _before(passes: Passes) -> dict[str, str]:
    """Return what training did to the cells that one map reads at all steps."""
    trained, untrained = _of(passes, "trained"), _of(passes, "own initialisation")
    if not untrained:
        return {}
    before, after = _counts(untrained)["1c"], _counts(trained)["1c"]
    end = ": training takes it away." if after < before else "."
    sentence = f"Before training one cell gives the count at all steps in {before} of {len(untrained)} networks"
    return {"before": f"{sentence}, and after training in {after}{end}"}


def _answer(passes: Passes, largest: pd.DataFrame) -> tuple[str, str]:
    """Return the verdict, and what it rests on; whatever is counted, a cell that holds it has the largest share."""
    trained = _of(passes, "trained")
    every = sum(all(held.get(key, False) for key in TESTS) for held in trained)
    counts, planted = _counts(trained), sum(passes["planted", "planted/ones"].values())
    perhaps = f"Perhaps, in {every} of {len(trained)} trained networks, which pass all seven tests"
    verdict = perhaps if every else f"No, in none of the {len(trained)} trained networks"
    return verdict, (
        f"A cell keeps a running count in {every or 'none'} of the {len(trained)} trained networks. By a running "
        "count we mean that one cell holds the count, that the answer uses it, and that it goes on being a count. "
        f"The planted counter passes {planted} of the {len(TESTS)} tests. Could a cell keep a count of anything "
        f"else? Then it would carry most of the answer. One cell carries half of it in {counts['1d']} networks; the "
        f"largest share in any network is {largest['value'].max():.0%}."
    )


def _every_step(passes: Passes) -> dict[str, str]:
    """Return what becomes of the tests where each step's answer is asked for: a running count is the task."""
    if not (networks := _of_recipe(passes, "every-step")):
        return {}
    every = sum(all(held.get(key, False) for key in TESTS) for held in networks.values())
    counts = _counts(list(networks.values()))
    sentence = (
        "We also trained networks to answer after every step. They must keep a running count, and "
        f"{counts['17a']} of {len(networks)} do not drift with the length. All seven tests are passed by {every} of "
        f"them. A cell follows the count in {counts['1a']}, and a linear probe reads it in {counts['2']}."
    )
    return {"every_step": sentence + ("" if every else " A running count need be neither in one cell nor on a line.")}


def _alt(grid: pd.DataFrame) -> str:
    trained = grid[grid["networks"] == "trained"]
    columns = (trained[name] for name in ("test", "holds_in", "of"))
    parts = [f"{test}: {holds_in} of {of}" for test, holds_in, of in zip(*columns, strict=True)]
    return f"A grid of seven tests by kinds of networks. Trained networks: {'; '.join(parts)}."
