"""Wrong steps of a layer, each a small edit of the right one: `check_step` refuses every one.

The layer is an LSTM with a readout, which returns its outputs and its last state, and can be given a first state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from probe import ProbeError, Step
from probe.recurrent.steps import registry
from probe.testing import check_step

#: A step that keeps a tensor on the module is told of it, and refused.
pytestmark = pytest.mark.filterwarnings("ignore:The run changed model")

ROWS, TIME, FEATURES, UNITS = 4, 12, 3, 5
State = tuple[Tensor, Tensor]


class Layer(nn.Module):
    """The right layer."""

    def __init__(self) -> None:
        super().__init__()
        self.enters, self.back = nn.Linear(FEATURES, 4 * UNITS), nn.Linear(UNITS, 4 * UNITS)
        self.out = nn.Linear(UNITS, UNITS)
        self.count = 0

    def advanced(self, x: Tensor, state: State, order: tuple[int, ...] = (0, 1, 2, 3)) -> State:
        """Return the next hidden and cell state."""
        gates = (self.enters(x) + self.back(state[0])).chunk(4, -1)
        i, f, g, o = (gates[place] for place in order)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def forward(self, x: Tensor, state: State | None = None, lengths: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs, (batch, time, unit), zero behind a row's end, and each row's last state."""
        state = (x.new_zeros(len(x), UNITS), x.new_zeros(len(x), UNITS)) if state is None else state
        outputs = []
        for t, now in enumerate(x.unbind(1)):
            after = self.advanced(now, state)
            going = torch.ones(len(x), 1, dtype=torch.bool) if lengths is None else (lengths > t)[:, None]
            state = torch.where(going, after[0], state[0]), torch.where(going, after[1], state[1])
            outputs.append(torch.where(going, self.out(after[0]), torch.zeros(())))
        return torch.stack(outputs, 1), state


class Right(Step):
    """Its step."""

    names: ClassVar = {"state[0]": "hidden", "state[1]": "cell"}
    given: State | None = None

    def inputs(self, x: Tensor, state: State | None = None, lengths: Tensor | None = None) -> Tensor:
        """Return the sequences."""
        if lengths is not None:
            raise ProbeError("Give sequences of one length.")
        self.given = state
        return x

    def initial(self, batch: int) -> State:
        """Return the first state, or zeros."""
        return (torch.zeros(batch, UNITS), torch.zeros(batch, UNITS)) if self.given is None else self.given

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the output and the next state."""
        h, c = self.module.advanced(x, state)
        return self.module.out(h), (h, c)

    def final(self, returned: Any) -> Any:
        """Return the last state."""
        return returned[1]

    def returned(self, returned: Any, outputs: Tensor, state: State) -> Any:
        """Return the outputs and the last state."""
        return outputs, state


class Changed(Right):
    """A step that changes what the right one computes; it may count on itself which step it is."""

    number = 0
    read: Any = None

    def initial(self, batch: int) -> State:
        """Return the first state."""
        self.number = 0
        return super().initial(batch)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        """Return the output and the next state."""
        self.number += 1
        return self.changed(x, state, *super().step(x, state))

    def changed(self, x: Tensor, before: State, y: Tensor, after: State) -> Any:
        """Return the output and the next state."""
        return y, after


class KeepsAPart(Right):
    """Keeps the cell state on itself."""

    names: ClassVar = {"state": "hidden"}
    kept: Any = None

    def initial(self, batch: int) -> Any:
        """Return the hidden state."""
        h, self.kept = super().initial(batch)
        return h

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the output and the next hidden state."""
        y, (h, self.kept) = super().step(x, (state, self.kept))
        return y, h

    def final(self, returned: Any) -> Any:
        """Return the hidden state."""
        return returned[1][0]

    def returned(self, returned: Any, outputs: Tensor, state: Any) -> Any:
        """Return the outputs and the last state."""
        return outputs, (state, self.kept)


def without_a_grad(step: Any, x: Tensor, state: State) -> Any:
    """Return the output and the next state, under no_grad."""
    with torch.no_grad():
        return Right.step(step, x, state)


def ahead(step: Any, x: Tensor) -> Any:
    """Return a little of the next input."""
    step.read = getattr(step, "read", None)
    return 0 if step.read is None or len(step.read) != len(x) else 1e-4 * step.read[:, min(step.number, 11)].sum()


def masked(step: Any, x: Tensor, state: State) -> Any:
    """Return an output that is zero where the last feature is, and a state that goes on there."""
    y, after = Right.step(step, x[:, :FEATURES], state)
    return y * x[:, FEATURES:], after


def going(step: Any, x: Tensor, state: Any = None, lengths: Any = None) -> Tensor:
    """Return sequences with a last feature that says which steps a row has."""
    return torch.cat([x, (torch.arange(x.shape[1]) < lengths[:, None]).to(x.dtype)[..., None]], -1)


def kept(step: Any, x: Tensor, state: Any = None, lengths: Any = None) -> Tensor:
    """Return the sequences, and keep them."""
    step.given, step.read = state, x
    return x


def also(value: Any, *_: Any) -> Any:
    """Return the first argument, after the others were computed."""
    return value


NOT_AS, GRADIENT, RETURNED, ALONE = "does not run layer", "gradient", "returned", "again|taken alone"


def of_step(name: str, message: str, function: Any, **more: Any) -> Any:
    """Return a wrong step that changes what a step computes: of (step, input, state, output, next state)."""
    return wrong(name, message, Changed, changed=function, **more)


def wrong(name: str, message: str, kind: type[Step] = Right, *, call: str = "", **methods: Any) -> Any:
    """Return a wrong step: its name, what is said about it, what its methods are, and how the layer is called."""
    return pytest.param(type(name, (kind,), methods), message, call, id=name)


WRONG = [
    # What a step computes.
    wrong(
        "WrongGates", NOT_AS, step=lambda s, x, h: (s.module.out((n := s.module.advanced(x, h, (1, 0, 2, 3)))[0]), n)
    ),
    wrong("NoBias", NOT_AS, step=lambda s, x, h: ((n := s.module.advanced(x, h))[0] @ s.module.out.weight.T, n)),
    of_step("OneStepLate", NOT_AS, lambda s, x, b, y, a: (s.module.out(b[0]), a)),
    of_step("HandsOnTheOldState", NOT_AS, lambda s, x, b, y, a: (y, b)),
    of_step("HandsOnAnOldPart", NOT_AS, lambda s, x, b, y, a: (y, (a[0], b[1]))),
    of_step("SwapsParts", NOT_AS, lambda s, x, b, y, a: (y, a[::-1])),
    of_step("HandsOnAnotherType", "float64", lambda s, x, b, y, a: (y, (a[0], a[1].double()))),
    of_step("ReturnsDouble", "float64", lambda s, x, b, y, a: (y.double(), a)),
    of_step("HandsOnAList", "another form", lambda s, x, b, y, a: (y, list(a))),
    # What its gradient is.
    of_step("DetachesTheState", GRADIENT, lambda s, x, b, y, a: (y, (a[0].detach(), a[1].detach()))),
    of_step("DetachesAPart", GRADIENT, lambda s, x, b, y, a: (y, (a[0], a[1].detach()))),
    of_step("DetachesTheOutput", GRADIENT, lambda s, x, b, y, a: (y.detach(), a)),
    of_step("HalvesAGradient", GRADIENT, lambda s, x, b, y, a: (y, (a[0], (a[1] + a[1].detach()) / 2))),
    of_step("LeavesGradientsOff", GRADIENT, lambda s, x, b, y, a: also((y, a), torch.set_grad_enabled(False))),
    wrong("NoGrad", GRADIENT, step=without_a_grad),
    wrong("ReturnsDetached", GRADIENT, returned=lambda s, r, y, h: (y.detach(), h)),
    # What it returns of an edited run.
    wrong("LastStateUnedited", RETURNED, returned=lambda s, r, y, h: (y, r[1])),
    wrong("LastStateSwapped", RETURNED, returned=lambda s, r, y, h: (y, h[::-1])),
    wrong("LastStateHalfUnedited", RETURNED, returned=lambda s, r, y, h: (y, (h[0], r[1][1]))),
    wrong("LastRowsFlipped", RETURNED, returned=lambda s, r, y, h: (y, tuple(part.flip(0) for part in h))),
    wrong("OutputRowsFlipped", RETURNED, returned=lambda s, r, y, h: (y.flip(0), h)),
    wrong("OutputStepsFlipped", RETURNED, returned=lambda s, r, y, h: (y.flip(1), h)),
    wrong("OutputsUnedited", RETURNED, returned=lambda s, r, y, h: (r[0], h)),
    wrong("NothingEdited", RETURNED, returned=lambda s, r, y, h: r),
    wrong("DropsTheLastState", RETURNED, returned=lambda s, r, y, h: (y, None)),
    wrong("ReturnsAList", RETURNED, returned=lambda s, r, y, h: [y, h]),
    wrong("ReturnsAnotherType", RETURNED, returned=lambda s, r, y, h: (y, tuple(part.double() for part in h))),
    wrong("NoFinal", "final", final=lambda s, r: None),
    wrong("NoFinalScaled", "final", final=lambda s, r: None, returned=lambda s, r, y, h: (y, (2 * h[0], 2 * h[1]))),
    wrong("NoFinalSwapped", "final", final=lambda s, r: None, returned=lambda s, r, y, h: (y, h[::-1])),
    wrong("NoFinalUnedited", RETURNED, final=lambda s, r: None, returned=lambda s, r, y, h: (y, r[1])),
    wrong(
        "FinalOfAPart", RETURNED, final=lambda s, r: (r[1][0], None), returned=lambda s, r, y, h: (y, (h[0], r[1][1]))
    ),
    wrong("FinalScaled", NOT_AS, final=lambda s, r: (r[1][0] / 2, r[1][1] / 2)),
    wrong("FinalSwapped", NOT_AS, final=lambda s, r: r[1][::-1]),
    wrong("OutputsTimeFirst", "must be", outputs=lambda s, r: r[0].transpose(0, 1)),
    # What it draws, and what it changes.
    of_step("Draws", "random", lambda s, x, b, y, a: also((y, a), torch.rand(1))),
    of_step("Seeds", "random", lambda s, x, b, y, a: also((y, a), torch.manual_seed(0))),
    of_step("AddsNoise", "random", lambda s, x, b, y, a: (y + 1e-6 * torch.randn_like(y), a)),
    wrong("DrawsOnce", "random", inputs=lambda s, x, state=None, lengths=None: also(x, torch.rand(1))),
    wrong("SeedsAtTheEnd", "random", final=lambda s, r: also(r[1], torch.manual_seed(0))),
    of_step("ChangesItsInput", "in place", lambda s, x, b, y, a: also((y, a), x.mul_(0))),
    wrong("ChangesTheSequences", "in place", inputs=lambda s, x, state=None, lengths=None: x.mul_(1.0001)),
    of_step("ChangesTheState", "in place", lambda s, x, b, y, a: also((y, a), b[0].zero_())),
    of_step("HandsOnTheSameTensor", "in place", lambda s, x, b, y, a: (y, (b[0].copy_(a[0]), b[1].copy_(a[1])))),
    of_step("ChangesWeights", "again", lambda s, x, b, y, a: also((y, a), s.module.out.weight.data.mul_(1 + 1e-6))),
    of_step("Freezes", "not as it was", lambda s, x, b, y, a: also((y, a), s.module.requires_grad_(False))),
    of_step("Trains", "not as it was", lambda s, x, b, y, a: also((y, a), s.module.train())),
    of_step("KeepsOnTheModule", "not as it was", lambda s, x, b, y, a: also((y, a), setattr(s.module, "last", a))),
    of_step("ChangesADefault", "not as it was", lambda s, x, b, y, a: also((y, a), torch.set_num_threads(2))),
    # What it reads beside its input and its state.
    of_step("TakesTheMeanAway", "mixes the rows", lambda s, x, b, y, a: (y, (a[0], a[1] - 1e-3 * a[1].mean(0)))),
    of_step("ReadsAnotherRow", ALONE, lambda s, x, b, y, a: (y + 1e-4 * (y.roll(1, 0) - y), a)),
    of_step("CountsRows", "mixes the rows", lambda s, x, b, y, a: (y, (a[0], a[1] * (1 + (len(x) > ROWS))))),
    of_step("LosesTheBatchAxis", r"as torch.float32 \(batch, \)", lambda s, x, b, y, a: (y, (a[0].squeeze(0), a[1]))),
    of_step("ReadsTheFuture", ALONE, lambda s, x, b, y, a: (y + ahead(s, x), a), inputs=kept),
    of_step("CountsItsSteps", ALONE, lambda s, x, b, y, a: (y, (a[0], a[1] * (1 - (s.number > TIME) / 9)))),
    wrong("KeepsAPart", ALONE, KeepsAPart),
    wrong("IgnoresTheFirstState", NOT_AS, call="state", initial=lambda s, rows: (torch.zeros(rows, UNITS),) * 2),
    wrong("BeginsElsewhere", NOT_AS, initial=lambda s, rows: (torch.zeros(rows, UNITS), torch.ones(rows, UNITS))),
    wrong("IgnoresLengths", NOT_AS, call="lengths", inputs=lambda s, x, state=None, lengths=None: x),
    wrong("MasksOutputsAlone", NOT_AS, call="lengths", inputs=going, step=masked),
    # What its state is.
    wrong(
        "Idle",
        "moves no later output",
        names={},
        initial=lambda s, rows: (*Right.initial(s, rows), torch.ones(rows, 2)),
        step=lambda s, x, h: ((n := Right.step(s, x, h[:2]))[0], (*n[1], h[2])),
        final=lambda s, r: (*r[1], None),
        returned=lambda s, r, y, h: (y, h[:2]),
    ),
    wrong("OneName", "one name to two parts", names={"state[0]": "hidden", "state[1]": "hidden"}),
    wrong("HoldsANumber", "a state is made of tensors", initial=lambda s, rows: (torch.zeros(rows, UNITS), 0.0)),
]


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    yield
    assert Layer not in registry._registered
    torch.set_grad_enabled(True)
    torch.set_num_threads(1)


def made(call: str) -> tuple[Layer, Tensor, dict[str, Any]]:
    """Return the layer, its input, and its keyword arguments."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer, x = Layer().eval(), torch.randn(ROWS, TIME, FEATURES)
    state, lengths = (torch.randn(ROWS, UNITS), torch.randn(ROWS, UNITS)), torch.tensor([12, 10, 12, 9])
    keywords: dict[str, Any] = {"state": state, "lengths": lengths}
    return layer, x, {name: value for name, value in keywords.items() if name == call}


@pytest.mark.parametrize("call", ["", "state"])
def test_the_right_step_passes(call: str) -> None:
    """From zeros, and from a state that is given."""
    layer, x, keywords = made(call)
    found = check_step(Right, layer, x, **keywords)
    assert found.states == {"hidden": (UNITS,), "cell": (UNITS,)}
    assert max(found.stepwise, found.spliced, found.gradient) < 1e-5


@pytest.mark.parametrize(("step", "message", "call"), WRONG)
def test_a_wrong_step_is_refused(step: type[Step], message: str, call: str) -> None:
    """Each by a sentence about its fault."""
    layer, x, keywords = made(call)
    with pytest.raises(ProbeError, match=message):
        _ = check_step(step, layer, x, **keywords)
