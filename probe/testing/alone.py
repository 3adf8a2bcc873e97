"""Each step taken by itself: from its state alone, in any order, beside any rows, and without a trace."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import ProbeError
from ..recurrent.signals import OUTPUT, Signal
from ..recurrent.steps.step import begin
from .trial import AT, Trial, far

_Values = Mapping[Signal, Tensor]


@torch.no_grad()
def check_steps(trial: Trial) -> None:
    """Raise ProbeError where a step depends on more than its input and its state, or changes what it is given."""
    x, before = trial.x, [trial.cell.flat(begin(trial.adapter, len(trial.x)))]
    random, after = torch.get_rng_state(), list[_Values]()
    for t in range(x.shape[1]):
        after.append(trial.cell.stepped(x[:, t], before[-1]))
        before.append({one: after[-1][one] for one in trial.cell.states})
    again = trial.cell.stepped(x[:, AT], before[AT])
    for signal, value in after[AT].items():
        if not torch.equal(value, again[signal]) and not bool(value.isnan().any()):
            raise ProbeError(
                f"{trial.name}: the same step from the same state gives another {str(signal)!r} when it is run "
                "again. It keeps a state on the module, changes in place the one that it is given, or draws "
                "random numbers: hand a new state on, and leave out noise."
            )
    if not torch.equal(torch.get_rng_state(), random):
        raise ProbeError(f"{trial.name}.step draws or seeds torch's random numbers. Leave that out.")
    rows = len(x)
    for t in reversed(range(x.shape[1])):
        for order in ([*range(rows)][::-1], [0], [1], [*range(rows)][:-1], [*range(rows)] * 2):
            _check_rows(trial, t, order, before[t], after[t])


def _check_rows(trial: Trial, t: int, order: list[int], before: _Values, wanted: _Values) -> None:
    """Check one step of some rows, at another time than in its run."""
    try:
        found = trial.cell.stepped(trial.x[order, t], {signal: value[order] for signal, value in before.items()})
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ProbeError(
            f"{trial.name}.step runs {len(trial.x)} rows, and {len(order)} of them raise {type(error).__name__}: "
            f"{str(error).partition(chr(10))[0][:200]}. A sweep runs other numbers of rows."
        ) from error
    for signal in (*trial.cell.states, OUTPUT):
        apart = far(found[signal], wanted[signal][order])
        if not apart <= trial.tolerance:
            beside = f"row {order[0]} alone" if len(order) == 1 else f"{len(order)} rows together"
            why = (
                f"mixes the rows of the batch: {beside}"
                if len(order) != len(trial.x)
                else "keeps a state elsewhere, counts its steps, or mixes the rows of the batch: taken alone, with "
                f"the rows in another order, step {t}"
            )
            raise ProbeError(
                f"{trial.name} {why} gives another {str(signal)!r} than in the run of {len(trial.x)} rows, by "
                f"{apart:.3g}. A step may read its input and its state, and nothing else."
            )
