"""How long recording and patching take, beside the bare `nn.LSTM` and a loop written by hand.

    [ONEDNN_MAX_CPU_ISA=AVX2] python -m benchmarks.speed [--pairs 9]

Prints the first tables of docs/speed.md. Results are compared with the same arrays computed by hand before anything
is timed. Every timing is one of a pair with the bare module right beside it, in CPU time of one thread, so that what
is compared are ratios. The bare module is oneDNN's; the variable says which instructions that may use.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import probe
from probe.command_line.shell import Whole, at_least_one, command, emit, run
from probe.errors import ProbeError

#: What is recorded: (batch, time, features, units), first of small runs; and on which of these memory is measured.
SMALL = ((1, 10, 1, 12), (10, 10, 1, 12), (100, 10, 1, 12))
CASES = ((1024, 10, 1, 12), (256, 100, 1, 128), (64, 1000, 32, 128), (256, 200, 64, 256))
MEMORY_CASE = CASES[2]
TOLERANCE = 1e-5
#: The least CPU time of a sample, in seconds; shorter calls are repeated.
SAMPLE = 0.03
#: The six signals in the order in which they are returned: i f g o c h.
SIGNALS = ("input_gate", "forget_gate", "cell_candidate", "output_gate", "cell_state", "hidden_state")


class Counter(nn.Module):
    """The network of the sweep: an LSTM over bits, and a linear head on its last hidden state.

    Args:
        hidden_size: units of the LSTM.
        n_classes: outputs of the head.
    """

    def __init__(self, hidden_size: int = 12, n_classes: int = 11) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, class) for x of (batch, time, 1)."""
        hidden, _ = self.lstm(x)
        return self.head(hidden[:, -1])


def recorded_by_hand(lstm: nn.LSTM, x: Tensor) -> list[Tensor]:
    """Return i f g o c h at every step, (batch, time, unit) each, for x of (batch, time, feature).

    What a careful user writes without any tool: the input product is done once for all steps, and each step writes
    into time-major buffers in place.
    """
    n = lstm.hidden_size
    weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
    products = functional.linear(x.transpose(0, 1), weight_ih, bias_ih + bias_hh)
    gates = torch.empty_like(products)
    cells = products.new_empty(*products.shape[:2], n)
    hidden = torch.empty_like(cells)
    h = c = products.new_zeros(products.shape[1], n)
    for t in range(len(products)):
        a = torch.addmm(products[t], h, weight_hh.T, out=gates[t])
        i, f, g, o = a.chunk(4, dim=1)
        a[:, : 2 * n].sigmoid_()
        g.tanh_()
        o.sigmoid_()
        c = torch.addcmul(f * c, i, g, out=cells[t])
        h = torch.mul(o, c.tanh(), out=hidden[t])
    return [values.transpose(0, 1) for values in (*gates.chunk(4, dim=2), cells, hidden)]


def swept_by_hand(model: Counter, x: Tensor, source: Tensor) -> Tensor:
    """Patch c at every (step, unit) with its value on the source's strings; return the logits of each edit.

    A step's edits share a batch, and resume from the states that the run had reached before that step. The steps
    after it run in a loop, since on so few units the fused kernel is slower.

    Args:
        model: the network.
        x: the strings that are run, (batch, time, 1).
        source: the strings whose cell states are put in, (batch, time, 1).

    Returns:
        The logits, (step and unit, batch, class), units varying fastest.
    """
    lstm, n = model.lstm, model.lstm.hidden_size
    batch, length = x.shape[:2]
    every = torch.arange(n)
    values = recorded_by_hand(lstm, source)[4]
    outputs, cells = recorded_by_hand(lstm, x)[3:5]
    weight_ih, weight_hh, bias_ih, bias_hh = lstm.all_weights[0]
    products = functional.linear(x.transpose(0, 1), weight_ih, bias_ih + bias_hh)
    logits = []
    for t in range(length):
        c = cells[:, t].repeat(n, 1, 1)
        c[every, :, every] = values[:, t].T
        c = c.flatten(0, 1)
        h = outputs[:, t].repeat(n, 1) * c.tanh()
        for later in range(t + 1, length):
            a = torch.addmm(products[later].repeat(n, 1), h, weight_hh.T)
            i, f, g, o = a.chunk(4, dim=1)
            a[:, : 2 * n].sigmoid_()
            c = torch.addcmul(f * c, i, g.tanh_())
            h = o.sigmoid_() * c.tanh()
        logits.append(model.head(h).view(n, batch, -1))
    return torch.cat(logits)


class Loop(nn.Module):
    """A cell that a loop calls once a step.

    Args:
        cell: the cell.
    """

    def __init__(self, cell: nn.LSTMCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        """Return the hidden states, (batch, time, unit), for x of (batch, time, feature)."""
        state, hidden = None, []
        for step in x.unbind(1):
            state = self.cell(step, state)
            hidden.append(state[0])
        return torch.stack(hidden, 1)


def loop_by_hand(model: Loop, x: Tensor) -> list[Tensor]:
    """Return i f g o c h at every step of a cell in a loop, as one reads them off it step by step."""
    cell, state, found = model.cell, (x.new_zeros(len(x), model.cell.hidden_size),) * 2, []
    for step in x.unbind(1):
        a = functional.linear(step, cell.weight_ih, cell.bias_ih) + functional.linear(
            state[0], cell.weight_hh, cell.bias_hh
        )
        i, f, g, o = a.chunk(4, dim=1)
        state = cell(step, state)
        found.append((i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), state[1], state[0]))
    return [torch.stack(values, 1) for values in zip(*found, strict=True)]


def whole(lstm: nn.LSTM, x: Tensor) -> list[Tensor]:
    """Record, and keep the output too, which is part of what is returned."""
    recording = probe.record(lstm, x)
    return [*(recording[signal] for signal in SIGNALS), recording.output[0]]


def swept(model: Counter, x: Tensor, source: Tensor) -> Tensor:
    """Patch c at every step and unit with the source's recording, in one call."""
    run = probe.record(model, source, signals=["cell_state"])
    places = product(range(x.shape[1]), range(model.lstm.hidden_size))
    edits = [probe.patch("cell_state", run, steps=step, units=unit) for step, unit in places]
    return probe.sweep(model, x, edits=edits)


def recorded_with(**options: Any) -> Callable[[nn.Module, Tensor], list[Tensor]]:
    """Return what records some signals of a module with one layer."""
    kept = options.get("signals", SIGNALS)

    def record(module: nn.Module, x: Tensor) -> list[Tensor]:
        recording = probe.record(module, x, **options)
        return [recording[signal] for signal in kept]

    return record


#: Ways to record, each with which of i f g o c h it gives, at which steps; ways to patch c; whose memory is measured.
EVERY, LAST = slice(None), slice(-1, None)
RECORDING: dict[str, tuple[Callable[[Any, Tensor], Sequence[Tensor]], slice, slice]] = {
    "**`probe.record`**": (recorded_with(), EVERY, EVERY),
    "`check=False`": (recorded_with(check=False), EVERY, EVERY),
    "`check=False`, hidden state": (recorded_with(check=False, signals=SIGNALS[5:]), slice(5, 6), EVERY),
    "`check=False`, forget gate": (recorded_with(check=False, signals=SIGNALS[1:2]), slice(1, 2), EVERY),
    "`check=False`, cell state": (recorded_with(check=False, signals=SIGNALS[4:5]), slice(4, 5), EVERY),
    "`check=False`, last step": (recorded_with(check=False, steps=-1), EVERY, LAST),
    "by hand": (recorded_by_hand, EVERY, EVERY),
}
PATCHING = {f"rnn-probe {probe.__version__}": swept, "by hand": swept_by_hand}
LIFTING: dict[str, Callable[[nn.LSTM, Tensor], Sequence[Tensor]]] = {
    f"rnn-probe {probe.__version__}": whole,
    "by hand": recorded_by_hand,
    "bare `nn.LSTM`": lambda lstm, x: [lstm(x)[0]],
}


def case(batch: int, length: int, features: int, units: int) -> tuple[nn.LSTM, Tensor]:
    """Return the LSTM and the inputs of a case, the same in every process."""
    torch.manual_seed(0)
    lstm = nn.LSTM(features, units, batch_first=True)
    return lstm, torch.randn(batch, length, features)


def check(found: Sequence[Tensor], wanted: Sequence[Tensor], name: str) -> None:
    """Stop where a difference is too large or a shape is wrong."""
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape or not float((a - b).abs().max()) <= TOLERANCE:
            raise ProbeError(f"{name}: the result is not that of the reference, to {TOLERANCE}.")


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Return the CPU time of one call, from several in a row."""
    start = time.thread_time()
    for _ in range(repeats):
        call()
    return (time.thread_time() - start) / repeats


def repeats_of(call: Callable[[], Any]) -> int:
    """Return how often a call fits into a sample, after warming it up."""
    call()
    return max(1, round(SAMPLE / max(seconds(call, 1), 1e-6)))


def pairs(call: Callable[[], Any], bare: Callable[[], Any], count: int) -> Mapping[str, list[float]]:
    """Time a call and the bare one side by side, each of the two first in turn.

    Returns:
        Seconds of the call, seconds of the bare one, and their ratio, for each pair.
    """
    calls, found = {"seconds": call, "bare": bare}, dict[str, list[float]](seconds=[], bare=[])
    often = {name: repeats_of(one) for name, one in calls.items()}
    for number in range(count):
        for name in sorted(calls, reverse=number % 2 == 1):
            found[name].append(seconds(calls[name], often[name]))
    return found | {"ratio": [a / b for a, b in zip(found["seconds"], found["bare"], strict=True)]}


def cell(timed: Mapping[str, list[float]]) -> str:
    """Return a median ratio with its time in small print."""
    return f"{median(timed['ratio']):.2f} <sub>{median(timed['seconds']) * 1e3:,.1f} ms</sub>"


def recorded(of: tuple[int, int, int, int], count: int) -> dict[str, str]:
    """Return a column of the table of recording: where result memory is used again, and where it is fresh."""
    lstm, x = case(*of)
    wanted, found, bare = recorded_by_hand(lstm, x), dict[str, str](), list[float]()
    check([lstm(x)[0]], wanted[-1:], "by hand")
    for name, (record, signals, steps) in RECORDING.items():
        own = [values[:, steps] for values in wanted[signals]]
        check(record(lstm, x), own, name)
        timed = pairs(lambda record=record: record(lstm, x), lambda: lstm(x), count)
        found[name], bare = cell(timed), bare + timed["bare"]
        if of in CASES and steps == signals == EVERY:
            kept: list[Sequence[Tensor]] = []
            new = pairs(lambda record=record, kept=kept: kept.append(record(lstm, x)), lambda: lstm(x), count)
            for values in kept:
                check(values, own, f"{name}, kept while others are computed")
            found[name] += f"<br>{median(new['ratio']):.2f} <sub>fresh</sub>"
    ours, hand = (RECORDING[name][0] for name in ("**`probe.record`**", "by hand"))
    found["**`probe.record`** / by hand"] = over(lambda: ours(lstm, x), lambda: hand(lstm, x), count)
    return {"bare `nn.LSTM`": f"1 <sub>{median(bare) * 1e3:,.2f} ms</sub>"} | found


def over(one: Callable[[], Any], other: Callable[[], Any], count: int) -> str:
    """Return how many times as long as another a call takes."""
    return f"{median(pairs(one, other, count)['ratio']):.2f}"


def looped(count: int) -> Iterable[list[str]]:
    """Yield the rows of the table of a cell in a loop, 16 rows x 12 units."""
    for length in (10, 100, 1000):
        torch.manual_seed(0)
        model, x = Loop(nn.LSTMCell(1, 12)), torch.randn(16, length, 1)
        wanted, row, bare = loop_by_hand(model, x), [f"{length:,} steps"], list[float]()
        for name, record in {"`probe.record`": recorded_with(), "by hand": loop_by_hand}.items():
            check(record(model, x), wanted, name)
            timed = pairs(partial(record, model, x), partial(model, x), count)
            row, bare = [*row, cell(timed)], bare + timed["bare"]
        yield [row[0], f"1 <sub>{median(bare) * 1e3:,.2f} ms</sub>", *row[1:]]


def patched_network() -> tuple[Counter, Tensor, Tensor]:
    """Return a network, all ten-bit strings, and the strings in another order."""
    torch.manual_seed(0)
    model = Counter()
    x = torch.tensor(list(product((0.0, 1.0), repeat=10))).unsqueeze(2)
    return model, x, x[torch.randperm(len(x))]


def patched(count: int) -> dict[str, str]:
    """Return the column of the sweep: each step and unit of all ten-bit strings, by the strings in another order."""
    (model, x, source), found = patched_network(), {}
    wanted = swept_by_hand(model, x, source)
    for name, sweep in PATCHING.items():
        check([sweep(model, x, source)], [wanted], name)
        found[name] = cell(pairs(lambda sweep=sweep: sweep(model, x, source), lambda: model.lstm(x), count))
    ours, hand = (partial(one, model, x, source) for one in PATCHING.values())
    return found | {"rnn-probe / by hand": over(ours, hand, count)}


def peak(*, of: str = "VmHWM", reset: bool = False) -> int:
    """Return the most memory that the process has held, in bytes; `reset` forgets what was before now (Linux).

    Of `VmRSS` it is what the process holds now.
    """
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(of))


@torch.no_grad()
def lifted(name: str) -> str:
    """Return how far one recording lifts the process's peak memory, after a tiny one, over the bytes returned."""
    torch.set_num_threads(1)
    lstm, x = case(*MEMORY_CASE)
    LIFTING[name](lstm, x[:4, :3])
    before = peak(reset=True)
    found = LIFTING[name](lstm, x)
    more = peak() - before
    return f"{more / sum(value.nbytes for value in found):.2f} <sub>{more / 2**20:,.0f} MiB</sub>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, all columns but the first aligned right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def machine() -> str:
    """Return the day, the processor (Linux) and the versions of what runs on it, in a line."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    kind = ", ".join(f"{key.removeprefix('cpu ')} {told[key]}" for key in ("cpu family", "model") if key in told)
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    vectors = torch.backends.cpu.get_cpu_capability() + f" (oneDNN: {limit})" * bool(limit)
    name = told.get("model name", platform.machine())
    where = f"{time.strftime('%Y-%m-%d')}: {name} ({kind}), {os.cpu_count()} cores, {vectors}"
    return f"{where}, Python {platform.python_version()}, torch {torch.__version__}.\n"


app = command("python -m benchmarks.speed")


@app.default
@torch.no_grad()
def main(*, pairs: Whole = 9) -> None:
    """Time rnn-probe beside the bare module and a loop by hand, and print the tables.

    Args:
        pairs: how many of each number.
    """
    at_least_one("--pairs", pairs)
    torch.set_num_threads(1)
    emit(machine())
    memory = {}
    for name in LIFTING:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            memory[name] = process.apply(lifted, (name,))
    for shapes in (CASES, SMALL):
        columns = [recorded(shape, pairs) for shape in shapes]
        head = [f"{batch:,} x {length:,}, {given} to {units}" for batch, length, given, units in shapes]
        rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
        emit(table(["", *head], rows))
    sweeps = patched(pairs)
    rows = [[name, sweeps.get(name, "-"), memory.get(name, "-")] for name in {**memory, **sweeps}]
    emit(table(["", "120 patches", "memory"], rows))
    emit(table(["", "bare loop", "`probe.record`", "by hand"], looped(pairs)))


if __name__ == "__main__":
    sys.exit(run(app))
