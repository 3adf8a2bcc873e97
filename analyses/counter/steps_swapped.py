"""What do two directions carry from one step into another: the ones alone, or the ones and the drift?

A whole state put into another step is the run on a string of another length, and cannot fail. Two directions of it
can: they are searched for at some steps and tried at others, for what the network itself answers to that string
(`own`), and for two rivals that say the same at equal steps (`ones`, `zeros`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from analyses.counter import common, rules
from probe.evidence.measurements import measurement, tabulate
from probe.methods.abstraction.programs import agreement, slope
from probe.methods.abstraction.quantised import share_equal
from probe.methods.causal.alignment_loss import Suffixes, answer_loss
from probe.methods.machines import Machine
from probe.questions.question import Question
from probe.subjects.alphabet import at_lengths
from probe.subjects.answers import answers_by_length, task_of
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

NAME, RANK = "steps_swapped", 2
#: After which steps, from 0, the directions are searched for, and after which they are tried.
FOUND_AT, TRIED_AT = (2, 4, 6), (3, 5, 7)
#: Of a search: its steps of Adam, the pairs of each and the rate, those of `probe.methods.causal.alignment`. Pairs
#: that are tried, from each of the steps.
ITERATIONS, PAIRS, RATE, TRIED = 400, 192, 0.02, 4096
LENGTH = common.STRINGS.shape[1]
#: Lengths that the drift is fitted on, those of rule 20b.
FITTED = (8, 9, 10)


@dataclass(frozen=True, eq=False)
class Swaps:
    """Bases that stand after one step, and sources after others.

    Attributes:
        machine: the model.
        concept: the count after each step of each string, (batch, time).
        at: after which step the bases stand.
        base: the strings whose run goes on, (pair,).
        source: the strings whose state is put in, (pair,).
        steps: after which steps the sources stand, (pair,).
    """

    machine: Machine
    concept: Float[Tensor, "batch time"]
    at: int
    base: Int64[Tensor, " pair"]
    source: Int64[Tensor, " pair"]
    steps: Int64[Tensor, " pair"]

    def put(self, basis: Float[Tensor, "size rank"] | None = None) -> Float[Tensor, "pair size"]:
        """Return b + Q Q^T (s - b) for orthonormal columns Q, and the source's whole state for None."""
        states = self.machine.clean.states
        source = states[self.source, self.steps]
        if basis is None:
            return source
        base = states[self.base, self.at]
        return base + (source - base) @ basis @ basis.T

    def answers(self, basis: Float[Tensor, "size rank"] | None = None) -> tuple[Tensor, Tensor]:
        """Return what the model then answers, and the expected answers, (pair,) each."""
        found = self.machine.answers(self.put(basis), self.base, self.at)
        return found.chosen.double(), found.expected

    def offset(self, each: float) -> Float[Tensor, " pair"]:
        """Return the source's ones so far, the base's afterwards, and so much for each step that is missing."""
        ones = self.concept[self.source, self.steps] + self.concept[self.base, -1] - self.concept[self.base, self.at]
        return ones + each * (self.at - self.steps)

    def targets(self) -> dict[str, Float[Tensor, " pair"]]:
        """Return what the answer should be if the ones alone go over, all that counts, or the zeros."""
        return {"ones": self.offset(0.0), "own": self.answers()[0], "zeros": self.offset(1.0)}


def drawn(subject: Subject, at: int, steps: Sequence[int], pairs: int, rng: np.random.Generator) -> Swaps:
    """Return pairs, sources after any of some steps, where no target leaves the counts from 0 to 10."""
    machine, concept = machine_of(subject), task_of(subject).concept
    base, source = (torch.as_tensor(rng.integers(0, len(concept), pairs)) for _ in range(2))
    every = Swaps(machine, concept, at, base, source, torch.as_tensor(rng.choice(steps, pairs)))
    asked = torch.stack([(one >= 0) & (one <= LENGTH) for one in (every.offset(0.0), every.offset(1.0))]).all(0)
    return Swaps(machine, concept, at, base[asked], source[asked], every.steps[asked])


def bases(subject: Subject, *, seed: int = 0) -> dict[str, Float[Tensor, "size rank"]]:
    """Return for each target the two orthonormal directions that a search finds at `FOUND_AT`.

    The search is that of `probe.methods.causal.alignment` (Adam on a free matrix, Q of its QR decomposition, first
    column at the encoding slope), with bases and sources after any of these steps, equal ones among them.

    Reference:
        Geiger et al. 2024, Finding alignments between interpretable causal variables and distributed representations.
    """
    machine, concept = machine_of(subject), task_of(subject).concept
    rng = np.random.default_rng([seed, RANK])
    rounds = -(-ITERATIONS // len(FOUND_AT))
    swaps = {at: drawn(subject, at, FOUND_AT, 2 * rounds * PAIRS, rng) for at in FOUND_AT}
    targets = {at: one.targets() for at, one in swaps.items()}
    runs = {at: Suffixes(machine, at, PAIRS, answer_loss) for at in FOUND_AT}
    states = torch.cat([machine.clean.states[:, at] for at in FOUND_AT])
    counts = torch.cat([concept[:, at] for at in FOUND_AT])
    start = rng.normal(size=(RANK, states.shape[1])).T
    start[:, 0] = ((counts - counts.mean()) @ (states - states.mean(0))).numpy()
    found = {}
    for target in next(iter(targets.values())):
        free = torch.nn.Parameter(torch.as_tensor(np.linalg.qr(start)[0]))
        adam = torch.optim.Adam([free], lr=RATE)
        for number in range(ITERATIONS):
            at, place = FOUND_AT[number % len(FOUND_AT)], number // len(FOUND_AT) * PAIRS
            one, part = swaps[at], slice(place, place + PAIRS)
            few = Swaps(machine, concept, at, one.base[part], one.source[part], one.steps[part])
            with torch.enable_grad():
                patched = few.put(torch.linalg.qr(free)[0])
            back = runs[at].gradient(patched.detach().T.contiguous(), few.base, targets[at][target][part])
            (free.grad,) = torch.autograd.grad(patched, free, back.T / len(few.base))
            adam.step()
        found[target] = torch.linalg.qr(free.detach())[0]
    return found


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure which answers two directions carry from step to step, at steps that no search saw.

    Metrics, one value a network: `swapped_ones`, `swapped_own` and `swapped_zeros`, the share of answers that are the
    target that the directions were searched for; `swapped_nothing`, the share that are the own target with nothing
    put in; `own_over_ones` and `own_over_zeros`, by how much `swapped_own` exceeds the two; `drift`, d over 8 to
    10 bits. Of the directions for the own target and of the whole state (`kind` own and whole): `swapped_line`, the
    share of answers nearest to ones + d (t - s); `swapped_slope`, the slope of expected answer less ones over t - s.
    """
    return tabulate(row for subject in subjects for row in _of_one(subject))


def _of_one(subject: Subject) -> Iterator[Mapping[str, object]]:
    row = partial(measurement, NAME, network=subject.network)
    drift = _drift(subject)
    found, rng = bases(subject), np.random.default_rng(1)
    tried = [drawn(subject, at, [one for one in TRIED_AT if one != at], TRIED, rng) for at in TRIED_AT]
    targets = {name: torch.cat([one.targets()[name] for one in tried]) for name in found}
    nothing = torch.zeros_like(found["own"])
    given, shown = {}, {}
    for name, basis in {**found, "nothing": nothing, "whole": None}.items():
        answers = [one.answers(basis) for one in tried]
        given[name], shown[name] = (torch.cat(part) for part in zip(*answers, strict=True))
    shares = {name: share_equal(given[name], targets[name]) for name in found}
    shares["nothing"] = share_equal(given["nothing"], targets["own"])
    yield from (row(f"swapped_{name}", value=share) for name, share in shares.items())
    yield from (row(f"own_over_{rival}", value=shares["own"] - shares[rival]) for rival in ("ones", "zeros"))
    line = torch.cat([one.offset(drift) for one in tried]).numpy()
    away = torch.cat([one.at - one.steps for one in tried]).double()
    for name in ("own", "whole"):
        yield row("swapped_line", kind=name, value=agreement(given[name].numpy(), line).share)
        yield row("swapped_slope", kind=name, value=float((shown[name] - targets["ones"]) @ away / (away @ away)))
    yield row("drift", value=drift)


def _drift(subject: Subject) -> float:
    asked = at_lengths(subject, FITTED, most=2**14)
    shown = answers_by_length(subject, {length: found.x for length, found in asked.items()})[1]
    return slope(
        {length: float((shown[length] - each.right).mean()) for length, each in asked.items()}, FITTED, LENGTH
    )


QUESTION = Question(
    NAME,
    "What do two directions carry from one step to another?",
    measure,
    roles=common.ANSWERING,
    rules=rules.STEPS_SWAPPED,
    text="We patch two directions from one step into another, where a count of ones, the network's own drift and a "
    "count of zeros give different answers. For each of the three we search for its directions at some steps, and "
    "test them at others.",
)
