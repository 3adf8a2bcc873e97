"""Executes a notebook in a kernel of its own."""

from __future__ import annotations

import os
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from unittest.mock import patch

from nbclient import NotebookClient
from nbformat import NotebookNode, v4

ROOT = Path(__file__).resolve().parents[2]
JUPYTER = ["IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
#: Each warning is an error, but those of the kernel about itself.
STRICT = "import warnings\nwarnings.simplefilter('error')\nwarnings.filterwarnings('default', module='ipykernel')"


def execute(notebook: NotebookNode, folder: Path) -> float:
    """Run a notebook's cells in a folder, warnings being errors; return the seconds of a processor that this took."""
    # Neither kernels nor settings of who runs the tests, and nothing left in their folders.
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    own = dict.fromkeys(JUPYTER, str(folder / "jupyter")) | {"PYTHONPATH": paths}
    notebook.cells.insert(0, v4.new_code_cell(STRICT))
    before = getrusage(RUSAGE_CHILDREN)
    with patch.dict(os.environ, own):
        # A notebook draws in its own way, which the tests' other processes do not.
        _ = os.environ.pop("MPLBACKEND", None)
        NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    after = getrusage(RUSAGE_CHILDREN)
    del notebook.cells[0]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
