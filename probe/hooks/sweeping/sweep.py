"""`sweep`: runs many edits of one model in few passes, each edit a block of rows of one larger batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...arguments import checked_arguments
from ...edits.kinds import Edit
from ...edits.resolve import EDITS, Placed, layers_for, place_in_run
from ...errors import ProbeError
from ...recurrent.again.blocks import Read, check_blocks, rows_of_block
from ...recurrent.global_state import DRAWS, advise_on_threads, grad_mode_kept
from ...recurrent.layers import Layer
from ...recurrent.memory import empty
from ...recurrent.rows.batches import Batch, DependentRowsError, apart, batch_of, close, map_tensors
from ...recurrent.signals import span
from ...recurrent.steps.readers import Place
from ..aside import Aside
from ..intervene import Acted, counts
from ..sessions import Session, Visit, eager, sessions
from .resuming import resuming
from .unedited import CleanRun, check_output, clean_run, draws, has_nan, read_of, repeated

#: Edits of one run, each with its layer.
Group = Sequence[tuple[Edit, Layer]]
#: How many bytes of states and outputs one run may hold, unless the caller says otherwise. Measured: a run that stays
#: in the cache is faster than one that holds more edits.
MEMORY = 64_000_000
#: For how many edits it is asked what the model reads, which takes up to nine runs of one block.
_MANY = 16


@checked_arguments(edits=EDITS)
def sweep(
    model: nn.Module,
    *inputs: Any,
    edits: Sequence[Edit | Sequence[Edit]],
    output: Callable[[Any], Tensor] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    batch_axis: int | None = None,
    memory: int = MEMORY,
) -> Any:
    """Return the model's output under each of many edits, each alone, in as few runs as memory allows.

    An item of the edits may be several of them, which act in one run: the parts of a whole state, for instance.

    Inside an edited layer, a run resumes from the state that the unedited run reached at the edit's first step, for
    the rows that the edit moved; the layers of a stack above it from the step at which their input is another.
    Outside, the model sees its inputs repeated, edits x batch rows, so that residual paths and second inputs stay
    right, and runs in full. A module whose input an earlier edit changed, and a cell in a loop, run in full too. What
    a model does not read of an edited module (steps before the last, or last states) is NaN while it runs. Works
    under no_grad.

    Args:
        model: any module that contains recurrent layers, whose rows do not depend on each other.
        *inputs: what the model is called with; tensors with a batch axis.
        edits: what to change, one item after the other, each in a run of its own: an edit, or a sequence of edits.
        output: from what the model returns to what is kept of it for each edit, a tensor; None keeps all of it. A
            number of all rows at once that the model returns, such as a loss, it must not read.
        kwargs: the model's own keyword arguments.
        batch_axis: the batch's axis of the first input, such as 1 where a model reads (time, batch, ...); None for
            axis 0, or for what a recurrent module says itself with `batch_first`.
        memory: about how many bytes one run may hold; more edits than fit are run in turns.

    Returns:
        What the model returns, each tensor with one axis more at the front: (edit, ...).

    Raises:
        ProbeError: an edit does not fit the model, or changes a state after a sequence's last step, where nothing
            reads it; the batch is another axis (found by what the edited layers read), a row of the output depends
            on other rows of the batch or on its place (some of the rows are run again in another order, and the first
            and the last edit alone), the model takes a fixed number of rows, or it draws random numbers.

    Reference:
        Interchange over all sites: Geiger et al. 2021, section 3; resuming from a cached state is exact, since the
        state is all that a recurrent layer hands on.
    """
    asked: Any = {"edits": edits, "output": output, "kwargs": kwargs, "batch_axis": batch_axis, "memory": memory}
    return run_edits(model, *inputs, **asked)


@grad_mode_kept
def run_edits(
    model: nn.Module,
    *inputs: Any,
    edits: Sequence[Edit | Sequence[Edit]],
    output: Callable[[Any], Tensor] | None,
    kwargs: Mapping[str, Any] | None,
    batch_axis: int | None,
    memory: int,
    refuse_unread: bool = True,
) -> Any:
    """Return what `sweep` does.

    Args:
        model: the model.
        *inputs: what it is called with.
        edits: as of `sweep`, and so are the rest.
        output: what is kept.
        kwargs: the model's own keyword arguments.
        batch_axis: the batch's axis.
        memory: how many bytes one run may hold.
        refuse_unread: whether an edit of a last state that nothing reads is an error.
    """
    advise_on_threads()
    listed = _checked(edits)
    flat = [edit for group in listed for edit in group]
    placed = layers_for(model, flat)
    layer_of = iter(placed)
    groups = [[(edit, next(layer_of)) for edit in group] for group in listed]
    batch = batch_of(model, inputs, kwargs or {}, batch_axis)
    with torch.no_grad(), eager():
        clean = clean_run(model, batch, flat, placed)
        for group in groups if refuse_unread else ():
            clean.ends.check(group)
        clean.totals = output is None
        acted = _acted(flat, placed, clean)
        turns = _turns(groups, max(1, memory // max(1, clean.bytes)))
        with _told(model, batch, clean, sure=batch_axis is not None):
            result = _swept(model, batch, clean, groups, turns, output=output)
        for one in acted:
            one.check()
        return result


def _swept(
    model: nn.Module, batch: Batch, clean: CleanRun, edits: Sequence[Group], turns: list[list[int]], *, output: Any
) -> Any:
    """Return the output of each group of edits, and look whether edits that share a run move each other's rows."""
    if len(edits) >= _MANY:
        clean.read = read_of(model, batch, clean)
    result: Any = None
    for turn in turns:
        piece = _kept(_turn(model, batch, clean, [edits[number] for number in turn]), len(turn), output)
        if result is None:
            result = map_tensors(lambda one: empty((len(edits), *one.shape[1:]), one), piece)
        map_tensors(lambda every, one, at=turn: every.__setitem__(span(at), one), result, piece)
    if any(len(turn) > 1 for turn in turns):
        check_output(model, batch, clean)
    clean.read = Read()
    last = len(edits) - 1
    # The edits of a batch of one row are all that can show whether rows depend on each other.
    for number in dict.fromkeys((0, last // 2, last) if batch.size == 1 else (0, last)):
        alone = _kept(_turn(model, batch, clean, [edits[number]]), 1, output)
        together = map_tensors(lambda values, at=number: values[at : at + 1], result)
        map_tensors(lambda one, other, edits=edits[number]: _compare(edits, one, other), alone, together)
    return map_tensors(lambda one: one, result)  # a class may compute other parts of what it is made of


def _kept(returned: Any, count: int, output: Callable[[Any], Tensor] | None) -> Any:
    """Return what is kept of what a model returned for so many edits."""
    if output is None:
        return returned
    kept = [output(map_tensors(lambda one, at=at: one[at], returned)) for at in range(count)]
    if not all(isinstance(one, Tensor) for one in kept):
        raise ProbeError(f"output= returned a {type(kept[0]).__name__}; it must return a tensor.")
    return torch.stack(kept)


@contextmanager
def _told(model: nn.Module, batch: Batch, clean: CleanRun, *, sure: bool) -> Iterator[None]:
    """Say what works where the rows depend on each other."""
    try:
        yield
    except DependentRowsError as error:
        random = draws(model, batch, clean)
        told = [str(error)]
        if random and any(module.training for module in model.modules()):
            raise ProbeError(" ".join([*told, f"{DRAWS}."])) from error.__cause__
        if random:
            told.append("The model draws random numbers in its forward pass.")
        seeded = ", after torch.manual_seed(0) with the same numbers for each" if random else ""
        works = f"probe.record(model, x, edits=[edit]) for one edit at a time{seeded}."
        if any(_by_mode(module) for module in model.modules()):
            told.append(f"Call model.eval() first, if it drops out or normalises over the batch, or use {works}")
        else:
            told.append(f"Use {works}")
        if not sure and not random:
            told.append(f"If another axis of the first input than {batch.axis} is the batch, name it: batch_axis=.")
        raise ProbeError(" ".join(told)) from error.__cause__


def _by_mode(module: nn.Module) -> bool:
    """Return whether a module is in training mode, in which its class mixes rows or draws random numbers."""
    kinds = nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd
    return module.training and isinstance(module, kinds)


def _turns(groups: Sequence[Group], most: int) -> list[list[int]]:
    """Return which run together: up to so many, and those that begin at one step of a layer if they can."""
    alike: dict[tuple[str, int], list[int]] = {}
    for number, group in enumerate(groups):
        first = min(min(edit.site.steps or (0,)) for edit, _ in group)
        alike.setdefault((group[0][1].name, first), []).append(number)
    turns: list[list[int]] = [[]]
    for numbers in alike.values():
        if len(turns[-1]) + len(numbers) > most and turns[-1]:
            turns.append([])
        for number in numbers:
            if len(turns[-1]) == most:
                turns.append([])
            turns[-1].append(number)
    return turns


def _checked(edits: Any) -> list[list[Edit]]:
    if not edits:
        raise ProbeError("edits=[] names no edit; give at least one.")
    groups = [list(one) if isinstance(one, (list, tuple)) else [one] for one in edits]
    if [] in groups:
        raise ProbeError(f"edits[{groups.index([])}] names no edit; give at least one.")
    return groups


def _acted(edits: Sequence[Edit], layers: Sequence[Layer], clean: CleanRun) -> list[Acted]:
    """Return where edits act in the calls of the run without edits; raise where the call of one did not come."""
    found = [Acted(edit, layer) for edit, layer in zip(edits, layers, strict=True)]
    for acted, layer in zip(found, layers, strict=True):
        for run, (number, first) in zip(clean.runs[layer.module], clean.places[layer.module], strict=True):
            acted.note(number, first, len(run.call.x))
        acted.check_call()
    return found


def _turn(model: nn.Module, batch: Batch, clean: CleanRun, edits: Sequence[Group]) -> Any:
    """Run a model once with several groups of edits, each on rows of its own."""
    with _edits_in_rows(model, edits, clean):
        output = repeated(model, batch, len(edits))
    if clean.read != Read() and has_nan(output):
        # With an edit the model reads what it did not read without.
        clean.read = Read()
        return _turn(model, batch, clean, edits)
    one, many = clean.kept(clean.output), clean.kept(output)
    if len(edits) == 1:
        return map_tensors(lambda _, alone: alone.unsqueeze(0), one, many)
    return apart(one, many, len(edits), batch.size, lambda: clean.kept(clean.doubled()))


@contextmanager
def _edits_in_rows(model: nn.Module, edits: Sequence[Group], clean: CleanRun) -> Iterator[None]:
    by_module: dict[nn.Module, list[tuple[int, Edit, Layer]]] = {}
    for number, edit, layer in ((number, *one) for number, group in enumerate(edits) for one in group):
        by_module.setdefault(layer.module, []).append((number, edit, layer))
    reached = set[int]()
    forwards = {
        module: resuming(module, own, clean, len(edits), reached)
        for module, own in by_module.items()
        if not clean.in_steps(module)
    }
    for layer in (own[0][2] for module, own in by_module.items() if module in forwards):
        if any(layer.module in one.modules for one in sessions()):
            raise ProbeError(
                f"Layer {layer.name!r} is watched or edited by another context that is open here, which would take "
                "what a sweep puts in for the layer's own run. Close it first, or use probe.record(edits=[...])."
            )
    session = _Turn(model, by_module, clean, len(edits), reached)
    with session, session.replacing({module: _heard(session, one) for module, one in forwards.items()}):
        yield
        session.check()


def _heard(session: Session, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a forward whose errors a session keeps: the model may catch them."""

    def heard(*arguments: Any, **keywords: Any) -> Any:
        try:
            return forward(*arguments, **keywords)
        except Exception as error:
            session.refuse(error)
            raise

    return heard


class _Turn(Session):
    """Edits cells, each edit in its own rows, and notes when it did."""

    def __init__(
        self, model: nn.Module, edits: Mapping[nn.Module, Any], clean: CleanRun, blocks: int, reached: set[int]
    ) -> None:
        cells: dict[nn.Module, Any] = {module: own for module, own in edits.items() if clean.in_steps(module)}
        self._edits, self._blocks = cells, blocks
        super().__init__(model, [layer for own in cells.values() for _, _, layer in own])
        self._calls = {module: iter(clean.runs[module]) for module in cells}
        self._acted = {one: Acted(*one[1:]) for own in cells.values() for one in own}
        self._reached, self._aside = reached, Aside(Place())

    def hand_on(self, visit: Visit) -> None:
        """Follow what a cell keeps of what an edit replaced."""
        if self._aside.note(visit):
            self._follow()

    def end(self, output: Any) -> None:
        """Note that a pass of the model has returned."""
        self._aside.check(output)

    def counts(self, module: nn.Module) -> bool:
        """Return whether an edit of a cell names steps or sequences, or brings values for them."""
        return any(counts(edit) for _, edit, _ in self._edits[module])

    def acting(self, visit: Visit, number: int, step: int | None) -> Sequence[tuple[Layer, Placed]]:
        """Return the edits that act in a call of a cell."""
        layer, call = visit.layers[0], visit.call
        edits, before = self._edits[layer.module], next(self._calls[layer.module], None)
        batch = rows_of_block(layer, call.x.shape[1], before, self._blocks)
        check_blocks(layer, before, call, [block for block, *_ in edits if block not in self._reached], self._blocks)
        time = len(call.x)
        active = [one for one in edits if self._acted[one].note(number, step, time)]
        self._reached |= {block for block, *_ in active}
        every = [
            (block, place_in_run(edit, own, visit.clean, batch=batch, first=step), own) for block, edit, own in active
        ]
        return [(own, one.at(block * batch)) for block, one, own in every]

    def check(self) -> None:
        """Raise where an edit of a cell waited for a step that did not come."""
        self.settle()
        for one in self._acted.values():
            one.check()


def _compare(edits: Group, alone: Tensor, together: Tensor) -> None:
    """Raise where edits give another output in a run of their own: then the rows of a batch are not independent."""
    if not close(alone, together):
        wide = torch.complex128 if alone.is_complex() else torch.float64
        difference = (alone.to(wide) - together.to(wide)).abs().nan_to_num(0.0).max()
        raise DependentRowsError(
            f"{edits[0][0]!r} gives another output in a run of its own than beside other edits (largest difference "
            f"{float(difference):.3g}): the model mixes the rows of a batch, or its runs differ."
        )
