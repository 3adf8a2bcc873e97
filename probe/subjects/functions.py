"""Loads and calls the Python functions that a study names (`file.py:name`), with errors in plain sentences."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ProbeError, unknown

#: Where the code of this library lies.
_LIBRARY = Path(__file__).parents[1]


def load_file(path: Path) -> Any:
    """Return a Python file as a module; its code is run, with its folder on the path."""
    spec: Any = importlib.util.spec_from_file_location(f"study_{path.stem}", path)
    if spec is None or not path.is_file():
        raise ProbeError(f"There is no Python file {str(path)!r}. Give the path of one; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ProbeError(
            f"{str(path)!r} cannot be run: {type(error).__name__}: {_message(error)}{_line(error)}. Mend it first."
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def load_function(named: str, folder: Path, what: str) -> Callable[..., Any]:
    """Return the function that `file.py:name` means, of a file in a folder."""
    file, colon, name = named.rpartition(":")
    if not colon or not file.endswith(".py") or not name.isidentifier():
        raise ProbeError(f"{what} is {named!r}; it must name a file and a function in it: 'file.py:function'.")
    module = load_file(folder / file)
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if name not in functions:
        raise ProbeError(f"{what}, in {file!r}: {unknown('function', name, functions)}")
    return getattr(module, name)


@contextmanager
def calling(what: str, wants: str, error_of: type[ProbeError] = ProbeError) -> Iterator[None]:
    """Turn whatever a study's own function raises into a sentence: which one, what it is given and returns."""
    try:
        yield
    except ProbeError:
        raise
    except (Exception, SystemExit) as error:
        raised = f"{type(error).__name__} ({_message(error)}{_line(error)})"
        raise error_of(f"{what} raised {raised}. {wants}") from error


def _message(error: BaseException) -> str:
    """Return an error's own words on one line, without the full stop at their end; only a stranger's are cut."""
    if isinstance(error, SystemExit):
        return f"it asks to exit, with the code {error.code!r}, before the study is done"
    words = " ".join(str(error).split())
    return (words if isinstance(error, ProbeError) else words[:200]).rstrip(".") or "without a message"


def _line(error: BaseException) -> str:
    """Return the file and line of the study's own code that raised an error; "" if it was other code."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    # The lines of a library do not help the author of a study.
    own = [frame for frame in frames if not of_package(frame.filename)]
    return f", {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


def of_package(file: str) -> bool:
    """Return whether a file is of this library, of an installed package or of Python."""
    inside = any(Path(file).is_relative_to(folder) for folder in (_LIBRARY, sysconfig.get_path("stdlib")))
    return inside or "site-packages" in file


_A_PROGRAM = (
    "It is called with one sequence, a tuple with a number (or a tuple of features) for each step, and must return "
    "one answer."
)


def answers_of(name: str, program: Callable[[tuple], Any], sequences: Sequence[tuple]) -> list[Any]:
    """Return what a program answers to each sequence."""
    answers = []
    for number, sequence in enumerate(sequences):
        with calling(f"The program {name!r} on sequence {number}", _A_PROGRAM):
            answer = program(sequence)
            answer = answer.item() if hasattr(answer, "item") else answer
        if not isinstance(answer, (int, float, str, bool)) or answer != answer:  # noqa: PLR0124 - NaN
            raise ProbeError(f"The program {name!r} returned {str(answer)[:60]} on sequence {number}. {_A_PROGRAM}")
        answers.append(answer)
    return answers
