"""Networks of a study measured again: what differs is named, and what only rounding moved is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from known_machines import READ, WINS, Reader, X
from refusing import refused

from probe import Study
from probe.evidence.measurements import Network, measurement, tabulate
from probe.questions import Question
from probe.studies import verify
from probe.subjects.subject import Subject

NETWORK = Network("reader", "planted", Reader())
NAN, INF = float("nan"), float("inf")


def table(*values: float, metric: str = "share") -> pd.DataFrame:
    """Return values of a metric, one a step."""
    return tabulate(
        measurement("accuracy", metric, NETWORK, value, signal="cell_state", step=step)
        for step, value in enumerate(values)
    )


def named(part: str, *given: Any) -> list[str]:
    """Return what differs between two tables, by a part of its name, the farthest first."""
    return [key[verify.KEY.index(part)] for key in verify.differences(*given).index]


def test_what_is_farther_than_a_millionth_of_itself_is_found() -> None:
    """Missing numbers and infinities are equal to themselves; the farthest come first, each relative to its value."""
    old = table(100.0, 1e-9, NAN, INF, -INF)
    assert not named("step", old, table(100.0 * (1 + 9e-7), 1e-9 * (1 - 9e-7), NAN, INF, -INF))
    assert not named("step", table(), table())
    for pair in ((100.0, 100.0002), (0.0, 1e-12), (1e-12, 2e-12), (1.0, NAN), (NAN, 1.0), (1.0, INF), (INF, -INF)):
        found = verify.differences(table(1e6, pair[0]), table(1e6, pair[1]))
        assert np.array_equal(found.to_numpy(dtype=float), [pair], equal_nan=True)
    assert named("step", table(1e6, 1.0, 2.0, 3.0), table(1e6 + 100, 1.1, 2.4, 3.0)) == ["2", "1", "0"]


def test_whose_a_value_is_belongs_to_it_and_so_does_which_it_is() -> None:
    """A value under another role or pair is another one, and one that went or came has moved."""
    old = table(1.0, 2.0)
    for changed in ({"role": "trained"}, {"pair": "5"}, {"network": "other"}, {"signal": "h"}):
        assert sorted(verify.differences(old, old.assign(**changed)).isna().sum()) == [2, 2]
    assert list(verify.differences(old, table(1.0))["after"]) == [None]
    assert list(verify.differences(table(1.0), old)["before"]) == [None]
    twice = pd.concat([table(1.0), table(2.0)], ignore_index=True)
    assert verify.differences(twice, twice).empty
    assert list(verify.differences(twice, table(1.0))["before"]) == [2.0]
    assert len(verify.differences(twice, twice.iloc[::-1])) == 2


def test_a_value_may_lie_ten_times_as_far_away_as_rounding_moves_its_metric() -> None:
    """The farthest of several counts, of values of one metric, signal and network, and of no other."""
    old = pd.concat([table(1.0), table(1.0, metric="other")], ignore_index=True)
    new = old.assign(value=[1.01, 1.01])
    near = [new.assign(value=[1.0112, 1.01]), new.assign(value=[1.01, 1.0112]), new]
    assert named("question", old, new) == ["accuracy"] * 2
    for known, metrics in ((near[:1], ["other"]), (near[1:], ["share"]), (near, []), (near[2:], ["share", "other"])):
        assert named("metric", old, new, known) == metrics
    assert not named("step", table(1.0, 2.0), table(1.01, 2.0), [table(1.01, 2.002)])
    assert not named("step", table(0.0), table(NAN), [table(0.0)])
    assert len(named("step", table(0.0), table(NAN), [table(NAN)])) == 1
    assert not named("step", table(1.0, 2.0), table(1.0), [table(1.0, 3.0)])
    assert len(named("step", table(1.0, 2.0), table(1.0), [table(1.0)])) == 1


def test_rounding_moves_each_weight_to_a_neighbour_and_a_zero_nowhere() -> None:
    """What is measured beside the network is the network but for the last bit; the network itself is left alone."""
    layer = torch.nn.Linear(40, 3)
    with torch.no_grad():
        layer.bias.zero_()
    weight = layer.weight.detach().clone()
    subject = replace(Subject.of(NETWORK, X, WINS, **READ), network=replace(NETWORK, model=layer))
    (moved,), (other,) = (verify.rounded([subject], seed) for seed in (0, 1))
    assert layer.weight.equal(weight)
    assert moved.network.name == NETWORK.name
    there = moved.model.state_dict()
    assert there["bias"].count_nonzero() == 0
    apart = (there["weight"] - weight).abs()
    assert apart.min() > 0
    assert torch.all(apart <= torch.finfo(torch.float32).eps * weight.abs())
    assert 0.2 < (there["weight"] > weight).float().mean() < 0.8
    assert not there["weight"].equal(other.model.state_dict()["weight"])


def test_a_measurement_that_rounding_decides_is_told_from_a_changed_one(tmp_path: Path) -> None:
    """A value that hangs on the last bit of the weights may differ; one that does not may not."""

    def made(chaotic: float, steady: float) -> Study:
        def measure(subjects: Iterable[Subject]) -> Iterator[dict[str, Any]]:
            for one in subjects:
                last_bits = sum(each.double().sum().item() for each in one.model.parameters()) * 1e9 % 1
                yield measurement("sizes", "chaotic", one.network, chaotic + last_bits)
                yield measurement("sizes", "steady", one.network, steady)

        networks = [Network(str(seed), "planted", Reader(seed=seed)) for seed in (1, 2)]
        subjects = [Subject.of(one, X, WINS, **READ) for one in networks]
        return Study.of(subjects, questions=[Question("sizes", "How large?", measure)], version=1)

    path = tmp_path / "all.csv.xz"
    made(7.0, 8.0).measure(path, parts=tmp_path)
    (same, _), (rounded,) = (list(made(by, 8.0).verify(path, which)) for by, which in ((7.0, None), (7.2, ["1"])))
    assert (same.values, same.rounded, same.faults) == (2, 0, ())
    assert (rounded.rounded, rounded.faults) == (1, ())
    ((fault,),) = (one.faults for one in made(7.0, 9.0).verify(path, ["2"]))
    assert fault.startswith("2: sizes (version 1) moved in 1 of 2 values: steady of 2: 8 before, 9 now. If what it ")
    with refused():
        list(made(7.0, 8.0).verify(path, ["3"]))
