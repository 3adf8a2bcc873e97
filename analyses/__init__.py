"""Our own studies, a folder each: `python -m analyses counter` or `flipflop`. Not part of the wheel."""

import sys
from pathlib import Path

#: Each has `command.run`, which takes the words of a command line, and `report.report`, which builds its page.
STUDIES = ("counter", "flipflop")


def command_of(file: Path) -> str | None:
    """Return what to type in place of a file that was run by its path; None where it is none of this folder.

    Args:
        file: such as `analyses/counter/single_units.py`.
    """
    folder = Path(__file__).resolve().parent
    if folder not in file.parents:
        return None
    from analyses.counter import QUESTIONS

    study = next((name for name in STUDIES if folder / name in file.parents), None)
    words = ["python -m analyses", *([study] if study else [])]
    return " ".join([*words, file.stem.replace("_", "-") if file.stem in QUESTIONS else "--help"])


# Whatever module is run by its path imports this package first.
_run = getattr(sys.modules["__main__"], "__file__", None)
if _run is not None and (_typed := command_of(Path(_run).resolve())) is not None:
    sys.stderr.write(f"error: {_run} is a module of a study, and is not run by its path. Type: {_typed}\n")
    sys.exit(2)
