"""How every command is run, `rnn-probe` and `python -m ...` of a checkout alike: help, errors and exit codes.

Results go to stdout, errors to stderr. Exit codes: 0, 1 for failed work, 2 for wrong usage, 130 when interrupted.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from io import StringIO, TextIOWrapper
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter, Token, UnusedCliTokensError
from cyclopts.help import PlainFormatter

from .. import __version__
from ..errors import ProbeError, unknown

FAILED, USAGE, INTERRUPTED = 1, 2, 130
#: Nothing is as wide: cyclopts and rich would wrap, each by itself.
_ENDLESS = 1_000_000


class UsageError(ProbeError):
    """Raised where the words after a command's name do not fit together, whatever lies on the disk."""


def _whole(_: object, tokens: Sequence[Token]) -> int:
    """Return a written whole number; cyclopts alone would round 1.5 to 2 and use that."""
    text = tokens[0].value
    if not text.removeprefix("-").isdecimal():
        raise ValueError(f"{text!r} is no whole number; give one such as 3.")
    return int(text)


Whole = Annotated[int, Parameter(converter=_whole)]
AsJson = Annotated[bool, Parameter(name="--json")]


class WrappedOnce(PlainFormatter):
    """Help without boxes and colour, so that NO_COLOR holds and pipes get what a terminal gets.

    Each entry is one paragraph, wrapped once to the width of the terminal, whatever the lines of its docstring are.
    """

    def __call__(self, console: Any, options: Any, panel: Any) -> None:
        """Print a panel, such as that of the options."""
        if panel.entries:
            console.out(f"{panel.title}:", highlight=False)
        for entry in panel.entries:
            shown = entry.copy(default=None) if entry.default in ("False", '""', "") else entry
            told = _told(super().__call__, options, panel.copy(title="", entries=[shown]))
            _wrap(console, told, first="  ", later="      ")
        if panel.entries:
            console.out()

    def render_usage(self, console: Any, options: Any, usage: Any) -> None:
        """Print how the command is called."""
        _wrap(console, _told(super().render_usage, options, usage), later="      ")
        console.out()

    def render_description(self, console: Any, options: Any, description: Any) -> None:
        """Print what the command does."""
        for paragraph in _told(super().render_description, options, description).strip().split("\n\n"):
            _wrap(console, paragraph)
            console.out()


def _told(show: Callable[..., None], *given: Any) -> str:
    """Return what cyclopts shows, in lines that end where those of the docstrings do."""
    from rich.console import Console

    text = StringIO()
    show(Console(file=text, width=_ENDLESS, color_system=None), *given)
    return text.getvalue()


def _wrap(console: Any, told: str, first: str = "", later: str = "") -> None:
    """Print a paragraph that is wrapped to the width of a terminal; a word that is wider goes beyond it."""
    wrapper = textwrap.TextWrapper(console.width, first, later, break_long_words=False, break_on_hyphens=False)
    console.out(wrapper.fill(" ".join(told.split())), highlight=False)


def command(name: str, **given: Any) -> App:
    """Return a command, or a group of them.

    Args:
        name: what is typed: `rnn-probe`, or such as `python -m models.train`.
        **given: what else `cyclopts.App` is to know.
    """
    return App(
        name=name,
        version=__version__,
        help_format="plaintext",
        help_formatter=WrappedOnce(),
        suppress_keyboard_interrupt=False,  # `run` says that it was interrupted, and with which code
        default_parameter=Parameter(negative=()),
        **given,
    )


def check(kind: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise UsageError for the first word that is not allowed: what it stands for, what is allowed, the nearest."""
    allowed = list(allowed)
    for one in given:
        if one not in allowed:
            raise UsageError(unknown(kind, one, allowed))


def at_least_one(option: str, number: int) -> None:
    """Raise UsageError where an option's number is 0 or less."""
    if number < 1:
        raise UsageError(f"{option} {number} must be 1 or more.")


def emit(text: str) -> None:
    """Print a result, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(
    app: App, arguments: Sequence[str] | None = None, *, explain: Callable[[str], str] = str, again: str = ""
) -> int:
    """Run a command and return its exit code: its own, 0, 1 (failed), 2 (wrong usage) or 130 (interrupted).

    Args:
        app: what `command` made.
        arguments: the words after its name; None for those that the process was started with.
        explain: makes of the message of a refusal what is said here.
        again: what an interrupted command does when it is called again.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if sys.stdout is None:
        return complain(app, "standard output is closed, and results go there; give it a file, or /dev/null")
    if arguments is None and app.name[0].startswith("python -m") and sys.modules["__main__"].__spec__ is None:
        return complain(app, "this command is run by its name, not by its path.", USAGE)
    for stream in (sys.stdout, sys.stderr):
        # What a terminal's encoding has no letter for is written as its number.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code: Any = 0
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
    except CycloptsError as error:
        code = complain(app, _wrong(app, error), USAGE)
    except ProbeError as error:
        code = complain(app, explain(str(error)), USAGE if isinstance(error, UsageError) else FAILED)
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # rich heard that the reader left
            return 0
        told = f"code that was run asked to exit ({error.code!r}) before the command was done. Take that out."
        code = complain(app, told)
    except KeyboardInterrupt:
        code = complain(app, f"Interrupted. {again}".strip(), INTERRUPTED)
    except BrokenPipeError:
        # The reader left (`rnn-probe ... | head`): nothing is wrong.
        _drop_output()
    except OSError as error:
        code = complain(app, _unreadable(error))
        if not error.filename:
            _drop_output()
    return code


def leave(code: int) -> NoReturn:
    """End the process with a code; after an interrupt at once: Python would put torch away for a second and more.

    Otherwise all is done and said, and Ctrl-C changes nothing. While Python puts torch away it would kill the process
    without a word.
    """
    if code == INTERRUPTED:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    _ = atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _unreadable(error: OSError) -> str:
    """Return what of the system's files cannot be used, and what to do."""
    what = repr(error.filename) if error.filename else "standard output"
    advice = "See that it is there and may be read; if it is part of a package, as a font is, install that again."
    if not error.filename or error.errno == errno.ENOSPC:
        advice = "Give a place with room."
    return f"{what} cannot be read or written: {error.strerror or error}. {advice}"


def _wrong(app: App, error: CycloptsError) -> str:
    """Return what was wrong with the words, and which help says what is right."""
    told = " ".join(str(error).split())
    if isinstance(error, UnusedCliTokensError):
        told = f"There is no place for {', '.join(map(repr, error.unused_tokens or ()))}."
    return f"{told} See {' '.join([*app.name, *(error.command_chain or ())])} --help."


def complain(app: App, message: str, code: int = FAILED) -> int:
    """Say in one line on stderr what went wrong with a command, and return its exit code."""
    # Where nobody listens the exit code says it.
    with suppress(OSError, AttributeError):
        sys.stderr.write(f"{app.name[0]}: {' '.join(message.splitlines())}\n")
    return code


def _drop_output() -> None:
    """Send what is still to be written nowhere, so that the last flush has nothing to say."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
