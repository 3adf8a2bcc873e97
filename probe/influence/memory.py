"""`memory`: how long a state matters. It is replaced after a step, and the answers are compared from there on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypedDict, Unpack

import pandas as pd
from torch import Tensor, nn

from ..arguments import NAMES, checked_arguments, function, read_as
from ..errors import ProbeError, unknown
from ..recurrent.signals import as_indices
from .lags import Decide, Lags
from .resets import DECISIONS, Resets

#: What may stand in a state's place.
PUTS = ("initial", "zero", "mean", "another row", "own")
_PASSED = (
    "something behind the layer remembers what it read of the replaced state at its own step, up to {:.2g}: a "
    "convolution, attention, or a layer above whose state is not replaced."
)


@dataclass(frozen=True, eq=False)
class Memory:
    """What replacing a state did to the answers that follow.

    Attributes:
        groups: what it did, by the name of what was replaced: `state` for all of it.
        put: what stood in its place.
        replaced: by layer, the states that were replaced.
        own_error: the largest difference that a row's own state makes in its place, at three of the steps.
        passed_on: the largest difference left where the row's own state follows the replaced one a step later: what
            read the replaced state at its own step and remembers it, such as a convolution or a layer above.
        distance: how far the states put in lie from the nearest that occurs, in distances between those (medians).
        schedules: of each number of steps after which the state is set back again and again, at the steps behind the
            first reset: the mean `difference`, the share of decisions `changed`, the interval of the latter (else the
            former) over rows, and the `accuracy` where labels were given. None where none was asked for.
        gates: of each unit, after how many steps its gates keep half, where the layer has such gates.
        controls: the same of other networks.
    """

    groups: Mapping[str, Lags] = field(repr=False)
    put: str
    replaced: Mapping[str, tuple[str, ...]]
    own_error: float
    passed_on: float
    distance: float
    schedules: pd.DataFrame | None
    gates: Mapping[str, float]
    controls: Mapping[str, Memory]

    @property
    def table(self) -> pd.DataFrame:
        """Each answer: `group`, `row`, `t`, `lag`, `difference` and, where decisions are asked for, `changed`."""
        return pd.concat([one.table.assign(group=name) for name, one in self.groups.items()], ignore_index=True)

    @property
    def horizons(self) -> pd.DataFrame:
        """Each replaced state: `group`, `row`, `t`, the last lag above each limit (-1: none), and if cut off."""
        return pd.concat([one.horizons.assign(group=name) for name, one in self.groups.items()], ignore_index=True)

    @checked_arguments()
    def shortest_reset(self, share: float = 0.01) -> tuple[int | None, int | None, int | None]:
        """Return the shortest schedule from which on at most a share of decisions changes, with its interval.

        None is a longer one than was tried. The interval is that of the shares, turned around.

        Raises:
            ProbeError: no decisions were compared under schedules.
        """
        found = self.schedules
        if found is None or "changed" not in found:
            raise ProbeError("No decisions were compared under schedules: give every= and decide=.")
        found = found.dropna(subset="changed")

        def shortest(column: str) -> int | None:
            over = found.loc[found[column] > share, "every"].max()
            return min((int(k) for k in found["every"] if not k <= over), default=None)

        low, high = (name if name in found else "changed" for name in ("low", "high"))
        return shortest("changed"), shortest(low), shortest(high)

    def __repr__(self) -> str:
        states = "; ".join(f"{', '.join(states)} of {layer}" for layer, states in self.replaced.items())
        lines = [f"Memory: replaced after a step, by put={self.put!r}: {states}"]
        for name, one in self.groups.items():
            long, length = one.quantile(0.9), one.differences.shape[2]
            anew = self.put == "initial" and name == "state" and long < math.inf and not self.passed_on
            lines += [f"  {name}: {one.said}" + f"; started anew, nine of ten need {long + 1:.0f} steps" * anew]
            gates, half = self.gates.get(name, math.nan), min(one.quantile(0.5, "half") + 1, length)
            if (
                (one.horizons["horizon"] >= 0).any()
                and max(gates, half) > 2 * max(1, min(gates, half))
                and min(gates, half) < length / 2
            ):
                lines += [f"    By its gates it keeps half for {gates:.3g} steps: what replaces it says otherwise."]
        lines += [f"  {name}: {next(iter(one.groups.values())).said}" for name, one in self.controls.items()]
        lines += [f"  A row's own state in its place changes the answers by {self.own_error:.2g}."]
        lines += [f"  Not of the state alone: {_PASSED.format(self.passed_on)}"] if self.passed_on else []
        far = f"  What is put in lies {self.distance:.2g} times as far from states that occur as these do."
        lines += [far] if math.isfinite(self.distance) else []
        return "\n".join(lines if self.schedules is None else [*lines, self.schedules.to_string(index=False)])


class Options(TypedDict, total=False):
    """What `memory` may be told besides; see there."""

    tolerance: float | None
    relative: float | None
    decide: str | Decide | None
    every: Iterable[int]
    truth: Any
    layer: str | None
    units: Any
    keep: str | Iterable[str]
    controls: Mapping[str, nn.Module]
    random: int
    kwargs: Mapping[str, Any] | None
    batch_axis: int | None
    seed: int


@checked_arguments()
def memory(
    model: nn.Module,
    *inputs: Any,
    answer: Callable[[Any], Tensor] | None = None,
    put: str = "initial",
    times: int | Iterable[int] = 100,
    **options: Unpack[Options],
) -> Memory:
    """Replace a network's state after a step, let the run go on, and compare its answers with the clean run's.

    Lag 0 is the step whose state is replaced. The horizon is the last lag at which the difference, the largest over
    an answer's numbers, counts. One that the end of the run cuts off is censored: quantiles take that into account
    (Kaplan & Meier 1958), with 95 % intervals over rows. Runs go on from the changed step; a loop runs whole.

    Args:
        model: any module with recurrent layers whose answer at a step reads no later step.
        *inputs: what it is called with.
        answer: from what the model returns to answers, (batch, step) or (batch, step, number); None for the first
            tensor that it returns.
        put: what stands in the state's place: `initial` (a reset), `zero`, the `mean` of all states that occur,
            `another row`'s at that step, or the row's `own`, which should change nothing.
        times: after which steps, the first being 0; or how many are drawn, of fewer all.
        **options: the rest, none of which is needed:
            `tolerance`: above which a difference counts, in units of the answer; or `relative`: as a share of the
            difference at the first lag at which any answer differs, usually 0; 0.01 if neither is given.
            `decide`: what is decided: `argmax`, `sign`, `half` (above .5), `round`, or a function of answers,
            (batch, step, number), to decisions, (batch, step).
            `every`: after how many steps the whole state is set back, again and again, for a schedule each; `truth`:
            the right decisions, (batch, step), for the accuracy.
            `layer`: replace its state alone; `units`: these alone, numbers, `each` for one after the other, or
            numbers by group; `keep`: leave states alone, such as `convolution_window`.
            `controls`: other networks that are called alike, by name, such as the own initialisation; `random`: how
            many copies with random weights beside them.
            `kwargs`, `batch_axis`: as of `probe.sweep`; `seed`: of what is drawn.

    Raises:
        ProbeError: an argument fits nothing, a layer reads backwards or is called for several sequences, an answer
            changes before the state does, or `probe.sweep` refuses the model.
    """
    asked = _checked(put, options)
    run = Resets(model, inputs, answer, put, asked)
    chosen = run.times(times)
    of_itself: Any = dict.fromkeys(("every", "truth", "units", "controls"), None) | {"random": 0}
    again = partial(memory, answer=answer, put=put, times=chosen, **options | of_itself)
    return _measured(run, asked, chosen, {name: again(one, *inputs) for name, one in run.others(model).items()})


def _measured(run: Resets, asked: Mapping[str, Any], times: list[int], controls: Mapping[str, Memory]) -> Memory:
    """Return what replacing the state does."""
    seed = asked["seed"]
    limit, share = asked["tolerance"], 0.01 if asked["relative"] is None else asked["relative"]
    found = {name: run.lags(times, own) for name, own in run.units(asked["units"]).items()}
    passed = max(back for *_, back in found.values())
    if asked["every"] and passed > 0:
        raise ProbeError(
            f"every= sets states back, and {_PASSED.format(passed)} A schedule would count that as well."
        )
    return Memory(
        {name: Lags.of(times, lags, limit=limit, share=share, seed=seed) for name, (lags, *_) in found.items()},
        run.put,
        {part.layer: tuple(map(str, run.states(part))) for part in run.parts},
        max(own for _, own, _ in found.values()),
        passed,
        run.distance(times, seed) if asked["units"] is None else math.nan,
        run.schedules() if asked["every"] else None,
        {} if asked["units"] is None else run.gates(),
        controls,
    )


def _checked(put: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, each with its value."""
    if wrong := {*options} - {*Options.__annotations__}:
        raise ProbeError(unknown("argument", min(wrong), ("answer", "put", "times", *Options.__annotations__)))
    asked: dict[str, Any] = dict.fromkeys(Options.__annotations__) | {"random": 0, "seed": 0} | dict(options)
    for name in ("tolerance", "relative", "layer", "controls", "random", "kwargs", "batch_axis", "seed"):
        if asked[name] is not None or name in ("random", "seed"):
            asked[name] = read_as(name, asked[name])
    decide, every = asked["decide"], asked["every"]
    if decide is not None and not isinstance(decide, str):
        read_as("decide", decide, function(1, f"of answers, or one of {', '.join(DECISIONS)}"))
    for name, given, allowed in (
        ("state to put in", put, PUTS),
        ("decision", "sign" if decide is None else decide, DECISIONS),
    ):
        if not callable(given) and given not in allowed:
            raise ProbeError(unknown(name, given, allowed))
    if asked["tolerance"] is not None and asked["relative"] is not None:
        raise ProbeError(f"Give tolerance={asked['tolerance']} or relative={asked['relative']}, not both.")
    if isinstance(asked["units"], Mapping) and not asked["units"]:
        raise ProbeError("units={} names no group; give numbers by group, at least one.")
    every = [] if every is None else sorted(set(as_indices("every", every) or ()))
    if every and (every[0] < 1 or put not in PUTS[:3] or any(asked[name] for name in ("layer", "keep"))):
        told = f"give 1 step or more, no layer= and no keep=, and one of {', '.join(PUTS[:3])} as put="
        raise ProbeError(f"every={every} sets the whole state back: {told}.")
    keep = () if asked["keep"] is None else read_as("keep", asked["keep"], NAMES)
    return asked | {"every": every, "keep": keep, "decide": DECISIONS[decide] if isinstance(decide, str) else decide}
