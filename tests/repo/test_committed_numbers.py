"""What probes of a recording share with the questions of a study gives the numbers that our study has committed."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

import probe
from analyses.counter import common, plain, study
from probe import Recording, Signal
from probe.evidence.measurements import Network
from probe.methods.probing.fits import LeastSquares
from probe.methods.probing.monotone import monotone_score, within_step_correlation
from probe.methods.probing.prefixes import Pooled, StepStates, first_of_group, pool, prefix_groups
from probe.methods.probing.scores import of_parts, of_rounding
from probe.methods.probing.splits import LEAST_STATES, folds
from probe.studies import store

#: A counter, and its own initialisation.
NETWORKS = ("counter/seed-2000", "counter/seed-2000/own initialisation")
CELL, HIDDEN = Signal.CELL_STATE, Signal.HIDDEN_STATE
#: Metric, signal and step; no step for one of all steps together.
Key = tuple[str, str, int | None]


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    """Return the networks by name."""
    return {network.name: network for network in common.with_controls("counter", 2000)}


def _committed() -> pd.DataFrame:
    group = store.read(study.FOLDER / "judged.csv.xz")["counter/seed-2000"]
    return pd.concat([group.tables["single_units"], group.tables["linear_readout"]])


def _recorded(network: Network) -> Recording:
    return probe.record(copy.deepcopy(network.model).double(), common.STRINGS.double())


def _by_step(recording: Recording) -> list[StepStates]:
    """Return the states after each prefix, of the first string that begins with it, by what the layer read."""
    (part,) = recording.parts
    assert part.inputs is not None
    x = part.inputs.numpy()
    first, counts = first_of_group(prefix_groups(x, np.full(len(x), x.shape[1]))), common.COUNTS.numpy().astype(float)
    found = []
    for step, here in enumerate(first.T):
        states = {signal: part.signals[signal].detach().numpy()[here, step] for signal in part.signals}
        found.append(StepStates(step, np.flatnonzero(here), counts[here, step], states))
    return found


def _readouts(by_step: list[StepStates], pooled: Pooled, signal: Signal) -> Iterator[tuple[Key, float]]:
    """Yield how well least squares reads the count off a signal, at each step with enough prefixes and at all."""
    for item in by_step:
        if len(item.rows) >= LEAST_STATES:
            parts = folds(len(item.rows), 2)
            read = LeastSquares().held_out(item.states[signal], item.concept[:, None], parts)[:, 0]
            yield ("r_squared", signal, item.step), of_parts(item.concept, read, parts).value
            yield ("rounding_accuracy", signal, item.step), of_rounding(item.concept, read, parts).value
    parts, count = folds(len(pooled.concept), 4), pooled.concept
    read = LeastSquares(pooled.weight).held_out(pooled.states[signal], count[:, None], parts)[:, 0]
    yield ("pooled_r_squared", signal, None), of_parts(count, read, parts, pooled.weight).value
    yield ("pooled_rounding_accuracy", signal, None), of_rounding(count, read, parts, pooled.weight).value


def _units(by_step: list[StepStates], pooled: Pooled) -> Iterator[tuple[Key, float]]:
    """Yield how well the best cell follows the count, and how often one map of it is exact."""
    correlations = within_step_correlation(pooled, pooled.states[CELL])
    yield ("largest_correlation", CELL, None), float(np.abs(correlations).max())
    exact = []
    for item in by_step:
        if len(item.rows) >= LEAST_STATES:
            exact.append(monotone_score(item.states[CELL], item.concept, folds(len(item.rows), 2)).accuracy)
            yield ("monotone_accuracy", CELL, item.step), exact[-1]
    yield ("mean_monotone_accuracy", CELL, None), float(np.mean(exact))
    lasting = monotone_score(pooled.states[CELL], pooled.concept, folds(len(pooled.concept), 4), pooled.weight)
    yield ("lasting_monotone_accuracy", CELL, None), lasting.accuracy


def _recomputed(recording: Recording) -> dict[Key, float]:
    by_step = _by_step(recording)
    pooled = pool(by_step)
    readouts = [row for signal in (CELL, HIDDEN) for row in _readouts(by_step, pooled, signal)]
    return dict([*readouts, *_units(by_step, pooled)])


def _stored(table: pd.DataFrame, name: str, metrics: set[str]) -> dict[Key, float]:
    rows = table[(table["network"] == name) & table["metric"].isin(metrics)]
    steps = [None if pd.isna(step) else int(step) for step in rows["step"]]
    return dict(zip(zip(rows["metric"], rows["signal"], steps, strict=True), rows["value"], strict=True))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recording_gives_the_committed_numbers(name: str, networks: dict[str, Network]) -> None:
    """Claims 1a to 1c and the linear readout, step by step; and not those of the other network."""
    found = _recomputed(_recorded(networks[name]))
    metrics = {metric for metric, *_ in found}
    assert {rule.metric for rule in plain.SINGLE_UNITS.rules} < metrics
    table = _committed()
    assert found == pytest.approx(_stored(table, name, metrics), abs=1e-6)
    (other,) = set(NETWORKS) - {name}
    assert found != pytest.approx(_stored(table, other, metrics), abs=1e-2)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_recording_gives_each_units_committed_correlation(name: str, networks: dict[str, Network]) -> None:
    """With its sign, the mean of each step taken off."""
    pooled, table = pool(_by_step(_recorded(networks[name]))), _committed()
    rows = table[(table["network"] == name) & (table["metric"] == "within_step_correlation")]
    assert rows["units"].tolist() == [str(unit) for unit in range(12)]
    np.testing.assert_allclose(within_step_correlation(pooled, pooled.states[CELL]), rows["value"], rtol=0, atol=1e-6)
