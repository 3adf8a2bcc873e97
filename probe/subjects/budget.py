"""How much work a study may do: the bounds on what is recorded, run and searched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Bounds on the work of a study.

    Operations are counted and not timed, so that the same study does the same everywhere.

    Attributes:
        steps: the most steps that are recorded, over all sequences.
        sequences: the most sequences that are recorded.
        whole_runs: the most sequences that are run from states, whole or their ends.
        points: the most steps that are run from states, over all sequences.
        numbers: the most numbers that are held of all steps of a layer.
        recorded: the most numbers that are held of a recording.
        ends: operations for ablating units; how many steps of how many sequences are run from states follows.
        pairs: operations for patching pairs.
        search: operations for searching directions.
        spliced: operations for reading spliced sequences.
        lengths: operations for answering sequences of other lengths.
        most_pairs: the most pairs that are patched.
        called_pairs: the most pairs whose right answers a function of the study gives.
    """

    steps: int = 40_000
    sequences: int = 2_000
    whole_runs: int = 512
    points: int = 60_000
    numbers: int = 40_000_000
    recorded: int = 160_000_000
    ends: float = 1.2e11
    pairs: float = 1.5e11
    search: float = 6e11
    spliced: float = 5e10
    lengths: float = 6e9
    most_pairs: int = 4_096
    called_pairs: int = 8_192
