"""Training a counter from a seed: initialisation, split, and a run that survives being killed.

Everything random comes from generators made from the seed, one for each purpose, so that another hidden
size leaves the split as it was. The global generator is neither read nor moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import ProbeError
from probe.files import write_atomically

from . import checkpoints
from .counter import Counter, blank_counter, freeze_second_bias
from .data import Strings, generator, split, training_strings, whole_strings
from .describe import describe
from .learning import Adam, misread, string_loss, take_step
from .recipes import Recipe
from .state import STATE, Measurement, Run, refuse_other, restore_state, save_state
from .tf1 import from_basic_lstm_cell

# Every so many steps the errors are measured, the state is saved and `progress` is called.
MEASURE_EVERY = 100
OUTPUTS = (STATE, checkpoints.CONFIG, checkpoints.METRICS, *checkpoints.WEIGHTS.values())


def initialise(recipe: Recipe, seed: int) -> Counter:
    """Return an untrained counter, drawn as the recipe's TensorFlow code draws it.

    Args:
        recipe: gives the sizes and the constant biases.
        seed: 0 or more.

    Returns:
        A float32 counter; `bias_hh` is 0 and not trained. The same seed and sizes give the same weights in every
        recipe of the same cell.

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
    if recipe.cell == "gru":
        return freeze_second_bias(_gru(kernel, weight, head_bias, recipe.forget_bias))
    bias = torch.zeros(4 * hidden)
    return freeze_second_bias(from_basic_lstm_cell(kernel, bias, weight, head_bias, forget_bias=recipe.forget_bias))


@torch.no_grad()
def _gru(kernel: Tensor, weight: Tensor, head_bias: Tensor, forget_bias: float) -> Counter:
    """Return a GRU of torch's kind from one kernel, its columns in torch's order r z n."""
    hidden, classes = weight.shape
    model = blank_counter(hidden, classes, "gru")
    bias = torch.zeros(3 * hidden)
    bias[hidden : 2 * hidden] = forget_bias  # z keeps the state: h' = (1 - z) n + z h
    for name, tensor in (("weight_ih", kernel[:1].T), ("weight_hh", kernel[1:].T), ("bias_ih", bias)):
        model.gru.get_parameter(f"{name}_l0").copy_(tensor)
    model.gru.get_parameter("bias_hh_l0").zero_()
    model.head.weight.copy_(weight.T)
    model.head.bias.copy_(head_bias)
    return model.eval()


def train(
    recipe: Recipe,
    seed: int,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Measurement], object] | None = None,
) -> Path:
    """Train one network and write its folder, see `models.checkpoints`.

    A run that is killed leaves its last state; with `resume` it goes on and ends at the same bits.
    KeyboardInterrupt passes through and leaves the same.

    Args:
        recipe: how to train.
        seed: 0 or more; initialisation and split follow from it.
        folder: where the network goes.
        resume: go on with what is there; nothing there starts afresh, a finished network is left alone.
        overwrite: remove a network that is there, and start afresh.
        progress: called with each new measurement, and with the last one on resuming.

    Returns:
        The folder.

    Raises:
        ProbeError: the seed is negative, the folder is taken or cannot be written, or its state is
            damaged or of another recipe or seed.
    """
    folder = Path(folder)
    report = progress or (lambda measurement: None)
    model = initialise(recipe, seed)
    run = Run(recipe, seed, model, Adam(model, recipe))
    if _prepare(folder, run, resume=resume, overwrite=overwrite):
        return folder
    train_rows, test_rows = split(recipe, seed)
    strings, test = training_strings(recipe, seed), whole_strings(recipe, test_rows)
    if run.step == 0:
        run.metrics = [_measure(run, strings, test)]
        save_state(run, folder)  # at once: a folder that cannot be written fails here, not after training
    report(run.metrics[-1])
    batches = strings.batches(recipe.batch_size)
    while run.step < recipe.steps:
        take_step(run.model, run.adam, batches[run.step % recipe.batches], recipe=recipe, t=run.step + 1)
        run.step += 1
        if run.step % MEASURE_EVERY == 0 or run.step == recipe.steps:
            run.metrics.append(_measure(run, strings, test))
            save_state(run, folder)
            report(run.metrics[-1])
    _finish(run, folder, describe(run.model, recipe, seed, train_rows, test_rows))
    return folder


def _prepare(folder: Path, run: Run, *, resume: bool, overwrite: bool) -> bool:
    """Make the folder's content and the run agree; return whether there is nothing left to train."""
    if resume and overwrite:
        raise ProbeError("Both resume and overwrite were asked for; give one of the two.")
    if folder.exists() and not folder.is_dir():
        raise ProbeError(f"The output {str(folder)!r} is a file; give a folder.")
    taken = [name for name in OUTPUTS if (folder / name).exists()]
    if not taken:
        return False
    if overwrite:
        _remove(folder, taken)
        return False
    if not resume:
        raise ProbeError(
            f"The output {str(folder)!r} already holds {', '.join(map(repr, taken))}. Give another folder, "
            "--resume to go on with that training, or --overwrite to replace it."
        )
    if STATE in taken:
        restore_state(run, folder)
        return False
    config = checkpoints.load_config(folder)
    refuse_other(run.recipe, run.seed, Recipe.from_dict(config["recipe"]), config["seed"], folder)
    return True


def _remove(folder: Path, names: list[str]) -> None:
    try:
        for name in names:
            (folder / name).unlink()
    except OSError as error:
        raise ProbeError(
            f"Cannot replace the files in {str(folder)!r}: {error.strerror or error}. Give another folder."
        ) from error


@torch.no_grad()
def _measure(run: Run, train: Strings, test: Strings) -> Measurement:
    loss = string_loss(run.model, train, run.recipe) / run.recipe.batches
    shares = [len(misread(run.model, strings)) / len(strings.bits) for strings in (train, test)]
    loss, train_error, test_error = (float(f"{value:.6g}") for value in (float(loss), *shares))
    return Measurement(run.step, loss, train_error, test_error)


def _finish(run: Run, folder: Path, config: dict[str, Any]) -> None:
    lines = [json.dumps(asdict(line)) + "\n" for line in run.metrics]
    write_atomically(folder / checkpoints.METRICS, "".join(lines))
    checkpoints.save(folder, model=run.model, untrained=initialise(run.recipe, run.seed), config=config)
    # What a kill in the middle of writing left under a temporary name, see probe.files.
    leftovers = [path.name for name in OUTPUTS for path in folder.glob(f".{name}.*")]
    # The state goes last: a kill before this line leaves it, and the same files are written again.
    _remove(folder, [*leftovers, STATE])
