"""Our own studies, a folder or a file each: `python -m analyses counter`. Not part of the wheel.

A file has a function `study`, whose `probe.Study` is run like anybody's. A folder has a module `study` with `STUDIES`
(name of a file of measurements -> what makes the `probe.Study`), `FOLDER` (where these files lie), `PANEL` (by the
same names which networks CI measures again each time), `findings` (from names of questions to what was
found) and `write` (from that folder to the pages in another).
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from probe.command_line import only_commands

BUILD = Path("build")
_FOLDER = Path(__file__).resolve().parent
#: Every study that is here.
NAMES = tuple(
    sorted(
        path.stem
        for path in _FOLDER.iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "study.py").is_file())
    )
)
only_commands(__file__)


def module_of(name: str) -> ModuleType:
    """Return the module of a study, one of `NAMES`."""
    return import_module(f"analyses.{name}.study" if (_FOLDER / name).is_dir() else f"analyses.{name}")
