"""What `import probe` and `rnn-probe --help` promise: an answer at once, and names that are all there."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from commands import printed, started

import probe

HEAVY = ("torch", "numpy", "pandas", "xarray", "matplotlib", "sklearn", "scipy", "seaborn", "safetensors")
LIST_LOADED = f"\nimport sys; print([name for name in {(*HEAVY, 'probe.report')!r} if name in sys.modules])\n"
RUN = (
    "import contextlib, io, probe.command_line.main as main\nwith contextlib.redirect_stdout(io.StringIO()): main.run"
)
#: What a process does one after the other: which libraries it may not have loaded then, and which it must have.
STAGES: list[list[tuple[str, tuple[str, ...], tuple[str, ...]]]] = [
    [
        ("import probe", HEAVY, ()),
        ("probe.record", (), ("torch",)),
        ("import torch; recording = probe.record(torch.nn.GRU(1, 2), torch.ones(3, 1, 1))", ("probe.report",), ()),
        ("recording._repr_html_()", ("matplotlib",), ("probe.report",)),
        ("recording.plot", (), ("matplotlib",)),
    ],
    [
        ("import probe.report", ("torch", "matplotlib", "sklearn"), ()),
        ("import probe; probe.plots.heatmap", ("sklearn", "seaborn"), ("matplotlib",)),
    ],
    [(f"{RUN}({words.split()!r})", HEAVY, ()) for words in ("--help", "--version", "record --help", "shwo")],
]


@pytest.mark.parametrize("stages", STAGES, ids=["probe", "report", "command line"])
def test_nothing_is_loaded_before_it_is_needed(stages: list[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> None:
    """Not one of the libraries that take seconds; those that are used are seen."""
    found = printed("".join(code + LIST_LOADED for code, _, _ in stages)).splitlines()
    for loaded, (_, absent, there) in zip(found, stages, strict=True):
        assert [name for name in absent if f"'{name}'" in loaded] == []
        assert [name for name in there if f"'{name}'" not in loaded] == []


def test_type_checkers_see_the_names_that_exist() -> None:
    """`__all__` and the imports under TYPE_CHECKING have the same names, each what its own module calls so."""
    assert probe.__file__ is not None
    blocks = [node for node in ast.parse(Path(probe.__file__).read_text()).body if isinstance(node, ast.If)]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom) and node.module]
    names = sorted(alias.name for node in imports for alias in node.names)
    assert sorted(probe.__all__) == names
    for name in names:
        value = getattr(probe, name)
        assert getattr(sys.modules[value.__module__], name) is value
    with pytest.raises(AttributeError, match="module 'probe' has no attribute 'recrod'"):
        _ = probe.recrod  # pyright: ignore[reportAttributeAccessIssue]


def test_the_front_door_shows_its_names_alone() -> None:
    """In a process that has just imported it, and after names and rooms were used, which can still be reached."""
    used = "import probe.hooks.record, probe.errors; probe.load; probe.plots, probe.examples; from probe import *"
    shown = printed(f"import probe; print(*dir(probe)); {used}; print(*dir(probe)); print(probe.hooks.__name__)")
    assert shown.splitlines() == [" ".join(sorted(probe.__all__))] * 2 + ["probe.hooks"]


BARE = Path(__file__).with_name("bare.py")


def test_all_but_formats_needs_no_extra_and_these_name_their_own() -> None:
    """A process that cannot import the libraries of any extra loads, records, edits, draws, studies and saves."""
    started("-W", "error", BARE)
    code = "import sys; sys.path.insert(0, {!r}); import bare; sys.meta_path.insert(0, bare.Refuse()); import {}"
    for library in ("xarray", "h5py"):
        _, said = started("-c", code.format(str(BARE.parent), library), code=1)
        assert f"ModuleNotFoundError: No module named '{library}'" in said
