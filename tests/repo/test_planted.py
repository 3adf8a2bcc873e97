"""Planted networks: right on every string, drifting as planned, and what interchange must find in them or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from refusing import refused

from analyses.counter import common, plain
from models import planted
from models.counter import Counter, answer, expected_answer
from models.planted.counting import rotated_direction
from models.tasks import bit_strings, running_count
from probe.evidence.measurements import Network
from probe.methods.causal.interchange import Scores, interchange
from probe.methods.causal.pairs import Put, all_pairs, along, columns
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.methods.probing.controls import signed_sums, variance_shares
from probe.questions.answers import other_lengths

X = bit_strings(10).double()
COUNTS = running_count(X)
BATTERY = planted.battery(torch.float64)
#: One held cell holds the count; the step after seven bits is science.md's headline.
HEADLINE = 6
DRIFTS = {
    "ones": 0.0,
    "ones-alone": 0.0,
    "drift-0.25": 0.25,
    "drift-0.5": 0.5,
    "drift-0.8": 0.8,
    "zeros": 1.0,
    "balance": 0.5,
    "rotated": 0.0,
    "geometric": 1.0,
    "decoy": 1.0,
    "illusion": 0.0,
    "rotated-flat": 0.0,
    "beside-clock": 0.5,
    "relay": 0.0,
    "leaky": 0.043,
}


@cache
def machine(name: str) -> Machine:
    """A planted network run from its states."""
    return Machine.of(BATTERY[name], X, answer=answer, expected=expected_answer)


def swapped(name: str, step: int, put: Put, concept: torch.Tensor = COUNTS) -> Scores:
    """What interchange gives at a step, over as many drawn pairs as decide it."""
    return interchange(all_pairs(machine(name), step, most=2**14), Task(concept.double()), put)


def direction(name: str, weights: Sequence[float]) -> Put:
    """What puts in the part along a direction of units, of the cell and of the hidden state alike.

    Along a single unit this is its pair (c_u, h_u).
    """
    units = machine(name).dynamics.units
    one = np.zeros(units)
    one[: len(weights)] = weights
    return along(np.stack([np.concatenate([one, 0 * one]), np.concatenate([0 * one, one])], axis=1))


def drift(model: Counter) -> float:
    """The drift by science.md's definition."""
    (subject,) = common.subjects([Network("n", "planted", model)])
    table = other_lengths.measure([replace(subject, x=subject.x.double())], most=2**14)
    return float(table[table["metric"] == "drift"]["value"].iloc[0])


def cells(name: str, step: int) -> np.ndarray:
    """Cell states after a step of the distinct prefixes."""
    every = 2 ** (9 - step)
    return machine(name).clean.states[::every, step, : machine(name).dynamics.units].detach().numpy()


def prefix_counts(step: int) -> np.ndarray:
    """The counts of the distinct prefixes."""
    return COUNTS[:: 2 ** (9 - step), step].numpy().astype(float)


def between_counts(name: str) -> float:
    """The share of the variance of h after ten bits that lies between counts."""
    hidden = machine(name).clean.states[:, -1, machine(name).dynamics.units :].detach().numpy()
    shares = variance_shares(np.zeros(1024), COUNTS[:, -1].numpy().astype(float), hidden, np.ones(1024))
    return shares.linear + shares.curved


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BATTERY)
def test_every_planted_network_is_right_on_every_string(name: str, dtype: torch.dtype) -> None:
    """All 1,024 answers are the counts; the smallest probability of a right answer is .9999 as the head is scaled."""
    model = planted.battery(dtype)[name]
    assert not model.training
    assert model.head.weight.dtype == dtype
    with torch.no_grad():
        scores = model(X.to(dtype))
    assert torch.equal(answer(scores), COUNTS[:, -1])
    # In the rotated one the idle units lie across the count, and tanh bends a little of them into y. In the leaky one
    # a count is a range of levels, and the neighbouring ranges nearly touch.
    assert float(torch.softmax(scores, 1).amax(1).min()) > {"rotated": 0.99, "leaky": 0.79}.get(name, 0.9999)


@pytest.mark.parametrize(("name", "wanted"), DRIFTS.items())
def test_the_drift_is_the_planted_one(name: str, wanted: float) -> None:
    """By the definition over 6 to 14 bits it comes back to .035."""
    assert drift(BATTERY[name]) == pytest.approx(wanted, abs=0.035)


@pytest.mark.parametrize("name", ["delay-line", "delay-line-alone"])
def test_the_delay_line_is_right_up_to_its_length_and_forgets_beyond(name: str) -> None:
    """No drift at 6 to 10 bits; at 11 and more it counts the last ten, so that the full definition reads 1/4."""
    model = BATTERY[name]
    for length in range(1, 11):
        x = bit_strings(length).double()
        with torch.no_grad():
            assert torch.equal(answer(model(x)), running_count(x)[:, -1])
    x = bit_strings(12).double()
    with torch.no_grad():
        assert torch.equal(answer(model(x)), running_count(x[:, 2:])[:, -1])
    assert drift(model) == pytest.approx(0.25, abs=0.001)


@pytest.mark.parametrize("name", ["ones", "drift-0.25", "zeros"])
def test_unit_0_is_the_count_at_every_step_whatever_the_drift(name: str) -> None:
    """The theorem on networks: per-step correlation and IIA of unit 0 are 1 for every d."""
    for step in range(10):
        r = np.corrcoef(cells(name, step)[:, 0], prefix_counts(step))[0, 1]
        assert r == pytest.approx(1, abs=1e-9)
        found = swapped(name, step, columns(machine(name).dynamics.unit(0)))
        assert found.iia == 1
        assert found.shift == pytest.approx(1, abs=2e-3)


def test_a_drift_of_0_is_the_ones_counter_and_of_1_the_zeros_counter() -> None:
    """The named ends of the family are its members, to the bit; what is no drift is refused."""
    for named, member in ((planted.ones_counter(), 0.0), (planted.zeros_counter(), 1.0)):
        weights = planted.drift_counter(member).state_dict()
        assert all(torch.equal(tensor, weights[key]) for key, tensor in named.state_dict().items())
    for wrong in (-0.1, 1.5):
        with refused():
            planted.drift_counter(wrong)


def test_idle_units_take_their_share_of_the_variance() -> None:
    """Alone, all variance is between counts; eleven distractors leave .82; a memory of ten bits has a tenth."""
    assert between_counts("ones-alone") == pytest.approx(1, abs=1e-9)
    assert between_counts("ones") == pytest.approx(0.817, abs=0.005)
    assert between_counts("rotated") == pytest.approx(0.77, abs=0.005)
    assert between_counts("delay-line-alone") == pytest.approx(0.1, abs=1e-6)


def test_the_balance_needs_both_of_its_units() -> None:
    """Along e0 - e1 every answer follows; one unit alone moves it half the way, right only by rounding."""
    mean = {}
    for unit in (0, 1):
        scores = [swapped("balance", step, columns(machine("balance").dynamics.unit(unit))) for step in range(10)]
        mean[unit] = np.mean([score.iia for score in scores])
        assert np.mean([score.shift for score in scores]) == pytest.approx(0.5, abs=0.01)
    assert mean[0] == pytest.approx(0.29, abs=0.01)
    assert mean[1] == pytest.approx(0.29, abs=0.01)
    for step in range(10):
        assert swapped("balance", step, direction("balance", [1, -1])).iia == 1


def test_the_rotated_count_lies_in_no_unit() -> None:
    """Along v the IIA is 1 at every step, along every single unit 0; cells stay where tanh is nearly a line."""
    v = rotated_direction().tolist()
    for step in range(10):
        assert swapped("rotated", step, direction("rotated", v)).iia == 1
    for unit in range(8):
        assert swapped("rotated", HEADLINE, columns(machine("rotated").dynamics.unit(unit))).iia == 0
    for step in range(10):
        held = cells("rotated", step)[:, :8]
        assert np.abs(held).max() < 0.21
        r = np.corrcoef(held @ v[:8], prefix_counts(step))[0, 1]
        assert r == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["geometric", "decoy"])
def test_the_curved_code_is_exact_and_no_line(name: str) -> None:
    """c_0 = .9 * .8^n0 after every step; monotone in the count, at r .97 to .99; swapping unit 0 moves the answer."""
    for step in range(10):
        zeros = step + 1 - prefix_counts(step)
        assert np.abs(cells(name, step)[:, 0] - 0.9 * 0.8**zeros).max() < 1e-8
        assert swapped(name, step, columns(machine(name).dynamics.unit(0))).iia == 1
    for step in range(2, 10):
        assert 0.965 < np.corrcoef(cells(name, step)[:, 0], prefix_counts(step))[0, 1] < 0.995


@pytest.mark.parametrize(("change", "by_a_line"), [(-3, 0.256), (1, 0.965)])
def test_a_class_mean_steers_the_curved_code_and_a_line_does_not(change: int, by_a_line: float) -> None:
    """Moved after seven bits to another count's class mean, every answer follows; by the mean slope many do not."""
    m, ones = machine("geometric"), COUNTS[:, HEADLINE]
    rows = torch.arange(1024)[(ones + change >= 0) & (ones + change <= 7)]
    states = m.clean.states[rows, HEADLINE].detach()
    slope = np.polyfit(prefix_counts(HEADLINE), cells("geometric", HEADLINE)[:, 0], 1)[0]
    for moved, share in ((states[:, 0] + slope * change, by_a_line), (states[:, 0] * 0.8**-change, 1)):
        patched = torch.cat([moved[:, None], states[:, 1:]], 1)
        right = (m.answers(patched, rows, HEADLINE).chosen == COUNTS[rows, -1] + change).double().mean()
        assert float(right) == pytest.approx(share, abs=0.001)


def test_the_decoy_is_found_by_every_probe_and_used_by_nothing() -> None:
    """Unit 11 is the count and takes all of a probe's weight; swapping it, or along the probe, does nothing."""
    assert torch.count_nonzero(BATTERY["decoy"].head.weight[:, 11]) == 0
    found = cells("decoy", HEADLINE)
    centred, counts = found - found.mean(0), prefix_counts(HEADLINE)
    assert np.corrcoef(found[:, 11], counts)[0, 1] == pytest.approx(1, abs=1e-12)
    weights = np.linalg.lstsq(centred, counts - counts.mean(), rcond=None)[0]
    assert weights[11] ** 2 / (weights @ weights) > 0.999
    for put in (
        columns(machine("decoy").dynamics.unit(11)),
        direction("decoy", (weights / np.linalg.norm(weights)).tolist()),
    ):
        scores = swapped("decoy", HEADLINE, put)
        assert scores.iia == 0
        assert scores.shift == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("weights", "wanted"), [([1], 1), ([0, 1], 0), ([0, 0, 1], 0), ([0, 1, 1], 1)])
def test_the_illusion_works_through_two_dead_parts(weights: list[int], wanted: int) -> None:
    """Unit 1 never moves and unit 2 is never read, yet between them the answer follows at every step."""
    norm = float(np.linalg.norm(weights))
    for step in range(10):
        assert swapped("illusion", step, direction("illusion", [one / norm for one in weights])).iia == wanted


def test_the_delay_line_remembers_all_and_counts_nothing() -> None:
    """Each unit, rescaled by the head, is one bit; states hold any signed sum as well as the count: selectivity 0."""
    hidden = machine("delay-line-alone").clean.states[:, -1, 10:].detach().numpy()
    rescaled = hidden * BATTERY["delay-line-alone"].head.weight[1].detach().numpy() / 20  # beta: 10 / (1 / 2)
    np.testing.assert_allclose(rescaled, X[:, :, 0].flip(1).numpy(), rtol=0, atol=1e-12)
    others = signed_sums(X, count=20, seed=0)[:, -1]
    wanted = np.column_stack([COUNTS[:, -1].numpy(), others])
    wanted = wanted - wanted.mean(0)
    centred = hidden - hidden.mean(0)
    left = wanted - centred @ np.linalg.lstsq(centred, wanted, rcond=None)[0]
    assert np.abs(left).max() < 1e-9


def shares(name: str) -> list[float]:
    """The unit's shares of a count, by the study's question."""
    table = plain.UNIT_SHARES.ask(common.subjects([Network("n", "planted", BATTERY[name])]))
    return table[table["metric"] == "unit_share"]["value"].tolist()


def test_no_cell_of_the_flat_count_carries_more_than_an_eighth() -> None:
    """Eight cells hold equal parts of the count, and nothing else; the idle units have no share."""
    assert shares("rotated-flat") == pytest.approx([1 / 8] * 8 + [0] * 4, abs=1e-9)
    for step in range(10):
        held = cells("rotated-flat", step)[:, :8]
        np.testing.assert_allclose(held, np.outer(prefix_counts(step), [0.02 / 8**0.5] * 8), rtol=0, atol=1e-12)
        assert swapped("rotated-flat", step, direction("rotated-flat", [8**-0.5] * 8)).iia == 1


def test_a_running_count_beside_a_clock_carries_the_whole_count() -> None:
    """Cell 0 holds the ones at every step, cell 1 the time; unit 0's share is 1, and yet the answer drifts."""
    assert shares("beside-clock") == pytest.approx([1] + [0] * 11, abs=1e-9)
    for step in range(10):
        np.testing.assert_allclose(cells("beside-clock", step)[:, 0], 0.02 * prefix_counts(step), rtol=0, atol=1e-12)
        np.testing.assert_allclose(cells("beside-clock", step)[:, 1], -0.01 * (step + 1), rtol=0, atol=1e-12)
        assert swapped("beside-clock", step, columns(machine("beside-clock").dynamics.unit(0))).iia == 1


def test_the_relay_raises_one_flag_a_count() -> None:
    """Cell k is 0 until the count is k + 1, and 1 from then on; at each count another unit carries the next one."""
    for step in range(10):
        flags = (prefix_counts(step)[:, None] > np.arange(10)).astype(float)
        np.testing.assert_allclose(cells("relay", step)[:, :10], flags, rtol=0, atol=1e-9)
    chances = [math.comb(6, count) / 64 for count in range(7)]
    assert shares("relay") == pytest.approx([*chances, *[0] * 5], abs=1e-4)


def test_the_leaky_cell_forgets_a_part_of_each_one() -> None:
    """It keeps .965 of itself at each step: early ones weigh less, and the unrounded count drifts by .083."""
    kept, above, below = 0.965, 0.0, 0.0
    for step in range(10):
        held = bit_strings(step + 1)[:, :, 0].double().numpy() @ (0.1 * kept ** np.arange(step, -1, -1))
        np.testing.assert_allclose(cells("leaky", step)[:, 0], held, rtol=0, atol=1e-9)
    average = float(np.mean(kept ** np.arange(10)))
    for length in range(6, 15):
        bits = bit_strings(length)[:, :, 0].double().numpy()
        bits = bits[(bits.sum(1) <= 10) & (bits.sum(1) >= length - 10)]
        excess = bits @ (kept ** np.arange(length - 1, -1, -1)) / average - bits.sum(1)
        above, below = above + excess.mean() * (10 - length), below + (10 - length) ** 2
    assert above / below == pytest.approx(0.083, abs=0.001)
    assert drift(BATTERY["leaky"]) == pytest.approx(0.043, abs=0.0005)
    assert shares("leaky") == pytest.approx([1] + [0] * 11, abs=1e-9)
