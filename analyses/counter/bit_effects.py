"""What does a 1 do to the counter's answer, what does a 0 do, and is it the same at every step?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.counter import common
from probe import Finding
from probe.evidence import Control, DataFigure, Range, Rule
from probe.evidence.measurements import Network
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure, style
from probe.questions.answers import bit_effects

BOUND = 0.25
VERSION = 1
RULES = (
    Rule(
        key="II.16",
        statement="A 1 and a 0 each do the same to the answer, wherever they come.",
        metric="largest_effect_sd",
        definition="Change of the expected answer on a bit at steps 6..10, read off the state before and after it; "
        "sd over contexts (every step the same total weight), the larger of those on a 1 and on a 0.",
        source="Weiss et al. 2018",
        established_if=Range.at_most(BOUND),
        refuted_if=Range.above(BOUND),
        controls=(Control(common.STRONGEST, 0.05, lower=True),),
    ),
)


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the effects of bits in counters that answer with the count: an untrained head does not."""
    studied = common.pick(networks, *common.ANSWERING)
    return bit_effects.measure(common.subjects(studied), steps=range(5, 10))


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Judge the effects and draw them."""
    drawn = common.drawn(table)
    by_step = drawn[drawn["step"].notna()]
    with style():
        figure, axes = new_figure(height=3.6)
        ax = bit_effects.draw(drawn, ax=axes[0, 0])
        ax.set_xlabel("bit read (filled: a 1, open: a 0)")
        picture = DataFigure.from_figure(
            figure,
            name="bit_effects",
            title="What one more bit does to the answer",
            alt=medians_in_words(drawn[drawn["metric"].isin(["effect", "effect_sd"])]),
            caption="We average the change over all strings before the bit. Dots are medians over networks, bars "
            "one standard deviation over these strings. A counter of ones always adds one on a 1 and nothing on a 0. "
            "A balance of ones against zeros adds half on a 1 and takes half off on a 0.",
            data=common.medians(by_step, ["role", "metric", "at", "step"]),
        )
    title = "What does one more bit do to the answer?"
    notes = {"answer": _answer(table), "otherwise": _otherwise(table)}
    return common.finding("bit_effects", title, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _changes(table: pd.DataFrame, role: str) -> str:
    medians = table[table["role"] == role].groupby(["metric", "at"])["value"].median()
    on_one, on_zero = (f"{medians['effect', bit]:+.2f}".replace("-0.00", "+0.00") for bit in (1, 0))
    return f"a 1 changes the answer by {on_one}, a 0 by {on_zero}"


def _answer(table: pd.DataFrame) -> str:
    largest = table[(table["metric"] == "largest_effect_sd") & (table["role"] == "trained")]["value"]
    fitted = (
        f" With a head fitted by least squares on untrained weights {_changes(table, 'fitted head')}."
        if (table["role"] == "fitted head").any()
        else ""
    )
    return (
        f"In the median network {_changes(table, 'trained')}. A counter of ones would add one on a 1 and nothing on "
        f"a 0, whatever came before.{fitted} In trained networks both changes depend on the bits before. We take the "
        "standard deviation of each change over these, and keep the larger of the two. It is "
        f"{largest.median():.2f} in the median network, and at most {BOUND:g} in {(largest <= BOUND).sum()} of "
        f"{len(largest)} networks."
    )


def _otherwise(table: pd.DataFrame) -> str:
    own = table[(table["network"] == "planted/ones") & (table["metric"] == "largest_effect_sd")]["value"].item()
    drifting = table[table["network"].str.startswith("planted/drift") & (table["metric"] == "largest_effect_sd")]
    rounded = (
        f" In planted counters whose answer drifts with the length it is up to {drifting['value'].max():.2f}, "
        "although they add the same to their cell each time. The reason is their sharp head, which rounds a value "
        "between two answers to one of them."
        if len(drifting)
        else ""
    )
    return (
        "If a network adds the same each time, its standard deviation is that of the planted counter of ones: "
        f"{own:.2f}.{rounded}"
    )
