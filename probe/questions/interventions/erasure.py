"""Is the concept needed? It is erased from the state (LEACE), and the run goes on: is the answer still right?

What is erased is fitted on the states of half of the distinct prefixes, each of the same weight, and taken out of
those of the other half; accuracy is over all sequences that begin with these, and the mean over both ways. With
fewer than 128 prefixes it is in-sample.

`floor`: the accuracy of the best answer that needs no state: for each distinct rest of the input the most frequent
right answer. Where not every rest follows on every beginning it is held out, as are the erasers, and the answer of
the network from the mean state is taken where that is better. `own_accuracy`: nothing erased. `erased_accuracy`:
one-hot LEACE; `erased_rank`, its rank fitted on all prefixes; `in_sample_erased_accuracy`, fitted and scored on all.
`scalar_erased_accuracy`: LEACE of the number, which leaves what is curved. `shuffled_accuracy`: one-hot LEACE of
labels in another order, the mean of 20. `projected_accuracy`: the subspace that an alignment search finds, the
mean in its place; `random_projected_accuracy`, the mean of 50 random ones. `erased_excess`, `shuffled_excess` and
`projected_excess`: how far these lie above the floor, 0 for those below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import fmean

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from ...errors import ProbeError
from ...evidence.margins import MARGIN
from ...evidence.measurements import only
from ...methods.causal.alignment import ITERATIONS
from ...methods.causal.alignment_controls import halves, random_bases
from ...methods.causal.erasure import Eraser, leace, one_hot, projected_out
from ...methods.machines import CHUNK
from ...plots.networks import draw_dots
from ...subjects.answers import task_of
from ...subjects.ends import ends_of, machine_of, step_of
from ...subjects.plans import search_of
from ...subjects.subject import Subject
from .. import needs
from ..headings import by_rule
from ..question import Question
from ..rules import ANSWERING, FITTED, ONE_STEP, below, rule
from .patching import Value, find, table_of

#: Orders of labels that the shuffled control is the mean of; dimensions that are projected out, and random subspaces.
SHUFFLES, RANK, RANDOM = 20, 2, 50
#: What is erased -> its label on the axis.
COLUMNS = {
    "own_accuracy": "nothing",
    "erased_accuracy": "concept,\none-hot",
    "scalar_erased_accuracy": "concept,\nlinear",
    "shuffled_accuracy": "shuffled\nlabels",
    "projected_accuracy": "directions\nthat carry it",
    "random_projected_accuracy": "random\ndirections",
    "floor": "the whole\nstate",
}


def question(subject: Subject) -> Question:
    """Return the question."""
    name = f"“{subject.concept.name}”"
    return Question(
        "erasure",
        f"Is {name} needed?",
        measure,
        (needs.exact_answers, needs.numbers, needs.used_state, why_not_above_floor),
        ANSWERING,
        draw=draw,
        text=f"What goes along with {name} in these states is in part erased with it, so this does not tell whether "
        "the answer uses the concept or that.",
        # A study's search for directions is that of the question `interchange`.
        settings={"iterations": 0},
        rules=(
            rule(
                "erasure-2",
                f"With {name} erased from the state, the answer is no better than the later inputs allow.",
                "erased_excess",
                definition="Accuracy with the concept erased (one-hot LEACE, held out), minus that of the best "
                f"constant answer given the later inputs, {ONE_STEP}.",
                source="Belrose et al. 2023; Elazar et al. 2021",
                at_most=MARGIN,
                controls=(below(FITTED, 0.1),),
            ),
        ),
        version=2,
        heading=by_rule(
            f"Erase {name} from the states, and the answers are no better than a guess",
            f"Erase {name} from the states, and the answers are still better than a guess",
        ),
        caption="Right answers after something was erased from states. A fitted head is on random weights.",
    )


def why_not_above_floor(subject: Subject, step: int | None = None) -> str | None:
    """Return why answers are no better than the later inputs allow, or None: of such a bound could not be missed.

    Args:
        subject: the network.
        step: after which step; None for that of `step_of`.
    """
    at = step_of(subject, step)
    try:
        erasing = _Erasing(subject, at)
    except ProbeError as error:
        return str(error).rstrip(".")
    own, floor = erasing.own(), erasing.floor()
    if own - floor > MARGIN:
        return None
    return (
        f"the network answers {own:.1%} of the sequences right, and without any state {ends_of(subject).after(at)} "
        f"{floor:.1%} can be answered right by the later inputs: its answers could hardly get worse than that"
    )


def measure(subjects: Sequence[Subject], *, step: int | None = None, iterations: int = ITERATIONS) -> pd.DataFrame:
    """Measure how often a run that goes on from a state without the concept still answers rightly.

    The metrics stand at the head of this module, one value a network each.

    Args:
        iterations: of the alignment search; fewer where they take long, and no search where those are too few.

    Raises:
        ProbeError: the step or layer does not exist, the state has one number, the concept is not aligned to
            (batch, time) or constant at the step, or the model is no machine.

    Reference:
        Belrose et al. 2023, LEACE, theorem 4.3; Elazar et al. 2021, Amnesic probing, section 2 (random directions).
    """

    def values(subject: Subject) -> Iterator[Value]:
        at = step_of(subject, step)
        erasing = _Erasing(subject, at)
        searches = [search_of(subject, at, RANK, erasing.task, train) for train, _ in erasing.ways]
        bases = [one.basis.numpy() for one in find(subject, at, searches, most=iterations)]
        found = dict(_accuracies(erasing, bases))
        for name in ("erased", "shuffled", "projected"):
            if f"{name}_accuracy" in found:
                found[f"{name}_excess"] = max(found[f"{name}_accuracy"] - found["floor"], 0.0)
        for metric, value in found.items():
            yield metric, value, {"step": at}

    return table_of("erasure", subjects, values)


class _Erasing:
    """Where something is erased, and how the run that goes on from there is judged; `ways` are (train, test) rows."""

    def __init__(self, subject: Subject, step: int) -> None:
        self.machine, self.task, self.step = machine_of(subject), task_of(subject), step
        self.groups = subject.groups_of(ends_of(subject).rows)
        self.task.check_fits(self.machine.clean.inputs)
        if not bool((self.task.concept[:, step] != self.task.concept[0, step]).any()):
            raise ProbeError(f"The concept is the same in every row at step {step}; there is nothing to erase.")
        self.ways = [(half.train, half.test) for half in halves(self.machine, step, groups=self.groups)]

    def states(self, rows: Tensor) -> np.ndarray:
        return self.machine.clean.states[rows, self.step].detach().numpy()

    def fitted(self, rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the states of the distinct prefixes among rows, and their concept."""
        first = self.machine.clean.prefixes[self.step].rows
        first = first[torch.isin(first, rows)]
        return self.states(first), self.task.so_far(first, self.step).numpy()

    def accuracy(self, erasers: Sequence[Eraser], rows: Tensor) -> float:
        """Return how often rows are answered rightly that go on from their erased states, the mean over erasers."""
        states, final, right = self.states(rows), self.task.final(rows), 0
        many = max(1, CHUNK // len(rows))
        for start in range(0, len(erasers), many):
            erased = torch.as_tensor(np.stack([eraser(states) for eraser in erasers[start : start + many]]))
            found = self.machine.answers(erased.flatten(0, 1), rows.repeat(len(erased)), self.step)
            right += int((found.chosen.double().view(len(erased), -1) == final).sum())
        return right / (len(erasers) * len(rows))

    def floor(self) -> float:
        """Return how often the best answer is right that can be given without the state, by the later inputs alone.

        Where each rest of the inputs follows on each beginning, the most frequent answer to a rest is known. Else it
        is that of the training rows, and the network from their mean state is another such answer: the better one.
        """
        clean, step = self.machine.clean, self.step
        rest = clean.inputs[:, step + 1 :].flatten(1).detach().numpy()
        group = np.zeros(len(rest), dtype=int)
        if rest.shape[1]:
            group = np.unique(rest, axis=0, return_inverse=True)[1].ravel()
        every = np.arange(len(group))
        answers = np.unique(self.task.final(torch.as_tensor(every)).numpy(), return_inverse=True)[1].ravel()
        both = len(np.unique(np.stack([group, clean.prefixes[step].group.numpy()]), axis=1).T)
        if both == (group.max() + 1) * len(clean.prefixes[step].rows):
            return _most_frequent(group, answers, every, every)
        # However few sequences there are: a rest that occurs once would be its own answer.
        ways = [(half.train, half.test) for half in halves(self.machine, step, least=2, groups=self.groups)]
        frequent = fmean(_most_frequent(group, answers, train.numpy(), test.numpy()) for train, test in ways)
        whole = np.eye(self.machine.dynamics.size)
        means = [(projected_out(self.fitted(train)[0], whole), test) for train, test in ways]
        return max(frequent, fmean(self.accuracy([at_mean], test) for at_mean, test in means))

    def own(self) -> float:
        """Return how often the answers are right with nothing erased."""
        chosen = self.machine.clean.answers.chosen.double()
        return float((chosen == self.task.final(torch.arange(len(chosen)))).double().mean())

    def held_out(self, makes: Iterable[Callable[[np.ndarray, np.ndarray], Eraser]]) -> float:
        """Return the mean accuracy on held-out prefixes of all that is made of the states and concept of others."""
        given = [self.fitted(train) for train, _ in self.ways]
        by_way = zip(*([make(*own) for own in given] for make in makes), strict=True)
        return fmean(self.accuracy(own, test) for own, (_, test) in zip(by_way, self.ways, strict=True))


def _accuracies(erasing: _Erasing, bases: Sequence[np.ndarray]) -> Iterator[tuple[str, float]]:
    every = torch.arange(len(erasing.machine.clean.inputs))
    yield "floor", erasing.floor()
    yield "own_accuracy", erasing.own()
    yield "erased_accuracy", erasing.held_out([lambda states, values: leace(states, one_hot(values))])
    states, values = erasing.fitted(every)
    whole = leace(states, one_hot(values))
    yield "erased_rank", float(whole.rank)
    yield "in_sample_erased_accuracy", erasing.accuracy([whole], every)
    yield "scalar_erased_accuracy", erasing.held_out([leace])
    generator = np.random.default_rng(0)

    def shuffled(states: np.ndarray, values: np.ndarray) -> Eraser:
        return leace(states, one_hot(generator.permutation(values)))

    yield "shuffled_accuracy", erasing.held_out([shuffled] * SHUFFLES)
    if bases:
        found = iter(bases)
        yield "projected_accuracy", erasing.held_out([lambda states, _: projected_out(states, next(found))])
        drawn = random_bases(erasing.machine.dynamics.size, RANK, RANDOM)
        random = [lambda states, _, q=basis: projected_out(states, q) for basis in drawn]
        yield "random_projected_accuracy", erasing.held_out(random)


def _most_frequent(group: np.ndarray, answers: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Return how often test rows have the answer that is most frequent in training: in their group, or in all."""
    table = np.zeros((group.max() + 1, answers.max() + 1))
    np.add.at(table, (group[train], answers[train]), 1)
    best = np.where(table.any(1), table.argmax(1), table.sum(0).argmax())
    return float((best[group[test]] == answers[test]).mean())


def draw(frame: pd.DataFrame) -> Axes:
    """Draw how often answers are right after something was erased, a dot a network; the floor is without a state."""
    columns = {metric: label for metric, label in COLUMNS.items() if len(only(frame, metric=metric))}
    ax = draw_dots(frame, columns)
    ax.set(xlabel="what is erased from the state", ylabel="share of right answers", ylim=(-0.02, 1.03))
    return ax
