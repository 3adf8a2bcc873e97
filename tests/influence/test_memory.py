"""`probe.memory`: what replaced states do to later answers, on networks whose answer to that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bodies import Model
from cells_by_hand import FEATURES, UNITS, Loop
from policies_by_hand import Policy, Walk
from relu_by_hand import KINDS, Planted
from torch import Tensor, nn

import probe

DELAY, LEAK, LATCH = torch.eye(11).roll(1, 0).tril(), torch.tensor([[0.9]]), torch.tensor([[1.0]])


def numbers(rows: int = 4, time: int = 60) -> Tensor:
    """Return numbers between .1 and 1."""
    return torch.rand(rows, time, 1, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_planted_horizons_are_found(kind: str) -> None:
    """Of 10 steps, of a leak of .9 at 1 % 43, of a latch none; a row's own state changes no bit."""
    x, times = numbers(), [0, 5, 14, 55]
    delay = probe.memory(Planted(kind, DELAY), x, put="zero", times=times)
    assert delay.horizons["horizon"].tolist() == [10, 10, 10, 4] * 4
    assert delay.horizons["horizon_censored"].tolist() == [False, False, False, True] * 4
    leak = probe.memory(Planted(kind, LEAK), x, times=times).groups["state"]
    assert (leak.quantile(0.5), leak.interval(0.5), leak.quantile(0.5, "half")) == (43, (43, 43), 6)
    latch = probe.memory(Planted(kind, LATCH), x, put="another row", times=times, decide="round")
    assert latch.groups["state"].quantile(0.5) == float("inf")
    assert "halves after more than the run shows (16 never do)" in repr(latch)
    own = probe.memory(Planted(kind, DELAY), x, put="own", times=times)
    assert (own.own_error, own.table["difference"].max(), own.horizons["horizon"].max()) == (0, 0, -1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_is_the_run_started_anew(kind: str) -> None:
    """The table and the schedules hold what a run gives that begins behind each reset."""
    x, model, k = numbers(3, 20), Planted(kind, torch.tensor([[0.6, 0.3], [0.2, 0.5]])), 4
    found = probe.memory(model, x, tolerance=0.0, every=[k, 19, 40], decide="half", truth=model(x) > 0.5)
    with torch.no_grad():
        clean, pieces = model(x), torch.cat([model(piece) for piece in x.split(k, 1)], 1)
        for t in range(19):
            here = found.table.query("t == @t and lag > 0").sort_values(["row", "lag"])
            wanted = (model(x[:, t + 1 :]) - clean[:, t + 1 :]).abs().flatten()
            assert np.allclose(here["difference"], wanted, atol=1e-6)
    told, changed = found.schedules, ((pieces > 0.5) != (clean > 0.5))[:, k:].double().mean()
    assert told is not None
    assert told["every"].tolist() == [k, 19, 40]
    assert told["difference"][0] == pytest.approx(float((pieces - clean)[:, k:].abs().mean()), abs=1e-6)
    assert (told["changed"][0], told["accuracy"][0]) == (pytest.approx(float(changed)), pytest.approx(1 - changed))
    assert told["low"][0] <= told["changed"][0] <= told["high"][0]
    assert found.shortest_reset(1.0) == (k, k, k)
    assert found.shortest_reset(-1.0) == (None, None, None)  # nothing says what no reset in the run would do


@pytest.mark.parametrize("cell", [nn.LSTMCell(FEATURES, UNITS), nn.GRUCell(FEATURES, UNITS)])
def test_schedules_of_cells_in_loops(cell: nn.Module) -> None:
    """All parts of a cell's state are set back together."""
    model, x = Loop(cell), torch.randn(2, 9, FEATURES)
    told = probe.memory(model, x, every=[3]).schedules
    with torch.no_grad():
        pieces = torch.cat([model(piece) for piece in x.split(3, 1)], 1) - model(x)
    assert told is not None
    assert told["difference"][0] == pytest.approx(float(pieces[:, 3:].abs().amax(2).mean()), abs=1e-6)


def test_what_remembers_a_replaced_state_is_named() -> None:
    """A mean over three steps reads it at its own step and holds it: that is no effect of the state that went on."""
    rnn = nn.GRU(1, 3, batch_first=True)
    model = Model(lambda m, x: nn.functional.pad(m.rnn(x)[0], (0, 0, 2, 0)).unfold(1, 3, 1).mean(3), rnn=rnn)
    assert "remembers what it read" in repr(probe.memory(model, numbers()))
    with pytest.raises(probe.ProbeError, match="remembers what it read"):
        probe.memory(model, numbers(), every=[3])


def test_a_number_that_is_always_huge_hides_no_other() -> None:
    """Rounding is that of each number; two infinities are no difference."""

    def masked(output: Any) -> Tensor:
        return torch.cat([output[0], torch.full_like(output[0][:, :, :1], -torch.inf)], 2)

    model = nn.GRU(1, 3, batch_first=True)
    pair = [probe.memory(model, numbers(), answer=answer, decide="argmax") for answer in (None, masked)]
    assert np.allclose(pair[0].table["difference"], pair[1].table["difference"])


def test_horizons_that_the_end_cuts_off_are_no_horizons() -> None:
    """Kaplan and Meier: quantiles of a leak whose late resets are cut off are those of the early ones."""
    exact = probe.memory(Planted("torch", torch.eye(4).roll(1, 0).tril()), numbers(4, 12)).groups["state"]
    assert {exact.quantile(share) for share in (0.1, 0.5, 0.9)} == {3}
    found = probe.memory(Planted("torch", LEAK), numbers(6, 90), times=50).groups["state"]
    assert 0 < found.horizons["horizon_censored"].mean() < 1
    assert {found.quantile(share) for share in (0.1, 0.5, 0.9)} == {43}


def test_units_groups_and_gates() -> None:
    """One unit at a time: what the gates say stands beside it, with a sentence where the two disagree."""
    torch.manual_seed(0)
    model, x = nn.LSTM(1, 4, batch_first=True), torch.randn(3, 80, 1)
    _, back, bias, _ = (parameter.data for parameter in model.parameters())
    bias[4:8], back[:, 1] = torch.tensor([6.0, 0.0, 0.0, 0.0]), 0
    found = probe.memory(model, x, units="each", times=10, answer=lambda out: out[0][:, :, :1])
    assert found.gates["unit 0"] > 10 * found.gates["unit 2"]
    assert found.groups["unit 1"].horizons["horizon"].max() == -1
    pair = probe.memory(model, x, units={"both": [0, 1], "rest": [2, -1]}, keep="hidden_state", times=[3])
    assert pair.replaced == {"[0]": ("cell_state",)}
    assert pair.horizons["group"].unique().tolist() == ["both", "rest"]


@pytest.mark.parametrize("module", [nn.LSTM, nn.GRU, nn.RNN])
def test_stacks_and_controls(module: Any) -> None:
    """All layers of a stack are set back together, and other networks stand beside."""
    torch.manual_seed(0)
    model, x = module(2, 5, 2, batch_first=True), torch.randn(3, 12, 2)
    found = probe.memory(model, x, times=[5], put="initial", controls={"before": module(2, 5, 2, batch_first=True)})
    with torch.no_grad():
        wanted = (model(x[:, 6:])[0] - model(x)[0][:, 6:]).abs().amax(2)
    table = found.table[found.table["lag"] > 0].sort_values(["row", "lag"])
    assert np.allclose(table["difference"], wanted.flatten(), atol=1e-6)
    assert "before: 3 of 3 replaced states" in repr(found)


def test_rows_of_several_lengths() -> None:
    """A row that ends has no lag behind its end, and none at its last step."""

    def run(model: Any, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(model.rnn(packed)[0], batch_first=True)[0]

    model = Model(run, rnn=nn.LSTM(1, 3, batch_first=True))
    found = probe.memory(model, numbers(3, 9), torch.tensor([9, 3, 6]), tolerance=0.0, every=[2])
    assert found.horizons.groupby("row")["t"].max().tolist() == [7, 1, 4]
    ends = (found.horizons["t"] + found.horizons["horizon"]).groupby(found.horizons["row"]).max()
    assert ends.tolist() == [8, 2, 5]


def test_a_policys_episodes() -> None:
    """The states of a policy that sees again what it saw in its episodes."""
    torch.manual_seed(0)
    policy = Policy()
    played = probe.rollout(policy, lambda: Walk(3), 4, act=policy.act)
    x = torch.as_tensor(played.observations[:, : played.lengths.min()], dtype=torch.float32).transpose(0, 1)
    found = probe.memory(policy, x, batch_axis=1, decide="argmax", put="mean")
    assert found.own_error == 0


def test_a_long_stream() -> None:
    """100,000 steps, a few places: nothing is kept for each place but its differences."""
    x = torch.rand(1, 100_000, 1, generator=torch.Generator().manual_seed(0))
    found = probe.memory(Planted("torch", LEAK), x, times=[10, 50_000, 99_000]).groups["state"]
    assert found.horizons["horizon"].tolist() == [43, 43, 43]
    assert found.interval(0.5) is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"put": "nothing"}, "no state to put in 'nothing'"),
        ({"decide": "most"}, "no decision 'most'"),
        ({"tolerance": 1.0, "relative": 0.1}, "not both"),
        ({"every": [2], "layer": "rnn[0]"}, "sets the whole state back"),
        ({"every": 0}, "give 1 step or more"),
        ({"every": [0, 5]}, "give 1 step or more"),
        ({"keep": "hidden_state"}, "must name some of hidden_state, and leave others"),
        ({"times": [59]}, "times=59 lies outside the steps that another one follows, which has 59"),
        ({"times": 0}, "must be 1 or more"),
        ({"tolerance": float("nan")}, "must be a number, 0 or more"),
        ({"decide": "argmax"}, "'argmax' needs several"),
        ({"decide": lambda answers: answers[0]}, "must give"),
        ({"truth": torch.zeros(4, 60)}, "truth= is for the accuracy"),
        ({"units": [3]}, "units=3 lies outside layer 'rnn"),
        ({"answer": lambda out: out[:, 0]}, r"The answers are torch.float32 \(4,\)"),
        ({"answer": lambda out: out.flip(1)}, "they read later steps"),
    ],
)
def test_what_fits_nothing_is_refused(options: dict[str, Any], said: str) -> None:
    """Each error names what was given."""
    with pytest.raises(probe.ProbeError, match=said):
        probe.memory(Planted("torch", LEAK), numbers(), **options)
    with pytest.raises(probe.ProbeError, match="reads from the end"):
        probe.memory(nn.LSTM(1, 2, batch_first=True, bidirectional=True), numbers())
    with pytest.raises(probe.ProbeError, match="needs several rows"):
        probe.memory(Planted("torch", LEAK), numbers(1), put="another row")
    with pytest.raises(probe.ProbeError, match="No decisions were compared"):
        probe.memory(Planted("torch", LEAK), numbers(), times=1).shortest_reset()


def test_a_loss_beside_the_answers_changes_nothing() -> None:
    """As where the model returns the answers alone."""
    planted, x = Planted("torch", LEAK), numbers()

    def run(model: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        answers = model.inner(x)
        return answers.mean(), answers

    alone = probe.memory(planted, x, times=[0, 5])
    beside = probe.memory(Model(run, inner=planted), x, times=[0, 5], answer=lambda returned: returned[1])
    assert beside.table.equals(alone.table)
