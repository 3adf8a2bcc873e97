"""Trains a counter from a seed; of many, those that are finished are left alone.

Everything random comes from generators made from the seed, one for each purpose, so that another hidden
size leaves the split as it was. The global generator is neither read nor moved.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from probe.errors import ProbeError
from probe.studies.workers import locked

from . import checkpoints
from .counter import Counter, freeze_second_bias
from .data import generator, split, training_strings
from .describe import describe
from .learning import Adam, take_step
from .recipes import Recipe
from .tf1 import from_basic_lstm_cell

#: The training of a network is told in so many lines at most, and not more often than every so many seconds.
LINES, TOLD_EVERY = 10, 10.0
OUTPUTS = (checkpoints.CONFIG, *checkpoints.WEIGHTS.values())


def initialise(recipe: Recipe, seed: int) -> Counter:
    """Return an untrained counter in float32, drawn as the recipe's TensorFlow code draws it.

    `bias_hh` is 0 and not trained. The same seed and sizes give the same weights in every recipe of the same cell.

    Raises:
        ProbeError: the seed is negative.
    """
    draws, hidden = generator(seed, "weights"), recipe.hidden_size
    gates = 4 if recipe.cell == "lstm" else 3
    # TensorFlow's default initialiser is Glorot's, and BasicLSTMCell has *one* kernel for input and state:
    # fan in 1 + H, fan out 4H. `xavier_uniform_` on torch's two matrices would give two other limits.
    # Glorot & Bengio 2010, equation 16.
    limit = (6 / (1 + hidden + gates * hidden)) ** 0.5
    kernel = torch.empty(1 + hidden, gates * hidden).uniform_(-limit, limit, generator=draws)
    # tf.truncated_normal redraws what falls outside two standard deviations: sd .880, not 1.
    weight = torch.empty(hidden, recipe.n_classes)
    nn.init.trunc_normal_(weight, std=1.0, a=-2.0, b=2.0, generator=draws)
    head_bias = torch.full((recipe.n_classes,), recipe.head_bias)
    if recipe.start is not None:
        head_bias -= (torch.arange(recipe.n_classes) - recipe.start) ** 2 / 8
    bias = torch.zeros(gates * hidden)
    if recipe.cell == "gru":
        return freeze_second_bias(_gru(kernel, bias, weight, head_bias, recipe.forget_bias))
    return freeze_second_bias(from_basic_lstm_cell(kernel, bias, weight, head_bias, forget_bias=recipe.forget_bias))


@torch.no_grad()
def _gru(kernel: Tensor, bias: Tensor, weight: Tensor, head_bias: Tensor, forget_bias: float) -> Counter:
    """Return a GRU of torch's kind from one kernel, its columns in torch's order r z n."""
    hidden, classes = weight.shape
    model = Counter(hidden, classes, "gru")
    shifted = bias.clone()
    shifted[hidden : 2 * hidden] += forget_bias  # z keeps the state: h' = (1 - z) n + z h
    for name, tensor in (("weight_ih", kernel[:1].T), ("weight_hh", kernel[1:].T), ("bias_ih", shifted)):
        model.gru.get_parameter(f"{name}_l0").copy_(tensor)
    model.gru.get_parameter("bias_hh_l0").zero_()
    model.head.weight.copy_(weight.T)
    model.head.bias.copy_(head_bias)
    return model.eval()


def train(recipe: Recipe, seed: int, folder: str | Path, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Train one network, write its folder, see `models.checkpoints`, and return the folder.

    A run that is killed or interrupted leaves no network; with `resume` it begins again and ends at the same bits.

    Args:
        recipe: how to train.
        seed: 0 or more; initialisation and split follow from it.
        folder: where the network goes.
        resume: leave a finished network alone, and train any other afresh.
        overwrite: remove a network that is there, and start afresh.

    Raises:
        ProbeError: the seed is negative, the folder is taken or cannot be written, or its network is
            damaged or of another recipe or seed.
    """
    folder = Path(folder)
    model = initialise(recipe, seed)
    clear(folder, resume=resume, overwrite=overwrite)
    with locked(folder):
        if not _is_finished(folder, recipe, seed):
            _train(model, recipe, seed, folder)
    return folder


@dataclass(frozen=True)
class Job:
    """One network of many that are to be trained.

    Attributes:
        recipe: how to train.
        seed: 0 or more.
        folder: where the network goes.
    """

    recipe: Recipe
    seed: int
    folder: Path

    def __post_init__(self) -> None:
        generator(self.seed, "weights")  # refuses a seed that is negative before anything is written

    @property
    def name(self) -> str:
        """What a line about it begins with."""
        return f"{self.recipe.name}, seed {self.seed}"


def train_job(job: Job) -> tuple[Job, float, float]:
    """Train a network of many on one thread; return it, its share of misread test strings and the CPU seconds.

    A finished network is left alone: the work of a worker that died may be given out again.

    Args:
        job: what to train.

    Raises:
        ProbeError: as `train` does.
    """
    begun = time.thread_time()
    with one_thread():
        train(job.recipe, job.seed, job.folder, resume=True)
    return job, checkpoints.load_config(job.folder)["errors"]["test"]["error"], time.thread_time() - begun


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch run on one thread: more are slower on networks this small, and give other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clear(folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Make sure that a network may be trained into a folder.

    Args:
        folder: where the network goes; it may be missing.
        resume: what is there may stay.
        overwrite: remove what is there.

    Raises:
        ProbeError: the folder is taken or is a file, its files cannot be removed, or both were asked for.
    """
    if resume and overwrite:
        raise ProbeError("Both resume and overwrite were asked for; give one of the two.")
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"The output {str(folder)!r} is a file; give a folder.")
    taken = [name for name in OUTPUTS if (folder / name).exists()]
    if taken and overwrite:
        with locked(folder):
            _remove(folder, taken)
    elif taken and not resume:
        raise ProbeError(
            f"The output {str(folder)!r} already holds {', '.join(map(repr, taken))}. Give another folder, "
            "--resume to keep a finished network, or --overwrite to replace it."
        )


def _is_finished(folder: Path, recipe: Recipe, seed: int) -> bool:
    """Return whether a folder holds the network, whose description is written last."""
    if not (folder / checkpoints.CONFIG).exists():
        return False
    config = checkpoints.load_config(folder)
    asked, found = {**recipe.to_dict(), "seed": seed}, {**config["recipe"], "seed": config["seed"]}
    differing = [f"{key} = {found.get(key)!r}, not {asked[key]!r}" for key in asked if asked[key] != found.get(key)]
    if differing:
        raise ProbeError(
            f"The network in {str(folder)!r} has {'; '.join(differing)}. "
            "Resume it as it was begun, give another folder, or start again with --overwrite."
        )
    for which in checkpoints.WEIGHTS:
        try:
            checkpoints.load(folder, which=which)
        except ProbeError as error:
            raise ProbeError(f"{error} (Without its folder, --resume trains it afresh.)") from error
    return True


def _train(model: Counter, recipe: Recipe, seed: int, folder: Path) -> None:
    rows, batches = split(recipe, seed), training_strings(recipe, seed).batches(recipe.batch_size)
    adam, start = Adam(model, recipe), time.monotonic()
    due = start + TOLD_EVERY
    for step in range(recipe.steps):
        take_step(model, adam, batches[step % recipe.batches], recipe=recipe, t=step + 1)
        if (step + 1) % max(recipe.steps // LINES, 1) == 0 and (now := time.monotonic()) >= due:
            due = now + TOLD_EVERY
            sys.stderr.write(
                f"{recipe.name}, seed {seed}: step {step + 1:,} of {recipe.steps:,}, {now - start:.0f} s\n"
            )
    untrained, config = initialise(recipe, seed), describe(model, recipe, seed, *rows)
    checkpoints.save(folder, model=model, untrained=untrained, config=config)
    # What a kill in the middle of writing left under a temporary name, see probe.storage.files.
    _remove(folder, [path.name for name in OUTPUTS for path in folder.glob(f".{name}.*")])


def _remove(folder: Path, names: list[str]) -> None:
    try:
        for name in names:
            (folder / name).unlink()
    except OSError as error:
        raise ProbeError(
            f"Cannot replace the files in {str(folder)!r}: {error.strerror or error}. Give another folder."
        ) from error
