"""What later gates keep is their product; noise is scaled by each number's own sd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from known_machines import WINS, Reader, Tally, machine_of

import probe
from probe import ProbeError
from probe.methods.decomposition.gates import kept_to_the_end
from probe.methods.decomposition.noise import noisy_accuracy


def test_what_has_no_algebra_is_refused() -> None:
    """A plain RNN keeps nothing as it is."""
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
