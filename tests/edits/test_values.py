"""An edit as a value, and gradients through edited runs.

- What an edit is: a value that can be printed, compared, hashed and kept, whatever becomes of its source.
- Gradients through edited runs, against a loop written by hand.
"""

from __future__ import annotations

import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe import Signal

C = Signal.CELL_STATE


def test_an_edit_can_be_printed_compared_and_hashed(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Two edits are equal if they do the same: the place and the values both count."""
    source = probe.record(lstm, x)
    one, two = (probe.patch("cell_state", source, steps=3, units=[1]) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert len({one, two, probe.patch("cell_state", source, steps=4, units=[1])}) == 2
    assert one != probe.patch("cell_state", probe.record(lstm, other), steps=3, units=[1])
    assert one != probe.patch("hidden_state", source, steps=3, units=[1])
    assert repr(one).startswith("patch('cell_state', source=<")
    assert "units=(1,), steps=(3,)" in repr(one)
    assert one.content[:8] in repr(one)


def test_an_edit_is_a_value(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """Changing the source after the edit was made does not change the edit."""
    source = probe.record(lstm, other)
    edit = probe.patch(C, source, steps=3)
    values = source[C][:, 3].clone()
    _ = source[C].zero_()
    assert torch.equal(probe.record(lstm, x, edits=[edit])[C][:, 3], values)


def test_a_clamp_keeps_the_numbers_that_it_was_given(lstm: nn.LSTM, x: Tensor) -> None:
    """A Python number is not rounded to float32, and a tensor may change after the edit was made."""
    value = torch.full((5,), 0.1, dtype=torch.float64)
    edits = [probe.clamp(C, 0.1, steps=2), probe.clamp(C, value, steps=2)]
    _ = value.zero_()
    for edit in edits:
        assert bool((probe.record(lstm.double(), x.double(), edits=[edit])[C][:, 2] == 0.1).all())


def test_a_source_that_kept_some_steps_serves_those(lstm: nn.LSTM, x: Tensor, other: Tensor) -> None:
    """A source recorded at steps 2 and 5 gives these, by the input's own counting, and refuses others."""
    some, source = probe.record(lstm, other, steps=[5, 2]), probe.record(lstm, other)
    run = probe.record(lstm, x, edits=[probe.patch(C, some, steps=2)])
    assert torch.equal(run[C][:, 2], source[C][:, 2])
    with refused():
        _ = probe.patch(C, some)
    with refused():
        _ = probe.patch(C, some, steps=3)


def loop(lstm: nn.LSTM, x: Tensor, step: int, put: Tensor, rows: list[int]) -> tuple[Tensor, Tensor]:
    """Return h at every step and the last c of a run in which c of some rows is replaced at a step."""
    W, U, b, b_hidden = lstm._flat_weights
    assert W is not None
    assert U is not None
    assert b is not None
    assert b_hidden is not None
    h = x.new_zeros(len(x), lstm.hidden_size)
    c, outputs = h, []
    for t in range(x.shape[1]):
        a = x[:, t] @ W.T + b + h @ U.T + b_hidden
        i, f, g, o = a.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        if t == step:
            mask = torch.zeros(len(x), 1, dtype=torch.bool)
            mask[rows] = True
            c = torch.where(mask, put, c)
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs, 1), c


@pytest.mark.parametrize("source_rows", [[0, 1, 2], [0, 2, 1], [2, 0, 1]])
@pytest.mark.parametrize("step", [0, 2, 4])
def test_gradients_run_through_an_edit_also_where_it_puts_in_what_was_there(step: int, source_rows: list[int]):
    """What a patch puts in is a constant: no gradient passes it, not even in rows whose value did not change."""
    torch.manual_seed(0)
    lstm = nn.LSTM(2, 4, batch_first=True).double()
    x = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    source = probe.record(lstm, x.detach())
    weight = torch.randn(3, 5, 4, dtype=torch.float64)
    edit = probe.patch("cell_state", source, steps=step, source_rows=source_rows)
    with probe.intervene(lstm, edit):
        output, (_, c_last) = lstm(x)
    inputs = [x, *lstm.parameters()]
    found = torch.autograd.grad((output * weight).sum() + c_last.sum(), inputs)
    put = source["cell_state"][source_rows, step]
    h, c = loop(lstm, x, step, put, [0, 1, 2])
    expected = torch.autograd.grad((h * weight).sum() + c.sum(), inputs)
    assert torch.allclose(output, h, rtol=0, atol=1e-14)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


def test_a_row_that_no_edit_reaches_keeps_its_gradient():
    """Only the edited rows lose the gradient of what was overwritten."""
    torch.manual_seed(0)
    lstm = nn.LSTM(1, 3, batch_first=True).double()
    x = torch.randn(2, 4, 1, dtype=torch.float64, requires_grad=True)
    edits = [
        probe.patch(name, probe.record(lstm, x.detach()), steps=3, rows=[0])
        for name in ("cell_state", "hidden_state")
    ]
    with probe.intervene(lstm, *edits):
        output, _ = lstm(x)
    (gradient,) = torch.autograd.grad(output[:, -1].sum(), x)
    assert torch.equal(gradient[0], torch.zeros(4, 1, dtype=torch.float64))
    assert (gradient[1] != 0).all()


def test_calls_are_numbered_within_one_context():
    """`call=0` is the first call in the context, `call=1` that of the next batch."""
    torch.manual_seed(0)
    lstm, x = nn.LSTM(1, 3, batch_first=True), torch.randn(2, 4, 1)
    other = probe.record(lstm, torch.randn(2, 4, 1))
    plain, edited = [
        probe.record(lstm, x, edits=edits).output[0] for edits in ([], [probe.patch("cell_state", other, steps=1)])
    ]
    for call in (0, 1):
        with torch.no_grad(), probe.intervene(lstm, probe.patch("cell_state", other, steps=1, call=call)):
            found = [lstm(x)[0] for _ in range(3)]
        assert [torch.equal(one, edited) for one in found] == [number == call for number in range(3)]
        assert [torch.equal(one, plain) for one in found] == [number != call for number in range(3)]


def test_an_edit_that_never_happens_raises():
    """An edit of a call that the forward pass did not make changed nothing, and says so."""
    lstm, x = nn.LSTM(1, 3, batch_first=True), torch.randn(2, 4, 1)
    edit = probe.patch("cell_state", probe.record(lstm, x), call=7)
    with refused(), probe.intervene(lstm, edit):
        lstm(x)
    for call in (-1, True):
        with refused():
            probe.patch("cell_state", probe.record(lstm, x), call=call)


class Bypassing(nn.Module):
    """A model that runs its layer behind the hooks' back."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Call the layer's forward directly."""
        return self.lstm.forward(x)[0]


def test_a_layer_run_behind_the_hooks_is_noticed():
    """A layer called through `.forward()` cannot be edited; without the error the edit would be lost silently."""
    model, x = Bypassing(), torch.randn(2, 4, 1)
    edit = probe.patch("cell_state", probe.record(model.lstm, x), steps=1)
    with refused(), probe.intervene(model, edit):
        model(x)
