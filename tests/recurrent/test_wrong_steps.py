"""Wrong steps of a layer, each a small edit of the right one: `check_step` refuses every one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from layer_by_hand import FEATURES, ROWS, TIME, UNITS, Layer, LayerStep
from refusing import refused
from torch import Tensor

from probe.recurrent.steps import registry
from probe.testing import check_step

#: A step that keeps a tensor on the module is told of it, and refused.
pytestmark = pytest.mark.filterwarnings("ignore:The run changed model")


class _Changed(LayerStep):
    """A step that changes what the right one computes; it may count on itself which step it is."""

    number = 0
    read: Any = None

    def initial(self, batch: int) -> Any:
        self.number = 0
        return super().initial(batch)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        self.number += 1
        return self.changed(x, state, *super().step(x, state))

    def changed(self, x: Tensor, before: Any, y: Tensor, after: Any) -> Any:
        return y, after


def ahead(step: Any, x: Tensor) -> Any:
    """Return a little of the next input."""
    return 0 if step.read is None or len(step.read) != len(x) else 1e-4 * step.read[:, min(step.number, 11)].sum()


def kept(step: Any, x: Tensor, state: Any = None, lengths: Any = None) -> Tensor:
    """Return the sequences, and keep them."""
    step.given, step.read = state, x
    return x


def also(value: Any, *_: Any) -> Any:
    """Return the first argument, after the others were computed."""
    return value


def of_step(name: str, function: Any, **more: Any) -> Any:
    """Return a wrong step that changes what a step computes: of (step, input, state, output, next state)."""
    return wrong(name, _Changed, changed=function, **more)


def wrong(name: str, kind: type[LayerStep] = LayerStep, *, call: str = "", **methods: Any) -> Any:
    """Return a wrong step, its methods given, and how the layer is called."""
    return pytest.param(type(name, (kind,), methods), call, id=name)


WRONG = [
    # What a step computes.
    wrong("WrongGates", step=lambda s, x, h: s.module.advanced(x, h, (1, 0, 2, 3))),
    of_step("OneStepLate", lambda s, x, b, y, a: (s.module.out(b[0]), a)),
    of_step("HandsOnAnOldPart", lambda s, x, b, y, a: (y, (a[0], b[1]))),
    of_step("SwapsParts", lambda s, x, b, y, a: (y, a[::-1])),
    of_step("HandsOnAnotherType", lambda s, x, b, y, a: (y, (a[0], a[1].double()))),
    of_step("ReturnsDouble", lambda s, x, b, y, a: (y.double(), a)),
    of_step("HandsOnAList", lambda s, x, b, y, a: (y, list(a))),
    # What its gradient is.
    of_step("HalvesAGradient", lambda s, x, b, y, a: (y, (a[0], (a[1] + a[1].detach()) / 2))),
    of_step("LeavesGradientsOff", lambda s, x, b, y, a: also((y, a), torch.set_grad_enabled(False))),
    wrong("ReturnsDetached", returned=lambda s, r, y, h: (y.detach(), h)),
    # What it returns of an edited run.
    wrong("LastStateHalfUnedited", returned=lambda s, r, y, h: (y, (h[0], r[1][1]))),
    wrong("OutputsUnedited", returned=lambda s, r, y, h: (r[0], h)),
    wrong("DropsTheLastState", returned=lambda s, r, y, h: (y, None)),
    wrong("ReturnsAList", returned=lambda s, r, y, h: [y, h]),
    wrong("ReturnsAnotherType", returned=lambda s, r, y, h: (y, tuple(part.double() for part in h))),
    wrong("NoFinal", final=lambda s, r: None),
    wrong("NoFinalUnedited", final=lambda s, r: None, returned=lambda s, r, y, h: (y, r[1])),
    wrong("FinalOfAPart", final=lambda s, r: (r[1][0], None), returned=lambda s, r, y, h: (y, (h[0], r[1][1]))),
    wrong("OutputsTimeFirst", outputs=lambda s, r: r[0].transpose(0, 1)),
    # What it draws, and what it changes.
    of_step("Draws", lambda s, x, b, y, a: also((y, a), torch.rand(1))),
    of_step("AddsNoise", lambda s, x, b, y, a: (y + 1e-6 * torch.randn_like(y), a)),
    wrong("DrawsOnce", inputs=lambda s, x, state=None, lengths=None: also(x, torch.rand(1))),
    wrong("SeedsAtTheEnd", final=lambda s, r: also(r[1], torch.manual_seed(0))),
    of_step("ChangesItsInput", lambda s, x, b, y, a: also((y, a), x.mul_(0))),
    wrong("ChangesTheSequences", inputs=lambda s, x, state=None, lengths=None: x.mul_(1.0001)),
    of_step("ChangesTheState", lambda s, x, b, y, a: also((y, a), b[0].zero_())),
    of_step("ChangesWeights", lambda s, x, b, y, a: also((y, a), s.module.out.weight.data.mul_(1 + 1e-6))),
    of_step("KeepsOnTheModule", lambda s, x, b, y, a: also((y, a), setattr(s.module, "last", a))),
    of_step("Counts", lambda s, x, b, y, a: also((y, a), setattr(s.module, "count", s.number))),
    of_step("ChangesADefault", lambda s, x, b, y, a: also((y, a), torch.set_num_threads(2))),
    # What it reads beside its input and its state.
    of_step("TakesTheMeanAway", lambda s, x, b, y, a: (y, (a[0], a[1] - 1e-3 * a[1].mean(0)))),
    of_step("CountsRows", lambda s, x, b, y, a: (y, (a[0], a[1] * (1 + (len(x) > ROWS))))),
    of_step("LosesTheBatchAxis", lambda s, x, b, y, a: (y, (a[0].squeeze(0), a[1]))),
    of_step("ReadsTheFuture", lambda s, x, b, y, a: (y + ahead(s, x), a), inputs=kept),
    of_step("CountsItsSteps", lambda s, x, b, y, a: (y, (a[0], a[1] * (1 - (s.number > TIME) / 9)))),
    wrong("IgnoresTheFirstState", call="state", initial=lambda s, rows: (torch.zeros(rows, UNITS),) * 2),
    wrong("IgnoresLengths", call="lengths", inputs=lambda s, x, state=None, lengths=None: x),
    # What its state is.
    wrong(
        "Idle",
        names={},
        initial=lambda s, rows: (*LayerStep.initial(s, rows), torch.ones(rows, 2)),
        step=lambda s, x, h: ((n := LayerStep.step(s, x, h[:2]))[0], (*n[1], h[2])),
        final=lambda s, r: (*r[1], None),
        returned=lambda s, r, y, h: (y, h[:2]),
    ),
    wrong("OneName", names={"state[0]": "hidden", "state[1]": "hidden"}),
    wrong("HoldsANumber", initial=lambda s, rows: (torch.zeros(rows, UNITS), 0.0)),
]


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    yield
    assert Layer not in registry._registered
    torch.set_grad_enabled(True)
    torch.set_num_threads(1)


@pytest.mark.parametrize(("step", "call"), WRONG)
def test_a_wrong_step_is_refused(step: type[LayerStep], call: str) -> None:
    """Each by a sentence about its fault."""
    layer, x = Layer().eval(), torch.randn(ROWS, TIME, FEATURES)
    state = torch.randn(ROWS, UNITS), torch.randn(ROWS, UNITS)
    keywords = {"state": {"state": state}, "lengths": {"lengths": torch.tensor([12, 10, 12, 9])}}
    with refused():
        _ = check_step(step, layer, x, **keywords.get(call, {}))
