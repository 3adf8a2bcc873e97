"""How alike networks are that differ in their seed: what is told of their spread."""

from __future__ import annotations

from torch import nn

from analyses.counter import seed_agreement
from analyses.counter.alignment import STEP
from probe.evidence.measurements import Network, measurement, tabulate


def test_the_directions_that_are_needed_are_the_fewest_that_go_far_enough() -> None:
    """One network needs two of three, for another none is enough; other steps and coordinates do not count."""
    scores = {"a": (0.5, 0.96, 0.94), "b": (0.1, 0.2, 0.3)}
    rows = [
        measurement(
            "alignment",
            "alignment_score",
            Network(name, "trained", nn.Identity()),
            score,
            kind=kind,
            at=rank,
            step=step,
        )
        for name, by_rank in scores.items()
        for rank, value in enumerate(by_rank, start=1)
        for kind, step, score in (("raw", STEP, value), ("raw", STEP + 1, 1.0), ("standardised", STEP, 1.0))
    ]
    most, needed = seed_agreement._needed_directions(tabulate(rows))
    assert most == 3
    assert needed.to_dict() == {"a": 2, "b": 4}
