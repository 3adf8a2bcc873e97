"""Which measurements on ten-bit strings vary with the drift from one network to the next?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import permutations
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes

from analyses.associations import fitted_law, left_out_r_squared, rank_correlation
from analyses.counter import common
from probe import Finding, ProbeError
from probe.evidence import DataFigure, Range, Rule
from probe.evidence.measurements import Network, measurement, only, tabulate
from probe.methods.machines import Machine
from probe.methods.probing.linear import r_squared
from probe.plots.legends import legend_above
from probe.plots.style import GREY, ROLE_STYLE, new_figure
from probe.questions.answers import other_lengths
from probe.questions.interventions import gate_shares, routes
from probe.recurrent.signals import Signal
from probe.subjects.computed.ends import ends_of

QUESTION, TITLE = "drift_traces", "What on ten-bit strings goes with the drift?"
VERSION = 1
LENGTH = common.STRINGS.shape[1]
#: After how many bits states are exchanged between different steps, and how many pairs are drawn for each two.
CROSSED, DRAWN = range(5, 10), 1_024
#: At which bits, counted from 0, we compare what the step keeps on a 1 with what it keeps on a 0.
COMPARED = (7, 8, 9)
#: The law d = ALPHA + BETA q, q the `kept_contrast` at the last bit, and MIDDLE, the median d. They were found on the
#: counters of these seeds, and are a prediction for all others. This finds them again:
#: python -c "from analyses.counter import drift_traces; print(drift_traces.law_found_again())"
FOUND_ON = range(1000, 1100)
ALPHA, BETA, MIDDLE = 0.508, 0.687, 0.818
#: Fewer networks than this have no rank correlation in the finding; contrasts nearer than `ALIKE` are told as one.
FEWEST, SHOWN, ALIKE = 10, 12, 0.05
SAME_STEP = ("gate_share", "gate_share_at_step", "route_share", "constant_gates_accuracy", "kept_contrast")
RULES = (
    Rule(
        key="24a",
        statement="Interchange between steps of ten-bit strings sees the drift.",
        metric="cross_step_error",
        definition="The state after t' bits of a ten-bit string is put into the run of another after t bits, t' and "
        "t different, both 5..9; the suffix of the second follows. a of the target n1(source[:t']) + n1(base[t:]) + "
        "a (t - t') by least squares on the expected answer, strings with at most 10 ones and 10 zeros; |a - d|, d "
        "of L = 6..14.",
        source="Geiger et al. 2021 for interchange; the theorem in docs/science.md for what it does not cover",
        established_if=Range.at_most(0.05),
        refuted_if=Range.above(0.05),
    ),
    Rule(
        key="24b",
        statement="A same-step quantity of ten-bit strings predicts the drift.",
        metric="law_gain",
        definition=f"|d - {MIDDLE}| - |d - ({ALPHA} + {BETA} q)|: by how much the law is nearer to the drift d than "
        f"the median of the counters {FOUND_ON.start} to {FOUND_ON.stop - 1} is. q = log of what the last step keeps "
        "of the cells on a 1 over what it keeps on a 0: the forget gate's mean over the ten-bit strings with that "
        "last bit, averaged over units, each weighted by the square of its cell's slope on the count before the bit. "
        "The numbers were found on those counters, which are not judged.",
        source="found on the counters 1000 to 1099",
        established_if=Range.above(0.0),
        refuted_if=Range.at_most(0.0),
    ),
)
THEOREM = (
    "The theorem is about equal steps. Take all programs that agree on ten bits. At one step they have the same "
    "targets, and the probes of the count, its class means and its erasure are the same numbers. The theorem says "
    "nothing about how a network computes them. What its gates do at one step may go with its drift."
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the drift of counters, and on ten-bit strings what may go with it.

    Metrics, one value a network: `drift` over L = 6..14; `constant_gates_accuracy`; `cross_step_drift`, `..._error`
    and `..._explained` (rule 24a; the last is R squared of the expected answer by the fitted target); `law_drift`,
    what the law predicts; `law_gain` (rule 24b), called `law_gain_where_found` in the counters that the law was found
    on. By signal: `gate_share` and `route_share`. By step: `gate_share_at_step` and `kept_contrast`.

    Args:
        networks: of them those that answer with the count: an untrained head and a template do not.
    """
    studied = common.subjects(common.pick(networks, *common.ANSWERING))
    lengths = only(other_lengths.measure(studied, most=2**14), metric="drift")
    parts = [lengths, gate_shares.measure(studied), routes.measure(studied, step=6, changed=4)]
    taken = pd.concat(parts, ignore_index=True)
    taken = taken[taken["metric"].isin(["drift", *SAME_STEP])].assign(question=QUESTION, layer="")
    rows = []
    for subject, drift in zip(studied, lengths["value"], strict=True):
        machine, network = ends_of(subject).machine, subject.network
        contrasts = {step: kept_contrast(machine, step) for step in COMPARED}
        row = partial(measurement, QUESTION, network=network)
        rows += [row("kept_contrast", value=value, step=step) for step, value in contrasts.items()]
        found = [*_crossed(machine, drift), *_by_law(network, drift, contrasts[COMPARED[-1]])]
        rows += [row(metric, value=value) for metric, value in found]
    return pd.concat([taken, tabulate(rows)], ignore_index=True) if rows else tabulate([])


def kept_contrast(machine: Machine, step: int) -> float:
    """Return the log of what a step keeps of the state on a 1 over what it keeps on a 0.

    What is kept on a bit is the mean of the forget gate (of a GRU the update gate) over the ten-bit strings with that
    bit, then over units, each weighted by the square of its state's slope on the count before the step: what holds no
    count does not matter.

    Args:
        machine: a counter, run on all strings.
        step: at which bit, from 0.

    Raises:
        ProbeError: the cell has neither gate.
    """
    gates = [gate for gate in (Signal.FORGET_GATE, Signal.UPDATE_GATE) if gate in machine.cell.signals]
    if not gates:
        raise ProbeError("The network's cell has no forget or update gate; give an LSTM or a GRU.")
    before = machine.clean.states[:, step - 1, : machine.dynamics.units].numpy()
    count = common.COUNTS[:, step - 1].numpy().astype(float)
    slope = (count - count.mean()) @ (before - before.mean(0)) / ((count - count.mean()) ** 2).sum()
    opened, is_one = machine.clean.recorded(gates[0])[:, step].numpy(), common.STRINGS[:, step, 0].numpy() == 1
    kept = [np.average(opened[rows].mean(0), weights=slope**2) for rows in (is_one, ~is_one)]
    return float(np.log(kept[0] / kept[1]))


def crossed(machine: Machine, seed: int = 0) -> Float[np.ndarray, "3 pair"]:
    """Return the answers where a state goes on from another step than its own, on ten-bit strings.

    The run that comes out is the run on source[:t'] + base[t:], a string of another length: that is why it depends on
    the drift. Only strings with at most ten ones and ten zeros are returned, as in the definition of the drift.

    Args:
        machine: a counter, run on all strings.
        seed: of the drawing of `DRAWN` sources and bases for each two steps.

    Returns:
        How many bits fewer than ten the string has (t - t'), how many ones, and the expected answer.
    """
    counts, found = common.COUNTS.numpy().astype(float), []
    for source, base in permutations(CROSSED, 2):
        given, onto = np.random.default_rng([seed, source, base]).integers(0, len(counts), (2, DRAWN))
        ones = counts[given, source - 1] + counts[onto, -1] - counts[onto, base - 1]
        fewer = base - source
        allowed = (ones <= LENGTH) & (LENGTH - fewer - ones <= LENGTH)
        states = machine.clean.states[torch.as_tensor(given[allowed]), source - 1]
        y = machine.answers(states, torch.as_tensor(onto[allowed]), base - 1).expected.numpy()
        found.append(np.stack([np.full(len(y), float(fewer)), ones[allowed], y]))
    return np.concatenate(found, axis=1)


def _crossed(machine: Machine, drift: float) -> Iterator[tuple[str, float]]:
    fewer, ones, y = crossed(machine)
    slope = float(((y - ones) * fewer).sum() / (fewer**2).sum())
    yield "cross_step_drift", slope
    yield "cross_step_error", abs(slope - drift)
    yield "cross_step_explained", float(r_squared(y, ones + slope * fewer))


def _by_law(network: Network, drift: float, contrast: float) -> Iterator[tuple[str, float]]:
    predicted = ALPHA + BETA * contrast
    yield "law_drift", predicted
    if network.role == "trained":
        # What lies far from the median for another reason, such as a planted counter, would gain by any line.
        found_on = network.name.partition("/")[0] == "counter" and str(network.pair) in map(str, FOUND_ON)
        gain = abs(drift - MIDDLE) - abs(drift - predicted)
        yield "law_gain_where_found" if found_on else "law_gain", gain


def law_found_again() -> tuple[float, float, float]:
    """Return alpha, beta and the median drift of the counters that the law was found on, measured again.

    Raises:
        ProbeError: one of them is missing.
    """
    studied = common.subjects(common.pick(common.group("counter", seed), "trained")[0] for seed in FOUND_ON)
    contrast = np.array([kept_contrast(ends_of(subject).machine, COMPARED[-1]) for subject in studied])
    drift = only(other_lengths.measure(studied, most=2**14), metric="drift")["value"].to_numpy(float)
    return fitted_law(contrast, drift)


def traces(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far each same-step quantity goes with the drift, over the networks of a table; the best first.

    Args:
        table: what `measure` returned, of the networks that are compared.

    Returns:
        Columns quantity, rank_correlation with its interval low and high, left_out_r_squared, networks. A quantity
        that some network lacks, or that is the same in all, is left out.
    """
    drift = only(table, metric="drift").set_index("network")["value"]
    rows = table[table["metric"].isin(SAME_STEP)]
    named = [_name(*key) for key in zip(rows["metric"], rows["signal"], rows["step"], strict=True)]
    wide = rows.assign(quantity=named).pivot_table(index="network", columns="quantity", values="value", sort=False)
    wide, found = wide.reindex(drift.index), []
    for quantity in wide.columns[wide.notna().all() & (wide.std() > 1e-9)]:
        values = wide[quantity].to_numpy(float), drift.to_numpy(float)
        found.append((quantity, *rank_correlation(*values), left_out_r_squared(*values), len(drift)))
    columns = ["quantity", "rank_correlation", "low", "high", "left_out_r_squared", "networks"]
    ranked = pd.DataFrame(found, columns=columns)
    return ranked.sort_values(["left_out_r_squared", "quantity"], ascending=[False, True]).reset_index(drop=True)


def _name(metric: str, signal: str, step: Any) -> str:
    """Return what a quantity is called in a figure."""
    at = "" if pd.isna(step) else f" at bit {int(step) + 1}"
    if metric == "kept_contrast":
        return f"kept on a 1 over kept on a 0{at}"
    if metric == "constant_gates_accuracy":
        return "accuracy with constant gates"
    if metric == "route_share":
        return f"share of the route: {routes.name(signal)}"
    return f"share of the {gate_shares.name(signal)}{at or ', all bits'}"


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the two rules, rank what goes with the drift, and draw both."""
    own, compared = only(table, role="trained"), table[table["role"].isin(["trained", "other"])]
    ranked = traces(own) if own["network"].nunique() >= FEWEST else None
    figures = [_law(table), _cross_step(table)] + ([] if ranked is None else [_ranked(ranked)])
    notes = {"answer": _answer(own), "cross_step": _steps(own), "theorem": THEOREM, "otherwise": _otherwise(table)}
    if ranked is not None:
        notes |= {"traces": _traces(ranked), "recipes": _recipes(compared)}
        table = pd.concat([table, _as_rows(ranked)], ignore_index=True)
    rules = [rule for rule in RULES if rule.metric in set(own["metric"])]
    return common.finding(QUESTION, TITLE, table, studied=networks, rules=rules, figures=figures, notes=notes)


def _as_rows(ranked: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, rho, low, high, left_out in ranked.iloc[:, :5].itertuples(index=False):
        rows.append(common.row(QUESTION, "rank_correlation", "counter", rho, kind=name) | {"low": low, "high": high})
        rows.append(common.row(QUESTION, "left_out_r_squared", "counter", left_out, kind=name))
    return tabulate(rows)


def _beside_drift(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a metric and the drift of each network: columns role, network, pair, value and drift."""
    rows = table[table["metric"] == metric]
    rows = rows[(rows["step"] == COMPARED[-1]) | (metric != "kept_contrast")]
    drift = only(table, metric="drift").set_index("network")["value"]
    return rows.assign(drift=rows["network"].map(drift))[["role", "network", "pair", "value", "drift"]]


def _scatter(rows: pd.DataFrame, x: str, line: tuple[float, float], ax: Axes) -> Axes:
    ends = np.array([rows["value"].min(), rows["value"].max()])
    ax.plot(ends, line[0] + line[1] * ends, color="black", linewidth=0.9, zorder=0)
    for role, of_role in rows.groupby("role", sort=False):
        look = ROLE_STYLE.get(str(role))
        color, mark = (look.color, look.marker) if look else (GREY, "x")
        ax.plot(of_role["value"], of_role["drift"], mark, color=color, markersize=3.5, label=role, rasterized=True)
    ax.set(xlabel=x, ylabel="drift")
    legend_above(ax)
    return ax


def _law(table: pd.DataFrame) -> DataFigure:
    rows, said = _beside_drift(table, "kept_contrast"), "log of kept on a 1 over kept on a 0, last bit"
    medians = rows.groupby("role", sort=False)[["value", "drift"]].median()
    listed = "; ".join(f"{role} {value:.2f} and {drift:.2f}" for role, value, drift in medians.itertuples())
    return common.picture(
        lambda: _scatter(rows, said, (ALPHA, BETA), new_figure(height=3.6)[1][0, 0]),
        name="law",
        title="The drift beside what the last step keeps on a 1 and on a 0",
        alt=f"Dots, one a network, and a rising line. Median contrast and median drift: {listed}.",
        caption="Each dot is one network. To the right of zero the last step keeps more of the cells on a 1 than on "
        "a 0. The line is the law, whose numbers we found on other networks. Planted counters keep everything on "
        "either bit, and drift as we built them.",
        data=rows,
    )


def _cross_step(table: pd.DataFrame) -> DataFigure:
    rows = _beside_drift(table, "cross_step_drift")
    error = (rows["value"] - rows["drift"]).abs().groupby(rows["role"], sort=False).median()
    listed = ", ".join(f"{role} {value:.3f}" for role, value in error.items())
    return common.picture(
        lambda: _scatter(rows, "drift by interchange between steps", (0.0, 1.0), new_figure(height=3.6)[1][0, 0]),
        name="cross_step",
        title="The drift by interchange between different steps of ten-bit strings",
        alt=f"Dots near the diagonal, one a network. Median distance from it: {listed}.",
        caption="We put a state into a run that has read more or fewer bits, and the rest of that run follows. The "
        "line is equality. The run that comes out is that of a string of another length, and so it shows the drift.",
        data=rows,
    )


def _ranked(ranked: pd.DataFrame) -> DataFigure:
    best = ranked.head(SHOWN)
    names = [fill(quantity, 28) for quantity in best["quantity"]]

    def draw() -> Axes:
        ax = new_figure(height=0.36 * len(best) + 1.0)[1][0, 0]
        places, rho, own = np.arange(len(best))[::-1], best["rank_correlation"], ROLE_STYLE["trained"].color
        bounds = [rho - best["low"], best["high"] - rho]
        ax.errorbar(rho, places, xerr=bounds, fmt="o", color=own, markersize=4, label="rank correlation")
        ax.plot(best["left_out_r_squared"], places, "D", color="black", markersize=4, label="left-out R²")
        ax.axvline(0, color="black", linewidth=0.8, zorder=0)
        ax.set(yticks=places, yticklabels=names, xlim=(-1.05, 1.05))
        legend_above(ax, most=2)
        return ax

    listed = "; ".join(f"{name} {rho:+.2f}" for name, rho, *_ in best.head(5).itertuples(index=False))
    return common.picture(
        draw,
        name="traces",
        title="Which same-step quantities of ten-bit strings go with the drift",
        alt=f"Rank correlation with the drift over {best['networks'].iloc[0]} networks: {listed}.",
        caption="Each row is measured at one step of ten-bit strings. Dots: rank correlation with the drift over the "
        "trained networks, with its 95 % bootstrap interval. Diamonds: R² of a straight line for networks that it "
        "was not fitted on.",
        data=ranked,
    )


def _answer(own: pd.DataFrame) -> str:
    drift, law = (only(own, metric=metric).set_index("network")["value"] for metric in ("drift", "law_drift"))
    gains = own[own["metric"].str.startswith("law_gain")]
    better = int((gains["value"] > 0).sum())
    goes = "goes with its drift" if better > len(drift) / 2 else "does not say what its drift is"
    found = gains["metric"].eq("law_gain_where_found").all()
    explained = 1 - ((drift - law) ** 2).sum() / ((drift - MIDDLE) ** 2).sum()
    part = f" It explains {explained:.0%} of their spread around that number." if len(drift) >= FEWEST else ""
    return (
        f"What a trained network does at one step of ten-bit strings {goes}. We compare how much the last step keeps "
        "of the cells on a 1 and on a 0, and take the logarithm of the ratio. We call it the contrast. A straight "
        "line, the law, predicts the drift from it: the less is kept on a 0, the larger is the drift. The law misses "
        f"the drift by {(drift - law).abs().median():.3f} (median). In {better} of {len(drift)} networks it is "
        f"nearer than {MIDDLE}, the median drift where we found the "
        f"law.{part}{' These are the networks that we found the law on.' if found else ''}"
    )


def _steps(own: pd.DataFrame) -> str:
    error, explained = (only(own, metric=f"cross_step_{key}")["value"] for key in ("error", "explained"))
    drift, slope = (only(own, metric=name)["value"].to_numpy() for name in ("drift", "cross_step_drift"))
    others = np.abs(slope[:, None] - drift)[~np.eye(len(drift), dtype=bool)]
    beside = f" From the drift of another network it differs by {np.median(others):.3f}." if len(others) else ""
    gives = "gives the drift itself" if error.median() in RULES[0].established_if else "does not give the drift"
    return (
        f"Interchange between different steps {gives}. We put the state after some bits of one string into the run "
        "of another, after fewer or more bits. The run that comes out is that of a string of another length. We fit "
        f"by how much each missing bit shifts its answer. This slope differs from the drift by {error.median():.3f} "
        f"(median).{beside} It explains {explained.median():.0%} of the answers' variance. But it is the drift at "
        "other lengths once more, and no second evidence for it."
    )


def _traces(ranked: pd.DataFrame) -> str:
    best = ranked.iloc[0]
    many = int((ranked["low"] > 0).sum() + (ranked["high"] < 0).sum())
    return (
        f"We measured {len(ranked)} quantities at one step of ten-bit strings, and correlated each with the drift. "
        f"The interval of the rank correlation leaves out zero for {many} of them. By chance it would for "
        f"{0.05 * len(ranked):.0f}. We did not choose the quantities beforehand. This one predicts the drift best: "
        f"{best['quantity']}. Its rank correlation is {best['rank_correlation']:+.2f}; a figure shows those of the "
        "others."
    )


def _recipes(compared: pd.DataFrame) -> str:
    def rho(own: pd.DataFrame) -> float:
        return rank_correlation(own["value"].to_numpy(float), own["drift"].to_numpy(float))[0]

    rows = _beside_drift(compared, "kept_contrast")
    recipe = rows["network"].str.split("/").str[0]
    middle = rows.assign(law=ALPHA + BETA * rows["value"]).groupby(recipe)[["drift", "law"]].median()
    worst = middle.iloc[int((middle["law"] - middle["drift"]).abs().argmax())]
    within = {str(name): rho(own) for name, own in rows.groupby(recipe) if len(own) >= FEWEST}
    lowest = min(within, key=lambda name: within[name], default="")
    inside = f" Within a recipe it is {np.median(list(within.values())):+.2f} (median)." if within else ""
    inside += f" It is lowest in {lowest}: {within[lowest]:+.2f}." if within else ""
    return (
        "We found the law on counters, and networks that were trained in another way may not follow it. A recipe is "
        f"one way to train. Over {len(rows)} networks of {len(middle)} recipes the contrast has a rank correlation "
        f"of {rho(rows):+.2f} with the drift.{inside} The law is furthest off in {worst.name}: the median drift is "
        f"{worst['drift']:.2f}, and the law predicts {worst['law']:.2f}."
    )


def _otherwise(table: pd.DataFrame) -> str:
    planted = _beside_drift(table[table["role"] == "planted"], "kept_contrast").set_index("network")["value"]
    slope = only(table, network="planted/ones", metric="cross_step_drift")["value"].item()
    contrast, drifting = planted["planted/ones"], planted[planted.index.str.startswith("planted/drift")]
    alike = " Planted counters that drift have the same contrast: the law is about what training makes, no theorem."
    rows = _beside_drift(table[table["role"] == "fitted head"], "law_drift")
    missed = (rows["drift"] - rows["value"]).abs().median()
    fitted = f" With a fitted head on untrained weights the law misses the drift by {missed:.2f} (median)."
    return (
        f"In the planted counter of ones interchange between steps gives a drift of {abs(slope):.3f}. Its cell keeps "
        f"all on either bit, so that the contrast is {abs(contrast):.2f}."
        f"{alike * bool((drifting - contrast).abs().max() < ALIKE)}{fitted * bool(len(rows))}"
    )
