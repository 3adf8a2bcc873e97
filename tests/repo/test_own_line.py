"""The relay of a trained recurrence that a line reads: what is replaced, and what stays."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from analyses.counter import common, own_line, relay
from models.counter import answer
from probe.evidence.measurements import Network, only


@pytest.fixture(scope="module")
def networks() -> list[Network]:
    """Return a counter with its controls."""
    return common.group("counter", 0)


@pytest.fixture(scope="module")
def table(networks: list[Network]) -> pd.DataFrame:
    """Return what was measured of them."""
    return own_line.measure(networks)


def test_only_the_head_is_replaced_and_it_answers(networks: list[Network]) -> None:
    """The recurrence is the trained one, bit by bit, and the line answers strings that it was not fitted on."""
    (trained,) = common.pick(networks, "trained")
    read = own_line._read_by_a_line(trained)
    own, line = (dict(each.model.named_parameters()) for each in (trained, read))
    assert all(torch.equal(own[name], line[name]) for name in own if not name.startswith("head"))
    assert line["head.weight"].shape == (1, 12)
    test = list(trained.test)  # pyright: ignore[reportAttributeAccessIssue] - a counter of the study
    with torch.no_grad():
        right = answer(read.model(common.STRINGS[test])) == common.COUNTS[test, -1]
    assert right.float().mean() > 0.8
    assert read.role != "trained"  # the trained network itself has its own head


def test_it_is_a_trained_network_in_tables(table: pd.DataFrame, networks: list[Network]) -> None:
    """Of the trained network alone, and another number than with its own head."""
    assert set(table["role"]) == {"trained"}
    assert set(table["metric"]) == set(own_line.MEASURED)
    own = relay.measure(common.pick(networks, "trained"))
    for metric in own_line.MEASURED:
        line, head = (only(each, metric=metric)["value"].item() for each in (table, own))
        assert line != pytest.approx(head, abs=1e-3)
    assert 1 <= only(table, metric="relay_index")["value"].item() <= 12
    assert own_line.measure([network for network in networks if network.role != "trained"]).empty


def test_the_words(table: pd.DataFrame, networks: list[Network]) -> None:
    """A number in every sentence, and no verdict."""
    finding = own_line.find(networks, table)
    assert not finding.claims
    index = only(table, metric="relay_index")["value"].item()
    assert f"is {index:.2f} " in finding.notes["answer"]
    assert "nan" not in finding.notes["answer"]
    assert len(finding.figures[0].svg.encode()) <= 25_000
