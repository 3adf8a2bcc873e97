"""How the cost of each part grows: reports, slopes, many edits in a sweep, two threads, and the script of a page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import probe
from probe.command_line.main import run as command
from probe.errors import ProbeError
from probe.explorer import Explorer, ExplorerNetwork

from ..opens.cases import ROOT
from ..speed import CASES, case, patched_network, peak, swept, table

#: Of how many networks there are reports, and the study of some.
REPORTS = (1, 10, 50, 200)
REPORT = """questions = ["answers", "noise-margin", "single-units", "interchange", "erasure"]
[network]
file = "{}/*.safetensors"
[inputs]
file = "bits.npy"
[concepts.ones]
function = "bits.py:ones"
[readout]
concept = "ones"
weight = "head.weight"
bias = "head.bias"
"""
#: What is doubled from where on, and up to where at most, as long as another doubling fits in so many seconds.
SLOPES = {
    "record": {"rows": (64, 16_384), "steps": (64, 16_384), "units": (64, 2048)},
    "sweep": {"rows": (64, 16_384), "steps": (64, 16_384), "units": (32, 1024), "edits": (24, 24_576)},
    "probe": {"rows": (64, 16_384), "steps": (64, 16_384), "units": (32, 512), "networks": (2, 64)},
    "study": {"rows": (64, 16_384), "steps": (6, 384), "units": (6, 192), "concepts": (1, 64), "networks": (2, 256)},
}
LIMIT = 20
#: Units and steps of the networks that the script of a page runs, and what Node runs: an edit at another value each
#: time.
EXPLORED = ((12, 10), (12, 100), (12, 1000), (64, 10), (64, 100), (128, 100))
IN_NODE = """
import { readFileSync } from "node:fs";
import { engine } from "./js/golden.mjs";
const data = JSON.parse(readFileSync(0, "utf8")), first = engine.initial(data), taken = [];
for (let k = 1; k <= 61; k++) {
  const edits = [{ kind: "clamp", layer: 0, signal: "cell_state", units: "3", steps: "2", value: String(k / 60) }];
  const start = performance.now();
  const [{ outcome }] = engine.drawnOf(data, { ...first, edits });
  taken.push(performance.now() - start);
  if (outcome.error || outcome.after === outcome.before) throw new Error(outcome.error);
}
console.log(taken.slice(20).sort((a, b) => a - b)[20]);
"""


def bits(strings: int, length: int = 10) -> Tensor:
    """Return random bits, (strings, length, 1)."""
    torch.manual_seed(0)
    return torch.randint(0, 2, (strings, length, 1)).float()


class Network(nn.Module):
    """A body of recurrent layers, and a linear head on its last hidden state.

    Args:
        kind: `LSTM`, `GRU`, `bidirectional` (an LSTM), or `loop` (an LSTM's cell, called for each step).
        features: of the input.
        units: of a layer in one direction.
        answers: of the head.
    """

    def __init__(self, kind: str, features: int, units: int, answers: int) -> None:
        super().__init__()
        both = kind == "bidirectional"
        made = {"GRU": nn.GRU, "loop": nn.LSTMCell}.get(kind, nn.LSTM)
        options = {} if kind == "loop" else {"batch_first": True, "bidirectional": both}
        self.body = made(features, units, **options)
        self.head = nn.Linear((1 + both) * units, answers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answers (batch, answer) to x of (batch, time, feature)."""
        if not isinstance(self.body, nn.LSTMCell):
            return self.head(self.body(x)[0][:, -1])
        state = self.body(x[:, 0])
        for step in range(1, x.shape[1]):
            state = self.body(x[:, step], state)
        return self.head(state[0])


def studied(networks: Any, x: Tensor, folder: str, *concepts: str, **options: Any) -> None:
    """Ask every question of a study about the running sum of bits, and about its multiples."""
    every = {name: (lambda one, by=by: by * one[:, 0].cumsum()) for by, name in enumerate(("ones", *concepts), 1)}
    _ = probe.Study(networks, x, every, readout=probe.Readout("ones"), **options).run(folder, overwrite=True)


def fresh(function: str, *arguments: Any, free: bool = False) -> dict[str, Any]:
    """Return what a function of the parts gives in a process of its own; `free` says no number of threads."""
    command = [sys.executable, "-m", "benchmarks.day", "--run", json.dumps([function, *arguments])]
    env = {name: value for name, value in os.environ.items() if not (free and name.endswith("_NUM_THREADS"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    if done.returncode:
        raise ProbeError(f"{function} {arguments}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def reported(networks: int, folder: str) -> dict[str, float]:
    """Write the report of some of a folder's networks; return what it took, and the size of its page."""
    study, out = Path(folder, f"{networks}.toml"), Path(folder, f"report-{networks}")
    _ = study.write_text(REPORT.format(networks), encoding="utf-8")
    start, code = time.process_time(), command(["report", str(study), "-o", str(out)])
    if code:
        raise ProbeError(f"rnn-probe report ended with {code}.")
    return {"seconds": time.process_time() - start, "peak": peak(), "bytes": Path(out, "index.html").stat().st_size}


def trained(seed: int, units: int) -> Network:
    """Return a network that was trained a little to tell how many of six bits are one."""
    torch.manual_seed(seed)
    network, x = Network("LSTM", 1, units, 7), bits(64, 6)
    adam = torch.optim.Adam(network.parameters(), 0.03)
    with torch.enable_grad():
        for _ in range(100):
            adam.zero_grad()
            nn.functional.cross_entropy(network(x), x.sum((1, 2)).long()).backward()
            adam.step()
    return network.requires_grad_(requires_grad=False)


def reports() -> Iterator[str]:
    """Yield the table of reports over several networks."""
    found = dict[int, dict[str, float]]()
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "bits.npy"), bits(64, 6).numpy())
        _ = Path(folder, "bits.py").write_text("def ones(x):\n    return x[:, 0].cumsum()\n", encoding="utf-8")
        networks = [trained(seed, 6).state_dict() for seed in range(max(REPORTS))]
        for count in REPORTS:
            Path(folder, f"{count}").mkdir()
            for seed, weights in enumerate(networks[:count]):
                save_file(weights, Path(folder, f"{count}", f"{seed}.safetensors"))
            found[count] = fresh("reported", count, folder)
    rows = [
        [f"{count}", f"{run['seconds']:.1f}", f"{run['peak'] / 1e6:,.0f} MB", f"{run['bytes'] / 1e3:,.0f} kB"]
        for count, run in found.items()
    ]
    yield table(["networks", "seconds", "peak memory", "page"], rows)
    yield f"Slope of the seconds from ten networks on: {slope({n: found[n]['seconds'] for n in REPORTS[1:]}):.2f}.\n"


def slope(seconds: dict[int, float]) -> float:
    """Return the slope of a line through the logarithms: 1 where twice as much takes twice as long."""
    return float(np.polyfit(np.log([*seconds]), np.log([*seconds.values()]), 1)[0])


def record_of(rows: int = 64, steps: int = 64, units: int = 64) -> Callable[[], Any]:
    """Return what records an LSTM."""
    return partial(probe.record, Network("LSTM", 8, units, 2), torch.randn(rows, steps, 8))


def sweep_of(rows: int = 64, steps: int = 64, units: int = 32, edits: int = 24) -> Callable[[], Any]:
    """Return what sweeps over edits of the first step."""
    made = [probe.clamp("cell_state", at / edits, steps=0, units=at % units) for at in range(edits)]
    return partial(probe.sweep, Network("LSTM", 8, units, 2), torch.randn(rows, steps, 8), edits=made)


def probe_of(rows: int = 64, steps: int = 64, units: int = 32, networks: int = 1) -> Callable[[], Any]:
    """Return what reads a number out of a recording, beside those of other networks."""
    x = torch.randn(rows, steps, 8)
    first, *others = (probe.record(Network("LSTM", 8, units, 2), x) for _ in range(networks))
    controls = {f"{at}": other for at, other in enumerate(others)}
    return partial(probe.linear_probe, first, x[:, :, 0].cumsum(1), controls=controls or None)


def study_of(
    rows: int = 64, steps: int = 6, units: int = 6, concepts: int = 1, networks: int = 0
) -> Callable[[], Any]:
    """Return what asks every question of one network, or of several."""
    x, models = bits(rows, steps), [Network("LSTM", 1, units, 1) for _ in range(max(1, networks))]
    names = [f"times {by}" for by in range(2, 1 + concepts)]

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            studied(models if networks else models[0], x, folder, *names)

    return run


def grown(of: Callable[..., Callable[[], Any]], name: str, first: int, most: int) -> dict[int, float]:
    """Return the seconds of ever twice as much, as long as another doubling fits in the limit."""
    found, size = dict[int, float](), first
    of(**{name: first})()
    while size <= most and 2 * max([0.0, *found.values()]) < LIMIT:
        task, start = of(**{name: size}), time.process_time()
        _ = task()
        found[size] = time.process_time() - start
        size *= 2
    return found


def slopes() -> Iterator[str]:
    """Yield the table of how the cost grows; the slope is that of the last three doublings."""
    rows = []
    for what, given in SLOPES.items():
        for name, (first, most) in given.items():
            last = dict([*grown(globals()[f"{what}_of"], name, first, most).items()][-4:])
            rows.append(
                [what, name, f"{min(last):,}", f"{max(last):,}", f"{last[max(last)]:.2f}", f"{slope(last):.2f}"]
            )
    yield table(["", "against", "from", "to", "seconds at the most", "slope"], rows)


def edited(count: int) -> dict[str, float]:
    """Sweep over so many edits of the cell state at ten steps of twelve units; return what it took."""
    model, x, _ = patched_network()
    places = [(at // 12 % 10, at % 12, at / count) for at in range(count)]
    made = [probe.clamp("cell_state", value, steps=step, units=unit) for step, unit, value in places]
    _, start = probe.sweep(model, x, edits=made[:2]), time.process_time()
    found = probe.sweep(model, x, edits=made)
    return {"seconds": time.process_time() - start, "peak": peak(), "returned": found.nbytes}


def edits() -> Iterator[str]:
    """Yield the table of many edits in one sweep."""
    runs = {count: fresh("edited", count) for count in (120, 10_000)}
    rows = [
        [f"{count:,}", f"{run['seconds']:.2f}", f"{run['seconds'] / count * 1e3:.2f} ms"]
        + [f"{run[name] / 1e6:,.0f} MB" for name in ("returned", "peak")]
        for count, run in runs.items()
    ]
    yield table(["edits of 1,024 strings", "seconds", "an edit", "returned", "peak memory"], rows)


def walled(threads: int) -> dict[str, float]:
    """Return the median wall seconds of some tasks on so many threads, and the load average."""
    torch.set_num_threads(threads)
    model, x, source = patched_network()
    tasks: dict[str, Callable[[], Any]] = {}
    for shape in CASES:
        lstm, given = case(*shape)
        said = "{:,} x {:,}, {} to {}".format(*shape)
        tasks |= {f"record {said}": partial(probe.record, lstm, given), f"bare {said}": partial(lstm, given)}
    tasks |= {"sweep, 120 patches": partial(swept, model, x, source), "study": study_of()}
    tasks["training, 64 units"] = partial(trained, 0, 64)
    found = dict[str, float]()
    for name, task in tasks.items():
        taken = list[float]()
        for _ in range(6):
            start = time.perf_counter()
            _ = task()
            taken.append(time.perf_counter() - start)
        found[name] = median(taken[1:])
    return found | {"load": os.getloadavg()[0]}


def threads() -> Iterator[str]:
    """Yield the table of wall time on one thread and on two, where no variable says how many."""
    one, two = (fresh("walled", count, free=True) for count in (1, 2))
    loads = [f"{run.pop('load'):.2f}" for run in (one, two)]
    rows = [
        [name, f"{one[name] * 1e3:,.1f}", f"{two[name] * 1e3:,.1f}", f"{one[name] / two[name]:.2f}"] for name in one
    ]
    yield table(["wall time, ms", "one thread", "two", "one / two"], [*rows, ["load average", *loads, ""]])


def explorer() -> Iterator[str]:
    """Yield the table of what the script of a page computes anew for one edit; the browser's drawing is not in it."""
    rows = []
    for units, steps in EXPLORED:
        network = ExplorerNetwork("it", Network("LSTM", 1, units, 11))
        data = Explorer([network], "01" * (steps // 2), {"0": [0.0], "1": [1.0]}).data
        script = ["node", "--input-type=module", "-e", IN_NODE]
        done = subprocess.run(script, cwd=ROOT, input=data, text=True, capture_output=True, check=True)
        rows.append([f"{units}", f"{steps}", f"{float(done.stdout):.2f} ms"])
    yield table(["units", "steps", "one edit"], rows)
