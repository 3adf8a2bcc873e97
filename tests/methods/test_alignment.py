"""Alignment search on networks whose directions were written down, and what its gradient must equal."""

import contextlib
import math
from itertools import product
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from readers_by_hand import COUNT, LENGTH, READ, TASK, Reader, X, expected
from refusing import refused
from torch import Tensor, nn

from probe.methods.causal import alignment_controls, alignment_loss
from probe.methods.causal.alignment import Alignment, Search, _Batch, _changed_pairs, answer_loss, search
from probe.methods.causal.alignment_controls import halves, mean_gradient, pairs_among
from probe.methods.causal.alignment_loss import LinearOutput, Suffixes
from probe.methods.causal.alignment_lstm import suits
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import all_pairs
from probe.methods.causal.task import Task
from probe.methods.machines import Machine

HELD, IDLE = 4, 2
V = torch.tensor([0.5, -0.1, -0.7, 0.5], dtype=torch.float64)
V /= V.norm()


class Rotated(nn.Module):
    """Cells 0 to 3 add .02 v where feature 0 is 1; two units that live on feature 1 write across v, loudly.

    A clock opens the output gates of cells 0 to 3 at the last step: before it they are in the state once, as c alone.
    """

    def __init__(self):
        super().__init__()
        units = HELD + IDLE
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.lstm = nn.LSTM(3, units, batch_first=True, dtype=torch.float64)
        x, h, b, b_hh = (p.detach().view(4, units, -1) for p in self.lstm.parameters())
        b_hh.zero_()
        x[:, :, [0, 2]] = 0
        h[:, HELD:, :HELD] = 0
        h[:, :HELD], x[:, :HELD] = 0, 0
        b[:, :HELD, 0] = torch.tensor([40.0, 40.0, 0.0, -40.0], dtype=torch.float64)[:, None]
        x[3, :HELD, 2] = 80
        x[2, :HELD, 0] = torch.atanh(0.02 * V)
        across = np.linalg.qr(np.column_stack([V, np.random.default_rng(0).normal(size=(HELD, IDLE))]))[0]
        h[2, :HELD, HELD:] = 0.4 * torch.as_tensor(across[:, 1:])

    def forward(self, x: Tensor):
        """Return scores: the nearer a level of v . h, the higher."""
        levels = torch.tanh(0.02 * torch.arange(LENGTH + 1)[:, None] * V) @ V
        clock = torch.zeros_like(x[:, :, :1])
        clock[:, -1] = 1
        read = self.lstm(torch.cat([x, clock], 2).double())[0][:, -1, :HELD] @ V
        return -2e4 * (read[:, None] - levels) ** 2


@pytest.fixture(scope="module")
def rotated():
    """Return the planted network as a machine."""
    return Machine.of(Rotated(), X, **READ)


PLANTED = torch.cat([V, torch.zeros(2 * (HELD + IDLE) - HELD)])


@pytest.mark.parametrize(
    ("iterations", "cosine", "score"),
    [(400, 0.990, 1.0), (0, 0.917, None), pytest.param(8000, 0.9995, 1.0, marks=pytest.mark.exhaustive)],
)
def test_the_search_answers_everything_along_a_direction_near_the_planted_one(
    iterations: int, cosine: float, score: float | None, rotated: Machine
):
    """The definition's 400 steps come to .990 of it, of the whole state, and score 1; their start does neither."""
    (half, _) = halves(rotated, 3)
    (found,) = search(rotated, 3, [Search(1, TASK, half.train)], iterations=iterations)
    assert float((found.basis[:, 0] @ PLANTED).abs()) == pytest.approx(cosine, abs=0.001)
    own = interchange(pairs_among(rotated, 3, half.test), TASK, found.put).score
    assert own == score if score else own < 0.5


@pytest.mark.parametrize("classes", [LENGTH + 1, None])
@pytest.mark.parametrize("kind", ["lstm", "lstm without bias", "gru", "rnn"])
def test_the_gradient_is_that_of_torch_through_a_differentiable_qr(kind: str, classes: int | None):
    """At the free matrix it is that by autograd through torch.linalg.qr, in raw and other units, at two steps.

    So it is where the stretch for small LSTMs and the gradient of linear outputs are put aside.
    """
    name, _, without = kind.partition(" ")
    machine = Machine.of(Reader(name, classes, bias=not without), X, **READ)
    assert suits(machine) == (name == "lstm")
    rows = torch.arange(0, 1024, 3)
    for step, standardised, lean in product((1, LENGTH - 1), (False, True), (False, True)):
        batch = _Batch(machine, step, [Search(2, TASK, rows, standardised), Search(1, TASK, rows)], 40, 0)
        free = torch.randn(
            2, machine.dynamics.size, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64
        )
        mask = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]], dtype=torch.float64)
        with contextlib.ExitStack() as off:
            if not lean:
                off.enter_context(mock.patch.object(alignment_loss, "suits", return_value=False))
                off.enter_context(mock.patch.object(LinearOutput, "of", return_value=None))
            run = Suffixes(machine, step, 80, answer_loss)
        found = batch._gradient(free, slice(0, 40), run)
        free.requires_grad_()
        basis = torch.linalg.qr(free)[0] * mask
        total = torch.zeros((), dtype=torch.float64)
        for number in range(2):
            base, source = batch._base[number], batch._source[number]
            spread = machine.clean.states[rows, step].detach().std(0, correction=0)
            scale = spread if standardised and not number else 1.0
            own, other = (machine.clean.states[each, step].detach() / scale for each in (base, source))
            patched = (own + (other - own) @ basis[number] @ basis[number].T) * scale
            output = machine.readout.read(machine.dynamics.advance(patched, machine.clean.inputs[base, step + 1 :]))
            total = total + answer_loss(output, TASK.target(base, source, step)).mean()
        (wanted,) = torch.autograd.grad(total, free)
        assert torch.allclose(found, wanted, atol=1e-10, rtol=1e-8)
        assert float(wanted.norm()) > 1e-5


def test_a_loss_that_is_not_finite_is_refused() -> None:
    """An output that overflows says so, whether it is linear or not."""
    machine, states = Machine.of(Reader("lstm"), X, **READ), torch.full((6, 4), math.nan).double()
    for linear in (LinearOutput.of(machine), None):
        with mock.patch.object(LinearOutput, "of", return_value=linear):
            run = Suffixes(machine, LENGTH - 2, 4, answer_loss)
        with refused():
            _ = run.gradient(states, torch.arange(4), torch.zeros(4, dtype=torch.float64))


def test_halves_split_prefixes_and_not_rows(rotated: Machine):
    """No prefix stands in both parts, both ways are given, and few prefixes are not split at all."""
    one, other = halves(rotated, 3, seed=5)
    prefixes = [set(map(tuple, X[rows, :4].flatten(1).tolist())) for rows in (one.train, one.test)]
    assert [len(part) for part in prefixes] == [128, 128]
    assert not prefixes[0] & prefixes[1]
    assert torch.equal(one.train, other.test)
    assert torch.equal(one.test, other.train)
    base, source = _changed_pairs(TASK, one.train, 3, 500, 0)
    assert len(base) == len(source) == 500
    assert {*base.tolist(), *source.tolist()} <= set(one.train.tolist())
    assert bool((COUNT[base, 3] != COUNT[source, 3]).all())
    every, few = (pairs_among(rotated, 3, one.test, most=most) for most in (512 * 128, 1000))
    assert (len(every), every.exhaustive, set(every.base.tolist())) == (512 * 128, True, set(one.test.tolist()))
    assert len(set(zip(few.base.tolist(), few.source.tolist(), strict=True))) == 1000
    (alone,) = halves(rotated, 2)
    assert torch.equal(alone.train, alone.test)
    assert len(alone.train) == 1024
    assert not torch.equal(halves(rotated, 3, seed=6)[0].train, one.train)


def test_a_patch_in_standardised_units_is_an_orthogonal_one_there():
    """b + D Q Q^T D^-1 (s - b): along the scaled direction the source's coordinate, across it the base's."""
    machine = Machine.of(Reader("lstm"), X, **READ)
    pairs = all_pairs(machine, 1)
    scale = torch.arange(1.0, 7.0, dtype=torch.float64)
    q = torch.as_tensor(np.linalg.qr(np.random.default_rng(0).normal(size=(6, 2)))[0])
    patched = Alignment(q, scale).put(pairs) / scale
    source, base = pairs.source_states / scale, pairs.base_states / scale
    assert torch.allclose(patched @ q, source @ q, atol=1e-12)
    across = torch.eye(6, dtype=torch.float64) - q @ q.T
    assert torch.allclose(patched @ across, base @ across, atol=1e-12)


def test_a_search_is_reproducible_and_its_columns_are_orthonormal():
    """The same seed gives the same bits, another seed others; searches beside it change nothing but rounding."""
    machine, rows = Machine.of(Reader("lstm"), X, **READ), torch.arange(1024)
    wanted = [Search(rank, TASK, rows, standardised) for rank in (2, 3) for standardised in (False, True)]
    first, again, other = (search(machine, 2, wanted, iterations=5, seed=seed) for seed in (0, 0, 1))
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one.basis, two.basis)
        assert not torch.allclose(one.basis, three.basis, atol=1e-6)
        assert torch.allclose(one.basis.T @ one.basis, torch.eye(one.basis.shape[1]).double(), atol=1e-12)
    assert [one.basis.shape[1] for one in first] == [2, 2, 3, 3]
    assert [bool((one.scale == 1).all()) for one in first] == [True, False, True, False]
    (alone,) = search(machine, 2, wanted[:1], iterations=5)
    assert torch.allclose(alone.basis, first[0].basis, atol=1e-9)
    drawn, twice = (np.array(list(alignment_controls.random_bases(7, 2, 2, seed=1))) for _ in range(2))
    assert np.array_equal(drawn, twice)
    assert np.allclose(drawn[1].T @ drawn[1], np.eye(2), atol=1e-12)


def test_losses_are_cross_entropy_and_squared_error():
    """Scores give minus the log of the target's probability; numbers the squared difference."""
    scores = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]], dtype=torch.float64)
    assert answer_loss(scores, torch.tensor([1.0, 0.0])).tolist() == pytest.approx([math.log(4 / 3), math.log(2)])
    assert answer_loss(torch.tensor([1.5, 2.0]), torch.tensor([1.0, 4.0])).tolist() == [0.25, 4.0]


def test_a_search_without_a_loss_or_a_pair_is_refused():
    """Targets that are no class, what is neither scores nor numbers, a rank beyond the state, one value alone."""
    lstm, gru = (Machine.of(Reader(kind), X, **READ) for kind in ("lstm", "gru"))
    rows, same = torch.arange(1024), (COUNT[:, 2] == 1).nonzero().flatten()
    beyond, between = (
        Task(COUNT, combine=lambda source, _base, _final, value=value: torch.full_like(source, value))
        for value in (6.0, 0.5)
    )
    cases: list[Any] = [
        lambda: answer_loss(torch.zeros(2, 3), torch.tensor([0.0, -1.0])),
        lambda: answer_loss(torch.zeros(2, 3, 1), torch.tensor([0.0, 0.0])),
        lambda: answer_loss((torch.zeros(2),), torch.tensor([0.0, 0.0])),
        # Whichever way the gradient is computed.
        lambda: search(lstm, 2, [Search(1, beyond, rows)], iterations=1),
        lambda: search(gru, 2, [Search(1, between, rows)], iterations=1),
        lambda: search(lstm, 2, [Search(13, TASK, rows)]),
        lambda: search(lstm, 2, [Search(1, TASK, same)]),
    ]
    for ask in cases:
        with refused():
            ask()


def test_the_closed_form_of_a_linear_readout():
    """After the last step that of w . h + b is w; before it, and of classes, the mean of central differences."""
    model = Reader("gru", None).double()
    weight = model.head.weight.detach()[0].numpy()
    assert np.allclose(mean_gradient(Machine.of(model, X, **READ), LENGTH - 1), weight, atol=1e-14)
    given = Machine.of(Reader("gru").double(), X, **READ)
    states, rest = given.clean.states[:, 2].detach(), given.clean.inputs[:, 3:]
    for number, shift in enumerate(1e-5 * torch.eye(3).double()):
        with torch.no_grad():
            runs = (given.dynamics.advance(states + sign * shift, rest) for sign in (1, -1))
            up, down = (expected(given.readout.read(run)).mean() for run in runs)
        assert mean_gradient(given, 2)[number] == pytest.approx(float(up - down) / 2e-5, abs=1e-9)


def test_wrong_variables_have_their_own_targets(rotated: Machine):
    """A part of the concept moves the answer by its difference; a relabelling stands in its place."""
    base, source = torch.tensor([0b1000000000, 0]), torch.tensor([0, 0b1010000000])
    first = alignment_controls.WrongVariable(COUNT, values=X[:, 0, 0])
    assert (first.target(base, source, 1).tolist(), first.so_far(source, 1).tolist()) == ([0.0, 1.0], [0.0, 1.0])
    other = alignment_controls.relabelled(rotated, TASK, 1, seed=3)
    values = other.so_far(torch.arange(len(COUNT)), 1)
    assert torch.equal(other.target(base, source, 1), values[source] + COUNT[base, -1] - COUNT[base, 1])
    assert torch.equal(values.sort().values, COUNT[:, 1].double().sort().values)
    assert not torch.equal(values, COUNT[:, 1].double())
    groups = rotated.clean.prefixes[1].group
    assert all(len(set(values[groups == group].tolist())) == 1 for group in range(16))


class Bent(Reader):
    """A reader whose scores bend where its hidden states' sum is low, which they are at few clean states."""

    def forward(self, x: Tensor):
        """Return scores (batch, class)."""
        out = self.rnn(x)[0][:, -1]
        return self.head(torch.relu(out + 1))


def test_only_a_linear_output_is_taken_for_one():
    """A head is one, and a bend beyond all clean states is seen."""
    assert LinearOutput.of(Machine.of(Reader("lstm"), X, **READ)) is not None
    bent = Machine.of(Bent("lstm"), X, **READ)
    assert float(bent.clean.states[:, -1, 3:].min()) > -1
    assert LinearOutput.of(bent) is None
