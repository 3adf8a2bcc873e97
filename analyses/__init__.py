"""Our own studies, a folder or a file each: `python -m analyses counter`. Not part of the wheel.

A file has a function `study`, whose `probe.Study` is run like anybody's. A folder has a module `study` with `STUDIES`
(name of a file of measurements -> what makes the `probe.Study`), `FOLDER` (where these files lie), `PANEL` (by the
same names which networks CI measures again each time), `findings` (from names of questions to what was
found) and `write` (from that folder to the pages in another).
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

_FOLDER = Path(__file__).resolve().parent
#: Every study that is here.
NAMES = tuple(
    sorted(
        path.stem
        for path in _FOLDER.iterdir()
        if not path.name.startswith("_") and (path.suffix == ".py" or (path / "study.py").is_file())
    )
)
# Whatever module is run by its path imports this package first.
_run = Path(getattr(sys.modules["__main__"], "__file__", None) or ".").resolve()
if _FOLDER in _run.parents and _run.name != "__main__.py":
    _name = _run.relative_to(_FOLDER).parts[0].removesuffix(".py")
    sys.stderr.write(
        f"error: {_run} is a module of a study, and is not run by its path. Type: python -m analyses {_name}\n"
    )
    sys.exit(2)


def module_of(name: str) -> ModuleType:
    """Return the module of a study, one of `NAMES`."""
    return import_module(f"analyses.{name}.study" if (_FOLDER / name).is_dir() else f"analyses.{name}")
