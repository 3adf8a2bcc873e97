"""Measurements on disk: one file a trained network with its twins, tied to the weights and the code they come from.

A file `RECIPE/seed-N.csv.xz` is a line of JSON and the tables of all questions below it. It is replaced whole or
not at all, so a killed worker leaves the last good one; what is missing or stale in it is measured again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from models.locks import locked
from probe import ProbeError
from probe.files import write_atomically
from probe.measurements import COLUMNS, Network

from . import QUESTIONS, sources

FOLDER = Path(__file__).parent / "measured"
#: As a CSV has them; nine digits are more than a difference between two machines leaves.
TYPES = {"seed": "Int64", "step": "Int64", "value": float}
DIGITS = "%.9g"
#: Of a network: what has a digest of its own, and what only says how it is shown.
NOT_MEASURED = ("model", "checkpoint", "detail")


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on some networks.

    Attributes:
        weights: the networks' names, each with its digest, see `weights_of`.
        code: the questions, each with the digest of the code that measured it, see `sources.digest`.
        tables: the questions, each with its table.
    """

    weights: Mapping[str, str]
    code: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)

    def fresh(self, question: str) -> bool:
        """Return whether a question was measured, and by the code that is here."""
        return question in self.tables and self.code.get(question) == code_of(question)


@cache
def code_of(question: str) -> str:
    """Return the digest of the code that measures a question; it does not change while a program runs."""
    return sources.digest(question)


def write(path: Path, measured: Measured) -> Path:
    """Write measurements and return the path.

    Raises:
        ProbeError: the file cannot be written.
    """
    tables = [table.assign(question=question) for question, table in measured.tables.items()]
    every = pd.concat(tables, ignore_index=True)[list(COLUMNS)] if tables else pd.DataFrame(columns=list(COLUMNS))
    body = every.to_csv(index=False, float_format=DIGITS, lineterminator="\n")
    about = {"weights": dict(measured.weights), "code": dict(measured.code)}
    head = json.dumps(about | {"sha256": _digest(about, body)}, sort_keys=True)
    return write_atomically(path, lzma.compress(f"{head}\n{body}".encode(), preset=6))


def add(path: Path, found: Measured) -> Path:
    """Write measurements beside those that are there and right, and return the path.

    Another process may have written others of the same networks since this one began: those are kept.

    Raises:
        ProbeError: the file cannot be written.
    """
    with locked(path.parent, "writing measurements"):
        for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed while it wrote
            left.unlink()
        known = missing(path, found.weights, ())[0]
        tables, code = {**known.tables, **found.tables}, {**known.code, **found.code}
        order = [name for name in QUESTIONS if name in tables]
        return write(path, Measured(found.weights, {n: code[n] for n in order}, {n: tables[n] for n in order}))


def read(path: Path) -> Measured:
    """Return what `write` wrote.

    Raises:
        ProbeError: the file is missing or damaged.
    """
    try:
        head, _, body = lzma.decompress(path.read_bytes()).decode().partition("\n")
        about = json.loads(head)
        if about.pop("sha256") != _digest(about, body):
            raise ValueError("its content is not what was written")
        every = pd.read_csv(
            io.StringIO(body),
            dtype=dict.fromkeys(COLUMNS, str) | TYPES,
            keep_default_na=False,
            na_values={"seed": [""], "step": [""], "value": ["", "nan"]},
        )
        tables = {question: every[every["question"] == question].reset_index(drop=True) for question in about["code"]}
        return Measured(about["weights"], about["code"], tables)
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProbeError(
            f"{str(path)!r} cannot be read as measurements ({error}). Measure it again: `make study` does."
        ) from error


def _digest(about: Mapping[str, Mapping[str, str]], body: str) -> str:
    return hashlib.sha256(f"{json.dumps(about, sort_keys=True)}\n{body}".encode()).hexdigest()


def missing(path: Path, weights: Mapping[str, str], questions: Sequence[str]) -> tuple[Measured, list[str]]:
    """Return what is already there and right, and which questions are not.

    A file of other weights, and a damaged one, count as nothing; a question measured by other code is left out.
    """
    try:
        found = read(path)
    except ProbeError:
        found = Measured(weights)
    if dict(found.weights) != dict(weights):
        found = Measured(weights)
    kept = [question for question in found.tables if found.fresh(question)]
    whole = Measured(weights, {name: found.code[name] for name in kept}, {name: found.tables[name] for name in kept})
    return whole, [question for question in questions if question not in kept]


def gather(paths: Iterable[tuple[Path, Mapping[str, str]]], questions: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the tables of several files, one a question.

    Args:
        paths: the files, each with the weights of its networks.
        questions: which tables; every file must have them.

    Raises:
        ProbeError: a file is missing or damaged, was measured on other weights or by other code, or lacks a question.
    """
    parts: dict[str, list[pd.DataFrame]] = {question: [] for question in questions}
    for path, weights in paths:
        found = read(path)
        if dict(found.weights) != dict(weights):
            raise ProbeError(
                f"{str(path)!r} was measured on other weights than those of {', '.join(weights)}, or they had "
                "another split or code of bits. `make study` measures them."
            )
        stale = [question for question in questions if not found.fresh(question)]
        if stale:
            raise ProbeError(
                f"{str(path)!r} was measured by other code than what is here, or not at all: {', '.join(stale)}. "
                "`make study` measures what changed and keeps the rest."
            )
        for question in questions:
            parts[question].append(found.tables[question])
    return {question: pd.concat(tables, ignore_index=True) for question, tables in parts.items() if tables}


def weights_of(networks: Iterable[Network]) -> dict[str, str]:
    """Return a digest of each network by its name: of its weights, `+`, and of all else that a measurement is given.

    The latter is its subject, seed and split, and in which code it reads its bits, which are in no weight.
    """
    return {network.name: f"{_weights(network)}+{_rest(network)[:16]}" for network in networks}


def _weights(network: Network) -> str:
    """Return the SHA-256 of weights that lie on disk, which is their file's, or of what computes them.

    Another processor rounds computed weights otherwise, and must not refuse what was measured with the others.
    """
    from .common import weights_digest

    if network.subject == "planted":
        return planted_code()
    if network.subject != "readout":
        return weights_digest(network.model)
    found = hashlib.sha256()
    for name, tensor in network.model.state_dict().items():
        # Its head was fitted here; a trained network's weights were read.
        fitted = "head." in name
        found.update(" ".join(f"{each:.5e}" for each in tensor.flatten().tolist()).encode() if fitted else b"")
        found.update(b"" if fitted else tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


@cache
def planted_code() -> str:
    """Return the digest of the code that plants networks; it does not change while a program runs."""
    return sources.digest_from([("models.planted", None)])


def _rest(network: Network) -> str:
    given = {each.name: getattr(network, each.name) for each in dataclasses.fields(network)}
    own = [each for each in network.model.modules() if type(each).__module__.partition(".")[0] in sources.OWN]
    built = [
        (type(each).__name__, {key: value for key, value in vars(each).items() if key[0] != "_"}) for each in own
    ]
    ordered = [(key, given[key]) for key in sorted(given) if key not in NOT_MEASURED]
    return hashlib.sha256(repr((ordered, built)).encode()).hexdigest()
