"""`Finding`: the answer to one question as a folder of measurements, claims, figures and their tables."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProbeError, several
from ..showing import show
from ..storage import digests
from ..storage.damaged import ERRORS
from ..storage.files import as_path, read_bytes, write_atomically
from .claims import Claim
from .measurements import COLUMNS, TYPES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

#: The file in which a finding says what it is, with the digests of its other files.
FINDING = "finding.json"


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV with six significant digits, so that reruns on one machine give the same bytes."""
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def of_csv(content: bytes) -> pd.DataFrame:
    """Return a table of measurements from what `to_csv` wrote."""
    import pandas as pd

    return pd.read_csv(
        io.BytesIO(content),
        dtype=dict.fromkeys((name for name in COLUMNS if name not in TYPES), str) | {**TYPES},
        keep_default_na=False,
        na_values={name: ["", "nan"] for name in TYPES},
    )


@dataclass(frozen=True, eq=False)
class DataFigure:
    """A picture with the table behind it.

    Attributes:
        name: file name without an ending.
        title: what it shows, in a few words.
        alt: what a reader who cannot see it needs to know, with numbers.
        caption: how to read it.
        data: the numbers drawn.
        svg: the picture as SVG.
        figure: what it was drawn in, or None where it was read from disk.
    """

    name: str
    title: str
    alt: str
    caption: str
    data: pd.DataFrame
    svg: str
    figure: Figure | None = None

    def __repr__(self) -> str:
        return f"DataFigure {self.name!r}: {self.title} ({several(len(self.data), 'row')} behind it)"

    def _repr_png_(self) -> bytes | None:
        """Show the picture in a notebook; one that was read from disk may be anybody's, and is not shown."""
        return self.png

    @property
    def png(self) -> bytes | None:
        """The picture as PNG, drawn when it is asked for; None where it was read from disk."""
        from ..report.svg import settled

        if self.figure is None:
            return None
        buffer = io.BytesIO()
        with settled(self.figure):
            self.figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
        return buffer.getvalue()

    @classmethod
    def from_figure(
        cls,
        figure: Figure,
        *,
        name: str,
        title: str,
        alt: str,
        caption: str,
        data: pd.DataFrame,
        max_bytes: int | None = None,
    ) -> DataFigure:
        """Return a matplotlib figure as SVG, deterministic to the byte.

        Columns of a table of measurements that apply to none of the rows are left out of the data. `max_bytes` is
        what the SVG may weigh, see `probe.report.figure_to_svg`; None for its default.
        """
        from ..report.svg import MAX_BYTES, figure_to_svg

        svg = figure_to_svg(figure, name=name, max_bytes=max_bytes or MAX_BYTES)
        return cls(name, title, alt, caption, _applying(data), svg, figure)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the picture for a paper or a talk, and return the paths: NAME.svg, NAME.pdf and NAME.png.

        None of them depends on a font of the reader's: letters are outlines in the SVG, embedded in the PDF, and
        pixels in the PNG, which has 300 an inch. What has many marks is pixels in all three.

        Args:
            folder: where they go.

        Raises:
            ProbeError: the picture was read from disk, or a file cannot be written.
        """
        from ..report.svg import for_papers

        if self.figure is None:
            raise ProbeError(
                f"Figure {self.name!r} is a page's SVG alone: it was read from a folder or made without from_figure. "
                "Draw it anew for papers: with --figures DIR, Study.run(..., figures=DIR), or save_figures of a "
                "finding that was just made."
            )
        files = for_papers(self.figure, name=self.name)
        return [write_atomically(as_path(folder) / f"{self.name}.{form}", data) for form, data in files.items()]


def _applying(data: pd.DataFrame) -> pd.DataFrame:
    empty = [name for name in COLUMNS if name in data and (data[name].isna() | (data[name] == "")).all()]
    return data.drop(columns=empty)


@dataclass(frozen=True, eq=False)
class Finding:
    """What an analysis found.

    Attributes:
        question: the question's name, which is its folder's name.
        title: the question in words.
        measurements: the tidy table.
        claims: the judged rules.
        figures: the pictures.
        provenance: what it was made from and how: code, weights, versions, and as `python` a line that gets it.
        notes: sentences computed from the measurements that a page prints as they are.
    """

    question: str
    title: str
    measurements: pd.DataFrame
    claims: tuple[Claim, ...] = ()
    figures: tuple[DataFigure, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"Finding {self.question!r}: {self.title}"]
        lines += [f"  {claim.rule.key}: {claim.verdict}, {claim.rule.statement}" for claim in self.claims]
        lines += [f"  {figure!r}" for figure in self.figures]
        return "\n".join([*lines, f"  {len(self.measurements)} measurements"])

    def _repr_html_(self) -> str:
        """Show the finding in a notebook: its claims, and what it holds besides."""
        return show(self, "_repr_html_")

    def write(self, folder: str | os.PathLike[str]) -> Path:
        """Write the finding as a folder and return its path.

        Each file is written whole or not at all; `finding.json` comes last and lists the others with their digests.

        Raises:
            ProbeError: a file cannot be written.
        """
        folder = as_path(folder)
        files: dict[str, str | bytes] = {
            "measurements.csv": to_csv(self.measurements),
            "claims.json": _json([_rounded(claim.to_dict()) for claim in self.claims]),
        }
        entries = []
        for figure in self.figures:
            base = f"figures/{figure.name}"
            files |= {f"{base}.svg": figure.svg, f"{base}.csv": to_csv(figure.data)}
            entries.append(
                {"name": figure.name, "title": figure.title, "alt": figure.alt, "caption": figure.caption}
                | {"data": f"figures/{figure.name}.csv", "svg": f"figures/{figure.name}.svg"}
            )
        files["figures.json"] = _json(entries)
        written = {name: digests.of_file(write_atomically(folder / name, content)) for name, content in files.items()}
        about = {"question": self.question, "title": self.title}
        about |= {"provenance": dict(self.provenance), "notes": dict(self.notes), "files": written}
        write_atomically(folder / FINDING, _json(digests.sealed(about)))
        return folder

    def save_figures(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write every figure for a paper or a talk into a folder, see `DataFigure.save`, and return the paths.

        Args:
            folder: gets NAME.svg, NAME.pdf and NAME.png of each figure.

        Raises:
            ProbeError: the finding was read from a folder, which holds no more than the page's pictures, or a file
                cannot be written.
        """
        return [path for figure in self.figures for path in figure.save(folder)]

    def lines(self, files: Sequence[Path] = ()) -> list[str]:
        """Return what a script prints of a finding: its answer, its verdicts, and its figures, if it has some.

        Args:
            files: of the figures.
        """
        counted = Counter(claim.verdict for claim in self.claims)
        verdicts = ", ".join(f"{number} {verdict}" for verdict, number in counted.items())
        return [
            f"{self.question.replace('_', '-')}: {self.notes.get('answer', self.title)}",
            f"  {verdicts or 'no rule to judge'}",
            *(f"    {claim.rule.key:<4} {_judged(claim)}" for claim in self.claims),
            *(f"  {path}" for path in files),
            *([] if self.figures else ["  no figure: the question draws none"]),
        ]

    def python(self, place: int | None = None) -> str:
        """Return the line of Python that gets a figure by its place, or all; empty where the provenance has none."""
        code, comment, where = str(self.provenance.get("python", "")).partition("  # ")
        return code and f"{code}.figures{'' if place is None else f'[{place}]'}{comment}{where}"

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Finding:
        """Return the finding that `write` left in a folder; every file in it is compared with its digest.

        Raises:
            ProbeError: a file is missing, damaged, or was changed after it was written.
        """
        import pandas as pd

        folder = as_path(folder)
        try:
            about = _about(folder)
            content = {name: _content(folder, name, digest) for name, digest in about["files"].items()}
            claims, figures = (json.loads(content[f"{name}.json"]) for name in ("claims", "figures"))
            for name, value in (("claims", claims), ("figures", figures)):
                if not isinstance(value, list):
                    raise ValueError(f"{name}.json holds a {type(value).__name__}, not a list")
            return cls(
                about["question"],
                about["title"],
                of_csv(content["measurements.csv"]),
                tuple(Claim.from_dict(claim) for claim in claims),
                tuple(
                    DataFigure(
                        entry["name"],
                        entry["title"],
                        entry["alt"],
                        entry["caption"],
                        pd.read_csv(io.BytesIO(content[entry["data"]])),
                        content[entry["svg"]].decode("utf-8"),
                    )
                    for entry in figures
                ),
                about["provenance"],
                about["notes"],
            )
        except (*ERRORS, ProbeError) as error:
            reason = str(error).partition("\n")[0][:300] or type(error).__name__
            raise ProbeError(
                f"{str(folder)!r} cannot be read as a finding ({reason}). Give a folder that an analysis "
                "wrote, or run the analysis again."
            ) from error


def _about(folder: Path) -> dict[str, Any]:
    """Return what a finding says of itself.

    Raises:
        ValueError: it was changed after it was written, or is no finding.
    """
    about = json.loads(read_bytes(folder / FINDING))
    digests.check_seal(about)
    kinds = {"question": str, "title": str, "provenance": dict, "notes": dict, "files": dict}
    for name, kind in kinds.items():
        if not isinstance(about.get(name), kind):
            raise ValueError(f"{FINDING} has no {name}, or one that is no {kind.__name__}")
    return about


def _content(folder: Path, name: str, digest: str) -> bytes:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name[:60]!r} is no file of the folder")
    content = read_bytes(file)
    if digests.of_bytes(content) != digest:
        raise ValueError(f"{name!r} was damaged or changed after it was written: its digest differs")
    return content


def _judged(claim: Claim) -> str:
    """Return a claim's verdict; with the reason where there is none, or where it was reached in two ways."""
    return f"{claim.verdict}: {claim.reason}" if claim.verdict == "undecided" or claim.rule.also else claim.verdict


def _rounded(value: Any) -> Any:
    """Return JSON values with floats at six significant digits; infinite bounds of a range stay as they are."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: item if key == "rule" else _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
