"""The mark of a report's folder, `study.json`: whose study it is, and the digests of the page and the findings."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ProbeError
from ..evidence.findings import FINDING, Finding
from ..storage import digests
from ..storage.damaged import ERRORS
from ..storage.files import read_bytes, write_atomically
from .identity import NETWORKS
from .store import SUFFIX

FINDINGS, MARK, PAGE, MEASURED = "findings", "study.json", "index.html", "measured"
#: What a study writes beside its mark.
WRITTEN = (FINDINGS, PAGE, MEASURED)
#: What the mark calls the digests of the networks, by name, and those of the files.
EACH, FILES = "each network", "files"


def claim(folder: Path, parts: Mapping[str, str], networks: Mapping[str, str], *, overwrite: bool) -> None:
    """Mark a folder as a study's, unless it holds the answers of another study; those that are replaced are removed.

    A study is the same when networks are added to it. Where the mark is damaged, the findings say whose it is.

    Args:
        folder: of the report.
        parts: the digests of the study's parts.
        networks: those of its networks, by name.
        overwrite: whether the answers of another study are removed.
    """
    mark = folder / MARK
    if mark.is_file():
        known, damage = _known(folder)
        before: Mapping[str, Any] = known or parts
        kept = before.get(EACH, {}).items() <= networks.items()
        changed = [name for name in parts if before.get(name) != parts[name] and not (kept and name == NETWORKS)]
        if changed and not overwrite:
            raise ProbeError(
                f"{str(folder)!r} holds the report of another study: {', '.join(changed)} differ. Give another "
                "folder, or --overwrite (overwrite=True) to replace it."
            )
        if damage and not overwrite:
            warnings.warn(
                f"{str(mark)!r} is damaged ({damage}). We go on with what is whole: what was measured counts where "
                "its network and inputs are the same, and findings and page are made anew.",
                stacklevel=2,
            )
    elif any((folder / name).exists() for name in (PAGE, FINDINGS)) and not overwrite:
        raise ProbeError(
            f"{str(folder)!r} holds {PAGE!r} or {FINDINGS!r}, and we cannot tell whether they belong to a study. "
            "Give another folder, or --overwrite (overwrite=True) to replace them."
        )
    if overwrite:
        for finding in (folder / FINDINGS).glob(f"*/{FINDING}"):
            shutil.rmtree(finding.parent)
        for part in (folder / MEASURED).rglob(f"*{SUFFIX}"):
            part.unlink()
    _ = write_atomically(mark, _text({**parts, EACH: dict(networks)}))


def finish(folder: Path) -> None:
    """Add the digests of the page and the findings to the mark, when all of them are written."""
    files = [folder / PAGE, *sorted((folder / FINDINGS).glob(f"*/{FINDING}"))]
    told = {file.relative_to(folder).as_posix(): digests.of_file(file) for file in files}
    _ = write_atomically(folder / MARK, _text({**_read(folder / MARK), FILES: told}))


def check(folder: Path) -> None:
    """Raise ValueError, or what a library raises, where a report's mark or a file that it names is damaged."""
    files = _read(folder / MARK).get(FILES)
    if files is None and (folder / PAGE).exists():
        raise ValueError(
            f"the study was stopped before it wrote {PAGE!r}, which is of an earlier run. Run it again: it measures "
            "what is missing, and nothing else"
        )
    for name, digest in (files or {}).items():
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{name[:60]!r} is no file of the folder")
        if digests.of_file(folder / name) != digest:
            raise ValueError(f"{name!r} was damaged or changed after it was written: its digest differs")


def _read(mark: Path) -> dict[str, Any]:
    """Return what a mark says.

    Raises:
        ValueError: it is not as it was written, to the byte.
    """
    content = read_bytes(mark)
    told = json.loads(content)
    digests.check_seal(told)
    del told[digests.KEY]
    if _text(told).encode() != content:
        raise ValueError("it was changed after it was written")
    return told


def _text(told: Mapping[str, Any]) -> str:
    return json.dumps(digests.sealed(told), indent=2) + "\n"


def _known(folder: Path) -> tuple[dict[str, Any], str]:
    """Return what is known of a folder's study, and what is wrong with its mark.

    Of a damaged mark it is what the first finding says that is whole; nothing where none is.
    """
    try:
        return _read(folder / MARK), ""
    except ERRORS as error:
        damage = str(error).partition("\n")[0][:200]
    for about in sorted((folder / FINDINGS).glob(f"*/{FINDING}")):
        with suppress(ProbeError, *ERRORS):
            return dict(Finding.read(about.parent).provenance["study"]), damage
    return {}, damage
