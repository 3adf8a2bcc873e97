"""How does the counter do it? One picture and one paragraph, computed from all other findings."""

from __future__ import annotations

import pandas as pd

from analyses.counter import noise_margin, relay
from analyses.counter.summaries import Findings, median, rows_of, summary
from probe import Finding
from probe.evidence import DataFigure
from probe.plots.style import new_figure, style
from probe.questions.interventions import gate_shares, routes, unit_shares

QUESTION, TITLE = "mechanism", "How does the network do it?"
#: How a gate, or the way into it, is written on an axis.
_SHORT = {"input_gate": "i", "forget_gate": "f", "cell_candidate": "g", "output_gate": "o", "cell_state": "f c"}
_GATES = {
    "the candidate": "cell_candidate",
    "the input gate": "input_gate",
    "the forget gate": "forget_gate",
    "the output gate": "output_gate",
}
HALF = 0.5
SHOWN = (
    ("gate_shares", "gate_share"),
    ("routes", "route_share"),
    ("unit_shares", "unit_share"),
)


def find(findings: Findings) -> Finding:
    """Draw the trained networks' mechanism and say it in words."""
    table = pd.concat([rows_of(findings, *shown, role="trained") for shown in SHOWN], ignore_index=True)
    with style():
        figure, axes = new_figure(1, 3, height=2.1)
        panels = (
            (gate_shares, "gate_share", "A 1 enters through"),
            (routes, "route_share", "The sum goes on through"),
            (unit_shares, "unit_share", "It is carried by"),
        )
        for ax, (question, metric, title) in zip(axes.flat, panels, strict=True):
            question.draw(table[table["metric"].str.startswith(metric)].reset_index(drop=True), ax=ax)
            ax.set_title(title)
            if legend := ax.get_legend():
                legend.remove()
            if metric != "unit_share":
                ax.set_xticks(ax.get_xticks(), [_SHORT[signal] for signal in _signals(table, metric)])
            ax.set_xlabel("unit, from the largest" if metric == "unit_share" else "")
            ax.set_ylabel("share")
        picture = DataFigure.from_figure(
            figure,
            name=QUESTION,
            title="The mechanism in one picture",
            alt=_alt(findings),
            caption="Trained networks. Shares are exact: we patched every subset of gates, routes or units from "
            "another string, and divided the change of the expected answer among them (Shapley). In the first panel "
            "i, f, g and o are the input gate, forget gate, candidate and output gate. In the second they are the "
            "routes from the hidden state into these, and f c is the route through the cell itself.",
            data=table,
        )
    notes = {"answer": _enters(findings), "lives": _lives(findings), "does": _does(findings)}
    if "training_signal" in findings:
        notes["fixed"] = f"What in training decides it. {findings['training_signal'].notes['answer']}"
    return summary(QUESTION, TITLE, table, findings=findings, figures=[picture], notes=notes)


def _signals(table: pd.DataFrame, metric: str) -> list[str]:
    return list(dict.fromkeys(table[table["metric"] == metric]["signal"]))


def _enters(findings: Findings) -> str:
    shares = {name: median(findings, "gate_shares", "gate_share", signal=signal) for name, signal in _GATES.items()}
    most = max(shares, key=lambda name: shares[name])
    cell = median(findings, "routes", "route_share", signal="cell_state")
    constant = median(findings, "gate_shares", "constant_gates_accuracy")
    return (
        f"A 1 enters through {most}, and {'the cell' if cell >= HALF else 'the hidden state'} carries the sum on. "
        f"Of what a 1 changes in the answer {shares[most]:.0%} comes through {most} (medians over networks). With "
        f"input, forget and output gate frozen at their means, {constant:.0%} of the answers are right."
        f"{_again(findings, 'That a 1 is written by the candidate', '15b')}"
        f"{_again(findings, 'That the cell carries most of it', '7a')}"
    )


def _lives(findings: Findings) -> str:
    cell = median(findings, "routes", "route_share", signal="cell_state")
    largest = median(findings, "unit_shares", "largest_unit_share")
    code = {
        part: median(findings, "linear_readout", "variance_share", signal="cell_state", kind=part)
        for part in ("clock", "linear", "curved")
    }
    most = "on a line" if code["linear"] > code["curved"] else "on a curve"
    return (
        "Where the sum lives. Take two strings whose counts differ by one. From one step to the next "
        f"{cell:.0%} of that difference goes through the cell state, scaled by the forget gate (f c). The rest goes "
        f"through the hidden state and the gates that read it. {_relay(findings)}The largest cell carries "
        f"{largest:.0%} of it over all strings. But the cells hold more than the sum. Of their variance "
        f"{code['clock']:.0%} says only how many bits were read, and {code['linear'] + code['curved']:.0%} goes with "
        f"the count, most of it {most}."
    )


def _again(findings: Findings, said: str, key: str) -> str:
    """Return what the second judgement says of a claim, where it was made."""
    claims = findings["second_judgement"].claims if "second_judgement" in findings else ()
    verdicts = [claim.verdict for claim in claims if claim.rule.key == f"II.{key}"]
    meaning = {"not specific": "as true of heads on untrained weights", "undecided": "undecided against such heads"}
    return "".join(f" {said} is {meaning.get(verdict, verdict)} ({key})." for verdict in verdicts)


def _relay(findings: Findings) -> str:
    """Return whether the same cells carry every count, where the second judgement asked it."""
    if "relay" not in findings:
        return ""
    names = ("per_context_participation", "pooled_participation", "relay_index")
    in_one, together, index = (median(findings, "relay", name) for name in names)
    end = "cells take over from each other" if index > relay.SAME else "the same cells carry every count"
    return (
        f"In one string it is spread as over {in_one:.1f} equal cells, and over all strings as over {together:.1f}: "
        f"{end}. "
    )


def _does(findings: Findings) -> str:
    one, zero = (median(findings, "bit_effects", "effect", at=amount) for amount in (1, 0))
    noisy = median(findings, "noise_margin", "noisy_accuracy")
    drift = median(findings, "other_lengths", "drift")
    law = median(findings, "reduced_models", "law_r_squared")
    fixed = median(findings, "reduced_models", "fixed_r_squared")
    return (
        f"What a bit does. A 1 moves the expected answer by {one:+.2f} and a 0 by {zero:+.2f} (medians). A counter "
        "of ones would not move on a 0. The answer to a string is nearly its number of ones, and d more for each bit "
        f"that it has fewer than ten. We call d the drift; its median is {drift:.2f}. Fitted at shorter lengths, it "
        f"explains {law:.0%} of the variance of the answers at twelve bits. Three programs have no number to fit: "
        f"the ones, the zeros taken off ten, and the balance of both. The best of them explains {fixed:.0%}. We also "
        f"added noise of {noise_margin.DOSE:g} standard deviations to each number of the state after every step: "
        f"{noisy:.0%} of the answers are "
        f"right.{_again(findings, 'That the one number predicts other lengths', '20')}"
        f"{_again(findings, 'That the count is held with a margin', '5b')}"
    )


def _alt(findings: Findings) -> str:
    largest = median(findings, "unit_shares", "largest_unit_share")
    candidate = median(findings, "gate_shares", "gate_share", signal="cell_candidate")
    cell = median(findings, "routes", "route_share", signal="cell_state")
    return (
        f"Three panels of trained networks: the candidate's share of what a 1 changes, median {candidate:.2f}; the "
        f"share that goes on through f c, {cell:.2f}; and units' shares from the largest, {largest:.2f}, down."
    )
