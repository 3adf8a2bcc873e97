"""Questions of the library that the counter is asked, each with a figure."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.counter import common, rules
from probe.evidence import DataFigure
from probe.evidence.measurements import only
from probe.plots.legends import legend_above
from probe.plots.study_figures import medians_in_words
from probe.plots.style import ROLE_STYLE, new_figure
from probe.questions.answers import bit_effects, programs
from probe.questions.interventions import directions, erasure, steering
from probe.questions.question import Question
from probe.questions.states import gate_activity, reduced_models

GATE_MEANS = ("mean_where_true", "mean_where_false")


def draw_gate_activity(table: pd.DataFrame) -> DataFigure:
    """Draw how far open the gates are."""
    pair = table[table["role"].isin(["trained", "own initialisation"]) & table["metric"].isin(GATE_MEANS)]
    last = pair[pair["step"] == pair["step"].max()]
    return common.picture(
        lambda: gate_activity.draw(pair, labels=("after a 1", "after a 0")),
        name="gates-by-step",
        title="How far open the gates are, by step",
        alt=medians_in_words(last.assign(kind=last["signal"])),
        caption="A gate's mean over units and prefixes; lines are medians over networks. Filled marks: after "
        "a 1; hollow: after a 0.",
        data=common.medians(pair[pair["step"].notna()], ["signal", "metric", "step"]),
    )


GATE_ACTIVITY = Question(
    "gate_activity",
    "What do the gates do?",
    gate_activity.measure,
    settings={"split": common.STRINGS[:, :, 0] > 0},
    draw=draw_gate_activity,
    text="A gate is closed at 0 and open at 1. That it varies with the bit does not show what it does for the count.",
)


def draw_bit_effects(table: pd.DataFrame) -> DataFigure:
    """Draw what each bit does by step."""
    shown = common.drawn(table, rules.BIT_EFFECTS[0])
    return common.picture(
        lambda: _lines_of_roles(shown),
        name="bit_effects",
        title="What one more bit does to the answer",
        alt=medians_in_words(shown[shown["metric"].isin(["effect", "effect_sd"])]),
        caption="Medians of the mean change, over all strings that can precede the bit; bars are one standard "
        f"deviation over these. A counter of ones adds one on a 1 and nothing on a 0. {common.BEST_HEAD}",
        data=common.medians(shown[shown["step"].notna()], ["role", "metric", "at", "step"]),
    )


def _lines_of_roles(shown: pd.DataFrame) -> Axes:
    """Draw the mean change by step of each role, and one sd over contexts as a bar; medians over networks."""
    ax: Axes = new_figure(height=3.6)[1][0, 0]
    roles = [role for role in ROLE_STYLE if (shown["role"] == role).any()]
    steps = sorted(shown["step"].dropna().unique().astype(int))
    for place, role in enumerate(roles):
        look, shift = ROLE_STYLE[role], (place - (len(roles) - 1) / 2) * 0.14
        of_role = shown[shown["role"] == role]
        for number, (bit, rows) in enumerate(of_role[of_role["at"].notna()].groupby("at")):
            tables = rows.pivot_table(index="step", columns="metric", values="value", aggfunc="median")
            at = tables.index.to_numpy(float) + 1
            style: dict[str, Any] = look.line() | {"fillstyle": "none" if number % 2 == 0 else "full"}
            label = role if bit == of_role["at"].max() else None
            ax.errorbar(
                at + shift, tables["effect_at_step"], tables["effect_sd_at_step"], **style, linewidth=1.2, label=label
            )
    for bit in shown["at"].dropna().unique():
        ax.axhline(bit, color="black", linewidth=0.6, zorder=0)
    ax.set_xticks(range(steps[0] + 1, steps[-1] + 2))
    ax.set(xlabel="bit read (filled: a 1, open: a 0)", ylabel="change of the expected answer")
    legend_above(ax)
    return ax


BIT_EFFECTS = Question(
    "bit_effects",
    "What does one more bit do to the answer?",
    bit_effects.measure,
    roles=common.ANSWERING,
    settings={"steps": (5, 6, 7, 8, 9)},
    rules=rules.BIT_EFFECTS,
    draw=draw_bit_effects,
    text="We read the answer off the state before and after each bit. A sharp head alone can make the change depend "
    "on earlier bits.",
)


def draw_directions(table: pd.DataFrame) -> DataFigure:
    """Draw the scores along directions."""
    own = only(table, role="trained")
    return common.picture(
        lambda: directions.draw(only(table, role="trained"), threshold=0.5),
        name="directions",
        title="Answers that follow one direction",
        alt="Markers, one a network, by what is patched. "
        + medians_in_words(own[own["metric"].isin(["direction_score", "best_unit_score"])]),
        caption="After seven bits: 0 means no patch, 1 the whole state; the line is the rule's 0.5. Ridge penalties "
        "are in units of the states' mean variance.",
        data=directions.scores_by_kind(table),
    )


DIRECTIONS = Question(
    "directions",
    "Is there one direction that the answer follows?",
    directions.measure,
    roles=common.ANSWERING,
    settings={"step": 6},  # the state after 7 bits, docs/science.md
    rules=rules.DIRECTIONS,
    version=3,
    draw=draw_directions,
    text="A probe's weight is a direction in the state. We patch the state along that direction only, and score how "
    "often the answer follows.",
)


def draw_steering(table: pd.DataFrame) -> DataFigure:
    """Draw what pushes along the encoding slope do."""
    drawn = common.drawn(table, rules.STEERING[0])
    drawn = only(drawn, metric="dose_response", kind="linear").reset_index(drop=True)
    ends = drawn[drawn["at"].isin([drawn["at"].min(), drawn["at"].max()])]
    return common.picture(
        lambda: steering.draw(drawn),
        name="dose_response",
        title="How far the answer follows a push",
        alt=medians_in_words(ends),
        caption="After seven bits, along the encoding slope Cov(s, n) / Var(n). Lines are medians of the mean "
        f"change, bands 95 % intervals. Dotted: as far as the state was pushed. {common.BEST_HEAD}",
        data=drawn,
    )


STEERING = Question(
    "steering",
    "Does the answer go where the state is pushed?",
    steering.measure,
    roles=common.ANSWERING,
    settings={"step": 6},  # the state after 7 bits, docs/science.md
    rules=rules.STEERING,
    draw=draw_steering,
    text="We push the state from the mean of all strings of a count to that of the next, and along one line for "
    "all counts.",
)


REFERENCE = 10


def draw_reduced_models(table: pd.DataFrame) -> DataFigure:
    """Draw how often the reduced models give the answer."""
    rows = only(table, metric="agreement", role="trained")
    medians = common.medians(rows, ["kind", "at"]).rename(columns={"kind": "model", "at": "length"})
    return common.picture(
        lambda: _agreement(table),
        name="agreement-by-length",
        title="How often a reduced model gives the answer of a trained network",
        alt=medians_in_words(rows[rows["at"].isin([8, REFERENCE, 12, 14])]),
        caption="Lines are medians over trained networks, bands 95 % intervals. Neither model has seen longer "
        "strings.",
        data=medians,
    )


def _agreement(table: pd.DataFrame) -> Figure:
    named = table.replace({"kind": {"law": "one number: the drift", "affine": "affine recurrence"}})
    figure, axes = new_figure(height=3.4)
    programs.draw(named, reference=REFERENCE, ax=axes[0, 0]).set_xlabel("bits")
    return figure


REDUCED_MODELS = Question(
    "reduced_models",
    "How few numbers describe what the network answers?",
    reduced_models.measure,
    roles=(*common.ANSWERING, "own initialisation"),
    settings={"most": 2**14},
    rules=rules.REDUCED_MODELS,
    draw=draw_reduced_models,
    text="The one number is the drift. A second model is an affine recurrence: two numbers, with one affine map for "
    "each bit.",
)


def draw_erasure(table: pd.DataFrame) -> DataFigure:
    """Draw what is left of the answers."""
    drawn = common.drawn(table, rules.ERASURE[0])
    drawn = drawn[drawn["metric"].isin(erasure.COLUMNS)].reset_index(drop=True)
    return common.picture(
        lambda: erasure.draw(drawn),
        name="erasure",
        title="How good the answer is without the count",
        alt=medians_in_words(drawn),
        caption="The share of right answers, by what was erased: fitted on half of the prefixes, scored on the "
        f"others. With the whole state erased, the best answer uses only the later bits. {common.BEST_HEAD}",
        data=drawn,
    )


ERASURE = Question(
    "erasure",
    "Is the count needed for the answer?",
    erasure.measure,
    roles=common.ANSWERING,
    settings={"step": 6},
    rules=rules.ERASURE,
    draw=draw_erasure,
    text="From the state after seven bits we erase what tells the counts apart, and let the run continue.",
)

QUESTIONS = (GATE_ACTIVITY, BIT_EFFECTS, DIRECTIONS, STEERING, REDUCED_MODELS, ERASURE)
