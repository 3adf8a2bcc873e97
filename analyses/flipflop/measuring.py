"""What the study asks of flip-flops: three questions, a table for each cell, and the verdicts of the rules."""

from __future__ import annotations

import io
import json
import lzma
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analyses.counter import measured
from analyses.flipflop.rules import RULES
from analyses.flipflop.subjects import CELLS, Networks, subjects
from models.flipflop import stored
from models.flipflop.task import BITS
from probe.evidence import Claim, judge
from probe.evidence.measurements import TYPES, only
from probe.questions.answers import step_answers
from probe.questions.interventions import single_answers
from probe.questions.states import stable_answers
from probe.storage.digests import of_file
from probe.storage.files import write_atomically
from probe.studies.workers import parallel

FOLDER = Path(__file__).parent / "measured"
#: Raised by hand when what is asked, or how, changes.
VERSION = 1
#: Steps after which states are patched; noise on the starts of the search for fixed points, as Golub & Sussillo 2018.
STEPS, STARTS, NOISE = (3, 7, 11), 400, 0.5
#: Nine digits are more than a difference between two machines leaves.
DIGITS = "%.9g"


def measure(networks: Networks, *, controls: bool = True) -> pd.DataFrame:
    """Return what all questions measure of networks of one cell, one table.

    The network before its training has a random head, and is asked for its fixed points alone; the fitted head is
    asked everything.

    Args:
        networks: trained flip-flops.
        controls: whether their controls are measured too.
    """
    asked = subjects(networks, controls=controls)
    answering = [subject for subject in asked if subject.network.role != "own initialisation"]
    tables = [
        step_answers.measure(answering),
        stable_answers.measure(asked, silent=torch.zeros(BITS).double(), starts=STARTS, noise=NOISE),
        single_answers.measure(answering, steps=STEPS),
    ]
    return pd.concat(tables, ignore_index=True)


def claims(table: pd.DataFrame) -> tuple[Claim, ...]:
    """Return the verdicts of the rules on the table of one cell."""
    return judge(table, RULES)


def write(cell: str) -> Path:
    """Measure the committed networks of a cell, write the table and what it was made from, and return its path.

    Args:
        cell: `lstm`, `gru` or `rnn`.

    Raises:
        ProbeError: a network is missing or damaged, or the table cannot be written.
    """
    text = measure(stored.networks(cell)).to_csv(index=False, float_format=DIGITS, lineterminator="\n")
    path = write_atomically(_table(cell), lzma.compress(text.encode()))
    about = made_from(cell) | {"table": of_file(path), "environment": measured.environment()}
    _ = write_atomically(_about(cell), json.dumps(about, indent=1) + "\n")
    return path


def made_from(cell: str) -> dict[str, Any]:
    """Return what a table of a cell is tied to: the version of the measurement, and the digest of all weights."""
    return {"version": VERSION, "weights": of_file(stored.ZOO / f"{cell}.safetensors")}


def about(cell: str) -> dict[str, Any]:
    """Return what was written beside the table of a cell; nothing where there is none, or it cannot be read."""
    try:
        found = json.loads(_about(cell).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_current(cell: str) -> bool:
    """Return whether the table of a cell is there, whole, and measured on the weights that are here."""
    wanted, found = made_from(cell), about(cell)
    if not _table(cell).is_file() or {name: found.get(name) for name in wanted} != wanted:
        return False
    return found.get("table") == of_file(_table(cell))


def tables(jobs: int = 1, *, again: bool = False) -> dict[str, pd.DataFrame]:
    """Return the measurements of every cell; those that are missing or of other weights are made first.

    Args:
        jobs: how many cells are measured at a time, each in a process.
        again: measure all of them anew.

    Raises:
        ProbeError: a network is missing or damaged, or there are fewer than 1 jobs.
    """
    stale = [(cell,) for cell in CELLS if again or not is_current(cell)]
    _ = list(parallel(write, stale, jobs=jobs)) if stale else []
    return {cell: read(cell) for cell in CELLS}


def values(table: pd.DataFrame, metric: str, role: str = "trained") -> pd.Series:
    """Return a metric's value of each network of one role, by pair.

    Args:
        table: the measurements of one cell.
        metric: one with a value a network.
        role: of the networks.
    """
    return only(table, metric=metric, role=role).set_index("pair")["value"]


def read(cell: str) -> pd.DataFrame:
    """Return the measurements that `write` stored."""
    text = io.BytesIO(lzma.decompress(_table(cell).read_bytes()))
    table = pd.read_csv(text, keep_default_na=False, na_values={name: [""] for name in TYPES}, dtype=object)
    return table.astype(dict.fromkeys(TYPES, float)).astype({**TYPES})


def _table(cell: str) -> Path:
    return FOLDER / f"{cell}.csv.xz"


def _about(cell: str) -> Path:
    return FOLDER / f"{cell}.json"
