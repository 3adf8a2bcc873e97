"""Can a linear probe read the count, and better than from any network of this size?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding, Signal
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure, style
from probe.questions.states import linear_readout

HIDDEN = Signal.HIDDEN_STATE
VERSION = 1
RULES = (
    Rule(
        key="II.2",
        statement="A linear probe reads the count out of the last state.",
        metric="last_step_r_squared",
        definition="Held-out R² of a linear probe at the last step (halves, both ways), the smaller of c's and h's.",
        source="Hupkes et al. 2018",
        established_if=Range.at_least(0.95),
        refuted_if=Range.below(0.95),
        controls=(Control("own initialisation", 0.02),),
    ),
    Rule(
        key="II.3",
        statement="The last state holds the count better than other memories of its input.",
        metric="selectivity",
        signal=HIDDEN,
        definition="Held-out R² of the count minus the mean of that of 200 sums of the bits with signs that "
        "nearly cancel; h after the last step.",
        source="Hewitt & Liang 2019; Voita & Titov 2020",
        established_if=Range.at_least(0.5),
        refuted_if=Range.below(0.5),
        controls=(Control("own initialisation", 0.1),),
    ),
    Rule(
        key="II.4",
        statement="The last state is mostly about the count.",
        metric="between_concept_share",
        signal=HIDDEN,
        definition="Share of the variance of h after the last step that lies between counts, all units together.",
        source="Pearson 1905 (correlation ratio, eta squared)",
        established_if=Range.at_least(0.8),
        refuted_if=Range.below(0.8),
        controls=(Control("own initialisation", 0.1),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure linear readouts of the count from counters' states, with their controls."""
    return linear_readout.measure(common.subjects(networks))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the readouts and draw them beside their controls."""
    return common.finding(
        "linear_readout",
        "Can the count be read out of the state?",
        table,
        studied=networks,
        rules=RULES,
        figures=[_by_step(table)],
        notes={
            "answer": _answer(table),
            "idle": _idle(table),
            "codelength": _codelength(table),
            "otherwise": OTHERWISE,
        },
    )


def _by_step(table: pd.DataFrame) -> DataFigure:
    drawn = table[table["metric"].isin(["r_squared", "in_sample_r_squared"])]
    drawn = drawn[drawn["signal"] == Signal.CELL_STATE].reset_index(drop=True)
    last = medians_in_words(drawn[drawn["step"] == drawn["step"].max()])
    with style():
        figure, axes = new_figure(height=3.2)
        linear_readout.draw(drawn, ax=axes[0, 0])
        return DataFigure.from_figure(
            figure,
            name="readout_by_step",
            title="A probe reads the count, trained or not",
            alt=f"Lines of held-out R² by step; the numbers are those after the last. {last}",
            caption="Medians over networks of the probe's R² on the cell state, with their 95 % intervals. Where the "
            "line is grey there are too few prefixes to hold any out.",
            data=drawn,
        )


OTHERWISE = (
    "If training made what the probe finds, the probe reads the trained states better than the states before "
    f"training, by more than the margin of claim 2 ({RULES[0].controls[0].margin:g}). If it does not, the count was "
    "in the state already. Training may then have changed how little else the state keeps. Selectivity and the share "
    "of variance between counts measure that."
)


def _answer(table: pd.DataFrame) -> str:
    rows = table[table["metric"] == "last_step_r_squared"]
    r2 = rows.groupby("role")["value"].median()
    pairs = rows[rows["pair"] != ""].pivot(index="pair", columns="role", values="value")
    pairs = pairs[["trained", "own initialisation"]].dropna()
    better = int((pairs["trained"] > pairs["own initialisation"]).sum())
    return (
        f"A probe reads the count with R² {r2['trained']:.3f} after training, and with "
        f"{r2['own initialisation']:.3f} before. We fit the probe on half of the strings and score it on the others, "
        f"after the last step (medians). It reads the trained network better than its own initialisation in {better} "
        f"of {len(pairs)} pairs."
    )


def _codelength(table: pd.DataFrame) -> str:
    rows = table[(table["metric"] == "codelength") & (table["signal"] == HIDDEN)]
    bits, planted = rows.groupby("role")["value"].median(), rows.set_index("network")["value"]["planted/ones"]
    return (
        "The codelength is how many bits it takes to send the count to somebody who has the hidden state: the fewer, "
        f"the more easily a probe learns to read it. It is {bits['trained']:.2f} bits a string after training "
        f"(median) and {bits['own initialisation']:.2f} before. The planted counter holds the count by construction, "
        f"and takes {planted:.2f}. So the codelength also measures how far apart the counts lie. We take no verdict "
        "from it."
    )


def _idle(table: pd.DataFrame) -> str:
    rows = table[table["metric"].isin(["selectivity", "between_concept_share"]) & (table["signal"] == HIDDEN)]
    value = rows.set_index(["network", "metric"])["value"]
    among, alone = (
        [value[name, metric] for metric in ("selectivity", "between_concept_share")]
        for name in ("planted/ones", "planted/ones-alone")
    )
    meaning = (
        " So a low value does not mean that there is no counter. It means that the counter is not all there is."
        if all(low < high for low, high in zip(among, alone, strict=True))
        else ""
    )
    return (
        "Claims 3 and 4 ask how little else the state holds, by its selectivity and by the share of its variance "
        "between counts. Idle units lower both. The planted counter beside idle units, which remember the input at "
        f"random, has {among[0]:.2f} and {among[1]:.2f}. The same counter alone has {alone[0]:.2f} and "
        f"{alone[1]:.2f}.{meaning}"
    )
