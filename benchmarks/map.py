"""Writes docs/map.md, which lists every module with its first line: `python -m benchmarks.map`, or `make map`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path("docs/map.md")
PACKAGES = ("probe", "models", "analyses", "reports", "benchmarks")
#: Folders that are no Python packages.
OTHERS = {
    "tests/wheel": "Tests of the library that pass against the installed wheel alone.",
    "tests/ROOM": "Tests of the room of probe/ of that name (`probes`, `recording`, ...) that run in the checkout.",
    "tests/repo": "Tests that need the checkout: our study, the pages, the documentation, the house rules.",
    "tests/browser": "Tests of built pages and explorers in Chromium and Firefox.",
    "tests/data": "Files that other frameworks wrote, with the outputs that these frameworks gave.",
    "js": "The TypeScript source of the explorer; `make explorer` builds probe/explorer/explorer.js from it.",
    "docs": "This documentation; `make docs` builds the site.",
}
#: What somebody looks for first, and the file in which it stands.
SOUGHT = {
    "`record`": "probe/hooks/record.py",
    "`Recording`": "probe/recording/recording.py",
    "the equations of the LSTM": "probe/recurrent/cells/lstm.py",
    "where hooks are put": "probe/hooks/sessions.py",
    "`load`": "probe/loading/load.py",
    "which format a file has": "probe/loading/detect.py",
    "a linear probe": "probe/methods/probing/linear.py",
    "the controls of a probe": "probe/methods/probing/controls.py",
    "interchange interventions": "probe/methods/causal/interchange.py",
    "distributed alignment search (DAS)": "probe/methods/causal/alignment.py",
    "fixed points": "probe/methods/fixed_points.py",
    "controls with random weights": "probe/subjects/random_weights.py",
    "the interval over networks": "probe/evidence/intervals.py",
    "what a rule is, and how it is judged": "probe/evidence/claims.py",
    "the rules of a claim about the counter": "`RULES` in the question's module of analyses/",
    "the TOML reader of a study": "probe/studies/study_file.py",
    "what runs a study": "probe/studies/run.py",
    "HTML rendering": "probe/report/render.py",
}
HEAD = """# Map

Every module, with the first line of its docstring. `make map` writes this page, and a test compares it with the code.

## Looked for most

"""


def first_line(file: Path) -> str:
    """Return the first line of a module's docstring.

    Raises:
        ValueError: the module has none.
    """
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    if not docstring:
        raise ValueError(f"{file} has no docstring; its first line says what the module does.")
    return docstring.partition("\n")[0]


def table(head: tuple[str, str], rows: Iterator[tuple[str, str]]) -> str:
    """Return a table of two columns in Markdown."""
    cells = [(left, right.replace("|", "\\|")) for left, right in rows]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {left} | {right} |" for left, right in cells)])


def room(folder: Path, root: Path) -> Iterator[str]:
    """Yield the section of a package, and those of the packages in it."""
    name = folder.relative_to(root).as_posix()
    yield f"{'#' * min(name.count('/') + 2, 4)} {name}\n\n{first_line(folder / '__init__.py')}\n"
    files = [file for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
    if files:
        yield table(("module", "what it does"), ((f"`{file.name}`", first_line(file)) for file in files)) + "\n"
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").exists():
            yield from room(inner, root)


def page(root: Path = ROOT) -> str:
    """Return the whole page.

    Raises:
        ValueError: a module has no docstring, or a file that the page names is gone.
    """
    gone = [path for path in SOUGHT.values() if path.endswith(".py") and not (root / path).exists()]
    if gone:
        raise ValueError(f"SOUGHT in benchmarks/map.py names files that are gone: {', '.join(gone)}.")
    places = ((what, f"`{path}`" if path.endswith(".py") else path) for what, path in SOUGHT.items())
    sections = [HEAD + table(("what", "where"), places) + "\n"]
    for package in PACKAGES:
        sections += room(root / package, root)
    others = ((f"`{name}/`", words) for name, words in OTHERS.items())
    sections.append("## Other folders\n\n" + table(("folder", "what lives there"), others) + "\n")
    return "\n".join(sections)


if __name__ == "__main__":
    (ROOT / PAGE).write_text(page(), encoding="utf-8")
