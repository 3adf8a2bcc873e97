"""What `import probe` and `rnn-probe --help` promise: an answer at once, and names that are all there."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
from commands import printed

import probe

HEAVY = ("torch", "numpy", "pandas", "xarray", "matplotlib", "seaborn", "sklearn", "scipy")
LIST_LOADED = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules])"


def test_importing_probe_loads_nothing_heavy() -> None:
    """Not one of the libraries that take seconds."""
    assert printed(f"import probe; {LIST_LOADED}") == "[]"


def test_the_measurement_would_notice() -> None:
    """The control arm: one name of the library is used, and torch is there."""
    assert "torch" in printed(f"import probe; probe.record; {LIST_LOADED}")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["show", "--help"], ["shwo"]])
def test_the_command_line_answers_without_anything_heavy(words: list[str]) -> None:
    """Help, version and usage errors need no torch."""
    quietly = "import contextlib, io, probe.command_line.main\nwith contextlib.redirect_stdout(io.StringIO()):"
    code = f"{quietly}\n    probe.command_line.main.run({words!r})"
    assert printed(f"{code}\n{LIST_LOADED}") == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="os.wait4 is POSIX")
def test_help_takes_less_than_a_third_of_a_second() -> None:
    """CPU time of the process, the least of up to 15 runs: other work on the machine inflates it."""
    spent = []
    for _ in range(15):
        child = subprocess.Popen(
            [sys.executable, "-m", "probe.command_line.main", "--help"], stdout=subprocess.DEVNULL, cwd=os.sep
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        spent.append(usage.ru_utime + usage.ru_stime)
        if spent[-1] < 0.3:
            break
        time.sleep(0.05)
    assert min(spent) < 0.3


def type_checking_names() -> set[str]:
    """Return the names that `probe/__init__.py` imports for type checkers."""
    assert probe.__file__ is not None
    tree = ast.parse(Path(probe.__file__).read_text())
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name
        for block in blocks
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_see_the_names_that_exist() -> None:
    """`__all__`, the imports under TYPE_CHECKING and the lazy table hold the same names, sorted, once."""
    assert set(probe.__all__) == type_checking_names()
    assert len(set(probe.__all__)) == len(probe.__all__)
    assert set(probe.__all__) <= set(dir(probe))


@pytest.mark.parametrize("name", probe.__all__)
def test_every_name_resolves(name: str) -> None:
    """Each public name is found, and is what its own module calls by that name."""
    value = getattr(probe, name)
    assert getattr(sys.modules[value.__module__], name) is value


LOOKED_AT = """
import inspect, pydoc, sys
sys.modules.update(dict.fromkeys({missing!r}))
import probe
star = {{}}
exec("from probe import *", star)
names = set(probe.__all__)
print(names <= set(star), all(map(lambda name: hasattr(probe, name), names)), hasattr(probe, "Rule"))
print(names <= set(dict(inspect.getmembers(probe))), all(map(pydoc.plain(pydoc.render_doc(probe)).count, names)))
"""


@pytest.mark.parametrize("missing", [(), ("h5py", "msgpack", "onnx", "xarray"), ("matplotlib", "pandas", "sklearn")])
def test_looking_at_all_names_raises_nothing(missing: tuple[str, ...]) -> None:
    """A star import, `hasattr`, `getmembers` and `help` work, also without a library that some calls need."""
    assert printed(LOOKED_AT.format(missing=missing)).split() == ["True", "True", "False", "True", "True"]


def test_the_version_is_the_installed_one() -> None:
    """What `probe` says of itself is what the installed package declares."""
    assert probe.__version__ == version("rnn-probe")


def test_an_unknown_name_raises() -> None:
    """A misspelt name is an AttributeError that names it, as of any module."""
    with pytest.raises(AttributeError, match="module 'probe' has no attribute 'recrod'"):
        _ = probe.recrod  # pyright: ignore[reportAttributeAccessIssue]
