"""The stored measurements: one file a population, each row tied to question, version, weights and inputs.

A file `RECIPE.csv.xz` is a line of JSON, and below it the table of all its networks turned on its side: a line a
column, so that what is alike stands together and the file is small. While networks are measured, each group of them
has a part of the same form, `RECIPE/MEMBER.csv.xz` under build/; `pack` puts finished parts into the population's
file.

Whether a measurement counts does not depend on the text of any code. A question has a `VERSION`, which is raised by
hand when its definition changes; `analyses.verify` measures a sample again and finds where a value moved without
that.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import lzma
import math
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.checkpoints import weights_digest
from models.counter import Coded
from models.parallel import locked
from probe import ProbeError
from probe.evidence.measurements import COLUMNS, Network
from probe.storage.files import write_atomically

from . import QUESTIONS, common

FOLDER = Path(__file__).parent / "measured"
#: Where workers write, one file a group, until a population's are packed.
PARTS = common.REPOSITORY / "build" / "measured"
SUFFIX = ".csv.xz"
#: Nine digits are more than a difference between two machines leaves.
DIGITS = "%.9g"
#: Computed, not read from a file: another processor rounds their weights otherwise, and must not refuse them.
COMPUTED = ("planted", "readout")
#: Of computed weights what is smaller counts as 0.
SMALL = 1e-9
#: One line holds a column of a whole population.
csv.field_size_limit(sys.maxsize)


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on the networks of a group.

    Attributes:
        networks: their names, each with the digest of its weights and of its inputs, see `digests`.
        versions: the questions, each with the version that it had.
        tables: the questions, each with its table.
        made: the questions, each with what it was measured by: libraries, and the commit of the code. Information
            only.
    """

    networks: Mapping[str, str]
    versions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = dataclasses.field(default_factory=dict)
    made: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def missing(self, networks: Mapping[str, str], questions: Iterable[str]) -> list[str]:
        """Return which questions were not measured in their present version on these networks."""
        if dict(self.networks) != dict(networks):
            return list(questions)
        return [name for name in questions if self.versions.get(name) != version_of(name)]

    def counting(self, networks: Mapping[str, str]) -> Measured:
        """Return the part of it that counts for some networks: theirs, and in the present version of its question."""
        missing = self.missing(networks, self.tables)
        return dataclasses.replace(self.only(set(self.tables) - set(missing)), networks=networks)

    def only(self, questions: Iterable[str]) -> Measured:
        """Return the part of it that answers some questions, in the order in which a page tells them."""
        kept = [name for name in QUESTIONS if name in set(questions) and name in self.tables]
        return Measured(
            self.networks,
            {name: self.versions[name] for name in kept},
            {name: self.tables[name] for name in kept},
            {name: self.made[name] for name in kept},
        )


def version_of(question: str) -> int:
    """Return the version of a question's definition: `VERSION` of its module."""
    return import_module(f"analyses.{question}").VERSION


@cache
def environment() -> dict[str, str]:
    """Return what measures here: Python, libraries, and the commit of the code.

    The commit has a `+` where files were changed.
    """
    found = {"python": platform.python_version()} | {name: version(name) for name in common.LIBRARIES}
    try:
        words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(words, cwd=common.REPOSITORY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return found | {"commit": "unknown"}
    return found | {"commit": done.stdout.strip()}


def write(path: Path, groups: Mapping[str, Measured]) -> Path:
    """Write the measurements of groups and return the path.

    Args:
        path: of a population's file, or of a part.
        groups: by member, see `analyses.study.Group`.

    Raises:
        ProbeError: the file cannot be written.
    """
    groups = {member: each.only(each.tables) for member, each in groups.items()}
    made = list(
        {
            json.dumps(dict(one), sort_keys=True): one for each in groups.values() for one in each.made.values()
        }.values()
    )
    about = {
        "made": made,
        "groups": {
            member: {
                "networks": dict(each.networks),
                "questions": {name: [each.versions[name], made.index(each.made[name])] for name in each.tables},
            }
            for member, each in groups.items()
        },
    }
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for column, values in _columns(groups).items():
        writer.writerow([column, *values])
    body = rows.getvalue()
    head = json.dumps(about | {"sha256": _digest(about, body)})
    return write_atomically(path, lzma.compress(f"{head}\n{body}".encode(), preset=6))


def _columns(groups: Mapping[str, Measured]) -> dict[str, list[str]]:
    """Return the tables as texts by column; the first rows of all groups come first, then the second ones, and so on.

    What stands in one place of many tables is alike, and so becomes small; each group's own order can still be read.
    """
    tables = [
        table.assign(question=question, member=member, place=range(len(table)))
        for member, each in groups.items()
        for question, table in each.tables.items()
    ]
    names = ["member", *COLUMNS]
    if not tables:
        return {name: [] for name in names}
    every = pd.concat(tables, ignore_index=True)
    ranks = every["question"].map({name: rank for rank, name in enumerate(QUESTIONS)})
    # The sort is stable: within one place the groups keep their order.
    every = every.iloc[np.lexsort([every["place"].to_numpy(), ranks.to_numpy()])]
    texts = {
        name: every[name].astype(str).where(every[name].notna(), "").tolist() for name in names if name != "value"
    }
    return texts | {"value": [DIGITS % value for value in every["value"].tolist()]}


def read(path: Path) -> dict[str, Measured]:
    """Return what `write` wrote, by member. The tables are shared between calls: do not change them.

    Raises:
        ProbeError: the file is missing or damaged.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ProbeError(_unreadable(path, error)) from error
    return dict(_read(path, (status.st_mtime_ns, status.st_size)))


@lru_cache(maxsize=64)
def _read(path: Path, stamp: tuple[int, int]) -> dict[str, Measured]:
    del stamp  # what changes with the file
    try:
        head, _, body = lzma.decompress(path.read_bytes()).decode().partition("\n")
        about = json.loads(head)
        if about.pop("sha256") != _digest(about, body):
            raise ValueError("its content is not what was written")
        columns = {row[0]: row[1:] for row in csv.reader(io.StringIO(body))}
        return _groups(about, columns)
    except (OSError, EOFError, lzma.LZMAError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProbeError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    if not path.parent.exists():
        return (
            f"The folder {str(path.parent)!r} does not exist. Give one that holds measurements, or fill it: `make "
            "study` fills analyses/measured, and `python -m analyses --recipe all` with this --measured any other."
        )
    return f"{str(path)!r} cannot be read as measurements ({error}). Measure it again: `make study` does."


def _groups(about: Mapping[str, Any], columns: Mapping[str, list[str]]) -> dict[str, Measured]:
    """Return measurements by member from the lines of a file."""
    every = pd.DataFrame({name: columns[name] for name in COLUMNS}, dtype=str)
    for name in ("seed", "step"):
        every[name] = pd.array([int(each) if each else None for each in columns[name]], dtype="Int64")
    every["value"] = np.array(columns["value"], dtype=float)
    rows = every.groupby(
        [np.array(columns["member"], dtype=object), every["question"].to_numpy()], sort=False
    ).indices
    nothing = every.iloc[:0]
    found = {}
    for member, each in about["groups"].items():
        tables = {
            name: every.iloc[rows[member, name]].reset_index(drop=True) if (member, name) in rows else nothing
            for name in each["questions"]
        }
        versions = {name: pair[0] for name, pair in each["questions"].items()}
        made = {name: about["made"][pair[1]] for name, pair in each["questions"].items()}
        found[member] = Measured(each["networks"], versions, tables, made)
    return found


def _digest(about: Mapping[str, object], body: str) -> str:
    return hashlib.sha256(f"{json.dumps(about, sort_keys=True)}\n{body}".encode()).hexdigest()


def held(folder: Path, parts: Path, recipe: str, member: str, networks: Mapping[str, str]) -> Measured:
    """Return what counts of a group: what its population's file has of it, and what its part has beside that.

    What was measured on other weights or inputs or in another version is left out; a part that is damaged counts as
    nothing.

    Raises:
        ProbeError: the population's file is damaged.
    """
    population, part = folder / f"{recipe}{SUFFIX}", parts / recipe / f"{member}{SUFFIX}"
    found = Measured(networks)
    with contextlib.suppress(ProbeError):
        found = read(part).get(member, found).counting(networks)
    if population.exists():
        found = _joined(found, read(population).get(member, found).counting(networks))
    return found


def add(parts: Path, recipe: str, member: str, new: Measured) -> Path:
    """Write what was measured of a group into its part, beside what is there, and return the path.

    Raises:
        ProbeError: the file cannot be written.
    """
    with locked(parts / recipe, "writing measurements"):
        path = parts / recipe / f"{member}{SUFFIX}"
        for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed while it wrote
            left.unlink()
        known = Measured(new.networks)
        with contextlib.suppress(ProbeError):
            known = _joined(known, read(path).get(member, known))
        return write(path, {member: _joined(known, new)})


def pack(folder: Path, parts: Path, recipe: str, groups: Mapping[str, Mapping[str, str]]) -> int:
    """Put the parts of some groups into their population's file, remove them, and return how many there were.

    An answer in the file that counts stays; of a part only what counts is taken. A part that is damaged is removed.

    Args:
        folder: where the populations' files lie.
        parts: where the parts lie.
        recipe: whose.
        groups: by member the digests of its networks; the parts of other members stay where they are.

    Raises:
        ProbeError: the population's file is damaged, or cannot be written. No part is then removed.
    """
    with locked(parts / recipe, "writing measurements"):
        paths = {member: parts / recipe / f"{member}{SUFFIX}" for member in groups}
        there = [member for member, path in paths.items() if path.exists()]
        if not there:
            return 0
        path = folder / f"{recipe}{SUFFIX}"
        packed = read(path) if path.exists() else {}
        for member in there:
            packed[member] = held(folder, parts, recipe, member, groups[member])
        write(path, {member: packed[member] for member in sorted(packed, key=lambda name: (len(name), name))})
        for member in there:
            paths[member].unlink()
    return len(there)


def _joined(old: Measured, new: Measured) -> Measured:
    """Return two measurements of one group as one; the newer answers count, and alone where the networks differ."""
    if dict(old.networks) != dict(new.networks):
        return new
    versions, made = {**old.versions, **new.versions}, {**old.made, **new.made}
    joined = Measured(new.networks, versions, {**old.tables, **new.tables}, made)
    return joined.only(joined.tables)


def gather(
    groups: Iterable[tuple[Path, str, Mapping[str, str]]], questions: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """Return the tables of several groups, one a question.

    Args:
        groups: of each its population's file, its member and the digests of its networks.
        questions: which tables; every group must have them.

    Raises:
        ProbeError: a file is missing or damaged; a group lacks a question, or was measured on other weights or
            inputs or in another version of a question.
    """
    parts: dict[str, list[pd.DataFrame]] = {question: [] for question in questions}
    for path, member, networks in groups:
        found = read(path).get(member, Measured({}))
        if dict(found.networks) != dict(networks):
            raise ProbeError(
                f"{str(path)!r} holds nothing that was measured of {', '.join(networks)} with the weights and "
                "inputs that they have here. `make study` measures what is missing."
            )
        stale = found.missing(networks, questions)
        if stale:
            said = ", ".join(
                f"{name} (version {version_of(name)}; there: {found.versions.get(name, 'none')})" for name in stale
            )
            raise ProbeError(
                f"{str(path)!r} lacks answers of {member}: {said}. `make study` measures what is missing and "
                "keeps the rest."
            )
        for question in questions:
            parts[question].append(found.tables[question])
    return {question: pd.concat(tables, ignore_index=True) for question, tables in parts.items() if tables}


def digests(networks: Iterable[Network]) -> dict[str, str]:
    """Return what each network's measurements are tied to: a digest of its weights, `+`, one of its inputs."""
    return {network.name: f"{_weights(network)[:16]}+{_inputs(network)[:16]}" for network in networks}


def _weights(network: Network) -> str:
    """Return the SHA-256 of weights; of those that are computed here six digits of each count."""
    if network.subject not in COMPUTED:
        return weights_digest(network.model)
    found = hashlib.sha256()
    for name, tensor in sorted(network.model.state_dict().items()):
        # Beside a fitted head the weights are those of a file.
        rounded = network.subject == "planted" or "head." in name
        # Over pi: a short binary fraction may lie just between two roundings, and its last bit would decide.
        listed = [each if abs(each) > SMALL else 0.0 for each in tensor.flatten().tolist()]
        numbers = " ".join(f"{each / math.pi:.5e}" for each in listed).encode()
        found.update(
            f"{name} {tuple(tensor.shape)}".encode() + (numbers if rounded else tensor.contiguous().numpy().tobytes())
        )
    return found.hexdigest()


def _inputs(network: Network) -> str:
    """Return the SHA-256 of what a network is given: the strings in its code of bits, its split and its question."""
    own = network if isinstance(network, common.Studied) else common.Studied("", "", network.model)
    code = (own.model.zero, own.model.one) if isinstance(own.model, Coded) else (0.0, 1.0)
    given = json.dumps([code, own.train, own.test, own.asked]).encode()
    return hashlib.sha256(common.STRINGS.numpy().tobytes() + given).hexdigest()
