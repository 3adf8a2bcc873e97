"""Notes that Ctrl-C was pressed, so that an interrupt which was dropped on its way is raised again.

Python raises KeyboardInterrupt wherever it happens to be. In a destructor, or in a callback of a weak reference or of
C, the exception is dropped; from an import it may come out as another error.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_pressed = threading.Event()


@contextmanager
def noted() -> Iterator[None]:
    """Note each interrupt while this is open, and raise at its end what was dropped or became another error.

    Whoever ignores interrupts, such as `nohup`, goes on to do so. Only the main thread may ask to be told.
    """
    before: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return

    def note(number: int, frame: Any) -> None:
        _pressed.set()
        before(number, frame)

    _pressed.clear()
    _ = signal.signal(signal.SIGINT, note)
    try:
        yield
        raise_dropped()
    except Exception as error:
        if _pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        _ = signal.signal(signal.SIGINT, before)
        _pressed.clear()


def raise_dropped() -> None:
    """Raise KeyboardInterrupt where one was noted and work goes on all the same."""
    if _pressed.is_set():
        raise KeyboardInterrupt
