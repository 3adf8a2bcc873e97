"""A study inside a training loop: dropout is on again where it was on, whatever became of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bodies import Model
from many_counters import distance, far
from studied import bits, ones, planted
from torch import nn

from probe import Finding, ProbeError, Study
from probe.evidence import Network
from probe.questions import Question

QUESTION = Question("distance", "How far?", distance, rules=(far("far"),))


def half_trained(rate: float = 0.5) -> Any:
    """Return a network in train mode that drops out, with a part that its author froze in evaluation mode."""
    frozen = nn.Dropout(0.1).eval()
    return Model(lambda m, x: m.rnn(m.drop(x)), rnn=planted(), drop=nn.Dropout(rate), frozen=frozen)


def modes(network: nn.Module) -> list[bool]:
    """Return of each module whether it is in train mode."""
    return [part.training for part in network.modules()]


def studied(networks: Any, question: Question = QUESTION, **more: Any) -> Study:
    """Return a study that asks one question of networks."""
    return Study(networks, bits(24), {"ones": ones}, questions=[question], controls=(), **more)


def failing(*_: Any) -> Any:
    """Fail as a question may."""
    raise ValueError("not today")


def stopped(*_: Any) -> Any:
    """Stop as Ctrl-C does."""
    raise KeyboardInterrupt


@pytest.mark.usefixtures("undrawn")
def test_a_study_leaves_every_module_in_its_own_mode(tmp_path: Path) -> None:
    """Also where it raises or is stopped; meanwhile nothing drops out, so that studies measure the same."""
    network, values = half_trained(), []
    found = modes(network)
    assert set(found) == {True, False}
    given = [network, [network], {"trained": nn.ModuleList([network])}, (Network("a", "trained", network),)]
    for number, networks in enumerate(given):
        _ = studied(networks).run(tmp_path / str(number))
        values += Finding.read(tmp_path / str(number) / "findings" / "distance").measurements["value"].to_list()
        assert modes(network) == found
    assert len(values) == len(given)
    assert set(values) == {values[0]}
    for measure, error in ((failing, ProbeError), (stopped, KeyboardInterrupt)):
        with pytest.raises(error):
            _ = studied(network, Question("distance", "How far?", measure)).run(tmp_path / error.__name__)
        assert modes(network) == found


def test_measuring_and_verifying_leave_every_module_in_its_own_mode(tmp_path: Path) -> None:
    """Between two networks that are verified, too, and where somebody stops asking for the next one."""
    networks = [half_trained(rate) for rate in (0.1, 0.2, 0.3)]
    for place, network in enumerate(networks):
        network.rnn.weight_hh_l0.data[:, 1:] *= 1 + place
    found = [modes(one) for one in networks]
    study, path = studied(networks, version=1), tmp_path / "all.csv.xz"

    def as_found() -> bool:
        return [modes(one) for one in networks] == found

    assert study.measure(path, parts=tmp_path / "parts") == len(networks)
    assert as_found()
    assert len(study.tables(path)["distance"]) == len(study.findings(path)["distance"].measurements) == 3
    assert as_found()
    again = study.verify(path)
    for one in again:
        assert (one.faults, as_found()) == ((), True)
    assert not next(study.verify(path)).faults
    assert as_found()
