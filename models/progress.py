"""Prints the progress of a training on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from .state import Measurement


class Shown:
    """Bars in a terminal; a line for each finished network elsewhere, since control codes would fill a log.

    Args:
        networks: how many are trained; of a single one no line is written.
        quiet: show nothing.
    """

    def __init__(self, networks: int, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[now]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=networks > 1,
        )
        self.networks, self.done = networks, 0
        self.lines = networks > 1 and not quiet and self.bars.disable
        self.all = self.bars.add_task("networks", total=networks, now="", visible=networks > 1)

    def __enter__(self) -> Shown:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def steps(self, name: str, total: int) -> Callable[[Measurement], None]:
        """Return what shows the measurements of a network that is trained in this process.

        Args:
            name: of the network.
            total: steps of its training.
        """
        task = None

        def show(now: Measurement) -> None:
            nonlocal task
            if task is None:
                task = self.bars.add_task(f"{name}, step", total=total, now="")
            text = f"loss {now.loss:.4g}  test error {now.test_error:.2%}"
            # The bar of a single network stays on the screen; of many, the finished ones make room.
            finished = now.step == total and self.networks > 1
            # At once: a short training would be over before the bars are drawn again.
            self.bars.update(task, completed=now.step, now=text, visible=not finished, refresh=True)

        return show

    def finish(self, name: str, test_error: float) -> None:
        """Show that a network is trained."""
        self.done += 1
        text = f"{name}: test error {test_error:.2%}"
        self.bars.update(self.all, completed=self.done, now=text)
        if self.lines:
            sys.stderr.write(f"{self.done} of {self.networks}, {text}\n")
            sys.stderr.flush()
