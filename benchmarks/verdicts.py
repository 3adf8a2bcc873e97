"""How often a reading names what is not there, and how often it names what is.

    python -m benchmarks.verdicts false [--networks 200]
    python -m benchmarks.verdicts power [--networks 40]
    python -m benchmarks.verdicts coverage [--tries 2000]

`false`: untrained LSTMs. Of concepts that are noise a unit is named in so many; 2.5 % is nominal, and at most 5 % is
wanted. Of the running sum of the inputs a network that nobody trained stands beside eight others that nobody trained:
any verdict but *not above every control* is false, and at most 5 % of each is wanted.

`power`: one unit of an untrained LSTM follows a number at each step, beside noise, so that it reads R² of .02 to .8
if it is read alone. In at least 90 % of the networks it is wanted to be named where that is .8 or more.

`coverage`: how often the interval of a score holds the truth, of losses that are drawn. At 8, 12 and 30 sequences .93
is wanted; losses as skewed as squares of a normal number miss it with 8. Beside it stand the percentiles of the
bootstrap alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import nn

import probe
from probe.command_line.shell import Whole, command, emit, run
from probe.intervals import bootstrap_counts, percentile_interval
from probe.methods.probing.scores import Score

from .speed import table

SEQUENCES, STEPS, UNITS = 60, 10, 12
CELL = "cell_state"
#: The R² of the planted unit read alone.
ALONE = (0.02, 0.05, 0.1, 0.3, 0.8)
#: How many sequences intervals are of, how many of their losses are wanted on average, and how these are drawn.
FEW, LOSS = (8, 12, 30), 0.3
LOSSES: Mapping[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "exponential": lambda rng, count: LOSS * rng.exponential(size=(count, 1)),
    "squares of a normal number": lambda rng, count: LOSS * rng.normal(size=(count, 1)) ** 2,
    "three in ten are wrong": lambda rng, count: (rng.random((count, 1)) < LOSS).astype(float),
}


def untrained(seed: int) -> tuple[nn.LSTM, torch.Tensor, np.random.Generator]:
    """Return a network that nobody trained, what it reads, and a generator for what it is asked about."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lstm = nn.LSTM(1, UNITS, batch_first=True, dtype=torch.float64)
        return lstm, torch.randn(SEQUENCES, STEPS, 1, dtype=torch.float64), np.random.default_rng(seed)


def noise(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return a concept that no network can hold."""
    if kind == "a number at each step":
        return rng.normal(size=(SEQUENCES, STEPS))
    if kind == "a number for each sequence":
        return rng.normal(size=SEQUENCES)
    return rng.choice(list("abcd"), SEQUENCES)


def named(networks: int) -> Iterator[tuple[str, str]]:
    """Yield a row for each kind of noise: in how many networks a unit is named for it."""
    for kind in ("a number at each step", "a number for each sequence", "a category for each sequence"):
        count = 0
        for seed in range(networks):
            lstm, x, rng = untrained(seed)
            found = probe.single_units(probe.record(lstm, x), noise(kind, rng), signals=[CELL], seed=seed)
            count += bool((found.summary["unit"] != "").any())
        yield f"a unit is named for noise: {kind}", f"{count} of {networks}"


def exchangeable(networks: int) -> Iterator[tuple[str, str]]:
    """Yield a row for each verdict: how many networks get it beside eight that are as untrained."""
    counts: dict[tuple[str, str], int] = {}
    for seed in range(networks):
        lstm, x, _ = untrained(seed)
        runs = {number: probe.record(untrained(networks + 8 * seed + number)[0], x) for number in range(8)}
        controls = {f"untrained {number}": one for number, one in runs.items()}
        total = x[:, :, 0].cumsum(1)
        for what, ask in (("linear probe", probe.linear_probe), ("single units", probe.single_units)):
            found = ask(probe.record(lstm, x), total, controls=controls, signals=[CELL], seed=seed)
            for verdict in found.summary["verdict"]:
                counts[what, verdict] = counts.get((what, verdict), 0) + 1
    for (what, verdict), count in sorted(counts.items()):
        yield f"{what}, beside eight as untrained: {verdict}", f"{count} of {networks}"


def power(networks: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each strength of the planted unit: how often it is named, and another in its place."""
    for alone in ALONE:
        right = wrong = above = 0
        for seed in range(networks):
            lstm, x, rng = untrained(seed)
            recording, wanted = probe.record(lstm, x), rng.normal(size=(SEQUENCES, STEPS))
            controls = probe.random_weights(lstm, x)
            (part,) = recording.parts
            states = {signal: value.clone() for signal, value in part.signals.items()}
            planted = np.sqrt(alone) * wanted + np.sqrt(1 - alone) * rng.normal(size=wanted.shape)
            states[probe.Signal(CELL)][:, :, seed % UNITS] = torch.from_numpy(planted)
            holds = replace(recording, parts=(replace(part, signals=states),))
            found = probe.single_units(holds, wanted, controls=controls, signals=[CELL], seed=seed)
            (row,) = found.summary.to_dict("records")
            right += row["unit"] == str(seed % UNITS)
            wrong += row["unit"] not in ("", str(seed % UNITS))
            above += row["verdict"] == "above every control"
        yield f"{alone:.2f}", *(f"{count} of {networks}" for count in (right, wrong, above))


def coverage(tries: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kind of losses and number: how often intervals hold the truth."""
    for kind, drawn in LOSSES.items():
        for count in FEW:
            rng, samples, scale = np.random.default_rng(count), bootstrap_counts(count, 0), np.ones((count, 1))
            held = np.zeros(4)
            for _ in range(tries):
                one, other = (Score(drawn(rng, count), scale) for _ in range(2))
                first, second = (each.terms(samples)[0] for each in (one, other))
                ends = (one.interval(samples), percentile_interval(first))
                between = (one.above(other, samples), percentile_interval(first - second))
                held[:2] += [low <= 1 - LOSS <= high for low, high in ends]
                held[2:] += [low <= 0 <= high for low, high in between]
            yield kind, str(count), *(f"{share:.2f}" for share in held / tries)


app = command("python -m benchmarks.verdicts")


@app.default
def main(
    what: Literal["false", "power", "coverage"], /, *, networks: Whole | None = None, tries: Whole = 2_000
) -> None:
    """Print how often a reading is wrong about untrained networks, finds a planted unit, or has the truth between.

    Args:
        what: which of the three.
        networks: how many of each kind; 200, or 40 of each strength.
        tries: how many scores are drawn of each kind.
    """
    torch.set_num_threads(1)
    if what == "false":
        many = networks or 200
        emit(table(("what is false", "networks"), [*named(many), *exchangeable(many)]))
    elif what == "coverage":
        head = ("losses", "sequences", "a score", "by percentiles", "a difference", "by percentiles")
        emit(table(head, coverage(tries)))
    else:
        head = ("R² of the unit alone", "it is named", "another is named", "above every control")
        emit(table(head, power(networks or 40)))


if __name__ == "__main__":
    sys.exit(run(app))
