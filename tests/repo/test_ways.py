"""`python -m benchmarks.ways` counts the files that a call from outside runs through, and no others."""

from __future__ import annotations

from runpy import run_path

import torch
from torch import nn

import probe
from benchmarks.ways import Ways, study_of_readme
from probe import intervals


def test_files_of_a_call_are_counted_until_it_returns() -> None:
    """What checks its arguments counts, a call within another is a part of that, and what comes after does not."""
    model, x = nn.LSTM(1, 2), torch.randn(3, 2, 1)
    with Ways(record=probe.record, random=probe.random_weights) as ways:
        found = probe.record(model, x)
        _ = found.plot
    alone = set(ways.entered["record"])
    assert {"arguments.py", "hooks/record.py", "recurrent/cells/lstm.py"} <= alone
    assert not any(file.startswith(("plots/", "probes/")) for file in alone)
    with Ways(record=probe.record, random=probe.random_weights) as ways:
        _ = probe.random_weights(model, x, count=1)
    assert not ways.entered["record"]
    assert {"hooks/record.py", "probes/random_recordings.py"} <= set(ways.entered["random"])


def test_what_is_only_imported_is_counted_apart() -> None:
    """A file whose module runs, and none of its functions, is no part of a call's way."""

    def call() -> None:
        _ = run_path(intervals.__file__)

    with Ways(importing=call) as ways:
        call()
    assert not ways.entered["importing"]
    assert ways.only_imported("importing") == {"intervals.py"}


def test_the_study_of_readme_is_found() -> None:
    """It is one block, which runs a study."""
    assert study_of_readme().rstrip().endswith('.run("report")')
