"""`python -m models.import_tf1 FOLDER OUT`: puts a network that TensorFlow 1 trained into the zoo."""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probe.errors import ProbeError

from .checkpoints import save
from .describe import errors, floor, misread_strings
from .recipes import recipe
from .tf1 import from_basic_lstm_cell

ARRAYS = ("rnn.basic_lstm_cell.kernel", "rnn.basic_lstm_cell.bias", "softmax_w", "softmax_b")
ORIGIN = (
    "Trained by the seed notebook's own code on TensorFlow 1.15 (`BasicLSTMCell(12)`, forget_bias 1.0 added at run "
    "time), from no recorded seed; the arrays of its checkpoint, renamed and reordered, and nothing else. Its "
    "initialisation was not kept, so it has no untrained twin."
)


def convert(folder: str | Path, out: str | Path) -> Path:
    """Write the network of `weights.npz` and `ref.npz` as a trained network's folder.

    Args:
        folder: holds the two files, as tests/data/tf1-counter does.
        out: the network's folder.

    Returns:
        The folder that was written.

    Raises:
        ProbeError: a file is missing, or lacks an array.
    """
    source = Path(folder)
    weights, reference = (_arrays(source / name) for name in ("weights.npz", "ref.npz"))
    try:
        model = from_basic_lstm_cell(*(weights[name] for name in ARRAYS), forget_bias=1.0)
        bits, parts = reference["x"][:, :, 0].astype(int), [reference["train_idx"], reference["test_idx"]]
    except KeyError as error:
        raise ProbeError(
            f"{str(source)!r} lacks an array: {error}. Give a folder such as tests/data/tf1-counter."
        ) from error
    # TensorFlow's rows are shuffled; a row of bit_strings(10) spells its own number.
    spelled = bits @ 2 ** np.arange(9, -1, -1)
    train, test = (torch.as_tensor(spelled[part]) for part in parts)
    plan = recipe("counter")
    config: dict[str, Any] = {
        "recipe": plan.to_dict(),
        "seed": 0,
        "steps": plan.steps,
        "errors": errors(model, plan, train, test),
        "misread": misread_strings(model, plan, test),
        "floor": floor(plan, train),
        "versions": {"tensorflow": "1.15"},
        "split": {"train": train.tolist(), "test": test.tolist()},
        "origin": ORIGIN,
        "source": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(source.glob("*.npz"))},
    }
    return save(out, model=model, untrained=None, config=config)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise ProbeError(
            f"Cannot read {str(path)!r}: {error}. Give a folder such as tests/data/tf1-counter."
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Convert from the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.import_tf1", description="Take TensorFlow's counter in.")
    parser.add_argument("folder", type=Path, help="with weights.npz and ref.npz, such as tests/data/tf1-counter")
    parser.add_argument("out", type=Path, help="the network's folder")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(f"{convert(options.folder, options.out)}\n")
    except ProbeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
