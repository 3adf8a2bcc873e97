"""The counter that `make train` trained on this machine, as a study of its own: `make report` writes its page."""

from __future__ import annotations

from analyses.counter.common import REPOSITORY, STRINGS, counted
from models import zoo
from models.recipes import recipe
from models.training import initialise
from probe import Readout, Study

FOLDER = REPOSITORY / "build" / "models" / "counter" / "seed-0"

_trained = zoo.checkpoint(FOLDER)
study = Study(
    {"trained": [_trained.model], "own initialisation": [initialise(recipe("counter"), _trained.seed).eval()]},
    STRINGS,
    {"count": counted},
    readout=Readout("count"),
    title="The counter that was trained on this machine",
)
