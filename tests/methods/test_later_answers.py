"""An answer at every step: a whole-state interchange gives the spliced input's own, through stacks and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from known_machines import READ, WINS, Reader, X
from refusing import refused
from torch import Tensor, nn

from probe import Readout
from probe.evidence.measurements import Network
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import Pairs, Put, all_pairs, along, whole
from probe.methods.causal.patched_states import later_states
from probe.methods.causal.task import Task
from probe.methods.fixed_points import visited_states
from probe.methods.readouts import Answers
from probe.recurrent.finding import find_layers
from probe.subjects.answers import answers_at_steps
from probe.subjects.concepts import NUMERIC, Known
from probe.subjects.ends import runs_of
from probe.subjects.networks.network_file import Opened
from probe.subjects.readouts import build_head
from probe.subjects.subject import Subject

KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
LENGTHS = np.array([9, 4, 7, 9, 1, 6, 8, 5, 9, 3, 9, 7])
TIME, INPUTS, UNITS = 9, 2, 5


class EveryStep(nn.Module):
    """Recurrent layers on top of each other with one number a step; it reads sequences of several lengths padded."""

    def __init__(self, kind: str, layers: int = 2):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            self.rnn: Any = KINDS[kind](INPUTS, UNITS, layers, batch_first=True).double()
            self.head = nn.Linear(UNITS, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        """Return a number a step, (sequence, step)."""
        return self.head(self.rnn(x)[0])[:, :, 0]


def sequences(lengths: Sequence[int] | np.ndarray) -> Tensor:
    """Return random inputs, 0 at padding."""
    x = torch.randn(len(lengths), TIME, INPUTS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x * (torch.arange(TIME) < torch.as_tensor(np.asarray(lengths))[:, None])[:, :, None]


def subject(
    model: EveryStep, lengths: np.ndarray = LENGTHS, x: Tensor | None = None, steps: Any = "every"
) -> Subject:
    """Return a model with the sum of its first input so far as what it should answer."""
    x = sequences(lengths) if x is None else x
    values = np.where(np.arange(TIME) < lengths[:, None], x[:, :, 0].cumsum(1).numpy(), np.nan)
    known, layers = Known("sum", NUMERIC, values), find_layers(model)
    readout = Readout("sum", weight=model.head.weight.detach(), bias=model.head.bias.detach(), steps=steps)
    head = build_head(readout, known, Opened(model, "model"), UNITS, len(x))
    network = Network("model", "trained", model)
    return Subject(network, x, lengths, {"sum": known}, layers, readout, layers[-1], head)


def later_answers(pairs: Pairs, put: Put, steps: Sequence[int] | None = None) -> Answers:
    """Return what the machine's readout makes of later states."""
    return later_states(pairs, put, steps).answers(pairs.machine.readout)


@pytest.mark.parametrize(("kind", "layers"), [("lstm", 1), ("gru", 2), ("rnn", 1), ("lstm", 2)])
def test_the_whole_state_gives_the_spliced_inputs_own_run_at_every_step(kind: str, layers: int) -> None:
    """All pairs, patched after each step that there is, through two layers and padded lengths: equal to 1e-9."""
    model = EveryStep(kind, layers)
    given = subject(model)
    machine = runs_of(given)
    for step in range(TIME):
        pairs = all_pairs(machine, step)
        long = int((step < LENGTHS).sum())
        assert (len(pairs), pairs.exhaustive) == (long**2, True)
        expected = later_answers(pairs, whole).expected
        assert expected.shape == (long**2, TIME - step)
        for row, (base, source) in enumerate(zip(pairs.base.tolist(), pairs.source.tolist(), strict=True)):
            length = int(LENGTHS[base])
            spliced = torch.cat([given.x[source, : step + 1], given.x[base, step + 1 : length]])
            wanted = model(spliced[None]).detach()[0, step:]
            assert torch.allclose(expected[row, : length - step], wanted, atol=1e-9, rtol=0)
            assert bool(expected[row, length - step :].isnan().all())


def test_padding_is_never_read() -> None:
    """Other numbers at the padding change no state, no answer and no visited state, to the bit."""
    model, x = EveryStep("lstm"), sequences(LENGTHS)
    padding = torch.as_tensor(np.arange(TIME) >= LENGTHS[:, None])
    other = x.masked_fill(padding[:, :, None], 7.0)
    one, two = (runs_of(subject(model, x=each)) for each in (x, other))
    for machine in (one, two):
        assert bool(machine.clean.states[padding].isnan().all())
        assert bool(machine.clean.inputs[padding].isnan().all())
        assert bool(machine.clean.states[~padding].isfinite().all())
        assert bool(visited_states(machine.clean, 10_000).isfinite().all())
    assert len(visited_states(one.clean, 10_000)) == LENGTHS.sum()
    assert torch.equal(one.clean.states[~padding], two.clean.states[~padding])
    put = along(np.ones(one.dynamics.size))
    found = [later_answers(all_pairs(machine, 2), put).expected for machine in (one, two)]
    assert torch.equal(found[0].nan_to_num(), found[1].nan_to_num())


def test_later_answers_that_do_not_exist_are_refused() -> None:
    """The message names what was given and what is allowed."""
    given, last = subject(EveryStep("gru")), Subject.of(Network("n", "trained", Reader("gru")), X, WINS, **READ)
    machine, rows = runs_of(given), torch.arange(2)
    first: Any = "first"
    cases: list[Any] = [
        lambda: Readout("sum", weight=np.ones((1, 2)), steps=first),
        # Only a head reads the hidden state after another step.
        lambda: Readout("sum", output=(READ["answer"], READ["expected"]), steps="every"),
        lambda: runs_of(last),
        lambda: answers_at_steps(last, rows.numpy()),
        # Later steps stand from the patch to the end of the longest sequence.
        *(lambda steps=steps: later_answers(all_pairs(machine, 3), whole, steps) for steps in ([2, 5], [9], [])),
        # Sequence 1 has four steps: it can neither be changed after step 5 nor lend its state.
        lambda: later_answers(Pairs(machine, 5, rows, 0 * rows), whole),
        lambda: later_answers(Pairs(machine, 5, 0 * rows, rows), whole),
        # A Task's right answer stands at the last step of all, which padded sequences do not have.
        lambda: interchange(all_pairs(machine, 2), Task(torch.zeros(len(LENGTHS), TIME)), whole),
    ]
    for ask in cases:
        with refused():
            _ = ask()
