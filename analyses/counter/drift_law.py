"""What is added to the ones at each length: two ends that stand fast, and what training moves between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from analyses.counter import common, rules
from probe.evidence.measurements import measurement, tabulate
from probe.methods.abstraction.programs import slope
from probe.questions.question import Question
from probe.subjects.alphabet import at_lengths
from probe.subjects.answers import answers_by_length
from probe.subjects.ends import machine_of
from probe.subjects.subject import Subject

NAME = "drift_law"
LENGTH = common.STRINGS.shape[1]
#: Up to which length, and of how many strings at most.
LONGEST, MOST = 20, 1024
#: Lengths that the drift is fitted on, and those that neither it nor the start is fitted on.
FITTED, TRIED = (6, 7, 8, 9, 10), (2, 3, 4, 5, 11, 12, 13, 14)
#: From what zeros are taken away -> at which lengths the answer is that, to within one.
LESS_ZEROS = {"ten_less": (10, range(6, 13)), "nine_less": (9, range(3, 6))}
#: Up to so many bits a state that has read zeros alone is still near its start.
AFTER_ZEROS = 5
#: At this length the mean is split by where the first 1 stands.
SPLIT = 8


def measure(subjects: Sequence[Subject]) -> pd.DataFrame:
    """Measure g(L), the mean of expected answer minus ones over strings of L bits, and laws of it.

    Metrics, one value a network: `start`, g(0), the expected answer of the state before the first bit;
    `fitted_drift`, d of g(L) = d (10 - L) over 6 to 10 bits; `straight_error` and `law_error`, the mean of |law - g|
    over 2 to 5 and 11 to 14 bits, of d (10 - L) and of d (10 - L) - (10 d - g(0)) r^L, r in [0, 1) from g(1);
    `forgotten`, that r; `ten_less` (6 to 12 bits) and `nine_less` (3 to 5 bits with a 1 among them), of the length at
    which it is smallest the share of answers that differ by at most one from ten, or nine, less the zeros. By length
    (`at`): `g`, and that share, `less_zeros`. By the place of the first 1 in strings of 8 bits (`at`; 9 where there
    is none): `g_by_first_one`.
    """
    rows = []
    for subject in subjects:
        asked = at_lengths(subject, range(1, LONGEST + 1), most=MOST)
        given, shown = answers_by_length(subject, {length: one.x for length, one in asked.items()})
        machine = machine_of(subject)
        nothing = torch.zeros(1, machine.dynamics.size, dtype=torch.float64)
        start = float(machine.answers(nothing).expected[0])
        g = {length: float((shown[length] - one.right).mean()) for length, one in asked.items()}
        d = slope(g, FITTED, LENGTH)
        bent = LENGTH * d - start
        r = float(np.clip(((LENGTH - 1) * d - g[1]) / bent, 0, 0.99)) if bent else 0.0
        straight = {length: d * (LENGTH - length) for length in TRIED}
        values = {"start": start, "fitted_drift": d, "forgotten": r}
        values["straight_error"] = float(np.mean([abs(straight[length] - g[length]) for length in TRIED]))
        law = {length: straight[length] - bent * r**length for length in TRIED}
        values["law_error"] = float(np.mean([abs(law[length] - g[length]) for length in TRIED]))
        row = partial(measurement, NAME, network=subject.network)
        for name, (base, lengths) in LESS_ZEROS.items():
            near = {length: less_zeros(given[length], asked[length].right, length, base) for length in lengths}
            rows += [row("less_zeros", value=share, at=length) for length, share in near.items()]
            values[name] = min(near.values())
        rows += [row(metric, value=value) for metric, value in values.items()]
        rows += [row("g", value=value, at=length) for length, value in {0: start, **g}.items()]
        first = np.array([int(np.argmax([*bits, 1])) for bits in asked[SPLIT].x[:, :, 0].numpy() > 0.5])
        excess = pd.Series(shown[SPLIT] - asked[SPLIT].right).groupby(first + 1).mean()
        rows += [row("g_by_first_one", value=value, at=int(str(place))) for place, value in excess.items()]
    return tabulate(rows)


def less_zeros(answers: np.ndarray, ones: np.ndarray, length: int, base: int) -> float:
    """Return the share of answers that differ by at most one from a number less the zeros.

    Up to `AFTER_ZEROS` bits only of strings with a 1 among them.
    """
    kept = ones > 0 if length <= AFTER_ZEROS else np.ones(len(ones), bool)
    return float((np.abs(answers - (base - (length - ones))) <= 1)[kept].mean())


QUESTION = Question(
    NAME,
    "What is added to the ones at each length?",
    measure,
    roles=common.ANSWERING,
    rules=rules.DRIFT_LAW,
    text="We measure by how much the mean answer is too high at each length. Before the first bit the answer is near "
    "five, the middle of all answers, and at ten bits it is right.",
)
