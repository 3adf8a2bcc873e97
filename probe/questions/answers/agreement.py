"""How alike are networks that differ only in their seed, in their answers and in their states?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...errors import ProbeError
from ...evidence.measurements import Network, as_networks, measurement, tabulate
from ...methods.machines import Machine
from ...methods.outputs import answers_by_length
from ...plots.networks import draw_dots
from ...plots.style import axes_or_new

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

QUESTION = "agreement"


def measure(
    networks: Sequence[Network],
    x: Mapping[int, Tensor],
    *,
    answer: Callable[[Any], Tensor],
    expected: Callable[[Any], Tensor],
    reference: int,
    layer: str | None = None,
) -> pd.DataFrame:
    """Measure how alike each network is to the others of its subject.

    Metrics, each the mean over the other networks of the same subject: `equal_answers` by length (`units`), the
    share of sequences with the same answer; `cka`, linear centred kernel alignment of the states after the last step
    of the reference length, 1 where one is a rotation and scaling of the other. A subject of one network has no rows.

    Args:
        networks: what is compared; any model that takes sequences of these lengths.
        x: length -> sequences, (batch, time, input).
        answer: from a model's output to answers, (batch,).
        expected: from a model's output to expected answers, (batch,).
        reference: the length at whose end the states are compared, a key of x.
        layer: the layer's name, or None for the only one.

    Raises:
        ProbeError: no sequences have the reference length, the layer does not exist, or answers are not one a row.

    Reference:
        Kornblith et al. 2019, Similarity of neural network representations revisited, equation 5 (linear CKA).
    """
    if reference not in x:
        raise ProbeError(f"reference={reference} is none of the lengths {', '.join(map(str, x))}.")
    rows: list[dict[str, Any]] = []
    by_subject: dict[str, list[Network]] = {}
    for network in as_networks(networks):
        by_subject.setdefault(network.subject, []).append(network)
    for alike in by_subject.values():
        given = [answers_by_length(network.model, x, answer, expected)[0] for network in alike]
        build = partial(Machine.of, x=x[reference], answer=answer, expected=expected, layer=layer)
        states = [build(network.model).clean.states[:, -1].numpy() for network in alike]
        for index, name, value, units in _of_subject(given, states):
            rows.append(measurement(QUESTION, name, alike[index], value, layer=layer or "", units=units))
    return tabulate(rows)


def _of_subject(
    given: Sequence[Mapping[int, np.ndarray]], states: Sequence[np.ndarray]
) -> Iterator[tuple[int, str, float, str]]:
    """Yield which network, metric, value and length."""
    if len(given) < 2:
        return
    for length in given[0]:
        answers = np.stack([own[length] for own in given])
        equal = np.stack([(answers == one).mean(1) for one in answers])
        for index, value in enumerate(_others(equal)):
            yield index, "equal_answers", value, str(length)
    for index, value in enumerate(_others(linear_cka(states))):
        yield index, "cka", value, ""


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
    """Draw how alike each network is to the others of its subject: answers by length, and states.

    Args:
        frame: what `measure` returned.
        ax: axes to draw into, or None for new ones.

    Raises:
        ProbeError: the table has neither.
    """
    rows = frame[frame["metric"].isin(["equal_answers", "cka"])]
    if rows.empty:
        raise ProbeError("The table has no equal_answers and no cka; measure the question on two networks or more.")
    named = rows.assign(metric=rows["metric"] + rows["units"].where(rows["units"] == "", " at " + rows["units"]))
    labels = {
        name: name.replace("_", " ").replace(" at ", "\nat ").replace("cka", "states\n(CKA)")
        for name in named["metric"].unique()
    }
    ax = draw_dots(named, labels, ax=axes_or_new(ax))
    ax.set_ylim(0, 1.05)
    return ax
