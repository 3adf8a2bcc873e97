"""How much of the relay of cells is made by the counter's own head, and how much by its recurrence?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analyses.counter import common, relay
from models.data import Strings
from models.fitted_head import HEADS, fit_head
from probe import Finding
from probe.evidence import Rule
from probe.evidence.measurements import Network, only, tabulate
from probe.plots.networks import draw_dots
from probe.plots.study_figures import medians_in_words
from probe.plots.style import new_figure

QUESTION = "own_line"
TITLE = "How much of the relay is the head's?"
VERSION = 1
#: A reviewer asked this after the networks were measured: no rule was fixed before, so that it gets no verdict.
RULES: tuple[Rule, ...] = ()
#: What is measured again, and the rules' bounds of it.
MEASURED = {"relay_index": relay.SAME, "largest_pair_share": relay.HALF}
HOW = "ridge"


def measure(networks: Sequence[Network]) -> pd.DataFrame:
    """Measure the relay of trained recurrences that a straight line reads, fitted on the 500 training strings.

    The controls of claim 25c are read by a line, and a trained network by its own head and a softmax. Here only the
    recurrences differ. Metrics: `relay_index` and `largest_pair_share` as `relay` measures them.
    """
    lines = [_read_by_a_line(network) for network in common.pick(networks, "trained")]
    if not lines:
        return tabulate([])
    table = relay.measure(lines)
    return table[table["metric"].isin(MEASURED)].assign(question=QUESTION, role="trained").reset_index(drop=True)


def _read_by_a_line(network: Network) -> Network:
    """Return a trained network with a ridge line in place of its head, in the role of such a head."""
    rows = list(network.train) if isinstance(network, common.Studied) else slice(None)
    strings = Strings(common.STRINGS[rows], common.STRINGS[rows], common.COUNTS[rows])
    model = fit_head(network.model, strings, HOW)  # pyright: ignore[reportArgumentType] - a counter, as all trained
    return replace(network, name=f"{network.name}/own line", role=HEADS[HOW], model=model)


def find(networks: Sequence[Network], table: pd.DataFrame) -> Finding:
    """Say what is left of the relay where a line reads the recurrence, and draw it."""
    drawn = table[table["metric"].isin(MEASURED)].reset_index(drop=True)
    labels = {"relay_index": "relay index", "largest_pair_share": "largest share\nin the median pair"}
    picture = common.picture(
        lambda: draw_dots(drawn, labels, thresholds=MEASURED, ax=new_figure(height=3.6)[1][0, 0]),
        name=QUESTION,
        title="The relay of trained recurrences that a line reads",
        alt=f"Dots, one a network. {medians_in_words(drawn)}",
        caption="Each dot is a trained network whose head we replaced by a ridge line on its last hidden state. The "
        "lines are the bounds of 25a and 25b.",
        data=drawn,
    )
    notes = {"answer": _answer(table)}
    return common.finding(QUESTION, TITLE, table, studied=networks, rules=RULES, figures=[picture], notes=notes)


def _answer(table: pd.DataFrame) -> str:
    index, largest = (only(table, metric=metric)["value"] for metric in MEASURED)
    return (
        f"With a line in place of its head the relay index of the median trained network is {index.median():.2f} "
        "(the index is 1 if the same cells carry every count). The controls of claim 25c are lines on untrained "
        "recurrences. To compare like with like, we read the trained recurrence by a line as well. If the index is "
        "larger with the network's own head, that head makes the difference. Over networks the index runs from "
        f"{index.min():.2f} to {index.max():.2f}. One cell has {largest.median():.0%} of a count in the median pair "
        f"of strings, and at least half in {(largest >= relay.HALF).sum()} of {len(largest)} networks. We asked this "
        "after measuring, so that it has no verdict."
    )
