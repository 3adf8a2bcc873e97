"""What `probe.record` refuses, with which words, and that nothing of it stays in the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import probe
from probe import ProbeError


def test_a_step_beyond_the_input_raises_when_the_layer_is_called(lstm: nn.LSTM, x: Tensor) -> None:
    """The message says how many steps there are, from the front and from the end."""
    with pytest.raises(ProbeError, match=r"steps=7 lies outside the input of layer '\[0\]', which has 7"):
        _ = probe.record(lstm, x, steps=[7])
    with pytest.raises(ProbeError, match=r"steps=-8 lies outside the input"):
        _ = probe.record(lstm, x, steps=[-8])
    assert not lstm._forward_hooks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": ["lstn[0]"]}, r"no layer 'lstn\[0\]'; there is 'lstm\[0\]'\. Did you mean 'lstm\[0\]'"),
        ({"signals": ["forget_gat"]}, r"no signal 'forget_gat'.*Did you mean 'forget_gate'"),
        ({"signals": "forget_gate"}, r"must be several names: signals=\['forget_gate'\]"),
        ({"signals": []}, r"signals=\[\] names no signal; name at least one of"),
        ({"layers": "lstm[0]"}, r"layers='lstm\[0\]' must be several names: layers=\['lstm\[0\]'\]"),
        ({"steps": [1, 1]}, r"none of them twice"),
        ({"steps": []}, r"at least one index"),
    ],
)
def test_a_wrong_name_raises_before_the_model_is_called(
    tagger: Any, x: Tensor, options: dict[str, Any], message: str
) -> None:
    """Baukit leaks a hook on a wrong name; here the model is never called and no hook stays."""
    with pytest.raises(ProbeError, match=message):
        _ = probe.record(tagger, x, **options)
    assert tagger.times_called == 0
    assert not tagger.lstm._forward_hooks


def test_an_error_of_the_model_arrives_as_it_is(tagger: Any, x: Tensor) -> None:
    """Baukit hides the real error behind its own; here the caller sees it, and no hook stays."""
    tagger.head = nn.Linear(99, 3)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        _ = probe.record(tagger, x)
    assert not tagger.lstm._forward_hooks


def test_a_module_that_does_not_compute_its_weights_is_refused(
    lstm: nn.LSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replaced forward is noticed, and the message names the step where it departs."""
    original = lstm.forward

    def scaled_from_step_3(*arguments: Any) -> Any:
        h, state = original(*arguments)
        h = h.clone()
        h[:, 3] *= 1.5
        return h, state

    monkeypatch.setattr(lstm, "forward", scaled_from_step_3)
    with pytest.raises(ProbeError, match=r"Layer '\[0\]' does not compute .* at step 3 \(allowed: 1e-05\)"):
        _ = probe.record(lstm, x)
    assert (probe.record(lstm, x, tolerance=10.0).max_error or 0) > 1e-3


def test_a_false_last_cell_state_is_refused(lstm: nn.LSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """max_error compares c with the module's own c_n too, which hidden states alone do not vouch for."""
    original = lstm.forward

    def forward(*arguments: Any) -> Any:
        h, (h_n, c_n) = original(*arguments)
        return h, (h_n, c_n + 0.01)

    monkeypatch.setattr(lstm, "forward", forward)
    with pytest.raises(ProbeError, match=r"at step 6"):
        _ = probe.record(lstm, x)


def test_nan_is_refused(lstm: nn.LSTM, x: Tensor) -> None:
    """A NaN compares false with everything, and is refused all the same, at its step."""
    x[1, 2] = float("nan")
    with pytest.raises(ProbeError, match=r"at step 2.*NaN"):
        _ = probe.record(lstm, x)


def test_what_holds_no_recurrent_layer_raises_by_name(x: Tensor) -> None:
    """A model without a recurrent layer is refused with what would be one."""
    with pytest.raises(ProbeError, match=r"Linear contains no recurrent layer \(torch.nn.LSTM, GRU, RNN"):
        _ = probe.record(nn.Linear(3, 5), x)


def test_what_is_no_input_of_a_layer_raises_by_name() -> None:
    """A module that hands its recurrent layer something else is refused before torch's own words."""

    class Odd(nn.LSTM):
        def forward(self, input: list[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(input[0])[0]

    with pytest.raises(
        ProbeError, match=r"Layer '\[0\]' was called with a list; it reads a tensor or a PackedSequence"
    ):
        _ = probe.record(Odd(3, 5), [torch.zeros(4, 7, 3)])


def test_a_small_error_in_float64_is_refused(lstm: nn.LSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dtype has its own tolerance: 1e-8 is rounding in float32 and a mistake in float64."""
    original = lstm.forward

    def forward(*arguments: Any) -> Any:
        h, state = original(*arguments)
        return h + 1e-8, state

    monkeypatch.setattr(lstm, "forward", forward)
    assert (probe.record(lstm, x).max_error or 1) < 1e-6
    with pytest.raises(ProbeError, match=r"\(allowed: 1e-10\)"):
        _ = probe.record(lstm.double(), x.double())


def test_what_a_recording_does_not_hold_is_named(lstm: nn.LSTM, x: Tensor) -> None:
    """A signal that was not kept and an initial state that does not exist raise with what exists."""
    recording = probe.record(lstm, x)
    with pytest.raises(ProbeError, match=r"record it with signals=\['forget_gate_preactivation'\]"):
        _ = recording["forget_gate_preactivation"]
    with pytest.raises(ProbeError, match=r"no initial state 'input_gate'; there is 'hidden_state', 'cell_state'"):
        _ = recording.initial["input_gate"]  # pyright: ignore[reportArgumentType]


def test_a_model_that_called_no_layer_has_no_table(x: Tensor) -> None:
    """Both tables and every signal say that no layer was called, and which there are."""
    model = nn.Sequential(nn.Linear(3, 3))
    model.append(nn.LSTM(3, 5))
    model.forward = model[0].forward
    recording = probe.record(model, x)
    for ask in (recording.to_frame, recording.to_xarray, lambda: recording["cell_state"]):
        with pytest.raises(ProbeError, match=r"holds no layer: the model called none of '1\[0\]'"):
            _ = ask()
