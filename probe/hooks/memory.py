"""How much memory a recording will take at most, and how much there is: computed before a layer runs.

The terms of `peak` follow what is held at once while a call is reconstructed (`collector.py`, `runs.py`, `engine.py`,
`cells/cell.py`); tests/wheel/test_memory.py measures them in processes of their own. n stands for one number for each
step and row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ..edits.kinds import Edit
from ..errors import ProbeError, several
from ..recurrent.calls import Call
from ..recurrent.cells import recycled
from ..recurrent.cells.cell import CHUNK, HIDDEN
from ..recurrent.cells.lstm import LSTMCell
from ..recurrent.layers import Layer, OwnModule, StepLayer
from ..recurrent.signals import UNKNOWN, Signal

#: Below this many bytes the free memory is not looked up.
ASK_FROM = 50_000_000
#: What a cgroup without a limit says, or more.
_UNLIMITED = 2**60
#: Numbers that a run with derivatives holds for each number that a formula reads or gives, for each that is kept, and
#: for each of a hidden state: in any layer, in one of a stack, and where rows are padded. Measured.
_BY_EDGE, _BY_TAP, _BY_LAYER, _BY_STACK, _BY_PADDING = 2.6, 5.0, 6.5, 12.0, 12.0
#: What an edited step after the first holds for each number that it opens: also what it was computed from. Measured.
_BY_EDITED = 2.6
#: The same for each number of a state that a step of somebody's own hands on.
_BY_STEP = 12
#: The part of it that a call of a cell holds, whose run is opened one step at a time.
_IN_LOOP = 0.5


@dataclass(frozen=True)
class _Names:
    """The files in which a version of cgroups says its limits and what is used, and the lines about cached files."""

    limits: tuple[str, ...]
    used: str
    cached: tuple[str, ...]


_VERSION_1 = _Names(("memory.limit_in_bytes",), "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
_VERSION_2 = _Names(("memory.max", "memory.high"), "memory.current", ("inactive_file", "active_file"))


@dataclass(frozen=True)
class Request:
    """What a recording is to keep, as far as it decides how much memory that takes.

    Attributes:
        keep: the signals kept of each layer.
        steps: how many steps are kept, or None for all.
        dtype: in which type, or None for the run's.
        device: where, or None for where the run is.
        differentiate: whether derivatives are kept too.
        edited: the steps that are edited of each edited layer, ascending, in the layer's own order.
        later: layers that torch does not have, whose calls are still to come; each is taken to be called once, with
            as many rows and steps as the first of them.
    """

    keep: Mapping[Layer, tuple[Signal, ...]]
    steps: int | None = None
    dtype: torch.dtype | None = None
    device: torch.device | str | None = None
    differentiate: bool = False
    edited: Mapping[Layer, Sequence[int]] = field(default_factory=dict)
    later: Sequence[StepLayer] = ()


def check_fits(layers: Sequence[Layer], call: Call, request: Request, *, earlier: int = 0) -> None:
    """Raise where reconstructing a call would take more memory than there is.

    Args:
        layers: every layer of the module called.
        call: what it was given.
        request: what is to be recorded.
        earlier: of a cell in a loop, how many steps of its sequence are kept already.

    Raises:
        ProbeError: it would not fit; the message names both numbers and what takes less.
    """
    for device, needed in peak(layers, call, request, earlier=earlier).items():
        available = free(device) if needed > ASK_FROM else None
        if available is not None and needed > available and recycled.let_go():
            available = free(device)
        if available is not None and needed > available:
            raise ProbeError(
                f"The recording would take about {needed / 1e9:.1f} GB on {device}{_with(request.later)} and "
                f"{available / 1e9:.1f} GB are free. {_advice(request)}"
            )


def edited_steps(edits: Mapping[Layer, Sequence[Edit]], call: Call) -> dict[Layer, Sequence[int]]:
    """Return the steps that are edited of each layer, ascending, in the layer's own order.

    Where rows end at different steps, the first is 0, and a step counted from the end may be any.
    """
    time, packed = len(call.x), call.packed is not None
    found: dict[Layer, Sequence[int]] = {}
    for layer, given in edits.items():
        named = [step for edit in given for step in (range(time) if edit.site.steps is None else edit.site.steps)]
        steps = sorted({min(max(step + time if step < 0 else step, 0), time - 1) for step in named})
        if packed:
            steps = range(time) if any(step < 0 for step in named) else sorted({0, *steps})
        elif layer.reverse:
            steps = [time - 1 - step for step in reversed(steps)]
        found[layer] = steps or [0]
    return found


def _with(later: Sequence[Layer]) -> str:
    return f", the {several(len(later), 'layer')} still to be called included," if later else ""


def _advice(request: Request) -> str:
    if request.differentiate:
        return "Record fewer rows at a time, or fewer layers and signals with layers= and signals=."
    if request.edited:
        return "Record fewer rows at a time: an edited run holds every signal of each layer that it reaches."
    return "Keep less with signals= or layers=, record fewer rows at a time, or stream to disk with out=."


def peak(layers: Sequence[Layer], call: Call, request: Request, *, earlier: int = 0) -> dict[torch.device, int]:
    """Return how many bytes more than before a recorded call holds at most, the module's own run among them.

    Args:
        layers: every layer of the module called.
        call: what it was given.
        request: what is to be recorded.
        earlier: of a cell in a loop, how many steps of its sequence are kept already. At the end they are joined, and
            so are, by most models, the hidden states.
    """
    run = call.x.device
    kept = run if request.device is None else torch.device(request.device)
    sizes = _Sizes(layers, call, request)
    if layers[0].is_cell:
        kept_now, hidden = sizes.kept(layers[0], 1), sizes.hidden(layers[0])
        working = sizes.every(layers[0]) + 3 * sizes.gates(layers[0])
        if request.differentiate:
            working = int(_IN_LOOP * sizes.graph(layers[0]))
        needed = [(run, working + (1 + earlier) * hidden), (kept, (2 + earlier) * kept_now)]
    elif isinstance(layers[0], StepLayer):
        own, later = sizes.stepped(layers[0]), request.later
        if request.differentiate:
            own += sum(map(sizes.stepped, later))
        there = (*layers, *later) if run != kept else () if request.differentiate else later
        needed = [(run, own), (kept, sum(map(sizes.kept, there)))]
    elif request.differentiate:
        needed = [(run, sizes.differentiated()), (kept, sizes.beside_graphs(apart=run != kept))]
    else:
        needed = [(run, sizes.opened(apart=run != kept)), (kept, sizes.all_kept() if run != kept else 0)]
    total: dict[torch.device, int] = {}
    for device, size in needed:
        total[device] = total.get(device, 0) + size
    return {device: size for device, size in total.items() if size}


class _Sizes:
    """Sizes in bytes of what one call holds."""

    def __init__(self, layers: Sequence[Layer], call: Call, request: Request) -> None:
        self.layers, self.call, self.request = layers, call, request
        self.time, self.rows = call.x.shape[:2]
        self.number = call.x.element_size()
        self.ways, self.levels = layers[0].directions, layers[0].levels
        # Values that are not left as they are opened are there twice for a while.
        other = request.dtype not in (None, call.x.dtype) or request.steps is not None
        self.packed = call.packed is not None
        self.copies = other or self.packed

    def n(self, numbers: int) -> int:
        """Return the bytes of so many numbers for each step and row, in the run's type."""
        return numbers * self.time * self.rows * self.number

    def hidden(self, layer: Layer) -> int:
        """Return the bytes of a layer's hidden states."""
        return self.n(layer.size(HIDDEN))

    def gates(self, layer: Layer) -> int:
        """Return the bytes of the products that its gates are computed from."""
        return self.n(len(layer.cell.weights.W))

    def one(self, layer: Layer, signal: Signal, dtype: torch.dtype | None = None) -> int:
        """Return the bytes of a signal at one step of one row; an output is taken to be as wide as the input."""
        width = self.call.x.shape[2] if layer.size(signal) == UNKNOWN else layer.size(signal)
        own = layer.bytes_of(signal) if dtype is None and isinstance(layer, StepLayer) else None
        return width * (self.number if dtype is None else dtype.itemsize) if own is None else own

    def every(self, layer: Layer) -> int:
        """Return the bytes of all of its signals."""
        return self.time * self.rows * sum(self.one(layer, signal) for signal in layer.signals)

    def opened_of(self, layer: Layer) -> int:
        """Return the bytes of those that an edited run opens: no pre-activations, unless they are kept."""
        keep = self.request.keep.get(layer, ())
        opened = [one for one in layer.signals if one in keep or not one.endswith("_preactivation")]
        return self.time * self.rows * sum(self.one(layer, signal) for signal in opened)

    def signals(self, layer: Layer, *, hidden: bool) -> int:
        """Return the bytes of the signals kept, before anything is chosen of them."""
        wanted = [signal for signal in self.request.keep.get(layer, ()) if hidden or signal != HIDDEN]
        return self.time * self.rows * sum(self.one(layer, signal) for signal in wanted)

    def kept(self, layer: Layer, steps: int | None = None) -> int:
        """Return the bytes of the values kept in the end."""
        count = (self.time if self.request.steps is None else self.request.steps) if steps is None else steps
        kept = sum(self.one(layer, signal, self.request.dtype) for signal in self.request.keep.get(layer, ()))
        return kept * count * self.rows

    def all_kept(self) -> int:
        """Return the bytes kept of all layers."""
        return sum(self.kept(layer) for layer in self.layers)

    def forward(self) -> int:
        """Return the bytes of the module's own run on torch's kernels, its output among them."""
        first = self.layers[0]
        one = int(2.5 * self.n(first.units)) + (0 if self._in_one_piece() else self.gates(first))
        return self.ways * (one + self.hidden(first) * ((self.ways > 1) + (self.levels > 1)))

    def _in_one_piece(self) -> bool:
        """Return whether a module's own run needs no products of all steps, and no small arrays for each."""
        first = self.layers[0]
        if isinstance(first.module, OwnModule):
            return isinstance(first.cell, LSTMCell) and first.cell.plain
        projected = first.size(HIDDEN) != first.units
        return isinstance(first.module, nn.LSTM) and not projected and not self.packed and self.number <= 4

    def opened(self, *, apart: bool) -> int:
        """Return the most that is held while the layers are opened one after the other, without derivatives.

        Args:
            apart: whether values are kept on another device.
        """
        first = self.layers[0]
        # The output of each level.
        states = self.levels * self.ways * self.hidden(first)
        states += self.ways * self.hidden(first) + self.n(first.inputs) if self.packed else 0
        states += sum(self.hidden(layer) + self.n(layer.inputs) for layer in self.layers if layer.reverse)
        step = self.rows * len(first.cell.weights.W)
        working = 6 * max(min(step * self.time, CHUNK), step) * self.number
        most = 0
        for layer in self.layers:
            brief, steady = self._of_layer(layer, apart=apart)
            most, states = max(most, states + brief + steady), states + steady
        # What small arrays took is not all given back to the system.
        loose = 0 if self._in_one_piece() else int(0.35 * (self.forward() - self.hidden(first)))
        return max(self.forward(), most + working + loose)

    def _of_layer(self, layer: Layer, *, apart: bool) -> tuple[int, int]:
        """Return how many bytes a layer takes while it is opened, and how many from then on."""
        keep, edited = self.request.keep.get(layer, ()), self.request.edited
        converted = self.kept(layer) if self.copies and not apart else 0
        if layer in edited or layer.level > min((one.level for one in edited), default=self.levels):
            # The signals of the run as it was, and the changed ones that are asked for, put together from pieces.
            opened, changed = self.opened_of(layer), self.signals(layer, hidden=True)
            steps = edited.get(layer, [min(map(min, edited.values()))])
            pieces = changed * (self.time - steps[0]) // self.time
            pieces += int(_BY_EDITED * opened) * (len(steps) - 1) // self.time
            return max(pieces, converted), opened + changed + self.hidden(layer) + converted
        if not keep:
            return 0, 0
        values = self.signals(layer, hidden=False)
        if self.packed:
            values += self.n(sum(layer.size(state) for state in layer.states[1:] if state not in keep))
        return values if self.copies or layer.reverse or apart else 0, 0 if apart else self.kept(layer)

    def differentiated(self) -> int:
        """Return the most that is held with derivatives: the graphs of the module's run and of a run with taps."""
        graphs = sum(self.graph(layer) for layer in self.layers)
        more = (_BY_STACK if self.levels > 1 else 0) + (_BY_PADDING if self.packed else 0)
        return graphs + int(more * self.hidden(self.layers[0]) * len(self.layers))

    def stepped(self, layer: StepLayer) -> int:
        """Return the most that a run step by step holds: its pieces, and the arrays that they are put together to."""
        if not self.request.differentiate and layer not in self.request.edited:
            return 2 * self.signals(layer, hidden=True)
        return (_BY_STEP if self.request.differentiate else 4) * self.every(layer)

    def graph(self, layer: Layer) -> int:
        """Return the bytes of a layer's graphs."""
        edges = sum(layer.size(formula.signal) * (1 + len(formula.sources)) for formula in layer.cell.formulas)
        taps = self.signals(layer, hidden=True)
        return int(_BY_EDGE * self.n(edges) + _BY_TAP * taps + _BY_LAYER * self.hidden(layer))

    def beside_graphs(self, *, apart: bool) -> int:
        """Return what values kept and their derivatives take elsewhere, or here in a wider type than the run's."""
        own = sum(self.signals(layer, hidden=True) for layer in self.layers)
        return 2 * self.all_kept() if apart else max(0, 2 * (self.all_kept() - own))


def free(device: torch.device | str, root: Path = Path("/")) -> int | None:
    """Return how many bytes can be had on a device, or None where nobody says.

    On the CPU the least of what the system has (MemAvailable), what is left under the memory limits of the process's
    cgroups (version 1 and 2, those around them too) and under its own limits (RLIMIT_AS, RLIMIT_DATA).

    Args:
        device: the device.
        root: where /proc and /sys are.
    """
    device = torch.device(device)
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return None
    found = [*_numbers(root / "proc/meminfo", "MemAvailable:", 1024), *_of_cgroups(root), *_of_process(root)]
    return max(0, min(found)) if found else None


def _of_cgroups(root: Path) -> Iterator[int]:
    """Yield what is left under each limit of the cgroups that the process is in, and of those around them."""
    of_process = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        of_process["memory" if "memory" in controllers.split(",") else number + controllers] = path
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, filesystem = line.partition(" - ")
        inside, point, kind, options = (*mount.split()[3:5], *filesystem.split()[::2], "", "", "", "")[:4]
        if kind == "cgroup2":
            path, names = of_process.get("0"), _VERSION_2
        elif kind == "cgroup" and "memory" in options.split(","):
            path, names = of_process.get("memory"), _VERSION_1
        else:
            continue
        # In a container the process's path may be the host's, which is not mounted: then the mount is its own.
        own = path.removeprefix(inside) if path is not None and path.startswith(inside) else ""
        places = [place for place in own.split("/") if place not in ("", "..")]
        for depth in range(len(places), -1, -1):
            yield from _left(root / point.lstrip("/") / "/".join(places[:depth]), names)


def _left(folder: Path, names: _Names) -> Iterator[int]:
    """Yield what is left under each limit of one cgroup; files that it caches are let go when memory is needed."""
    used = next(_numbers(folder / names.used), None)
    cached = sum(sum(_numbers(folder / "memory.stat", name)) for name in names.cached)
    for limit in (number for name in names.limits for number in _numbers(folder / name)):
        if used is not None and limit < _UNLIMITED:
            yield limit - used + min(cached, used)


def _of_process(root: Path) -> Iterator[int]:
    """Yield what is left under each limit of the process itself."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, used in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        most = resource.getrlimit(limit)[0]
        if most != resource.RLIM_INFINITY:
            yield from (most - taken for taken in _numbers(root / "proc/self/status", used, 1024))


def _numbers(path: Path, name: str | None = None, unit: int = 1) -> Iterator[int]:
    """Yield the numbers of a file of the system: the first of each line, or of lines that begin with a name."""
    for line in _lines(path):
        words = line.split()
        if name is not None and words[:1] != [name]:
            continue
        value = words[0 if name is None else 1] if len(words) > (name is not None) else ""
        if value.isdigit():
            yield int(value) * unit


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines() if os.path.isfile(path) else []
    except (OSError, ValueError):
        return []
