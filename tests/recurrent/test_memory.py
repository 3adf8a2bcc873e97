"""Memory of results is used again once nobody holds it, and never before."""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from refusing import refused
from torch import Tensor, nn

import probe
from probe.recurrent import memory
from probe.recurrent.runs import Trace

#: Of 2 MB.
SHAPE = (1000, 50, 10)
LIKE = torch.empty(0)


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    """Begin and end without blocks."""
    memory.let_go()
    yield
    memory.let_go()


def places(count: int) -> set[int]:
    """Return where so many new tensors lie, whose numbers are all 3."""
    values = [memory.empty(SHAPE, LIKE).fill_(3) for _ in range(count)]
    return {value.data_ptr() for value in values}


def test_memory_that_nobody_holds_is_used_again() -> None:
    """An array of about as many bytes gets it, whatever its shape and type; one of fewer or more does not."""
    first = memory.empty(SHAPE, LIKE)
    place = first.data_ptr()
    assert (place % 64, place in places(2)) == (0, False)
    del first
    for shape, like, same in [
        (SHAPE, LIKE, True),
        ((990, 50, 10), LIKE, True),
        ((1000, 50, 5), LIKE.double(), True),
        ((800, 50, 10), LIKE, False),
        ((1200, 50, 10), LIKE, False),
    ]:
        memory.let_go()
        place = memory.empty(SHAPE, LIKE).data_ptr()
        assert (memory.empty(shape, like).data_ptr() == place) is same


KEEPERS: dict[str, Callable[[Tensor], Any]] = {
    "a view": lambda value: value[3:, :, 2],
    "a detached one": lambda value: value.detach(),
    "an array": lambda value: value.numpy(),
    "a memoryview": lambda value: value.numpy().data,
    "its storage": lambda value: value.untyped_storage(),
    "another type's view": lambda value: value.view(torch.int32),
    "through dlpack": torch.from_dlpack,
    "a parameter": nn.Parameter,
    "a graph": lambda value: value[0] * torch.ones(50, 10, requires_grad=True),
}


@pytest.mark.parametrize("name", KEEPERS)
def test_memory_that_somebody_holds_is_not_used_again(name: str) -> None:
    """Whatever is made of a tensor and shares its memory holds it; when that goes, the memory is free."""
    value = memory.empty(SHAPE, LIKE).fill_(7)
    place, kept = value.data_ptr(), KEEPERS[name](value)
    del value
    assert place not in places(3)
    if isinstance(kept, (Tensor, np.ndarray)):
        seen = torch.as_tensor(kept).detach()
        assert bool(((seen.view(torch.float32) if seen.dtype == torch.int32 else seen) == 7).all())
        del seen
    del kept
    assert place in places(4)


def test_memory_is_shared_with_no_other_process() -> None:
    """A forked child and its parent each change their own; a pickled value is a copy; a shared one moves."""
    value, place = memory.empty(SHAPE, LIKE).fill_(7), memory.empty(SHAPE, LIKE).data_ptr()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        taken = memory.empty(SHAPE, LIKE).fill_(1)
        value.fill_(2)
        os.write(writer, bytes([int(taken.max()), int(value.min()), taken.data_ptr() == place]))
        os._exit(0)
    assert [*os.read(reader, 3)] == [1, 2, 1]
    os.waitpid(child, 0)
    assert bool((value == 7).all())
    copy = pickle.loads(pickle.dumps(value))
    value.share_memory_()
    places(3)
    assert bool(((value == 7) & (copy == 7)).all())


def test_threads_never_get_the_same_memory() -> None:
    """Each of four threads finds its own number in what it took, while all take and give back."""

    def right(number: int) -> bool:
        values = [memory.empty(SHAPE, LIKE).fill_(number) for _ in range(3)]
        return all(bool((value == number).all()) for value in values)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(120)))
    assert len(memory._blocks) <= 24  # three of each thread, and the three before them


def test_a_sweep_lets_its_memory_go_at_once() -> None:
    """Nothing that it keeps refers to itself, so nothing waits for the garbage collector."""
    gc.collect()
    gc.disable()
    model = nn.LSTM(3, 8)
    probe.sweep(model, torch.randn(9, 5, 3), edits=[probe.clamp("hidden_state", 0.5, steps=2)])
    kept = [one for one in gc.get_objects() if type(one) is Trace and one.layer.module is model]
    gc.enable()
    assert kept == []


def test_only_so_many_bytes_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go, in use or not; small arrays are not remembered, nor larger ones than all may be."""
    monkeypatch.setattr(memory, "_MOST", 8_000_000)
    values = [memory.empty((500_000 + 100_000 * number,), LIKE) for number in range(4)]
    kept = [block.ctypes.data for block in memory._blocks]
    assert (sum(block.nbytes for block in memory._blocks) <= 8_000_000, 0 < len(kept) < len(values)) == (True, True)
    for shape in [(100,), (3_000_000,)]:
        place = memory.empty(shape, LIKE).data_ptr()
        assert all(block.ctypes.data != place for block in memory._blocks)


def test_held_memory_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held for later is given to the system before a recording is refused."""
    lstm, x = nn.LSTM(3, 100), torch.randn(300, 100, 3)
    assert (probe.record(lstm, x).layers, len(memory._blocks) > 0) == (("[0]",), True)
    monkeypatch.setattr(memory, "free", lambda _device: 0 if memory._blocks else 10**9)
    assert probe.record(lstm, x).layers == ("[0]",)
    monkeypatch.setattr(memory, "free", lambda _device: 0)
    with refused():
        probe.record(lstm, x)
