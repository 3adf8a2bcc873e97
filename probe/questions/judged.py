"""What a reading comes to on a page: its measurements, the verdict of each place in words, and the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ..evidence.claims import Range, Rule
from ..evidence.findings import DataFigure
from ..evidence.margins import LEAST_MARGIN, MARGIN
from ..evidence.measurements import Network, measurement, only
from ..evidence.words import place
from ..plots.networks import draw_scores, kinds_of
from ..plots.study_figures import drawing, drawn, shortened
from ..plots.style import new_figure
from ..probes.reading import ABOVE, OWN, VERDICTS, Reading, written
from ..subjects.states import reads_ahead
from ..subjects.subject import Subject
from .question import Answered
from .readings import beside, called

#: A rule about networks that were trained alike needs so many of them.
NEEDS = 20
#: The most places that are drawn.
PLACES = 8
#: What a page says of how a reading is judged.
CLEARLY = (
    "A state that sequences share counts once, and no sequence is used both to fit and to score. Clearly means that "
    f"the 95 % interval of the difference, over sequences, lies above {MARGIN}, or above half of what the control "
    f"leaves unexplained where that is less (but at least {LEAST_MARGIN})."
)


@dataclass(frozen=True)
class Judged:
    """What was read at one place of a network, as the summary of a `Reading` has it.

    Attributes:
        layer: the layer.
        signal: the signal.
        units: of single units, the one that is named; empty where none is.
        score: the score.
        interval: its 95 % interval.
        control: the best control.
        its_score: that control's score.
        verdict: one of `VERDICTS`.
    """

    layer: str
    signal: str
    units: str
    score: float
    interval: tuple[float, float]
    control: str
    its_score: float
    verdict: str

    @property
    def numbers(self) -> str:
        """The score beside the best control's."""
        return f"{written(self.score)} · best control {written(self.its_score)} ({self.control})"

    @property
    def said(self) -> str:
        """The score beside the best control's, and the verdict, as `Reading` prints them."""
        low, high = map(written, self.interval)
        control = f"best control {written(self.its_score)} ({self.control})"
        return f"{written(self.score)} (95 % interval {low} to {high}), {control}: {self.verdict}"


def above_every_control(key: str, statement: str, *, definition: str, source: str) -> Rule:
    """Return the rule that in most networks a reading has this verdict at some place."""
    return Rule(
        key=f"{key}-above-every-control",
        statement=statement,
        metric="above_every_control",
        definition=definition,
        source=source,
        established_if=Range.above(0.5),
        refuted_if=Range.at_most(0.5),
        statistic="share",
        needs=NEEDS,
    )


def rows_of(reading: Reading, subject: Subject, others: Sequence[Subject], question: str) -> Iterator[dict[str, Any]]:
    """Yield a reading as measurements.

    Metrics at each place (`layer`, `signal`), of single units each after its way, such as `within_steps_score`:
    `score` of each network, and of role `null` of each control that is none; `best_control`, the score of the control
    that `kind` names; `above`, the network's score minus that; `verdict`, which `kind` says, 1 where it is `ABOVE`.
    """
    networks = {OWN: subject.network} | {name: one.network for name, one in beside(others).items()}
    scores = reading.table[reading.table["score"].notna() & reading.table["step"].isna()]
    for one in scores.to_dict("records"):
        network = networks.get(one["network"], subject.network)
        ends = {end: one[end] for end in ("low", "high") if pd.notna(one[end])}
        row = _row(question, "score", one, one["score"], network, units=one["unit"], n=one["sequences"], **ends)
        yield row if one["network"] in networks else row | {"role": "null", "network": one["network"]}
    for one in reading.summary.to_dict("records"):
        row = partial(_row, question, row=one, network=subject.network, units=one.get("unit", ""))
        yield row("best_control", value=one["its score"], kind=one["best control"])
        yield row("above", value=one["above"], low=one["low"], high=one["high"])
        yield row("verdict", value=one["verdict"] == ABOVE, kind=one["verdict"])


def _row(
    question: str, metric: str, row: Mapping[Any, Any], value: float, network: Network, **more: Any
) -> dict[str, Any]:
    return measurement(
        question,
        named(metric, row.get("how", "")),
        network,
        float(value),
        layer=row["layer"],
        signal=str(row["signal"]),
        **more,
    )


def named(metric: str, how: str = "") -> str:
    """Return the name of a metric: of single units with its way before it."""
    return f"{how} {metric}".strip().replace(" ", "_")


def judged(table: pd.DataFrame, network: str, how: str = "") -> list[Judged]:
    """Return what was read at each place of a network, the one that its page names first.

    That is the best of the places above every control, or else the best of all.
    """
    own, found = only(table, network=network), list[Judged]()
    for one in only(own, metric=named("verdict", how)).to_dict("records"):
        here = only(own, layer=one["layer"], signal=one["signal"])
        ((score,), (best,)) = (
            only(here, metric=named(metric, how)).to_dict("records") for metric in ("score", "best_control")
        )
        found.append(
            Judged(
                layer=one["layer"],
                signal=one["signal"],
                units=one["units"],
                score=score["value"],
                interval=(score["low"], score["high"]),
                control=best["kind"],
                its_score=best["value"],
                verdict=one["kind"],
            )
        )
    return sorted(found, key=lambda each: (each.verdict != ABOVE, -each.score))


def _names(rows: pd.DataFrame) -> pd.Series:
    """Return what a reading calls the networks of measurements."""
    return pd.Series([*map(called, rows["role"].astype(str), rows["network"].astype(str))], index=rows.index)


def elsewhere(places: Sequence[Judged]) -> str:
    """Return what was read at the other places, in a sentence; empty where there is none."""
    if len(places) == 2:
        other = places[1]
        return f" From {place(other.layer, other.signal)}: {written(other.score)}, {other.verdict}."
    counts = {verdict: sum(one.verdict == verdict for one in places[1:]) for verdict in VERDICTS}
    found = [f"{count} {verdict}" for verdict, count in counts.items() if count]
    return f" Of the other {len(places) - 1} places: {', '.join(found)}." if found else ""


def meant(places: Sequence[Judged]) -> str:
    """Return what each verdict that occurs means, and how it is reached."""
    met = {one.verdict for one in places}
    occur = [f"{verdict.capitalize()}: {means}." for verdict, means in VERDICTS.items() if verdict in met]
    return " ".join([*occur, CLEARLY])


def where(subject: Subject, one: Judged) -> str:
    """Return which signal of which layer was read, and whether that layer has seen later inputs."""
    ahead = ", which has already seen later inputs" * (one.layer in reads_ahead(subject))
    return f"{place(one.layer, one.signal)}{ahead}"


def figure(answered: Answered, first: str, score: str, read: str, ways: Sequence[str] = ("",)) -> tuple[DataFigure]:
    """Return the picture of the scores: a row for each of the best places, with all controls in it.

    Args:
        answered: what was measured.
        first: the finding, for who does not see the picture.
        score: what the scores are.
        read: what was read of each place, for the caption.
        ways: the ways in which units were read.
    """
    own = answered.subject.network.name
    rows = pd.concat([only(answered.table, metric=named("score", how)).assign(how=how) for how in ways])
    best = rows[rows["network"] == own].nlargest(PLACES, "value")[["layer", "signal", "how"]]
    columns = ["role", "network", "layer", "signal", "how", "value", "low", "high"]
    shown = rows.merge(best)[columns].reset_index(drop=True)
    shown = shown.loc[:, (shown != "").any()]
    table = rows.merge(best).rename(columns={"value": "score"}).assign(step=np.nan)
    table["layer"] = [shortened(layer, 18) for layer in table["layer"]]
    table["network"] = _names(table).where(table["network"] != own, OWN)
    with drawing():
        axes = new_figure(height=1.2 + 0.32 * len(best))[1]
        picture: Any = draw_scores(table, kinds_of(table), score=score, ax=axes[0, 0]).get_figure()
        title, caption = "Where it can be read", f"{read} of each signal; the line is the 95 % interval."
        return (drawn(picture, name=f"{answered.name}-scores", title=title, alt=first, caption=caption, data=shown),)
