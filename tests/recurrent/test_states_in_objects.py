"""States in dataclasses and other objects: followed by attributes, or the cell is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import torch
from cells_by_hand import FEATURES, UNITS, OwnLSTM
from refusing import refused
from torch import Tensor, nn

import probe
from probe.recurrent.finding import find_layers
from probe.recurrent.layers import LoopLayer
from probe.recurrent.signals import OUTPUT
from probe.recurrent.stepwise import stepwise

ROWS, TIME, AT = 4, 7, 2
ORDER = [1, 2, 3, 0]


@dataclass
class Plain:
    """A dataclass."""

    c: Tensor


@dataclass(frozen=True, slots=True)
class Frozen:
    """One whose attributes stand in slots, and cannot be set."""

    c: Tensor


@dataclass(kw_only=True)
class Named:
    """One that says more, and computes a part of itself."""

    c: Tensor
    name: str = "memory"
    half: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.half = self.c / 2


@attrs.define
class Attrs:
    """A class of attrs."""

    c: Tensor


@attrs.frozen
class FrozenAttrs:
    """One that cannot be set."""

    c: Tensor


class Slots:
    """An object with slots alone."""

    __slots__ = ("c",)

    def __init__(self, c: Tensor) -> None:
        self.c = c


class Private:
    """An object with a list, of which a property shows a part."""

    def __init__(self, c: Tensor) -> None:
        self._held = [c]

    @property
    def c(self) -> Tensor:
        """The state."""
        return self._held[0]


class Hidden:
    """An object that shows no attribute with a tensor."""

    def __init__(self, c: Tensor) -> None:
        self._get = lambda: c

    @property
    def c(self) -> Tensor:
        """The state."""
        return self._get()


class InNumpy(Hidden):
    """One that keeps an array."""

    def __init__(self, c: Tensor) -> None:
        self._array = c.detach().numpy()
        super().__init__(c)


class Keyed(dict[str, Tensor]):
    """A dict of a class of its own."""

    def __init__(self, c: Tensor) -> None:
        super().__init__(c=c)

    @property
    def c(self) -> Tensor:
        """The state."""
        return self["c"]


class Fixed:
    """One that cannot be copied."""

    def __init__(self, c: Tensor) -> None:
        self.c = c

    def __copy__(self) -> Fixed:
        return self


class Beside(OwnLSTM):
    """A cell that is called with h and an object with c: `h, s = cell(x, h, s)`."""

    def __init__(self, made: Callable[[Tensor], Any], after: Callable[[Any, Tensor], Any] | None = None) -> None:
        super().__init__()
        self.made, self.after = made, after or (lambda _, c: made(c))

    def forward(self, x: Tensor, h: Tensor, s: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return h and the next object."""
        h, c = super().forward(x, (h, s.c))
        return h, self.after(s, c)


class Within(Beside):
    """The same with both in one tuple: `y, state = cell(x, state)`."""

    def forward(self, x: Tensor, state: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return h and the next state."""
        h, s = super().forward(x, *state)
        return h, (h, s)


class Looped(nn.Module):
    """One of these in a loop."""

    def __init__(self, cell: Any) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Return h at every step."""
        state, outputs = (x.new_zeros(len(x), UNITS), self.cell.made(x.new_zeros(len(x), UNITS))), []
        for now in x.unbind(1):
            state = self.cell(now, state)[1] if isinstance(self.cell, Within) else self.cell(now, *state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)


@pytest.fixture
def x() -> Tensor:
    """Return inputs, (batch, time, feature)."""
    torch.manual_seed(0)
    return torch.randn(ROWS, TIME, FEATURES)


@pytest.mark.parametrize("cell", [Beside, Within])
@pytest.mark.parametrize(
    ("made", "names"),
    [(one, ["state[1].c"]) for one in (Plain, Frozen, Attrs, FrozenAttrs, Slots, lambda c: SimpleNamespace(c=c))]
    + [(lambda c: Named(c=c), ["state[1].c", "state[1].half"]), (Private, ["state[1]._held[0]"])],
)
def test_a_state_in_an_object_is_followed(cell: Any, made: Any, names: list[str], x: Tensor) -> None:
    """A run that gets other rows' whole states is the run on the spliced input, in a sweep too; its own move nothing.

    With a part left out it is another run. `memory` replaces all of it, and a study may run the cell from it.
    """
    model = Looped(cell(made)).eval()
    recording = probe.record(model, x)
    parts = ["state[0]", *names]
    assert [str(signal) for signal in recording.parts[0].signals] == [*parts, "output"]
    assert torch.equal(recording.output, model(x))
    edits = [probe.patch(one, recording, steps=AT, source_rows=ORDER) for one in parts]
    with torch.no_grad():
        spliced = model(torch.cat([x[ORDER, : AT + 1], x[:, AT + 1 :]], 1))[:, AT + 1 :]
    torch.testing.assert_close(probe.record(model, x, edits=edits).output[:, AT + 1 :], spliced)
    torch.testing.assert_close(probe.sweep(model, x, edits=[edits])[0][:, AT + 1 :], spliced)
    assert not torch.allclose(probe.record(model, x, edits=edits[:1]).output[:, AT + 1 :], spliced)
    own = [probe.patch(one, recording, steps=step) for one in parts for step in range(TIME - 1)]
    assert torch.equal(probe.record(model, x, edits=own).output, recording.output)
    found = probe.memory(model, x, times=[AT])
    assert (found.own_error, found.replaced) == (0, {"cell": tuple(parts)})
    (layer,) = find_layers(model)
    assert isinstance(layer, LoopLayer)
    run = stepwise(model, layer, x)
    run.check()
    after = {signal: value[:, AT] for signal, value in run.signals.items()}
    assert isinstance(run.write(after[OUTPUT], after), tuple)


def _counted(s: Any, c: Tensor) -> Any:
    return SimpleNamespace(c=c, step=s.step + 1)


def _set(s: Any, c: Tensor) -> Any:
    s.c = c
    return s


def _written(s: Any, c: Tensor) -> Any:
    _ = s.c.copy_(c)
    return s


REFUSED: dict[str, tuple[Any, Any]] = {
    "a count of steps": (lambda c: SimpleNamespace(c=c, step=0), _counted),
    "a history": (lambda c: SimpleNamespace(c=c, all=[c]), lambda s, c: SimpleNamespace(c=c, all=[*s.all, c])),
    "a dict of its own": (Keyed, None),
    "no attribute": (Hidden, None),
    "an array": (InNumpy, None),
    "no copy": (Fixed, None),
    "set in place": (Plain, _set),
    "written in place": (Plain, _written),
}


@pytest.mark.parametrize("cell", [Beside, Within])
@pytest.mark.parametrize("name", REFUSED)
def test_a_state_that_cannot_be_followed_is_refused(cell: Any, name: str, x: Tensor) -> None:
    """No part of a state is recorded as if it were all; what takes no other values is refused when it is edited."""
    model = Looped(cell(*REFUSED[name])).eval()
    if name == "no copy":
        recording = probe.record(model, x)
        with refused():
            _ = probe.record(model, x, edits=[probe.patch("state[1].c", recording, steps=AT)])
        return
    with refused():
        _ = probe.record(model, x)


def test_what_is_no_state_is_left_alone(x: Tensor) -> None:
    """A log that grows, settings, and an object that holds h a second time, which an edit reaches too."""

    class Telling(Beside):
        def forward(self, x: Tensor, h: Tensor, s: Any, told: Any, settings: Any) -> Any:  # pyright: ignore
            h, s = super().forward(x, h, s)
            told.append(float(h.detach().mean()))
            return h, s, SimpleNamespace(seen=h), replace(settings)

    @dataclass
    class Settings:
        scale: float = 1.0

    class Read(Looped):
        def forward(self, x: Tensor) -> Tensor:
            state, outputs, told = (x.new_zeros(len(x), UNITS), Plain(x.new_zeros(len(x), UNITS))), [], []
            for now in x.unbind(1):
                *state, info, _ = self.cell(now, *state, told, Settings())
                outputs.append(info.seen)
            return torch.stack(outputs, 1)

    model = Read(Telling(Plain)).eval()
    assert [str(one) for one in probe.record(model, x).parts[0].signals] == ["state[0]", "state[1].c", "output"]
    found = probe.record(model, x, edits=[probe.clamp("state[0]", 0.5, steps=AT)]).output
    assert bool((found[:, AT] == 0.5).all())
    assert not torch.equal(found[:, AT + 1], model(x)[:, AT + 1])
