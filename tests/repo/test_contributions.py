"""`probe.contributions`: who made an answer, on networks whose formula says it, and beside edits by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from bodies import Model
from policies_by_hand import Policy
from refusing import refused
from relu_by_hand import KINDS, Planted
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from models import zoo
from models.counter import expected_answer
from models.planted.counting import ones_counter
from models.tasks import bit_strings
from probe.recurrent import CustomLSTM

BOTH, BITS, LENGTHS = ("occlusion", "integrated gradients"), bit_strings(6), torch.tensor([7, 4, 5, 3])


class Net(nn.Module):
    """A layer with a number after each step; it may be given lengths, embed symbols, or start from a state."""

    def __init__(self, rnn: Any, width: int, start: Tensor | None = None, symbols: int = 0) -> None:
        super().__init__()
        self.rnn, self.head, self.start = rnn, nn.Linear(width, 1), start
        self.embedding = nn.Embedding(symbols, rnn.input_size) if symbols else nn.Identity()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the numbers, (batch, time); of packed rows, the one of the last states."""
        x, start = self.embedding(x), [] if self.start is None else [self.start.repeat(1, len(x), 1)]
        if lengths is None:
            return self.head(self.rnn(x, *start)[0]).squeeze(-1)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(torch.cat([*self.rnn(packed)[1][-2:]], 1))


def last(output: Tensor) -> Tensor:
    """Return the number after the last step."""
    return output[:, -1]


@torch.no_grad()
def by_hand(model: nn.Module, x: Tensor, other: Tensor, *rest: Tensor) -> Tensor:
    """Return the answer minus the answer with each input replaced, one after the other, from the first step on."""
    found = torch.zeros(x.shape)
    for place in product(*map(range, x.shape[1:])):
        edited = x.clone()
        edited[:, *place] = other.expand_as(x)[:, *place]
        found[:, *place] = last(model(x, *rest)) - last(model(edited, *rest))
    return found


ONE = torch.ones(1, 1)
PLANTED = ((ONE, ONE, BITS), (0 * ONE, ONE, BITS * torch.eye(6)[-1:].T), (ONE, 0 * ONE, 0 * BITS))


@pytest.mark.parametrize("kind", KINDS)
def test_who_made_the_answer_of_a_planted_network(kind: str) -> None:
    """Of a counter each one, of a network without a memory the last step, of one that does not listen none."""
    for back, enters, wanted in PLANTED:
        found = probe.contributions(Planted(kind, back, enters), BITS, output=last)
        assert max(float((found[method] - wanted).abs().max()) for method in BOTH) <= 1e-6
        assert not any(found.initial[method].any() for method in BOTH)


def test_the_cell_state_is_split_by_the_step_that_wrote_it() -> None:
    """Of a planted counter its counting cell, and the expected answer; of a trained stack what was recorded."""
    options: Any = {"output": expected_answer, "method": (*BOTH, "cell state"), "tolerance": 1e-5}
    found = probe.contributions(ones_counter(dtype=torch.float64), BITS.double(), **options)
    assert (found["cell state"][..., :1] - 0.1 * BITS).abs().max() <= 1e-6
    assert all((found[method] - BITS).abs().max() <= 1e-4 for method in BOTH)
    assert "saturated: the gradient at the input itself" in repr(found)
    lstm, x, hx = nn.LSTM(3, 5, 2), torch.randn(9, 4, 3), (torch.randn(2, 4, 5), torch.randn(2, 4, 5))
    found = probe.contributions(lstm, x, hx, method="cell state", layer="[1]")
    summed = found["cell state"].sum(1) + found.initial["cell state"]
    assert torch.allclose(summed.float(), probe.record(lstm, x, hx)["[1]", "cell_state"][:, -1], atol=1e-6)
    assert found.initial["cell state"].abs().min() > 0


def test_the_gradients_of_a_trained_counter_add_up() -> None:
    """To a hundredth of a count of all 1,024 strings, where fixed points miss several."""
    found = probe.contributions(zoo.networks(seeds=[0])[0].model, bit_strings(10), output=expected_answer)
    wanted: Any = (found.answers, found.baseline_answers, found.points)
    assert (found["integrated gradients"].sum((1, 2)) - (wanted[0] - wanted[1])).abs().max() <= 0.01
    assert wanted[2].median() <= 400


def test_contributions_that_cancel_are_right_all_the_same() -> None:
    """That they add up says little where two inputs undo each other."""
    model = Model(lambda _, x: (100 * (x - 0.53)).sigmoid() @ torch.tensor([1.0, -1.0]))
    found = probe.contributions(model, torch.ones(2, 3, 2), output=lambda out: out.sum(1), method=BOTH[1])
    assert torch.allclose(found[BOTH[1]], torch.tensor([1.0, -1.0]).double(), atol=0.01)


MODELS: dict[str, Any] = {
    "stack": lambda: Net(nn.LSTM(4, 5, 2, batch_first=True), 5),
    "packed": lambda: Net(nn.GRU(4, 5, 2, batch_first=True, bidirectional=True), 10),
    "given": lambda: Net(nn.GRU(4, 5, batch_first=True), 5, start=torch.randn(1, 1, 5)),
    "learned": lambda: Net(CustomLSTM(4, 5, batch_first=True, learned_initial_state=True), 5),
}


@pytest.mark.parametrize("name", [*MODELS, "packed both ways"])
def test_an_input_is_replaced_as_by_hand(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers that run again only from where rows differ, in turns, give what runs from the first step give."""
    monkeypatch.setattr("probe.influence.splitting.MEMORY", 9_000)
    model, rest = MODELS[name.partition(" ")[0]](), [LENGTHS] * name.endswith("ways")
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    real = torch.arange(7) < (LENGTHS if rest else torch.full((4,), 7)).unsqueeze(1)
    x, before = torch.randn(4, 7, 4) * real.unsqueeze(-1), torch.get_rng_state()
    for baseline, other in {"zero": torch.zeros(4), "mean": x[real].mean(0)}.items():
        options: Any = {"output": last, "baseline": baseline, "tolerance": 1e-3}
        found = probe.contributions(model, x, *rest, **options)
        assert all(torch.equal(found[method].isnan(), ~real.unsqueeze(-1).expand_as(x)) for method in BOTH)
        assert torch.allclose(found["occlusion"].nan_to_num(), by_hand(model, x, other, *rest), atol=1e-5)
        assert found.error["integrated gradients"].max() <= 1e-3
        assert bool(found.initial["occlusion"].any()) == (name in ("given", "learned"))
        together = probe.contributions(model, x, *rest, **options, together=True, steps=-1)["occlusion"][..., 0]
        assert (~together.isnan()).sum(1).tolist() == [1] * 4
    assert torch.equal(before, torch.get_rng_state())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_symbols_contribute_by_what_reads_them() -> None:
    """A symbol is replaced by another one, or its embedding is; one number a step."""
    model, x = Net(nn.LSTM(3, 5, batch_first=True), 5, symbols=4), torch.randint(0, 4, (5, 6))
    for baseline in ("another row", "zero", "mean", 2):
        found = probe.contributions(model, x, output=last, baseline=baseline, tolerance=1e-4)
        assert found["occlusion"].shape == found["integrated gradients"].shape == (5, 6, 1)
        assert found.error["integrated gradients"].max() <= 1e-4
    assert torch.allclose(found["occlusion"][..., 0], by_hand(model, x, torch.tensor(2)), atol=1e-6)
    found = probe.contributions(model, x, output=last, baseline=2, method="occlusion")
    assert "gradients" not in repr(found)
    assert len(found.to_frame()) == 5 * 6 + 5


@torch.no_grad()
def test_a_policy_reads_step_first_from_a_state_it_is_given() -> None:
    """As in the middle of an episode: which observation, and how much of the state, made the last action's score."""
    policy, x, state = Policy(), torch.randn(6, 4, 3), torch.randn(2, 1, 4, 5)
    found = probe.contributions(policy, x, (*state,), output=lambda out: out[-1, :, 1], batch_axis=1, together=True)
    others = policy(x.index_fill(0, torch.tensor(2), 0), (*state,)), policy(x, (*0 * state,))
    wanted = torch.stack([(policy(x, (*state,)) - other)[-1, :, 1] for other in others])
    assert torch.allclose(torch.stack([found["occlusion"][:, 2, 0], found.initial["occlusion"]]), wanted, atol=1e-6)


def test_dropout_that_drops_nothing_is_no_chance() -> None:
    """In training mode too: nn.Dropout(0.0) is a layer that many models keep."""
    x, rnn = torch.randn(4, 7, 3), nn.LSTM(3, 5, batch_first=True)
    model: Any = Net(rnn, 5)
    model.embedding = nn.Dropout(0.0)
    assert model.training
    found = probe.contributions(model, x, output=last, method="occlusion")
    plain = probe.contributions(model.eval(), x, output=last, method="occlusion")
    assert torch.equal(found["occlusion"], plain["occlusion"])


def test_what_has_no_contributions_is_refused() -> None:
    """Models that mix rows or draw numbers, answers that jump, and arguments that do not fit."""
    model, x = Net(nn.LSTM(3, 5, batch_first=True), 5), torch.randn(4, 7, 3)
    middle = float((last(model(x)) + last(model(0 * x))).detach()[0]) / 2
    wrong: list[Any] = [{"output": lambda out: last(out) - last(out).mean()}, {"output": lambda out: out}]
    wrong += [{"output": lambda out: last(out) + torch.rand(4)}, {"output": lambda out: (last(out) > middle).float()}]
    wrong += [{"method": "saliency"}, {"baseline": "ones"}, {"baseline": torch.ones(2)}, {"at": "body"}]
    wrong += [{"at": "rnn"}, {"steps": 7}, {"output": None}, {"tolerance": "a"}]
    for options in wrong:
        with refused():
            probe.contributions(model, x, **{"output": last} | options)
    both = nn.LSTM(3, 5, batch_first=True, bidirectional=True)
    several: list[Any] = [(nn.Sequential(model, nn.Dropout()), BOTH), (nn.GRU(3, 5), "cell state")]
    for other, method, *layer in [*several, (both, "cell state", "[0].reverse")]:
        with refused():
            probe.contributions(other, x, output=last, method=method, layer=next(iter(layer), None))
    found = probe.contributions(model, x, output=last, method="occlusion", steps=0)
    wrong = [{"row": 4}, {"tokens": "ab"}, {"method": "cell state"}]
    for options in wrong:
        with refused():
            _ = probe.plots.contributions(found, **options)
