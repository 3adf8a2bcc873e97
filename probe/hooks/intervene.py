"""`intervene`: runs a model with edits inside its recurrence, and leaves the model as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

from torch import nn

from ..arguments import checked_arguments
from ..edits.kinds import Edit
from ..edits.resolve import Placed, place_in_model, place_in_run, steps_in
from ..errors import ProbeError
from ..recurrent.calls import draws_masks
from ..recurrent.global_state import Draws, grad_mode_kept, warn_of_draws
from ..recurrent.kept import Change, Kept, warn_of
from ..recurrent.layers import Layer, no_recurrence_in, not_shown, perhaps, refuse_own_forward
from ..recurrent.steps.readers import Place
from .aside import Aside
from .sessions import Session, Visit, eager
from .unread import Unread


def acts(edit: Edit, number: int, step: int | None, time: int) -> bool:
    """Return whether an edit acts in a call.

    Args:
        edit: the edit.
        number: the number of the call's sequence.
        step: at which step of it the call begins; None where the call is all of it.
        time: how many steps the call has.
    """
    return edit.site.call in (None, number) and (step is None or bool(steps_in(edit, step, time)))


def counts(edit: Edit) -> bool:
    """Return whether where an edit acts, or with what, depends on the numbers of calls and steps."""
    return edit.site.call is not None or edit.site.steps is not None or edit.steps_held is not None


#: Of so many sequences an error says how long they are.
_FEW = 3
#: Why no step is counted from the end of a loop.
_IN_STEPS = "is called in a loop, whose last step is not known before it comes. Count steps from the first one, 0."


def refuse_from_end(edit: Edit, layer: Layer, number: int, step: int | None) -> None:
    """Raise ProbeError where an edit counts steps from the end of a sequence that goes on."""
    if step and edit.site.call in (None, number) and any(one < 0 for one in edit.site.steps or ()):
        raise ProbeError(f"{edit!r}: {layer.name!r} {_IN_STEPS}")


class Acted:
    """At which of its steps an edit has acted, and which sequences there were.

    Args:
        edit: the edit.
        layer: its layer.
    """

    def __init__(self, edit: Edit, layer: Layer) -> None:
        self._edit, self._layer = edit, layer
        self._came = set[int]()
        #: How many calls there were, how many sequences, and how many steps each of the first few had.
        self._calls = self._count = 0
        self._steps: dict[int, int] = {}

    def note(self, number: int, step: int | None, time: int) -> bool:
        """Note a call, and return whether the edit acts in it; see `acts`.

        Raises:
            ProbeError: the edit counts steps from the end of a sequence that goes on.
        """
        self._calls, self._count = self._calls + 1, max(self._count, number + 1)
        if number < _FEW:
            self._steps[number] = (step or 0) + time
        refuse_from_end(self._edit, self._layer, number, step)
        found, given = acts(self._edit, number, step, time), self._edit.site.steps or ()
        if found and given:
            self._came |= {*given} if step is None else {given[at] for at, _ in steps_in(self._edit, step, time)}
        return found

    @property
    def stood_alone(self) -> bool:
        """Whether its layer was called for single steps, and none of them went on from another."""
        return bool(self._count) and self._calls == self._count and self._steps[0] == 1

    def copied(self) -> Acted:
        """Return what is known now, for when a pass fails."""
        found = copy(self)
        found._came, found._steps = set(self._came), dict(self._steps)
        return found

    def check_call(self, why: str = "") -> None:
        """Raise where its call did not come.

        Args:
            why: why its layer was not seen at all, where that is known.
        """
        edit = self._edit
        if not self._count or (edit.site.call or 0) >= self._count:
            why = (not self._count and why) or f"{self._called}. Choose a layer and a call= that happen."
            raise ProbeError(f"{edit!r} changed nothing: {why}")

    def check(self, why: str = "") -> None:
        """Raise where it has not acted, or not at all its steps; see `check_call`."""
        self.check_call(why)
        edit, called = self._edit, self._called
        missing = [step for step in edit.site.steps or () if step not in self._came]
        if not missing:
            return
        if self._calls == 1:
            name, time = self._layer.name, self._steps[0]
            called = f"steps={missing[0]} lies outside the input of layer {name!r}, which has {time} steps"
        what = "changed nothing" if not self._came else f"waits for steps {missing}, which never came"
        raise ProbeError(f"{edit!r} {what}: {called}. Choose steps= that happen, counted from the first one, 0.")

    @property
    def _called(self) -> str:
        """How often its layer was called, and what sequences that makes, in words."""
        return f"the model called layer {self._layer.name!r} {self._calls} times{self._listed()}"

    def _listed(self) -> str:
        """Return which sequences there were where calls went on with them, in words."""
        if self._count == self._calls:
            return ""
        few = "; ".join(f"call={number}, steps 0 to {time - 1}" for number, time in self._steps.items())
        what = "one sequence" if self._count == 1 else f"{self._count} sequences"
        return f", and its {self._calls} calls are {what}: {few}{'; ...' if self._count > _FEW else ''}"


class _Intervention(Session):
    """The edits of one context, and which of them have acted."""

    by_pass = False

    @grad_mode_kept
    def __init__(self, model: nn.Module, edits: Sequence[Edit], tolerance: float | None) -> None:
        self._placed = place_in_model(model, edits)
        _check_steps_of_cells(self._placed)
        refuse_own_forward(self._placed)
        super().__init__(model, self._placed)
        self._tolerance = tolerance
        self.rows: set[int] = set()
        #: Whether an edited run drew random numbers in train mode.
        self.drew = False
        #: With how many rows each sequence began, where an edit names rows.
        self._began: dict[tuple[nn.Module, int], int] = {}
        self._had_a_pass = False
        self._acted = {id(edit): Acted(edit, layer) for layer, own in self._placed.items() for edit in own}
        self._place = Place()
        self._aside = Aside(self._place)
        self._unread = {
            id(edit): Unread(edit, layer, self._place) for layer, own in self._placed.items() for edit in own
        }

    def counts(self, module: nn.Module) -> bool:
        """Return whether an edit of a module names steps or sequences, or brings values for them."""
        return any(counts(edit) for layer in self.modules[module] for edit in self._placed[layer])

    def acting(self, visit: Visit, number: int, step: int | None) -> Sequence[tuple[Layer, Placed]]:
        """Return the edits that act in a call, and note that they have acted."""
        own, time = self.modules[visit.layers[0].module], len(visit.call.x)
        self.rows.add(visit.call.x.shape[1])
        if not self._place.in_a_pass:
            self.drew = self.drew or draws_masks(visit.layers[0].module)
        every = [(layer, edit) for layer in own for edit in self._placed[layer]]
        self._check_rows([edit for _, edit in every if edit.site.rows is not None], visit, number)
        active = [(layer, edit) for layer, edit in every if self._acted[id(edit)].note(number, step, time)]
        if active:
            self.refuse_checkpoint(own[0])
            visit.tolerances.add(self._tolerance)
        for _, edit in every:
            self._unread[id(edit)].go_on(number, visit.call)
        placed = [(layer, place_in_run(edit, layer, visit.clean, first=step)) for layer, edit in active]
        for layer, one in placed:
            beside = [other for its, other in placed if its is layer]
            if self._unread[id(one.edit)].note(visit, number, step, beside):
                self._follow()
        return placed

    def hand_on(self, visit: Visit) -> None:
        """Follow what edits have moved alone, into what the caller of the layer makes of it."""
        if visit.changes and self._aside.note(visit):
            self._follow()
        for layer in self.modules[visit.layers[0].module]:
            for edit in self._placed[layer]:
                self._unread[id(edit)].hand_on(visit)

    def _check_rows(self, edits: Sequence[Edit], visit: Visit, number: int) -> None:
        """Raise where edits name rows of a cell's loop whose batch shrinks: it was sorted, and row 0 is another's."""
        now, layer = visit.call.x.shape[1], visit.layers[0]
        if edits and visit.call.is_step and (began := self._began.setdefault((layer.module, number), now)) != now:
            raise ProbeError(
                f"{edits[0]!r} names rows, and {layer.name!r} was called with {began} rows and then with {now}: a "
                "loop over packed sequences sorts its batch, so that its rows are not the caller's. Leave rows= out, "
                "or run those rows alone."
            )

    def begin(self) -> None:
        """Note that a forward pass of the model begins."""
        self._before = {key: one.copied() for key, one in self._acted.items()}
        self._unread_before = {key: one.copied() for key, one in self._unread.items()}
        self._place.in_a_pass = True
        self._draws = Draws(self.model)

    def end(self, output: Any) -> None:
        """Note that a forward pass of the model has returned."""
        self._had_a_pass, self._place.in_a_pass = True, False
        self._aside.check(output)
        for one in self._unread.values():
            one.returned(output)
        self.drew = self.drew or self._draws.came()

    def failed(self) -> None:
        """Note that a forward pass of the model has raised: what happened in it counts for nothing."""
        self._began.clear()
        self._acted, self._unread, self._place.in_a_pass = self._before, self._unread_before, False

    def finish(self, left: list[Edit] | None = None) -> None:
        """Raise where an edit has changed nothing in the whole context.

        Args:
            left: gets the edits that moved a last state that nothing has read yet, where that is no error.
        """
        self.settle()
        for layer, edits in self._placed.items():
            for edit in edits:
                if perhaps(layer) and self._acted[id(edit)].stood_alone:
                    raise no_recurrence_in([layer])
                self._acted[id(edit)].check(self._why(layer))
                if left is None:
                    self._unread[id(edit)].check()
                elif self._unread[id(edit)].left is not None:
                    left.append(edit)

    def _why(self, layer: Layer) -> str:
        if self.elsewhere[layer.module]:
            return (
                f"another thread or asyncio task called layer {layer.name!r} {self.elsewhere[layer.module]} times. A "
                "context acts in the one that entered it; enter it where the model is called."
            )
        if layer.module in self.unread:
            return not_shown(layer)
        if self._had_a_pass:
            return (
                f"the model called layer {layer.name!r} 0 times. Choose a layer that it calls; a layer run by "
                ".forward() is not seen."
            )
        return (
            f"layer {layer.name!r} was not called while the context was open. Call the model inside it; a layer run "
            "by .forward() is not seen."
        )


@contextmanager
def edited(
    model: nn.Module, edits: Sequence[Edit], tolerance: float | None = None, left: list[Edit] | None = None
) -> Iterator[_Intervention]:
    """Run a model with edits; what its modules keep stays as the runs leave it. See `intervene`.

    Args:
        model: the model.
        edits: what to change.
        tolerance: as of `intervene`.
        left: gets, at the end, the edits that moved a last state that nothing has read; None where that is an error.

    Yields:
        The context's edits: `rows` says how many rows the edited layers read, once they were called.
    """
    session = _Intervention(model, edits, tolerance)
    with eager(), session:
        yield session
        session.finish(left)


@checked_arguments()
@contextmanager
def intervene(model: nn.Module, *edits: Edit, tolerance: float | None = None) -> Iterator[nn.Module]:
    """Run a model with edits inside its recurrence; afterwards the model is exactly as it was.

    The module runs once as it is; then the edited layer is run again from the first edited step, and the layers of a
    stack above it in full, so that the next step, the module's output and everything above see the change. Edits act
    in the order in which a step computes its signals, and edits of one signal in the order given. Contexts may be
    nested; the edits of all of them act in one run, an outer context's first. Follows the caller's grad mode. What
    modules keep from one call to the next, such as `self.hidden`, is put back when the context ends, with a warning.

    Edits act wherever the layers are called inside the context: in `model(x)`, and in methods of the model that call
    its layers in another way, such as `policy.predict(x)`. `call` and `steps` are counted over the context. A call
    of a layer whose state is what an earlier call returned goes on at the next step, as in a loop that generates
    token by token; any other call begins a sequence, and `call` is the number of the sequence. A context acts in the
    thread or asyncio task that entered it, and in tasks that this one starts. What runs a layer again in the backward
    pass (torch.utils.checkpoint) is refused.

    Args:
        model: any module that contains recurrent layers.
        *edits: what to change.
        tolerance: how far the run that the edits start from may lie from what the module computed, relative to
            max(1, |value|); None for what `record` allows.

    Raises:
        ProbeError: a layer, signal or unit does not exist, or an edited layer has a forward of its own (before the
            model runs); a row lies beyond the input, or the module does not compute what its weights say (when the
            layer is called, before anything changes); the context ended without a call or step that an edit names, or
            with a state that was edited after a sequence's last step and that nothing has read.
    """
    with edited(model, edits, tolerance) as session:
        kept, changes = Kept(model), list[Change]()
        try:
            yield model
        finally:
            try:
                changes += kept.put_back(session.rows)
            except KeyboardInterrupt:
                _ = kept.put_back(session.rows)
                raise
    if edits and session.drew:
        warn_of_draws("edit", level=3)
    warn_of(changes, "Keep one context open over the calls that shall go on from each other.", level=3)


def _check_steps_of_cells(placed: dict[Layer, tuple[Edit, ...]]) -> None:
    for layer, edits in placed.items():
        for edit in edits:
            if layer.is_cell and any(step < 0 for step in edit.site.steps or ()):
                raise ProbeError(f"{edit!r}: {layer.name!r} {_IN_STEPS}")
