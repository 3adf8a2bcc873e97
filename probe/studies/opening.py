"""Opens a network of a study: it reads the inputs as it is called, starts every call alike, and has states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..arguments import NAMES, read_as
from ..errors import ProbeError, check_has_numbers, several
from ..evidence.words import listed
from ..hooks.record import record
from ..recurrent.finding import find_layers
from ..recurrent.signals import converted
from ..storage.input_files import check_features
from ..subjects.blocks import Blocks
from ..subjects.functions import calling
from ..subjects.networks.called import CALL, Blocked, Called, items_of
from ..subjects.networks.copies import starting_alike
from ..subjects.networks.network_file import Opened, open_network
from ..subjects.states import arguments, check_calls, shape_of
from ..subjects.token_ids import reading_tokens
from .inputs import Given, in_blocks
from .networks import Named

if TYPE_CHECKING:
    from .study import Study

#: On so many sequences each network is tried before it is studied.
FIRST = 2
#: Ways in which models are called, as code says it; where one fails, these are tried.
CALLS: Mapping[str, Callable[[nn.Module, Tensor, Tensor], Any]] = {
    "model(x, lengths)": lambda model, x, lengths: model(x, lengths),
    "model(x.transpose(0, 1))": lambda model, x, _: model(x.transpose(0, 1)),
    "model(x.transpose(1, 2))": lambda model, x, _: model(x.transpose(1, 2)),
    "model(x, None)": lambda model, x, _: model(x, None),
    "model([x, lengths])": lambda model, x, lengths: model([x, lengths]),
}
#: How near states are that are the same, also in numbers of so many bytes, and inputs of a layer that did not move.
ALIKE, ALIKE_IN_HALF, HALF, SAME = 1e-3, 0.1, 2, 1e-6
#: An input is changed to that of so many sequences which have another one there, so many in one run.
CHANGED, CHANGED_AT_ONCE = 3, 64
#: Steps are counted on other numbers of sequences and steps: which axis is which must show.
COUNTED = 3


def opening(study: Study, given: Given, one: Named) -> tuple[Opened, Blocks | None]:
    """Return a network that can be run on the inputs, and which of these belong to a state, None where each has one.

    It takes the inputs in these blocks.
    """
    opened = open_network(one.given, study.name, lengths_said=given.lengths_said)
    if study.call is not None:
        opened = dataclasses.replace(opened, model=Called(opened.model, study.call))
    opened = _reading(opened, given, bare=one.given is not opened.model or isinstance(opened.model, nn.RNNBase))
    x = as_tensor(given, opened.model)
    model = _alike(opened.model, x[:FIRST], given.lengths[:FIRST])
    names = None if study.layer is None else read_as("layer", study.layer, NAMES)
    blocks = _blocks_of(model, x, given.lengths, names, study.tolerance)
    if blocks is not None:
        given, model = in_blocks(given, blocks), Blocked(model, blocks)
        x = as_tensor(given, model)
    _check_rows(model, x, given.lengths, names, study.tolerance)
    return dataclasses.replace(opened, model=model), blocks


def as_tensor(given: Given, model: nn.Module) -> Tensor:
    """Return the inputs in the type in which a network computes; token ids are kept in float64."""
    dtype = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    if dtype == torch.bfloat16 and not given.tokens:
        raise ProbeError("The network computes in torch.bfloat16, which numpy does not have. Give model.float().")
    # Half precision has not each whole number.
    advice = "Give smaller numbers, or the network in {}."
    return converted(
        torch.as_tensor(given.inputs), "The inputs", advice, dtype=torch.float64 if given.tokens else dtype
    )


def _reading(opened: Opened, given: Given, *, bare: bool) -> Opened:
    """Return a network that reads the inputs; of a bare one its layer reads them as they are."""
    reads = find_layers(opened.model)[0].inputs
    try:
        if given.tokens:
            _check_runs_on_ids(opened.model, given)
            model, embedding, tokens = reading_tokens(opened.model, given.inputs[:, :, 0].astype(int))
            card = {"token ids": f"read by {embedding!r}, an embedding of {tokens:,} tokens"}
            return dataclasses.replace(opened, model=model, card={**opened.card, **card}, tokens=tokens)
        if bare and not isinstance(opened.model, Called):
            check_features(given.inputs, reads)
    except ProbeError as error:
        raise ProbeError(f"{error} {_before_it(opened, reads)}".rstrip()) from error
    return opened


@torch.no_grad()
def _check_runs_on_ids(model: nn.Module, given: Given) -> None:
    """Raise where a network that has an embedding cannot be called with token ids."""
    if not any(isinstance(module, nn.Embedding) for module in model.modules()):
        return
    ids, lengths = torch.zeros(given.inputs[:FIRST, :, 0].shape, dtype=torch.long), given.lengths[:FIRST]
    with _advising(model, ids, lengths, "token ids", f"whole numbers, (batch, {ids.shape[1]})"):
        _ = model(*arguments(model, ids, lengths))


def _before_it(opened: Opened, features: int) -> str:
    """Return what of a file may stand before its recurrence, with what to do; "" where nothing does by its sizes."""
    arrays = [repr(name) for name, array in opened.tensors.items() if array.dim() > 1 and features in array.shape]
    if not arrays:
        return ""
    return (
        f"The file also holds {listed(arrays[:3])}, which may stand before the recurrence, as an embedding does; of "
        "a file alone a study runs only the recurrence. To study the whole network, name its module beside the file: "
        'module = "net.py:Net" under [network] (in Python: probe.load(path, into=net), and the study gets net).'
    )


@torch.no_grad()
def _alike(model: nn.Module, x: Tensor, lengths: np.ndarray) -> nn.Module:
    """Return a network that starts every call alike, or raise where it cannot be run or has a weight of NaN."""
    for name, value in model.named_parameters():
        check_has_numbers(value, f"The weight {name!r}")
    wrong = [name for name, value in model.named_parameters() if not bool(torch.isfinite(value).all())]
    if wrong:
        raise ProbeError(
            f"The weight {wrong[0]!r} holds NaN or infinity, so that nothing the network computes is a number. Leave "
            "it out, or give its weights from before that happened."
        )
    shape = f"(batch, time, feature) = (..., {', '.join(map(str, x.shape[1:]))})"
    with _advising(model, x, lengths, "the first inputs", shape):
        return starting_alike(model, *arguments(model, x, lengths))


@contextmanager
def _advising(model: nn.Module, x: Tensor, lengths: np.ndarray, what: str, shape: str) -> Iterator[None]:
    """Say of a network that cannot be run on inputs how it may be called."""
    try:
        yield
    except ProbeError:
        raise
    except Exception as error:
        if x.is_floating_point() and (why := _wants_tokens(model, x)):
            raise ProbeError(why) from error
        way = f"say how it is called, {advised(model, x, lengths)}"
        with calling(
            f"Running the network on {what}", f"It is called with {shape}; give inputs that it reads, or {way}."
        ):
            raise


def advised(model: nn.Module, x: Tensor, lengths: np.ndarray) -> str:
    """Return what says how a model is called: of `CALLS` that with which its layers read the most steps."""
    steps, inner = dict[str, int](), model.model if isinstance(model, Called) else model
    outputs = dict[str, str]()
    for text, call in CALLS.items():
        with suppress(Exception), torch.random.fork_rng(devices=[]):
            recording = record(Called(inner, call), x, torch.as_tensor(lengths))
            shapes = [shape_of(part) for part in recording.parts]
            if all(batch == len(x) and time <= x.shape[1] for batch, time in shapes):
                steps[text] = min(time for _, time in shapes)
                outputs[text] = _turned(recording.output, len(x), x.shape[1])
    best = max(steps, key=lambda text: steps[text], default=None)
    return "with call=" if best is None else CALL.format(best + outputs[best])


def _turned(output: Any, batch: int, time: int) -> str:
    """Return what puts an output that has time first into the order of the batch, as code says it."""
    items = {"": output} | {f"[{name!r}]": one for name, one in items_of(output).items()}
    for item, one in items.items():
        if isinstance(one, Tensor) and one.dim() > 2 and tuple(one.shape[:2]) == (time, batch):
            return f"{item}.transpose(0, 1)"
    return ""


@torch.no_grad()
def _blocks_of(
    model: nn.Module, x: Tensor, lengths: np.ndarray, names: Sequence[str] | None, tolerance: float | None
) -> Blocks | None:
    """Return which inputs belong to a state of the layers; None where each has one.

    Raises:
        ProbeError: layers have other numbers of steps than others, or other sequences than the inputs.
    """
    longest = int(lengths.max())
    count = COUNTED + (longest == COUNTED)
    rows = np.argsort(-lengths, kind="stable")[:count]
    part = x[rows, :longest]
    steps = _steps(model, part, lengths[rows], names, tolerance)
    if len(set(steps.values())) > 1:
        told = listed([f"{name!r} {several(count, 'step')}" for name, count in steps.items()])
        raise ProbeError(
            f"The layers have different numbers of steps, and those of a study have the same: {told}. Choose some: "
            f"layer={next(iter(steps))!r}."
        )
    states = next(iter(steps.values()), longest)
    if states == longest:
        return None
    if states > longest:
        raise ProbeError(
            f"Layer {next(iter(steps))!r} has {several(states, 'step')} and the inputs have {longest}: their second "
            "axis must be time, and no step may come before them. If the model takes time last, give "
            f"inputs.transpose(0, 2, 1) and {CALL.format('model(x.transpose(1, 2))')}."
        )
    ends = _last_read(model, x[:, :longest], lengths, names, tolerance)
    if len(ends) == states and ends == sorted({*ends}):
        blocks = Blocks(tuple(ends), longest, x.shape[2])
        fewer = blocks.inputs(states - 1)
        with suppress(ProbeError):  # a state that has the same inputs in a shorter sequence is there, too
            again = _steps(model, part[:, :fewer], np.minimum(lengths[rows], fewer), names, tolerance)
            if states > 1 and set(again.values()) == {states - 1}:
                return blocks
    raise ProbeError(
        f"Layer {next(iter(steps))!r} has {several(states, 'step')} for {several(longest, 'input')}, and nothing "
        "says which inputs a step belongs to. If the model leaves out its last input, let it read one more: "
        f"{CALL.format('model(torch.cat([x, x[:, -1:]], 1))')}. Else study other layers with layer=..., or probe its "
        "states alone: probe.linear_probe(probe.record(model, x), values)."
    )


def _last_read(
    model: nn.Module, x: Tensor, lengths: np.ndarray, names: Sequence[str] | None, tolerance: float | None
) -> list[int]:
    """Return the last input that each step of the lowest layer reads: another one there changes what it is given.

    Empty where nothing tells it, as of an input that is the same in all sequences.
    """
    first, time = int(lengths.argmax()), x.shape[1]
    differ = (x != x[first]).any(2).numpy()
    if not differ[:, 1:].any(0).all():
        return []
    swaps = [(step, row) for step in range(time) for row in np.flatnonzero(differ[:, step])[:CHANGED]]
    last, whole = np.full(0, -1), np.full(1, time)
    for begin in range(0, len(swaps), CHANGED_AT_ONCE):
        steps, rows = np.array(swaps[begin : begin + CHANGED_AT_ONCE]).T
        changed = x[[first]].repeat(len(steps) + 1, 1, 1)
        changed[np.arange(len(steps)), steps] = x[rows, steps]
        given = arguments(model, changed, whole.repeat(len(changed)))
        recording = record(model, *given, layer=names, tolerance=tolerance)
        read = next((part.inputs for part in recording.parts if part.inputs is not None), None)
        if read is None:
            return []
        last = np.full(read.shape[1], -1) if not len(last) else last
        moved = ((read[:-1] - read[-1:]).abs().flatten(2).amax(2) > SAME * read[-1:].abs().max()).numpy()
        last = np.maximum(last, np.where(moved, steps[:, None], -1).max(0))
    return last.tolist()


@torch.no_grad()
def _check_rows(
    model: nn.Module, x: Tensor, lengths: np.ndarray, names: Sequence[str] | None, tolerance: float | None
) -> None:
    """Raise where the states of a row are not those of its sequence alone, as where a model sorts its batch."""
    different = np.unique(lengths, return_index=True)[1]
    rows = np.union1d(different[:COUNTED], np.arange(min(COUNTED, len(x))))
    rows = rows[np.argsort(lengths[rows], kind="stable")]  # a model that sorts puts the longest first
    part = x[rows, : lengths[rows].max()]
    together = record(model, *arguments(model, part, lengths[rows]), layer=names, tolerance=tolerance)
    for row, length in enumerate(lengths[rows].tolist()):
        own, end = part[row : row + 1], lengths[rows[[row]]]
        with suppress(Exception):  # of a model that takes one number of steps alone the padding stays
            _ = model(*arguments(model, own[:, :length], end))
            own = own[:, :length]
        alone = record(model, *arguments(model, own, end), layer=names, tolerance=tolerance)
        for one, other in zip(together.parts, alone.parts, strict=True):
            for signal in one.initial:
                states = (one.signals[signal][row, :length], other.signals[signal][0, :length])
                near = ALIKE if states[0].dtype.itemsize > HALF else ALIKE_IN_HALF
                if not torch.allclose(*states, rtol=near, atol=near):
                    raise ProbeError(
                        f"The {signal} of layer {one.layer!r} in sequence {rows[row]}, of {several(length, 'step')}, "
                        "is another than where it is run alone. Let the model keep the order of the batch "
                        "(enforce_sorted=False), and read no padding: pack it, or mask it by the lengths, which it "
                        f"can be given, {CALL.format('model(x, lengths)')}."
                    )


def _steps(
    model: nn.Module, x: Tensor, lengths: np.ndarray, names: Sequence[str] | None, tolerance: float | None
) -> dict[str, int]:
    """Return how many steps each layer has on inputs."""
    with calling("Running the network on the first inputs", "It is called with sequences of several lengths."):
        recording = record(model, *arguments(model, x, lengths), layer=names, tolerance=tolerance)
    check_calls(recording, recording.layers if names is None else list(names))
    shapes = {part.layer: shape_of(part) for part in recording.parts}
    for name, shape in shapes.items():
        if shape[0] != len(x):
            turned = shape == (x.shape[1], len(x))
            raise ProbeError(
                f"Layer {name!r} read (batch, time) = {shape} and the inputs are {tuple(x.shape[:2])}"
                f"{': it has time first' * turned}. Say how the model is called, {advised(model, x, lengths)}."
            )
    return {name: shape[1] for name, shape in shapes.items()}


def _wants_tokens(model: nn.Module, x: Tensor) -> str:
    """Return why numbers are no inputs of a network that embeds token ids; empty where it has no embedding."""
    embedding = next((name for name, module in model.named_modules() if isinstance(module, nn.Embedding)), None)
    if embedding is None:
        return ""
    one_hot = bool(((x == 0) | (x == 1)).all() and (x.sum(2) <= 1).all()) and x.shape[2] > 1
    given = "one-hot vectors" if one_hot else "numbers"
    advice = "inputs.argmax(2)" if one_hot else "inputs[:, :, 0].astype(int)"
    return (
        f"The network reads token ids by {embedding!r}, an embedding, and cannot be run on the inputs, which are "
        f"{given} (batch, time, feature) of {several(x.shape[2], 'feature')}. Give ids, whole numbers (batch, time), "
        f"such as {advice}."
    )
