"""Recordings: what is refused and saved, how signals are named, and what is known before a run.

- What `probe.record` refuses, with which words, and that nothing of it stays in the model.
- What a saved recording promises: it comes back whole, or is refused; and its tables find each value again.
- What names and indices promise: exact names, no silent wrap, and messages that list what exists.
- What `probe.inspect` promises: the layers by name, with their sizes, before anything is run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe import Signal
from probe.command_line import main
from probe.errors import unknown
from probe.recurrent.signals import as_indices, as_signal, within
from probe.storage import tensor_files


def test_a_step_beyond_the_input_raises_when_the_layer_is_called(lstm: nn.LSTM, x: Tensor) -> None:
    """The message says how many steps there are, from the front and from the end."""
    with refused():
        _ = probe.record(lstm, x, steps=[7])
    with refused():
        _ = probe.record(lstm, x, steps=[-8])
    assert not lstm._forward_hooks


@pytest.mark.parametrize(
    "options",
    [
        {"layers": ["lstn[0]"]},
        {"signals": ["forget_gat"]},
        {"signals": "forget_gate"},
        {"signals": []},
        {"layers": "lstm[0]"},
        {"steps": [1, 1]},
        {"steps": []},
    ],
)
def test_a_wrong_name_raises_before_the_model_is_called(tagger: Any, x: Tensor, options: dict[str, Any]) -> None:
    """Baukit leaks a hook on a wrong name; here the model is never called and no hook stays."""
    with refused():
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
    with refused():
        _ = probe.record(lstm, x)
    assert (probe.record(lstm, x, tolerance=10.0).max_error or 0) > 1e-3


def test_a_false_last_cell_state_is_refused(lstm: nn.LSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """max_error compares c with the module's own c_n too, which hidden states alone do not vouch for."""
    original = lstm.forward

    def forward(*arguments: Any) -> Any:
        h, (h_n, c_n) = original(*arguments)
        return h, (h_n, c_n + 0.01)

    monkeypatch.setattr(lstm, "forward", forward)
    with refused():
        _ = probe.record(lstm, x)


def test_nan_is_refused(lstm: nn.LSTM, x: Tensor) -> None:
    """A NaN compares false with everything, and is refused all the same, at its step."""
    x[1, 2] = float("nan")
    with refused():
        _ = probe.record(lstm, x)


def test_what_holds_no_recurrent_layer_raises_by_name(x: Tensor) -> None:
    """A model without a recurrent layer is refused with what would be one."""
    with refused():
        _ = probe.record(nn.Linear(3, 5), x)


def test_what_is_no_input_of_a_layer_raises_by_name() -> None:
    """A module that hands its recurrent layer something else is refused before torch's own words."""

    class Odd(nn.LSTM):
        def forward(self, input: list[Tensor]) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().forward(input[0])[0]

    with refused():
        _ = probe.record(Odd(3, 5), [torch.zeros(4, 7, 3)])


def test_a_small_error_in_float64_is_refused(lstm: nn.LSTM, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dtype has its own tolerance: 1e-8 is rounding in float32 and a mistake in float64."""
    original = lstm.forward

    def forward(*arguments: Any) -> Any:
        h, state = original(*arguments)
        return h + 1e-8, state

    monkeypatch.setattr(lstm, "forward", forward)
    assert (probe.record(lstm, x).max_error or 1) < 1e-6
    with refused():
        _ = probe.record(lstm.double(), x.double())


def test_what_a_recording_does_not_hold_is_named(lstm: nn.LSTM, x: Tensor) -> None:
    """A signal that was not kept and an initial state that does not exist raise with what exists."""
    recording = probe.record(lstm, x)
    with refused():
        _ = recording["forget_gate_preactivation"]
    with refused():
        _ = recording.initial["input_gate"]  # pyright: ignore[reportArgumentType]


def test_a_model_that_called_no_layer_has_no_table(x: Tensor) -> None:
    """Both tables and every signal say that no layer was called, and which there are."""
    model = nn.Sequential(nn.Linear(3, 3))
    model.append(nn.LSTM(3, 5))
    model.forward = model[0].forward
    recording = probe.record(model, x)
    for ask in (recording.to_frame, recording.to_xarray, lambda: recording["cell_state"]):
        with refused():
            _ = ask()


def test_a_saved_recording_comes_back_whole(pair: nn.Module, x: Tensor, tmp_path: Any) -> None:
    """Signals, initial states, calls, steps, output and error survive the file."""
    recording = probe.record(pair, x, steps=[2, 5], signals=Signal)
    recording.save(tmp_path / "run.safetensors")
    back = probe.load_recording(tmp_path / "run.safetensors")
    assert (back.steps, back.not_called, back.max_error) == ((2, 5), ("idle[0]",), recording.max_error)
    assert back.calls == recording.calls
    assert torch.equal(back.output, recording.output)
    for one, two in zip(recording.parts, back.parts, strict=True):
        assert (one.layer, one.call) == (two.layer, two.call)
        assert list(one.signals) == list(two.signals)
        assert all(torch.equal(one.signals[signal], two.signals[signal]) for signal in one.signals)
        assert all(torch.equal(one.initial[signal], two.initial[signal]) for signal in one.initial)


class Nested(nn.Module):
    """Returns its hidden states inside a dict, a list and a tuple, beside plain values."""

    def __init__(self, extra: object) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, batch_first=True)
        self.extra = extra

    def forward(self, x: Tensor) -> dict[str, object]:
        """Return nested values."""
        h, state = self.lstm(x)
        return {"h": [h, None, 3], "state": state, "extra": self.extra}


def test_nested_outputs_are_saved(x: Tensor, tmp_path: Any) -> None:
    """Dicts, lists, tuples and plain values come back as the types they were."""
    recording = probe.record(Nested(("a", True)), x)
    recording.save(tmp_path / "run.safetensors")
    back = probe.load_recording(tmp_path / "run.safetensors").output
    assert torch.equal(back["h"][0], recording.output["h"][0])
    assert back["h"][1:] == [None, 3]
    assert back["extra"] == ("a", True)
    assert torch.equal(back["state"][1], recording.output["state"][1])


def test_an_output_that_cannot_be_saved_raises(x: Tensor, tmp_path: Any) -> None:
    """An object of the model's own is refused by its type's name, and no file is left."""
    with refused():
        probe.record(Nested({1}), x).save(tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_recording_is_refused(tmp_path: Any) -> None:
    """A missing file, rubbish, and tensors of something else each raise ProbeError."""
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    save_file({"a": torch.ones(1)}, tmp_path / "foreign")
    for name in ("missing", "rubbish", "foreign"):
        with refused():
            _ = probe.load_recording(tmp_path / name)


def test_xarray_has_a_node_a_layer(pair: nn.Module, x: Tensor) -> None:
    """Nodes are layers (and calls, where there are several), with named axes and the steps' indices."""
    tree: Any = probe.record(pair, x, steps=[2, 5]).to_xarray()
    assert set(tree.children) == {"low[0]", "high[0]"}
    assert set(tree["high[0]"].children) == {"0", "1"}
    low = tree["low[0]"]["cell_state"]
    assert low.dims == ("batch", "time", "unit")
    assert low["time"].values.tolist() == [2, 5]
    recorded = probe.record(pair, x)["low[0]", "cell_state"][:, 5].numpy()
    assert np.array_equal(low.sel(time=5).values, recorded)


def test_the_frame_has_a_row_a_value(pair: nn.Module, x: Tensor) -> None:
    """Each row finds its value again by layer, call, batch, step and unit."""
    recording = probe.record(pair, x, steps=[2, 5])
    frame = recording.to_frame()
    assert len(frame) == 3 * 4 * 2 * 5
    row = frame[
        (frame["layer"] == "high[0]")
        & (frame["call"] == 1)
        & (frame["batch"] == 3)
        & (frame["step"] == 5)
        & (frame["unit"] == 4)
    ]
    assert row["cell_state"].item() == recording.call(1)["cell_state"][3, 1, 4].item()


def test_keys_that_are_no_names_are_refused_before_writing(x: Tensor, tmp_path: Any) -> None:
    """JSON would turn the key 1 into "1", and what is read back would not be what was saved."""
    with refused():
        probe.record(Nested({1: 2}), x).save(tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"format": "rnn-probe recording 1"},
        {"parts": "abc"},
        {"parts": [3]},
        {"max_error": "small"},
        {"steps": ["a"]},
        {"output": None},
        {"output": {"list": [3]}},
        {"output": {"set": []}},
    ],
)
def test_a_changed_description_is_refused(
    x: Tensor, tmp_path: Any, capsys: pytest.CaptureFixture[str], change: Any
) -> None:
    """Reading raises with what is wrong, and the command line says it in one line and exits with 1."""
    path = tmp_path / "run.safetensors"
    probe.record(nn.LSTM(3, 5), x).save(path)
    found: Any = tensor_files.read(path)
    described = found.about["recording"] | change
    _ = path.write_bytes(tensor_files.as_bytes(found.tensors, {"recording": described}))
    with refused():
        _ = probe.load_recording(path)
    assert main.run(["show", str(path)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_a_member_and_its_value_are_the_same_name() -> None:
    """The member, its text, and nothing else."""
    assert as_signal("forget_gate") is Signal.FORGET_GATE
    assert as_signal(Signal.FORGET_GATE) is Signal.FORGET_GATE
    for wrong in ("FORGET_GATE", "forget gate", "f", ""):
        with refused():
            _ = as_signal(wrong)


def test_only_allowed_signals_are_found() -> None:
    """A signal that exists elsewhere is refused where it is not allowed."""
    with refused():
        _ = as_signal("forget_gate", [Signal.CELL_STATE])


def test_the_message_names_the_nearest() -> None:
    """Given, existing and nearest names are all said; without a near one nothing is guessed."""
    assert unknown("unit", "bat", ["cat", "dog"]) == (
        "There is no unit 'bat'; there is 'cat', 'dog'. Did you mean 'cat'?"
    )
    assert unknown("unit", "xyz", ["cat"]) == "There is no unit 'xyz'; there is 'cat'."
    assert unknown("unit", "xyz", []) == "There is no unit 'xyz'; there is none."


def test_one_index_and_several_become_a_tuple() -> None:
    """One number, a range, a list; None stays None."""
    assert as_indices("steps", None) is None
    assert as_indices("steps", 3) == (3,)
    assert as_indices("steps", range(3)) == (0, 1, 2)
    assert as_indices("steps", [2, 0]) == (2, 0)
    with refused():
        _ = as_indices("steps", [])
    with refused():
        _ = as_indices("steps", [1, 2, 1])


def test_indices_count_from_either_end_and_never_wrap() -> None:
    """-1 is the last; size and -size-1 lie outside; two names of one place are refused."""
    assert within("steps", None, 3, "it") == [0, 1, 2]
    assert within("steps", (-1, 0), 3, "it") == [2, 0]
    for wrong in (3, -4):
        with refused():
            _ = within("steps", (wrong,), 3, "it")
    with refused():
        _ = within("steps", (-1, 2), 3, "it")


def test_layers_are_listed_with_their_sizes(pair: nn.Module) -> None:
    """Names, inputs, units, signals and parameters as torch counts them; registration order."""
    described = probe.inspect(pair)
    assert described.model == "Pair"
    assert [layer.name for layer in described.layers] == ["low[0]", "high[0]", "idle[0]"]
    low, high, _ = described.layers
    assert (low.inputs, low.units, high.inputs, high.units) == (3, 5, 5, 5)
    assert low.cell == "LSTM"
    assert low.parameters == 4 * 5 * (3 + 5 + 2)
    assert low.signals == tuple(Signal)[:10]


def test_the_description_can_be_read() -> None:
    """Printed, it is one line a layer."""
    text = str(probe.inspect(nn.LSTM(3, 5)))
    assert text.splitlines()[0] == "LSTM"
    assert "[0]: LSTM, 3 inputs, 5 units, 200 parameters; signals input_gate_preactivation," in text
    assert repr(probe.inspect(nn.LSTM(3, 5))) == text


def test_the_model_is_not_called(tagger: nn.Module) -> None:
    """Inspecting reads weights only."""
    _ = probe.inspect(tagger)
    assert tagger.times_called == 0


def test_a_model_without_recurrent_layers_raises() -> None:
    """The message says what was looked for."""
    with refused():
        _ = probe.inspect(nn.Sequential(nn.Linear(2, 2)))
