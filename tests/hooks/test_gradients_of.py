"""`gradient_of=`: the derivative of a scalar of the output by every signal is that of a loop by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
from comparing import distance, flat, same
from drawn import packed
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal

INPUTS, UNITS, BATCH, TIME = 3, 4, 3, 5
LENGTHS = (2, 5, 4)
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


def made(kind: str) -> nn.RNNBase:
    """Return a module of two layers in both directions."""
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True, "dtype": torch.float64}
    if kind == "projected":
        return nn.LSTM(INPUTS, UNITS, proj_size=2, **options)
    if kind in ("tanh", "relu"):
        return nn.RNN(INPUTS, UNITS, nonlinearity=kind, **options)
    return {"LSTM": nn.LSTM, "GRU": nn.GRU}[kind](INPUTS, UNITS, **options)


def weighed(output: Any) -> Tensor:
    """Return a scalar in which every number of an output counts differently."""
    parts = [part for part in flat(output) if part.is_floating_point()]
    generator = torch.Generator().manual_seed(4)
    weights = [torch.randn(part.shape, dtype=part.dtype, generator=generator) for part in parts]
    return torch.stack([(part.sin() * weight).sum() for part, weight in zip(parts, weights, strict=True)]).sum()


def by_hand(
    module: nn.RNNBase, x: Tensor, lengths: tuple[int, ...] | None, edit: reference.Edit | None = None
) -> dict[tuple[str, str], Tensor]:
    """Return the derivative of the scalar by every signal of the oracle's loop, (batch, time, unit)."""
    added: dict[tuple[str, str], list[Tensor]] = {}

    def see(layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        value = value if edit is None else edit(layer, signal, step, value)
        here = added.setdefault((layer, signal), [torch.zeros(0)] * TIME)
        here[step] = torch.zeros_like(value, requires_grad=True)
        return value + here[step]

    run = reference.run(module, x, None, lengths, see)
    scalar = weighed((packed(module, run.output, lengths), run.final))
    found = torch.autograd.grad(scalar, [zero for zeros in added.values() for zero in zeros])
    return {
        place: torch.stack(found[number * TIME : (number + 1) * TIME], dim=1) for number, place in enumerate(added)
    }


@pytest.mark.parametrize(("lengths", "with_edit"), [(None, False), (LENGTHS, True)])
@pytest.mark.parametrize("kind", ["LSTM", "projected", "GRU", "tanh", "relu"])
def test_every_signals_gradient_is_that_of_a_loop_by_hand(
    kind: str, lengths: tuple[int, ...] | None, with_edit: bool
) -> None:
    """To 1e-6 (and far below) at every step, unit and row, of every layer; NaN at padding; also of an edited run."""
    module, x = made(kind), torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)
    edits = [probe.clamp("hidden_state", 0.25, layer="[0].reverse", steps=1, rows=[1, 2])] if with_edit else []

    def edit(layer: str, signal: str, step: int, value: Tensor) -> Tensor:
        if not with_edit or (layer, signal, step) != ("[0].reverse", "hidden_state", 1):
            return value
        return torch.where(torch.tensor([[False], [True], [True]]), 0.25, value)

    recording = probe.record(module, packed(module, x, lengths), edits=edits, signals=Signal, gradient_of=weighed)
    expected = by_hand(module, x, lengths, edit)
    assert {(part.layer, str(name)) for part in recording.parts for name in part.gradients} == set(expected)
    ended = ~reference.valid_steps(x.transpose(0, 1), lengths)
    for place, value in expected.items():
        assert distance(recording.gradient[place], value.masked_fill(ended.unsqueeze(2), torch.nan)) < 1e-12
    if with_edit:
        # What was put in is a constant: what led to it has no say at that step.
        last = {"LSTM": "output_gate", "projected": "output_gate", "GRU": "candidate"}
        gate = recording.gradient["[0].reverse", last.get(kind, "hidden_state_preactivation")]
        assert bool((gate[1:, 1] == 0).all())
        assert bool((gate[0, 1] != 0).any()) or kind == "relu"
        other = by_hand(module, x, lengths)["[0].reverse", "hidden_state"]
        assert distance(expected["[0].reverse", "hidden_state"], other) > 1e-6


def test_it_is_the_total_derivative() -> None:
    """Through everything that a value led to: a state's gradient is what a nudge of it changes at the end."""
    module, x = made("LSTM"), torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)
    gradient = probe.record(module, x, gradient_of=weighed).gradient["[0]", "cell_state"]
    nudge = 1e-6
    for step, unit in ((0, 1), (3, 2)):
        outputs = []
        for sign in (-1, 1):
            edit = probe.steer("cell_state", [sign * nudge], layer="[0]", steps=step, units=[unit], rows=[1])
            outputs.append(weighed(probe.record(module, x, edits=[edit]).output))
        assert abs((outputs[1] - outputs[0]).item() / (2 * nudge) - gradient[1, step, unit].item()) < 1e-8
        assert abs(gradient[1, step, unit].item()) > 1e-4


def test_gradients_run_through_loops_of_cells() -> None:
    """Of a cell in a loop they are the fused module's; of an encoder they come through the states handed over."""

    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.GRU(INPUTS, UNITS, dtype=torch.float64)
            self.cell = nn.GRUCell(INPUTS, UNITS, dtype=torch.float64)

        def forward(self, x: Tensor) -> Tensor:
            h, outputs = self.encoder(x)[1][0], []
            for step in x:
                h = self.cell(step, h)
                outputs.append(h)
            return torch.stack(outputs)

    class Fused(nn.Module):
        def __init__(self, loop: Loop) -> None:
            super().__init__()
            self.encoder, self.cell = loop.encoder, nn.GRU(INPUTS, UNITS, dtype=torch.float64)
            with torch.no_grad():
                for name, value in loop.cell.named_parameters():
                    _ = self.cell.get_parameter(f"{name}_l0").copy_(value)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x, self.encoder(x)[1])[0]

    loop, x = Loop(), torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)
    fused = Fused(loop)
    for make in (list, lambda name: [probe.clamp("update_gate", 0.5, layer=name, steps=[2])]):
        one = probe.record(loop, x, edits=make("cell") if make is not list else [], gradient_of=weighed)
        two = probe.record(fused, x, edits=make("cell[0]") if make is not list else [], gradient_of=weighed)
        for signal in ("update_gate", "candidate", "hidden_state"):
            assert distance(one.gradient["cell", signal], two.gradient["cell[0]", signal]) < 1e-12
            assert distance(one.gradient["encoder[0]", signal], two.gradient["encoder[0]", signal]) < 1e-12
    assert one.gradient["encoder[0]", "hidden_state"].abs().max() > 1e-3
    # A state that an edit made zero is known as the cell's own, and starts no sequence.
    zero = probe.ablate("hidden_state", layer="cell", steps=1)
    assert probe.record(loop, x, edits=[zero], gradient_of=weighed).calls["cell"] == 1


def test_a_gradient_inside_a_context_is_that_of_the_edited_run(lstm: nn.LSTM, x: Tensor) -> None:
    """Edits of a context around it and its own give the same derivative, and the output stays the edited one."""
    module, x = lstm.double(), x.double()
    edit = probe.clamp("forget_gate", 0.5, steps=3)
    inside = probe.record(module, x, edits=[edit], gradient_of=weighed)
    with probe.intervene(module, edit), torch.no_grad():
        around = probe.record(module, x, gradient_of=weighed)
        again = module(x)
    for signal in ("cell_state", "forget_gate"):
        assert torch.equal(around.gradient[signal], inside.gradient[signal])
    assert same(around.output, again)
    bare = probe.record(module, x, gradient_of=weighed)
    assert distance(inside.gradient["cell_state"], bare.gradient["cell_state"]) > 1e-3


def test_the_model_keeps_no_trace_of_it(tagger: Any, x: Tensor) -> None:
    """No gradient is added to parameters, frozen or not, the grad mode stays, and what is returned is on no graph."""
    tagger.lstm.requires_grad_(False)
    for context in (torch.no_grad, torch.enable_grad):
        with context():
            recording = probe.record(tagger, x, gradient_of=lambda scores: scores[:, 0].sum())
            assert torch.is_grad_enabled() is (context is torch.enable_grad)
    assert not recording.output.requires_grad
    assert not any(value.requires_grad for part in recording.parts for value in part.signals.values())
    assert not any(value.requires_grad for part in recording.parts for value in part.gradients.values())
    assert all(parameter.grad is None for parameter in tagger.parameters())
    assert recording.gradient["cell_state"].abs().max() > 0
    assert not recording.gradient["cell_state"][:, :, 0].isnan().any()


def test_what_the_scalar_does_not_see_is_zero(pair: Any, x: Tensor) -> None:
    """A value that leads nowhere has the derivative 0, and not none."""
    recording = probe.record(pair, x, gradient_of=lambda output: output[:, 2].sum())
    second = recording.call(1).gradient["high[0]", "hidden_state"]
    assert bool((second[:, 3:] == 0).all())
    assert bool((second[:, 2] == 1).all())
    assert recording.gradient["low[0]", "hidden_state"].abs().max() > 0


@pytest.mark.parametrize(
    "function", [lambda scores: scores, lambda scores: scores.detach().sum(), lambda scores: 1.0]
)
def test_what_is_no_scalar_of_the_output_is_refused(function: Callable[[Any], Any], tagger: Any, x: Tensor) -> None:
    """Several numbers, a number off the graph and a Python number raise with what came back; no hook stays."""
    with refused():
        _ = probe.record(tagger, x, gradient_of=function)
    assert not tagger.lstm._forward_hooks


def test_a_recording_without_gradients_says_so(tagger: Any, x: Tensor) -> None:
    """Asking for the gradient of a recording that was made without gradient_of= raises with what to do."""
    with refused():
        _ = probe.record(tagger, x).gradient


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_state_that_is_changed_in_place_afterwards_is_no_error(kind: Any) -> None:
    """Torch's module allows it for packed sequences; the run that is made again has the same derivatives."""

    class Model(nn.Module):
        def __init__(self, *, in_place: bool) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.rnn, self.in_place = kind(INPUTS, UNITS, bidirectional=True).double(), in_place

        def forward(self, x: Tensor) -> Tensor:
            given = packed(self.rnn, x, LENGTHS)
            _, final = self.rnn(given)
            h, _ = self.rnn(given, final)
            parts = [part.mul_(2) if self.in_place else 2 * part for part in flat(final)]
            return h.data.sin().sum() + torch.stack([part.cos().sum() for part in parts]).sum()

    x = torch.randn(TIME, BATCH, INPUTS, dtype=torch.float64)
    Model(in_place=True)(x).backward()
    one, two = (probe.record(Model(in_place=each), x, gradient_of=lambda output: output) for each in (True, False))
    for first, second in zip(one.parts, two.parts, strict=True):
        assert all(same(first.gradients[signal], second.gradients[signal]) for signal in second.gradients)
