"""Gate algebra sums to the state that was recorded; noise is scaled by each number's own sd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_machines import WINS, Reader, Tally, machine_of
from torch import nn

import probe
from probe import ProbeError
from probe.methods.decomposition.algebra import kept_to_the_end, recorded_contributions
from probe.methods.decomposition.noise import noisy_accuracy


def drawn(*shape: int) -> torch.Tensor:
    """Return drawn numbers, float64."""
    return torch.as_tensor(np.random.default_rng(0).normal(size=shape))


def recorded(layer: nn.Module, *state: torch.Tensor) -> probe.Recording:
    """Return a recording of drawn inputs, every signal kept."""
    given = () if not state else (state if len(state) == 2 else state[0],)
    return probe.record(layer.double(), drawn(4, 7, 2), *given, signals=probe.Signal)


@pytest.mark.parametrize("step", [None, 3, 0])
def test_an_lstms_cell_is_the_sum_of_what_was_written(step: int | None) -> None:
    """Initial state and steps sum to c at any step to 1e-10; each part is i g times the later forget gates."""
    recording = recorded(nn.LSTM(2, 3, batch_first=True), drawn(1, 4, 3), drawn(1, 4, 3) + 1)
    parts = recorded_contributions(recording, step=step)
    last = 6 if step is None else step
    assert parts.shape == (4, last + 2, 3)
    assert torch.allclose(parts.sum(1), recording["cell_state"][:, last], atol=1e-10, rtol=0)
    i, f, g = (recording[gate] for gate in ("input_gate", "forget_gate", "cell_candidate"))
    wanted = i[:, 0] * g[:, 0] * f[:, 1 : last + 1].prod(1)
    assert torch.allclose(parts[:, 1], wanted, atol=1e-12, rtol=0)
    assert float(parts[:, 0].abs().max()) > 1e-4


def test_a_grus_hidden_state_is_such_a_sum_and_a_reverse_layer_is_read_from_the_end() -> None:
    """Both directions of a GRU end in their own last state."""
    recording = recorded(nn.GRU(2, 3, batch_first=True, bidirectional=True))
    for layer, last in (("[0]", -1), ("[0].reverse", 0)):
        parts = recorded_contributions(recording, layer=layer)
        assert torch.allclose(parts.sum(1), recording[layer, "hidden_state"][:, last], atol=1e-10, rtol=0)
    middle = recorded_contributions(recording, layer="[0].reverse", step=4)
    assert torch.allclose(middle.sum(1), recording["[0].reverse", "hidden_state"][:, 4], atol=1e-10, rtol=0)


def test_rows_that_end_have_no_state_after_their_end() -> None:
    """A packed batch is read up to a step that every row has; beyond it the error says so."""
    packed = nn.utils.rnn.pack_padded_sequence(drawn(2, 5, 2), torch.tensor([5, 3]), batch_first=True)
    recording = probe.record(nn.LSTM(2, 3, batch_first=True).double(), packed)
    parts = recorded_contributions(recording, step=2)
    assert torch.allclose(parts.sum(1), recording["cell_state"][:, 2], atol=1e-10, rtol=0)
    with pytest.raises(ProbeError, match="have 3 to 5 steps"):
        recorded_contributions(recording)


def test_what_has_no_algebra_is_refused() -> None:
    """A plain RNN, two layers, missing steps: each is said."""
    with pytest.raises(ProbeError, match="A plain RNN has none"):
        recorded_contributions(recorded(nn.RNN(2, 3, batch_first=True)))
    stack = recorded(nn.LSTM(2, 3, num_layers=2, batch_first=True))
    with pytest.raises(ProbeError, match=r"'\[0\]' \(1 calls\), '\[1\]' \(1 calls\)"):
        recorded_contributions(stack)
    with pytest.raises(ProbeError, match="the steps"):
        recorded_contributions(probe.record(nn.LSTM(2, 3, batch_first=True).double(), drawn(4, 7, 2), steps=[1]))
    with pytest.raises(ProbeError, match="no gate algebra"):
        kept_to_the_end(machine_of(Reader("rnn")))


def test_what_is_kept_is_the_product_of_the_later_gates() -> None:
    """The tally's unit keeps all; a random GRU keeps the product of its update gates, and all of its last step."""
    assert kept_to_the_end(machine_of(Tally())).flatten().tolist() == [1.0] * 160
    machine = machine_of(Reader("gru"))
    z, kept = machine.clean.recorded(probe.Signal.UPDATE_GATE), kept_to_the_end(machine)
    assert torch.equal(kept[:, -1], torch.ones_like(kept[:, -1]))
    assert torch.allclose(kept[:, 1], z[:, 2] * z[:, 3] * z[:, 4], atol=1e-14, rtol=0)


def test_noise_is_scaled_by_each_numbers_own_sd() -> None:
    """The tally's accuracy under noise is that of its formulas, c + sd e, drawn here by other numbers, to .02."""
    dose, draws, generator = 0.3, 2000, np.random.default_rng(5)
    count = WINS.numpy()
    c = np.repeat(0.1 * count[None, :, 0], draws, 0)
    h = c
    for step in range(5):
        c = c + 0.1 * (count[:, step] - count[:, max(step - 1, 0)])
        h = np.tanh(c) + dose * np.tanh(0.1 * count[:, step]).std() * generator.standard_normal(c.shape)
        c = c + dose * (0.1 * count[:, step]).std() * generator.standard_normal(c.shape)
    levels = np.tanh(0.1 * np.arange(6))
    wanted = (np.abs(h[..., None] - levels).argmin(-1) == count[:, -1]).mean()
    found = noisy_accuracy(machine_of(Tally(idle=2)), WINS[:, -1], {dose: 120})[dose]
    assert found == pytest.approx(wanted, abs=0.02)
    assert 0.5 < found < 0.9


def test_without_noise_answers_are_the_models_own_and_doses_share_one_noise() -> None:
    """Dose 0 is the accuracy of the clean run; another seed gives another number, the same seed the same."""
    machine = machine_of(Tally())
    first = noisy_accuracy(machine, WINS[:, -1], {0.0: 5, 0.3: 20}, seed=1)
    assert first[0.0] == 1
    assert noisy_accuracy(machine, WINS[:, -1], {0.3: 20}, seed=1)[0.3] == first[0.3]
    assert noisy_accuracy(machine, WINS[:, -1], {0.3: 20}, seed=2)[0.3] != first[0.3]
    assert noisy_accuracy(machine, WINS[:, -1] + 1, {0.0: 2})[0.0] == 0


@pytest.mark.parametrize("doses", [[], [-0.1], [math.nan], [math.inf]])
def test_a_dose_that_is_none_is_refused(doses: list[float]) -> None:
    """Doses are finite and not negative, and there is one."""
    with pytest.raises(ProbeError, match="doses must be 0 or more"):
        noisy_accuracy(machine_of(Tally()), WINS[:, -1], dict.fromkeys(doses, 1))
    with pytest.raises(ProbeError, match="draws at least 1"):
        noisy_accuracy(machine_of(Tally()), WINS[:, -1], {0.1: 0})
