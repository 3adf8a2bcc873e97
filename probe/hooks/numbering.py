"""Numbers the calls of a session's modules: which sequence each belongs to, and at which of its steps it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import WeakMethod

from torch import nn

from ..recurrent.sequences import Sequences, goes_on
from .visits import Visit


class Numbering:
    """Where the calls of modules stand.

    Attributes:
        has_cells: whether a module is a cell.

    Args:
        cells: the modules that are cells.
        by_pass: whether each pass of the model is counted anew; otherwise passes are counted on.
        strict: whether a call of a module must be told for sure.
        follow: begins to follow what is made of states.
    """

    def __init__(
        self,
        cells: Iterable[nn.Module],
        by_pass: bool,
        strict: WeakMethod[Callable[[nn.Module], bool]],
        follow: WeakMethod[Callable[[], None]],
    ) -> None:
        self._cells, self._by_pass = tuple(cells), by_pass
        self.has_cells = bool(self._cells)
        self._told, self._following, self._follows = strict, follow, False
        self._before: dict[nn.Module, Any] = {}
        #: The modules that the pass under way has called; None outside of one.
        self._seen: set[nn.Module] | None = None
        self._anew()

    def _strict(self, module: nn.Module) -> bool:
        told = self._told()
        return told is not None and told(module)

    def _follow(self) -> None:
        follow = self._following()
        if follow is not None:
            follow()
            self._follows = True

    def _anew(self) -> None:
        self._counts: dict[nn.Module, int] = {}
        self._sequences = {one: self._begun(one) for one in self._cells}

    def begin_pass(self) -> None:
        """Note that a pass of the model begins."""
        self._seen = set()
        if self._by_pass:
            self._anew()
        else:
            self._counts_before = dict(self._counts)
            self._before = {module: one.begin_pass() for module, one in self._sequences.items()}

    def end_pass(self) -> None:
        """Note that it has returned; raise where what it was called with does not tell whether it went on."""
        self._seen = None
        if self._by_pass:
            self._anew()
        else:
            for one in self._sequences.values():
                one.end_pass()

    def fail_pass(self) -> None:
        """Note that it has raised, so that its calls count for nothing."""
        self._seen = None
        if self._by_pass:
            self._anew()
            return
        self._counts = self._counts_before
        self._sequences = {module: one for module, one in self._sequences.items() if module in self._before}
        for module, one in self._sequences.items():
            one.restore(self._before[module])

    def locate(self, visit: Visit) -> tuple[int, int | None]:
        """Return the sequence of a call and the step at which it begins; None where it stands alone.

        Of several calls in one pass, those of several steps are calls of their own, whatever their state.
        """
        module = visit.layers[0].module
        joins = visit.call.is_step or len(visit.call.x) == 1 or self._seen is None or module not in self._seen
        if self._seen is not None:
            self._seen.add(module)
        if not goes_on(visit.layers[0], visit.call):
            return self._next(module), None
        if module not in self._sequences:
            self._sequences[module] = self._begun(module)
        if not self._follows and (visit.call.is_step or self._strict(module)):
            self._follow()
        return self._sequences[module].locate(visit.layers, visit.call, visit.output, joins=joins)

    def hand_on(self, visit: Visit) -> None:
        """Note what a module's caller gets, where that was changed: it is what is handed on."""
        if visit.replaced and goes_on(visit.layers[0], visit.call):
            self._sequences[visit.layers[0].module].replace(visit.layers, visit.call, visit.output)

    def _begun(self, module: nn.Module) -> Sequences:
        def is_inner() -> bool:  # a part of another cell, which may make something of its state
            others = (one for one, found in self._sequences.items() if found.begun and one is not module)
            return any(module in set(one.modules()) for one in others)

        return Sequences(partial(self._next, module), strict=self._strict(module), inner=is_inner)

    def _next(self, module: nn.Module) -> int:
        """Return the number of a call, or sequence, that begins."""
        self._counts[module] = self._counts.get(module, -1) + 1
        return self._counts[module]
