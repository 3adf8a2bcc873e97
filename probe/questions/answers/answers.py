"""Are the answers right: after the last step, after each step that the readout names, and by group and label?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ...errors import ProbeError, several
from ...evidence.measurements import Network, measurement, one, only, tabulate
from ...evidence.words import said
from ...intervals import share_interval
from ...methods.abstraction.automata import automaton_of
from ...methods.probing.linear import r_squared
from ...plots.networks import draw_dots
from ...subjects.alphabet import is_exhaustive
from ...subjects.answers import answered_rows, answers, answers_at_steps, rows_at_steps, takes_levels
from ...subjects.subject import Subject, as_subjects, by_network
from .. import needs
from ..question import Answered, Question, Told
from ..rules import ANSWERING, FITTED, INITIAL, above, below, rule
from ..told import of_network

#: What rows say that they were measured for: the answer after the last step, and those after every step.
LAST, STEPS = "accuracy", "step_answers"
#: Group name -> rows of the batch.
Groups = Mapping[str, Sequence[int]]


def question(subject: Subject) -> Question:
    """Return the question whether answers are right, after each step that the readout names."""
    name = f"“{subject.concept.name}”"
    of_last = rule(
        "right-answers-2",
        f"The answers to {name} are right.",
        "accuracy",
        definition="Share of right answers; the null always gives the most frequent one.",
        source="Hupkes et al. 2018",
        at_least=0.95,
        controls=(above("null"),),
    )
    of_steps = rule(
        "step-answers-2",
        f"The answers to {name} are right after every step that is answered.",
        "worst_step_error",
        definition="Share of wrong answers over all sequences and all steps after which the readout answers; of "
        "several answers the worst.",
        source="Sussillo & Barak 2013, Opening the black box, section 3.1",
        at_most=0.01,
        controls=(below(FITTED),),
    )
    last = needs.right_answers(subject) is None and needs.exact(subject) is None
    rules = (of_last,) * last + (of_steps,) * (at_steps(subject) is None)
    roles = (*ANSWERING, INITIAL)
    return Question(
        "answers",
        "Are the answers right?",
        measure_all,
        (right_somewhere,),
        roles,
        rules,
        draw,
        tell,
        version=4,
        caption="How often each network is right after the last step, and how large its largest error is over steps.",
    )


def at_steps(subject: Subject) -> str | None:
    """Return why answers after other steps than the last one cannot be right or wrong, or None."""
    return needs.several_steps(subject) or needs.exact(subject) or needs.step_values(subject)


def right_somewhere(subject: Subject) -> str | None:
    """A right answer after one of the steps that the readout names."""
    return None if at_steps(subject) is None else needs.right_answers(subject)


def measure_all(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Return what `measure` measures after the last step, and `measure_steps` where more steps are answered.

    Raises:
        ProbeError: answers are not one a row.
    """
    every = as_subjects(subjects)
    tables = [
        measure([subject for subject in every if needs.right_answers(subject) is None]),
        measure_steps([subject for subject in every if at_steps(subject) is None]),
    ]
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def measure(subjects: Sequence[Subject], *, groups: Callable[[Subject], Groups] | None = None) -> pd.DataFrame:
    """Return how often answers after the last step are right, by group of sequences and by label.

    Metrics without groups: `accuracy`, the share of answers that are right, with its interval unless the inputs are
    all sequences of their length, and of the role `null` the share of always giving the most frequent answer; of
    answers that take any value `r_squared` in its place. With groups: `<group>_error`, the share of the group's rows
    whose answer is wrong; `<group>_floor`, the share of its rows whose label never occurred in the group `train`
    (for networks that have that group): nobody could have learned those. In both: `error_by_label` (`at` is the
    label); `balanced_error`, its mean over labels; `automaton_states`, where the inputs are all sequences of their
    length over a finite alphabet: the size of the smallest layered automaton that gives the network's answers.

    Args:
        subjects: what is measured. Without groups a random part of many or long sequences is asked.
        groups: names the rows of each group of a subject, such as its own test rows; None for none.

    Raises:
        ProbeError: answers are not one a row.
    """
    rows: list[dict[str, Any]] = []
    for subject in as_subjects(subjects):
        network = subject.network
        asked = answered_rows(subject) if groups is None else np.arange(len(subject.x))
        given, expected = answers(subject, asked)
        truth = subject.answered.values[asked, subject.lengths[asked] - 1]
        if not takes_levels(subject):
            rows.append(measurement(LAST, "r_squared", network, float(r_squared(truth, expected)), n=len(asked)))
            continue
        wrong = ~np.isclose(given, truth)
        rows += (
            _of_all(subject, wrong, truth) if groups is None else _of_groups(network, wrong, truth, groups(subject))
        )
        errors = {float(label): float(wrong[truth == label].mean()) for label in np.unique(truth)}
        rows += [measurement(LAST, "error_by_label", network, error, at=label) for label, error in errors.items()]
        rows.append(measurement(LAST, "balanced_error", network, float(np.mean(list(errors.values())))))
        automaton = None if subject.ragged or len(asked) < len(subject.x) else automaton_of(subject.x, given)
        if automaton is not None:
            rows.append(measurement(LAST, "automaton_states", network, float(automaton.size)))
    return tabulate(rows)


def _of_all(subject: Subject, wrong: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Return the share of right answers, and of a trained network that of the most frequent one."""
    count, network = len(wrong), subject.network
    hits, whole = count - int(wrong.sum()), is_exhaustive(subject) and count == len(subject.x)
    low, high = (None if whole else share_interval(hits, count)) or (None, None)
    rows = [measurement(LAST, "accuracy", network, hits / count, low=low, high=high, n=count)]
    if network.role == "trained":
        null = Network(f"{network.name}/most frequent answer", "null", network.model, network.pair)
        rows.append(measurement(LAST, "accuracy", null, frequent_share(truth), n=count))
    return rows


def _of_groups(network: Network, wrong: np.ndarray, truth: np.ndarray, groups: Groups) -> Iterator[dict[str, Any]]:
    """Yield the error of each group, and the part of it that nobody could have avoided."""
    for name, chosen in groups.items():
        picked = np.asarray(chosen, dtype=np.int64)
        yield measurement(LAST, f"{name}_error", network, float(wrong[picked].mean()))
        if "train" in groups:
            known = np.unique(truth[np.asarray(groups["train"], dtype=np.int64)])
            yield measurement(LAST, f"{name}_floor", network, float((~np.isin(truth[picked], known)).mean()))


def measure_steps(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure how many answers are wrong, over all steps after which the readout answers.

    Subjects of one network are its several answers, one concept each. Metrics: `step_error`, the share of answers
    that are not the concept's value, for each concept (`kind`), over sequences and steps; of many or long sequences a
    random part is asked. `step_error_at` is the same for each `step`; `worst_step_error` is the largest of the
    concepts' errors, one value a network.

    Raises:
        ProbeError: a readout has no head, or no step that is answered has a right answer.
    """
    rows: list[dict[str, Any]] = []
    for group in by_network(subjects):
        errors = []
        for subject in group:
            drawn, name = rows_at_steps(subject), subject.asked.concept
            if not len(drawn):
                raise ProbeError(f"The concept {name!r} has no value at any step after which the readout answers.")
            given, _ = answers_at_steps(subject, drawn)
            right = subject.answered.values[drawn]
            asked = np.isfinite(given) & np.isfinite(right)
            wrong = ~np.isclose(given, right) & asked
            errors.append(float(wrong.sum() / asked.sum()))
            about: dict[str, Any] = {"layer": subject.layer, "kind": name}
            rows.append(measurement(STEPS, "step_error", subject.network, errors[-1], n=int(asked.sum()), **about))
            for step in np.flatnonzero(asked.any(0)).tolist():
                count, about["step"] = int(asked[:, step].sum()), step
                share = float(wrong[:, step].sum() / count)
                rows.append(measurement(STEPS, "step_error_at", subject.network, share, n=count, **about))
        rows.append(measurement(STEPS, "worst_step_error", group[0].network, max(errors), layer=group[0].layer))
    return tabulate(rows)


def draw(frame: pd.DataFrame) -> Axes:
    """Draw how often each network is right after the last step, or else R²; and its largest error over steps."""
    names = {"accuracy": "right answers", "r_squared": "R²", "worst_step_error": "wrong, over steps"}
    metrics = {metric: name for metric, name in names.items() if (frame["metric"] == metric).any()}
    null = only(frame, metric="accuracy", role="null")["value"]
    ax = draw_dots(frame, metrics, thresholds={"accuracy": float(null.median())} if len(null) else None)
    ax.set_ylim(None, 1.05)
    ax.set_ylabel("R²" if list(metrics) == ["r_squared"] else "share")
    return ax


def tell(answered: Answered) -> Told:
    """Return what the page of one network says; its table and the number on its card show the same."""
    subject = answered.subject
    steps = len(of_network(answered, "worst_step_error")) > 0
    sentences = [*(_of_steps(answered) if steps else ()), *_of_last(answered)][:3]
    asked = len(rows_at_steps(subject) if steps else answered_rows(subject))
    setup = (
        f"We asked {asked:,} of the {several(len(subject.x), 'sequence')}, {subject.asked.when}, and counted the "
        "answers to which there is a right one."
    )
    return Told({"answer": " ".join(sentences), "setup": setup})


def _of_steps(answered: Answered) -> Iterator[str]:
    """Yield how many answers over all steps are wrong, and after which step most are."""
    error, at = of_network(answered, "step_error").iloc[0], of_network(answered, "step_error_at")
    fitted = only(answered.table, metric="worst_step_error", role=FITTED)["value"]
    control = f"; a fitted head in {fitted.median():.1%}" if len(fitted) else ""
    yield (
        f"The network answers “{answered.subject.answered.name}” wrong in {error['value']:.1%} of "
        f"{several(int(error['n']), 'answer')} {answered.subject.asked.when}{control}."
    )
    worst = at.sort_values("value", ascending=False, kind="stable").iloc[0]
    if worst["value"]:
        yield f"After {several(int(worst['step']) + 1, 'step')} it errs most, in {worst['value']:.1%}."


def _of_last(answered: Answered) -> Iterator[str]:
    """Yield how often the answer after the last step is right, beside the best control."""
    name, table = answered.subject.answered.name, answered.table
    for row in of_network(answered, "r_squared").to_dict("records"):
        fitted = one(table, metric="r_squared", role=FITTED)
        control = f"; a fitted head with {said(fitted)}" if np.isfinite(fitted) else ""
        yield f"The network's answers predict “{name}” at the last step with R² {said(row['value'])}{control}."
    for row in of_network(answered, "accuracy").to_dict("records"):
        share, count = row["value"], int(row["n"])
        frequent, fitted = one(table, metric="accuracy", role="null"), one(table, metric="accuracy", role=FITTED)
        warning = mostly_wrong(round(share * count), count, frequent)
        control = f"a fitted head {fitted:.1%}" if fitted > frequent else f"the most frequent answer {frequent:.1%}"
        yield warning or (
            f"The network answers “{name}” right on {share:.1%} of {several(count, 'sequence')} after the last step; "
            f"{control}."
        )
        if np.isfinite(row["low"]) and not warning:
            yield f"The 95 % interval is {row['low']:.1%} to {row['high']:.1%}."


def mostly_wrong(right: int, count: int, frequent: float) -> str:
    """Return a warning if answers are right clearly less often than the most frequent one would be; else nothing."""
    _, high = share_interval(right, count) or (0.0, 1.0)
    if high >= frequent:
        return ""
    return (
        f"The answers are mostly wrong ({right / count:.1%} right, the most frequent answer {frequent:.1%}); check "
        "the order of the scores (answers=), and whose head it is."
    )


def wrong_in(answers: np.ndarray, right: np.ndarray) -> str:
    """Return the warning of `mostly_wrong` for answers and the right answers, (sequence,) each."""
    return mostly_wrong(int(np.isclose(answers, right).sum()), len(right), frequent_share(right))


def frequent_share(right: np.ndarray) -> float:
    """Return the share of sequences whose right answer is the most frequent one."""
    return float(np.unique(right, return_counts=True)[1].max() / len(right))
