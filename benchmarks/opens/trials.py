"""Tries one network of a package: `check_step`, the entry point, and the peak of memory of two lengths."""

from __future__ import annotations

import ctypes
import multiprocessing
import tomllib
from datetime import date
from importlib.metadata import version

import torch
from torch import nn

import probe
from probe.testing import check_step

from ..speed import peak
from .cases import ROOT, Case
from .loops import check_loop

#: Rows and steps of the call that is checked.
CHECKED = (3, 12)
#: Rows of the calls whose memory is measured, and their steps; the second may take 2.2 times the first.
ROWS, STEPS, ALLOWED = 32, (1024, 2048), 2.2

#: glibc's M_MMAP_THRESHOLD: from which size on a piece of memory is asked of the system, and given back to it.
_LARGE = -3


def tried(case: Case) -> list[str]:
    """Return the row of the table that a network has, measured now.

    Raises:
        probe.ProbeError: the adapter is wrong.
        ValueError: no entry point names the adapter, or memory grows faster than the sequence.
    """
    torch.set_num_threads(1)  # a process that forks from one with more may wait for ever
    made = case.make(*CHECKED)
    if made.loop is not None:
        found = check_loop(made.module, made.loop, *made.inputs)
    else:
        _check_entry_point(made.module, made.adapter)
        found = check_step(made.adapter, made.module, *made.inputs, **made.keywords)
    first, second = (_peak_elsewhere(case, steps) for steps in STEPS)
    if second > ALLOWED * first:
        raise ValueError(
            f"{case.network}: {STEPS[1]} steps take {second / first:.2f} times the memory of {STEPS[0]}."
        )
    states = ", ".join(f"`{name}` {' x '.join(map(str, shape)) or 1}" for name, shape in found.states.items())
    difference = max(found.stepwise, found.spliced, found.gradient)
    package = f"{case.package} {version(case.package)}"
    return [case.network, package, f"`{found.module}`", states, f"{difference:.1e}", date.today().isoformat()]


def _check_entry_point(module: nn.Module, adapter: type[probe.Step]) -> None:
    kind = type(module)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"{kind.__module__}.{kind.__qualname__}"
    wanted = f"{adapter.__module__}:{adapter.__qualname__}"
    if project["entry-points"]["rnn_probe.adapters"].get(name) != wanted:
        raise ValueError(f'pyproject.toml must say "{name}" = "{wanted}" among its entry points.')


def _peak_elsewhere(case: Case, steps: int) -> int:
    """Return the peak of memory of a process that has what this one has loaded."""
    with multiprocessing.get_context("fork").Pool(1) as process:
        return process.apply(_peak, (case, steps))


def _peak(case: Case, steps: int) -> int:
    """Return by how many bytes a recording of a call takes more than the process had before, at its peak."""
    _ = ctypes.CDLL(None).mallopt(_LARGE, 1 << 12)  # a step's numbers go back at once, so that two runs have one peak
    few, made = case.make(ROWS, CHECKED[1]), case.make(ROWS, steps)
    if made.loop is None:
        probe.register(type(made.module), made.adapter)
    _ = probe.record(
        few.module, *few.inputs, kwargs=few.keywords
    )  # what a run brings into memory once is not counted
    _ = ctypes.CDLL(None).malloc_trim(0)  # nor is there anything free that a run might fill
    before = peak(reset=True)
    recording = probe.record(made.module, *made.inputs, kwargs=made.keywords)
    return (peak() - before) * (len(recording.parts) > 0)
