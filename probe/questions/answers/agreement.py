"""How alike are several networks, in their answers and in their states?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ...errors import ProbeError
from ...evidence.measurements import measurement, tabulate
from ...methods.abstraction.programs import MOST
from ...plots.networks import draw_dots
from ...plots.style import axes_or_new
from ...subjects.computed.alphabet import affordable, around, at_lengths
from ...subjects.computed.answers import answers_by_length
from ...subjects.computed.ends import machine_of
from ...subjects.subject import Subject, as_subjects
from .. import needs, told
from ..question import Question
from ..rules import ANSWERING, INITIAL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "agreement"


def question(subject: Subject) -> Question:
    """Return the question, which is asked of all networks of a study at once; no rule judges it.

    Args:
        subject: one of the networks.
    """
    askable = needs.other_lengths(subject) is None
    return Question(
        QUESTION,
        "How alike are the networks, in their answers and in their states?",
        measure,
        (needs.machine, needs.other_lengths),
        (*ANSWERING, INITIAL),
        draw=draw,
        settings={"most": affordable(subject, around(subject))} if askable else {},
        together=True,
        setup=partial(told.asked_at, lengths=_around(subject)),
    )


def _around(subject: Subject) -> tuple[int, int, int]:
    """Return the length of a study's sequences, and the lengths two below and two above."""
    own = subject.x.shape[1]
    return own - 2, own, own + 2


def measure(
    subjects: Sequence[Subject],
    *,
    lengths: Iterable[int] | None = None,
    most: int = MOST,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how alike each network is to the others of its role.

    Metrics, each the mean over the other networks of the same role: `equal_answers` by length (`at`), the
    share of sequences with the same answer; `cka`, linear centred kernel alignment of the states after the last step
    of the study's own sequences, 1 where one is a rotation and scaling of the other; networks whose states are the
    same in every row are left out of it. A role of one network has no rows.

    Args:
        subjects: what is compared: networks of one study, with a small alphabet and a concept that is a function.
        lengths: at which lengths; None for that of the study's sequences, two less and two more.
        most: how many sequences of a length are asked at most; of more, that many are drawn.
        seed: of the drawing.

    Raises:
        ProbeError: no sequence of a length can be asked, or a network cannot be run from its states.

    Reference:
        Kornblith et al. 2019, Similarity of neural network representations revisited, equation 5 (linear CKA).
    """
    every, rows, by_role = as_subjects(subjects), list[dict[str, Any]](), dict[str, list[Subject]]()
    if not every:
        return tabulate([])
    asked = at_lengths(every[0], _around(every[0]) if lengths is None else lengths, most=most, seed=seed)
    x = {length: found.x for length, found in asked.items()}
    for subject in every:
        by_role.setdefault(subject.network.role, []).append(subject)
    for alike in by_role.values():
        given = [answers_by_length(subject, x)[0] for subject in alike]
        states = [machine_of(subject).clean.states[:, -1].numpy() for subject in alike]
        for index, name, value, length in _of_role(given, states):
            rows.append(measurement(QUESTION, name, alike[index].network, value, layer=alike[index].layer, at=length))
    return tabulate(rows)


def _of_role(
    given: Sequence[Mapping[int, np.ndarray]], states: Sequence[np.ndarray]
) -> Iterator[tuple[int, str, float, int | None]]:
    """Yield which network, metric, value and length."""
    if len(given) < 2:
        return
    for length in given[0]:
        answers = np.stack([own[length] for own in given])
        equal = np.stack([(answers == one).mean(1) for one in answers])
        for index, value in enumerate(_others(equal)):
            yield index, "equal_answers", value, length
    varied = [index for index, own in enumerate(states) if np.ptp(own, axis=0).any()]
    if len(varied) > 1:
        for index, value in zip(varied, _others(linear_cka([states[one] for one in varied])), strict=True):
            yield index, "cka", value, None


def _others(table: Float[np.ndarray, "network network"]) -> list[float]:
    """Return each row's mean without its diagonal."""
    return ((table.sum(1) - np.diag(table)) / (len(table) - 1)).tolist()


def linear_cka(states: Sequence[np.ndarray]) -> Float[np.ndarray, "network network"]:
    """Return the linear centred kernel alignment of every pair.

    Args:
        states: of each network, (row, number); the same rows of each, numbers may differ.

    Returns:
        Symmetric, 1 on the diagonal.

    Raises:
        ProbeError: a network's states do not vary.

    Reference:
        Kornblith et al. 2019, equation 5.
    """
    centred = [own - own.mean(0) for own in states]
    scales = [float(np.linalg.norm(own.T @ own)) for own in centred]
    if not all(scales):
        raise ProbeError("The states of a network are the same in every row; there is nothing to compare.")
    return np.array(
        [
            [float(np.linalg.norm(one.T @ other)) ** 2 / (a * b) for other, b in zip(centred, scales, strict=True)]
            for one, a in zip(centred, scales, strict=True)
        ]
    )


def draw(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how alike each network is to the others of its role: answers by length, and states.

    Args:
        frame: what `measure` returned.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has neither.
    """
    rows = frame[frame["metric"].isin(["equal_answers", "cka"])]
    if rows.empty:
        raise ProbeError("The table has no equal_answers and no cka; measure the question on two networks or more.")
    lengths = [f" at {length:g}" if length == length else "" for length in rows["at"]]  # noqa: PLR0124 - NaN
    named = rows.assign(metric=rows["metric"] + lengths)
    labels = {
        name: name.replace("_", " ").replace(" at ", "\nat ").replace("cka", "states\n(CKA)")
        for name in named["metric"].unique()
    }
    ax = draw_dots(named, labels, ax=axes_or_new(ax))
    ax.set_ylim(0, 1.05)
    return ax
