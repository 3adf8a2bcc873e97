"""What `probe.sweep` promises: each edit's output is that of a run of its own, and what it cannot do it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import probe
from probe.hooks.sweeping import sweep as sweeping
from probe.recurrent import CustomGRU, CustomLSTM, CustomRNN, kernels
from probe.recurrent.again.blocks import Read
from probe.recurrent.again.fronts import Front
from probe.recurrent.rows.batches import map_tensors

BATCH, TIME, INPUTS, UNITS = 4, 7, 3, 5


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """Call modules as `probe.record` does, in double precision, where only rounding is left to differ."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        yield
    torch.set_default_dtype(before)


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, input)."""
    return torch.randn(BATCH, TIME, INPUTS)


class Around(nn.Module):
    """A recurrent module inside a model: `body(self, *inputs)` is its forward pass."""

    def __init__(self, body: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.times_called = 0
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Any) -> Any:
        """Run the body."""
        self.times_called += 1
        return self.body(self, *inputs)


def lstm(inputs: int = INPUTS, **options: Any) -> nn.LSTM:
    """Return an LSTM, batch first."""
    return nn.LSTM(inputs, UNITS, batch_first=True, **options)


def hidden(change: Callable[[Tensor], Any] = lambda h: h) -> Around:
    """Return a model of one LSTM whose hidden states are changed before they are returned."""
    return Around(lambda self, x: change(self.rnn(x)[0]), rnn=lstm())


def some(signal: str = "hidden_state", **options: Any) -> list[probe.Edit]:
    """Return edits at the first step, in the middle, at several steps, at all, and at the last one."""
    places: list[Any] = [0, 3, [2, 5], None, -1]
    return [probe.clamp(signal, 0.3 * n - 0.5, steps=steps, **options) for n, steps in enumerate(places)]


def untouched(model: nn.Module) -> bool:
    """Return whether nothing of a sweep is left on a model."""
    return not any("forward" in vars(m) or m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def agree(model: nn.Module, *inputs: Any, edits: list[probe.Edit], exact: float = 1e-12, **options: Any) -> Any:
    """Assert that a sweep gives what each edit gives in a run of its own, which differ; return it."""
    swept = probe.sweep(model, *inputs, edits=edits, **options)
    single = [probe.record(model, *inputs, edits=[edit], kwargs=options.get("kwargs")).output for edit in edits]
    differ: list[bool] = []

    def compare(many: Tensor, *ones: Tensor) -> None:
        expected = torch.stack(ones)
        assert many.shape == expected.shape
        assert many.dtype == expected.dtype
        assert torch.allclose(many.double(), expected.double(), rtol=0, atol=exact)
        # The control arm: in another order they would not agree.
        differ.append(len(ones) > 1 and not torch.allclose(many.double().flip(0), expected.double(), atol=1e-6))

    map_tensors(compare, swept, *single)
    assert any(differ) or len(edits) == 1
    assert untouched(model)
    return swept


@pytest.mark.parametrize(
    ("layers", "bidirectional", "batch_first"),
    [(1, False, False), (1, True, True), (2, False, True), (2, True, False)],
)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_every_layer_of_every_form(kind: Any, layers: int, bidirectional: bool, batch_first: bool, x: Tensor) -> None:
    """Edits of each layer and direction together give h and the last states of each edit alone, edits in front."""
    options = {"num_layers": layers, "bidirectional": bidirectional, "batch_first": batch_first}
    module = kind(INPUTS, UNITS, **options)
    edits = [e for name in probe.record(module, x).layers for e in some(layer=name)[1::2]]
    swept = agree(module, x if batch_first else x.transpose(0, 1), edits=edits)
    assert len(swept[0]) == len(edits)


@pytest.mark.parametrize(
    "signal", ["input_gate_preactivation", "forget_gate", "cell_state", "unprojected_hidden_state"]
)
def test_gates_pre_activations_and_projections(signal: str, x: Tensor) -> None:
    """Every signal of a projected stack can be swept, in the lower layer too."""
    module = lstm(num_layers=2, proj_size=2)
    agree(module, x, edits=[*some(signal, layer="[0]"), *some(signal, layer="[1]", units=[1, 4])])


def test_rows_and_source_rows(x: Tensor) -> None:
    """An edit of some rows, or of rows that take others' values, counts rows within the caller's batch."""
    module = lstm()
    source = probe.record(module, torch.randn(2, TIME, INPUTS))
    edits = [probe.patch("cell_state", source, steps=s, rows=[1, 3], source_rows=[1, 0]) for s in (0, 2, 6)]
    edits += [probe.clamp("hidden_state", 0.5, steps=2, rows=[row]) for row in range(BATCH)]
    edits += [probe.patch("cell_state", source, steps=4, source_rows=[0, 1, 1, 0])]
    edits += [probe.ablate("cell_state", kind="resample", reference=source, seed=3)]
    edits += [probe.edit("cell_state", lambda value, site: value * (1 + (site.steps or (0,))[0]), steps=[1, 4])]
    swept, _ = agree(module, x, edits=edits)
    assert torch.allclose(swept[0][[0, 2]], module(x)[0][[0, 2]], rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"peepholes": True, "learned_initial_state": True, "batch_first": True}])
@pytest.mark.parametrize("kind", [CustomLSTM, CustomGRU, CustomRNN])
def test_custom_modules(kind: Any, options: dict[str, Any], x: Tensor) -> None:
    """Modules of the library's own are swept like torch's, bare and time first too."""
    options = {k: v for k, v in options.items() if k != "peepholes" or kind is CustomLSTM}
    given = x if options else x.transpose(0, 1)
    agree(kind(INPUTS, UNITS, **options), given, edits=some())


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_initial_states_of_a_bare_module(batch: int, batch_first: bool) -> None:
    """States given to a bare module have the batch on axis 1; as keywords they are repeated as well."""
    x, state = torch.randn(TIME, batch, INPUTS), torch.randn(2, 1, batch, UNITS)
    module, x = nn.LSTM(INPUTS, UNITS, batch_first=batch_first), x.transpose(0, 1) if batch_first else x
    one = agree(module, x, tuple(state), edits=some())
    two = agree(module, x, edits=some(), kwargs={"hx": tuple(state)})
    assert torch.equal(one[0], two[0])


def residual(self: Any, x: Tensor, scale: Tensor) -> dict[str, Any]:
    """Use the input, and a second one, beside the LSTM."""
    h = self.rnn(self.before(x))[0]
    return {
        "h": h + self.before(x) * scale,
        "both": (h.mean(1), [h.argmax(-1), h > 0]),
        "name": "residual",
        "no": None,
    }


def twice(self: Any, x: Tensor) -> Tensor:
    """Call one layer again with the state of its first call."""
    h, state = self.rnn(x)
    return torch.cat([h, self.rnn(x.flip(1), state)[0]], 1)


def coded(self: Any, x: Tensor) -> Tensor:
    """Decode, step by step, from the state that an encoder reached."""
    _, state = self.encoder(x)
    step, outputs = x[:, :1], []
    for _ in range(3):
        h, state = self.decoder(step, state)
        step = self.head(h)
        outputs.append(step)
    return torch.cat(outputs, 1)


def loop(self: Any, x: Tensor) -> Tensor:
    """Call a cell in a loop, for two rows a row of the input."""
    state, outputs = None, []
    for step in torch.cat([x, -x], 1).reshape(-1, *x.shape[1:]).unbind(1):
        state = self.cell(step) if state is None else self.cell(step, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, 1).reshape(len(x), -1, UNITS)


def test_a_residual_path_a_second_input_and_nested_outputs(x: Tensor) -> None:
    """What goes around the LSTM is right for every edit, and dicts, tuples, ints and bools come back as they are."""
    model = Around(residual, before=nn.Linear(INPUTS, UNITS), rnn=lstm(UNITS, num_layers=2))
    scale = torch.randn(BATCH, 1, 1)
    swept = agree(model, x, scale, edits=[*some(layer="rnn[0]"), *some(layer="rnn[1]")])
    assert swept["name"] == "residual"
    assert swept["no"] is None


def test_a_second_layer_whose_input_an_edit_changed(x: Tensor) -> None:
    """Edits of two LSTMs in a row share a run: the second one reads what the first one's edits made."""
    model = Around(lambda self, x: self.b(self.a(x)[0])[0], a=lstm(), b=lstm(UNITS, bidirectional=True))
    mixed = zip(some(layer="a[0]"), some(layer="b[0]"), some(layer="b[0].reverse"), strict=True)
    agree(model, x, edits=[edit for three in mixed for edit in three])


def test_calls_of_one_layer(x: Tensor) -> None:
    """Edits of the first call, of the second and of both."""
    model = Around(twice, rnn=lstm())
    agree(model, x, edits=[edit for call in (0, 1, None) for edit in some(call=call)])


def test_an_encoder_and_a_decoder(x: Tensor) -> None:
    """The decoder reads its own outputs, so an edit reaches all that follows."""
    model = Around(coded, encoder=lstm(), decoder=lstm(), head=nn.Linear(UNITS, INPUTS))
    steps = [probe.clamp("cell_state", 0.7, layer="decoder[0]", steps=steps) for steps in (0, 1, [2], None)]
    agree(model, x, edits=[*some(layer="encoder[0]"), *steps])


@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_in_a_loop(kind: Any, x: Tensor) -> None:
    """A cell is edited at its steps, also where a row of the input is several rows of the cell."""
    model = Around(loop, cell=kind(INPUTS, UNITS))
    edits = [probe.clamp("hidden_state", 0.4, steps=steps) for steps in (0, [2, 3], 6, None)]
    agree(model, x, edits=[*edits, probe.clamp("hidden_state", 0.4, steps=2, rows=[7])])
    agree(model, x, edits=edits[:1])


def packing(self: Any, x: Tensor, lengths: Tensor) -> Any:
    """Pack the input, and pad the output again."""
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    h, state = self.rnn(packed)
    return pad_packed_sequence(h, batch_first=True)[0], state[0].transpose(0, 1)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_inside_the_model(bidirectional: bool, x: Tensor) -> None:
    """Rows of different lengths, in any order: a step counts from each row's own end."""
    model = Around(packing, rnn=lstm(num_layers=2, bidirectional=bidirectional))
    edits = [probe.clamp("cell_state", 0.6, layer="rnn[0]", steps=s) for s in (0, 1, -1, [-2, 0], None)]
    edits += [probe.clamp("cell_state", 0.6, layer="rnn[1]", steps=5, rows=[1])]
    agree(model, x, torch.tensor([3, 7, 4, 5]), edits=edits)


def test_little_memory_takes_turns(x: Tensor) -> None:
    """Memory for one edit takes a run an edit, and more memory fewer, with the same result."""
    model = hidden()
    whole = probe.sweep(model, x, edits=some())
    counts = [model.times_called]
    for memory in (1, 20_000):
        model.times_called = 0
        assert torch.allclose(probe.sweep(model, x, edits=some(), memory=memory), whole, rtol=0, atol=1e-12)
        counts.append(model.times_called)
    # The clean run and two comparisons come with each; rows are asked whether they depend on those of other edits.
    assert counts[:2] == [5, 8]
    assert counts[0] < counts[2] < counts[1]


def test_an_edit_that_changes_nothing_changes_no_bit(x: Tensor) -> None:
    """One edit with the run's own values gives the bare call's output, to the bit."""
    for dtype in (torch.float32, torch.float64):
        module, given = lstm(num_layers=2).to(dtype), x.to(dtype)
        edit = probe.patch("cell_state", probe.record(module, given), layer="[0]", steps=3)
        swept, (h, c) = probe.sweep(module, given, edits=[edit])
        bare, (h_n, c_n) = module(given)
        assert all(torch.equal(one[0], two) for one, two in ((swept, bare), (h, h_n), (c, c_n)))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_rows_that_take_turns_agree(kind: Any, monkeypatch: pytest.MonkeyPatch, x: Tensor) -> None:
    """Rows that are run a few at a time, the last turn smaller than the others, give what they give together."""
    monkeypatch.setattr(kernels, "_IN_CACHE", 7 * 8 * 3 * UNITS)
    agree(kind(INPUTS, UNITS, batch_first=True), x, edits=some())


def test_a_model_may_overwrite_what_a_layer_read_or_returned(x: Tensor) -> None:
    """The clean run is a copy: a model that works in place gets the same outputs, and the input stays."""

    def overwriting(self: Any, x: Tensor) -> Tensor:
        x.add_(1)
        h, (h_n, c_n) = self.rnn(x)
        result = torch.cat([h, h_n.transpose(0, 1), c_n.transpose(0, 1)], 1)
        for used in (x, h, h_n, c_n):
            used.zero_()
        return result

    model, kept = Around(overwriting, rnn=lstm()), x.clone()
    swept = probe.sweep(model, x, edits=some())
    assert torch.equal(x, kept)
    for number, edit in enumerate(some()):
        assert torch.allclose(swept[number], probe.record(model, x.clone(), edits=[edit]).output, rtol=0, atol=1e-12)


def test_a_hook_of_the_callers_acts_once(x: Tensor) -> None:
    """What a hook that was there first does to an output, it does to each edit's, as under `intervene`."""
    module = lstm()
    handle = module.register_forward_hook(lambda _m, _x, output: (output[0] * 2, output[1]))
    swept, _ = probe.sweep(module, x, edits=some())
    for number, edit in enumerate(some()):
        with probe.intervene(module, edit):
            assert torch.allclose(swept[number], module(x)[0], rtol=0, atol=1e-12)
    handle.remove()
    assert untouched(module)


def ending(self: Any, x: Tensor) -> Any:
    """Read the last step and the last states alone."""
    h, (h_n, c_n) = self.rnn(x)
    return self.head(h[:, -1]), h_n.transpose(0, 1), c_n.transpose(0, 1)


def spiking(self: Any, x: Tensor) -> Tensor:
    """Read every step by a comparison, which hides a NaN: a NaN is not above a threshold."""
    h = self.rnn(x)[0]
    return torch.cat([h[:, -1], (h > 0.35).double().sum(1)], -1)


def wary(self: Any, x: Tensor) -> Tensor:
    """Read the step before the last only where the last one holds a value that the clean run never has."""
    h = self.rnn(x)[0]
    return torch.where(h[:, -1].amax(-1, keepdim=True) > 0.9, h[:, -2], h[:, -1])


def picking(self: Any, x: Tensor) -> Tensor:
    """Read the last step of some rows, and a step in the middle of the others."""
    return self.rnn(x)[0][torch.arange(len(x)), torch.where(x[:, 0, 0] > 0, 3, 6)]


def choosing(self: Any, x: Tensor) -> Tensor:
    """Return a whole number, which holds no NaN whatever it was made of."""
    return (self.rnn(x)[0][:, -1] * 100).round().long()


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (choosing, Read()),
        (ending, Read(steps=False)),
        (spiking, Read(finals=False)),
        (wary, Read(steps=False, finals=False)),
        (picking, Read(finals=False)),
    ],
)
@pytest.mark.parametrize("layers", [1, 2])
def test_what_a_model_reads(
    body: Callable[..., Any], read: Read, layers: int, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody reads is not written; whatever else a model reads, it reads what a run of its own has."""
    found: list[Read] = []
    monkeypatch.setattr(sweeping, "_MANY", 5)
    asked = sweeping.read_of
    monkeypatch.setattr(sweeping, "read_of", lambda *given: found.append(asked(*given)) or found[-1])
    model = Around(body, rnn=lstm(num_layers=layers), head=nn.Linear(UNITS, 2))
    x[:, 0, 0] = torch.tensor([1.0, -1.0, 1.0, -1.0])
    edits = [
        probe.clamp("hidden_state", value, steps=step, layer="rnn[0]") for value in (0.2, 0.95) for step in (0, 3)
    ]
    top = f"rnn[{layers - 1}]"
    edits += [*some("cell_state", layer=top), probe.clamp("hidden_state", 0.95, layer=top)]
    agree(model, x, edits=edits)
    assert found == [read]


def test_no_edit_leaves_another_turns_numbers(x: Tensor) -> None:
    """What a caller's own hook keeps of an edit is not overwritten by the edits after it."""
    model, kept = Around(ending, rnn=lstm(), head=nn.Linear(UNITS, 2)), list[Tensor]()
    model.get_submodule("rnn").register_forward_hook(lambda _m, _x, output: kept.append(output[0]))
    probe.sweep(model, x, edits=some(), memory=1)
    ends = [h[:, -1].clone() for h in kept]
    probe.sweep(model, x, edits=some()[::-1], memory=1)
    assert all(torch.equal(h[:, -1], end) for h, end in zip(kept, ends, strict=False))
    assert len({float(end.sum()) for end in ends}) > 3


@torch.no_grad()
def test_a_row_that_stayed_and_ran_along_keeps_the_modules_own_numbers() -> None:
    """Where nearly all rows moved, all run; those that no edit moved are put back, whatever came out of them."""
    moved = torch.ones(40, dtype=torch.bool)
    moved[[3, 27]] = False
    clean, changed = torch.arange(20.0).view(20, 1), torch.full((40, 1), -1.0)
    front = Front.of({}, moved, moved, whole=False)
    found = front.choose(lambda: clean, changed.clone()).flatten()
    assert found[[3, 27]].tolist() == [3.0, 7.0]
    assert (found[moved] == -1).all()
    every = Front.of({}, torch.ones_like(moved), torch.ones_like(moved), whole=False)
    assert torch.equal(every.choose(lambda: clean, changed.clone()), changed)
