"""Calls each public function with odd inputs, one at a time, and prints those that raise anything but ProbeError.

Run in a process of its own: the suite checks annotations, so that odd inputs would never arrive.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

import probe

matplotlib.use("Agg")
from matplotlib import pyplot as plt

torch.manual_seed(0)
MODEL = torch.nn.LSTM(2, 3, batch_first=True)
X = torch.randn(10, 5, 2)
OWN = probe.record(MODEL, X)
CONCEPT = X[:, :, 0].cumsum(1)
EDIT = probe.clamp("cell_state", 0.5)
FOLDER = Path(tempfile.mkdtemp())


class Nothing:
    """No input is of this class."""


class Walk:
    """An episode of three steps."""

    def reset(self, *, seed: int) -> Any:
        """Begin."""
        self.left = 3
        return np.zeros(2), {}

    def step(self, action: Any) -> Any:
        """Take a step."""
        self.left -= 1
        return np.ones(2), float(action), self.left == 0, False, {}


class Cell(torch.nn.Module):
    """A cell that a loop calls."""

    def forward(self, x: Any, h: Any) -> Any:
        """Return the next state."""
        return x + h


def act(observations: Any, state: Any, starts: Any) -> Any:
    """Return actions and a state."""
    output, state = MODEL(
        torch.as_tensor(observations, dtype=torch.float32)[:, None], None if starts.any() else state
    )
    return output[:, -1].argmax(1), state


#: What stands in the place of an argument: each is wrong for most of them.
ODD: dict[str, Any] = {
    **{
        repr(one): one for one in (None, True, -1, 0, 1.5, 1j, float("nan"), float("inf"), "", "a", b"a", np.int64(3))
    },
    **{repr(one): one for one in ([], (), {}, ["a"], [None], [1.5], [-1], [[]], {"a": 1}, {1: "a"}, {"a"})},
    "a class": Nothing,
    "an object": Nothing(),
    "a model": MODEL,
    "a recording": OWN,
    "an edit": EDIT,
    "edits": [EDIT],
    "a type": torch.float64,
    "a function to None": lambda *given, **named: None,
    "a function of one to a number": lambda given: 1.0,
    "a function of one to truth": lambda given: given[0][..., 0] > 0,
    "a function of one to complex numbers": lambda given: given[0][..., 0] * 1j,
    "a tensor": torch.ones(2),
    "an empty tensor": torch.zeros(0),
    "a complex tensor": torch.ones(10, 5, dtype=torch.complex64),
    "whole numbers": torch.ones(10, 5, dtype=torch.long),
    "a mask": torch.ones(10, 5, dtype=torch.bool),
    "an array of NaN": np.full((10, 5), np.nan),
    "an array of objects": np.array([None, "a"], dtype=object),
}


def first(*names: str) -> Callable[[Any], Callable[..., Any]]:
    """Return what lets a function take its first arguments, which have no keywords, by names."""

    def decorated(function: Any) -> Callable[..., Any]:
        return lambda **named: function(*[named.pop(name) for name in names], **named)

    return decorated


def within(context: Any) -> Callable[..., None]:
    """Return what runs the model inside a context."""

    def run(*given: Any, **named: Any) -> None:
        with context(*given, **named):
            MODEL(X)

    return run


def shown(function: Any, *parts: str) -> Callable[..., None]:
    """Return what calls a function and shows what it returns, with some of its parts."""

    def run(*given: Any, **named: Any) -> None:
        found = function(*given, **named)
        repr(found)
        for part in parts:
            one = getattr(found, part)
            one() if callable(one) else None

    return run


def acting(function: Any) -> Callable[..., None]:
    """Return what makes an edit and runs it."""
    return shown(lambda *given, **named: probe.record(MODEL, X, edits=[function(*given, **named)]))


def last(returned: Any) -> Any:
    """Return a number of each row."""
    return returned[0][:, -1, 0]


def number(returned: Any) -> Any:
    """Return a number of each row and step."""
    return returned[0][:, :, 0]


NONE = dict.fromkeys
READ = probe.linear_probe(OWN, CONCEPT, signals=["cell_state"])
MEMORY = probe.memory(MODEL, X, answer=number, put="zero", times=2, decide="sign", every=[2])
SPLIT = probe.contributions(MODEL, X, output=last, method="occlusion")
PLACES = NONE(("layer", "units", "steps", "rows", "call"))
KEPT = NONE(("signals", "layer", "steps", "tolerance", "device", "dtype"))
CELLS = NONE(("figsize", "title", "cmap", "ax")) | {"noun": "step"}
LINES = NONE(("figsize", "title", "palette", "ax")) | {"noun": "step"}
PROBED: dict[str, Any] = {"recording": OWN, "concept": CONCEPT, "controls": {}, "layer": None, "name": "", "seed": 0}
PROBED |= {"signals": ["cell_state"], "groups": None}
#: Of each public function how it is called, and arguments that are right.
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "record": (
        shown(first("model", "x")(probe.record)),
        {"model": MODEL, "x": X, "edits": (), "check": True}
        | KEPT
        | NONE(("kwargs", "gradient_of", "out", "batch_axis")),
    ),
    "watch": (within(first("model")(probe.watch)), {"model": MODEL, "every": 1, "detach": False} | KEPT),
    "intervene": (
        within(first("model", "edit")(probe.intervene)),
        {"model": MODEL, "edit": EDIT, "tolerance": None},
    ),
    "sweep": (
        first("model", "x")(probe.sweep),
        {"model": MODEL, "x": X, "edits": [EDIT], "memory": 10**6} | NONE(("output", "kwargs", "batch_axis")),
    ),
    "rollout": (
        first("policy", "make", "episodes")(probe.rollout),
        {"policy": MODEL, "make": Walk, "episodes": 2, "environments": 1, "edits": (), "act": act, "seed": 0}
        | {"most": 9, "signals": None, "layer": None},
    ),
    "memory": (
        shown(first("model", "x")(probe.memory), "table", "horizons"),
        {"model": MODEL, "x": X, "answer": number, "put": "zero", "times": 2, "decide": "sign", "every": [2]}
        | {"truth": np.ones((10, 5), bool), "controls": {"other": MODEL}, "random": 1, "seed": 0}
        | NONE(("tolerance", "relative", "units", "kwargs", "batch_axis")),
    ),
    "memory of a layer": (
        shown(first("model", "x")(probe.memory)),
        {"model": MODEL, "x": X, "answer": None, "times": 2, "layer": None, "keep": None, "units": None, "seed": 0},
    ),
    "contributions": (
        shown(first("model", "x")(probe.contributions), "to_frame"),
        {"model": MODEL, "x": X, "output": last, "method": ("occlusion", "integrated gradients"), "seed": 0}
        | {"baseline": "another row", "together": False, "tolerance": 0.01}
        | NONE(("steps", "at", "kwargs", "batch_axis")),
    ),
    "contributions to a cell": (
        shown(first("model", "x")(probe.contributions)),
        {"model": MODEL, "x": X, "method": "cell state", "layer": None},
    ),
    "linear_probe": (
        shown(first("recording", "concept")(probe.linear_probe), "table", "_repr_html_"),
        PROBED | {"one_map": True, "fit": None, "folds": 3},
    ),
    "single_units": (shown(first("recording", "concept")(probe.single_units)), PROBED),
    "random_weights": (
        first("model", "x")(probe.random_weights),
        {"model": MODEL, "x": X, "count": 1, "seed": 0} | NONE(("kwargs", "signals", "layer")),
    ),
    "inspect": (shown(probe.inspect), {"model": MODEL}),
    "recording_size": (
        shown(probe.inspect(MODEL).recording_size),
        {"rows": 1, "steps": 1, "signals": None, "layer": None},
    ),
    "clamp": (acting(first("signal", "value")(probe.clamp)), {"signal": "cell_state", "value": 0.5} | PLACES),
    "ablate": (
        acting(first("signal")(probe.ablate)),
        {"signal": "cell_state", "kind": "resample", "reference": OWN, "seed": 0},
    ),
    "patch": (
        acting(first("signal", "source")(probe.patch)),
        {"signal": "cell_state", "source": OWN, "source_rows": None},
    ),
    "steer": (
        acting(first("signal", "direction")(probe.steer)),
        {"signal": "cell_state", "direction": [1.0] * 3, "scale": 1.0},
    ),
    "edit": (
        acting(first("signal", "function")(probe.edit)),
        {"signal": "cell_state", "function": lambda value, site: value},
    ),
    "Edit": (probe.Edit.from_json, {"text": EDIT.to_json()}),
    "register": (first("kind")(probe.register), {"kind": Cell, "state": "h", "returns": None, "step": None}),
    "load": (
        first("path")(probe.load),
        {"path": "none", "memory": 10**6}
        | NONE(("into", "names", "forget_bias", "gate_activation", "activation", "reset", "gate_order")),
    ),
    "load_recording": (probe.load_recording, {"path": "none"}),
    "Finding": (first("path")(probe.Finding.read), {"path": "none"}),
    "Concept": (first("values")(probe.Concept), {"values": CONCEPT, "description": ""}),
    "Readout": (
        first("concept")(probe.Readout),
        {"concept": "sum", "weight": np.ones((1, 3)), "bias": np.zeros(1), "steps": "last", "layer": None}
        | NONE(("function", "kind", "answers", "combine", "interchange_step", "transposed")),
    ),
    "Study": (
        first("networks", "inputs", "concepts")(probe.Study),
        {"networks": MODEL, "inputs": X, "concepts": {"sum": CONCEPT}, "title": "", "seed": 0, "programs": {}}
        | NONE(("lengths", "groups", "valid", "symbols", "name", "layer", "readout", "fixed_inputs", "questions"))
        | {"rules": (), "controls": ()}
        | NONE(("tolerance", "family", "version")),
    ),
    "Recording": (first("key")(OWN.__getitem__), {"key": "cell_state"}),
    "Recording.call": (OWN.call, {"number": 0}),
    "Recording.to_frame": (
        OWN.to_frame,
        {"concept": CONCEPT, "layer": None, "signals": "cell_state", "units": 0},
    ),
    "Recording.lengths": (OWN.lengths, {"layer": None}),
    "Recording.save": (OWN.save, {"path": FOLDER / "own.safetensors"}),
    "Reading": (first("key")(READ.__getitem__), {"key": "cell_state"}),
    "Reading.direction": (
        first("signal")(READ.direction),
        {"signal": "cell_state", "layer": None, "value": None, "step": None},
    ),
    "Reading.weights": (first("signal")(READ.weights), {"signal": "cell_state", "layer": None}),
    "Reading.states": (READ.states, {"signal": "cell_state", "layer": None}),
    "Memory.shortest_reset": (MEMORY.shortest_reset, {"share": 0.01}),
    "Lags.quantile": (MEMORY.groups["state"].quantile, {"share": 0.5, "of": "horizon"}),
    "Lags.interval": (MEMORY.groups["state"].interval, {"share": 0.5, "of": "horizon"}),
    "plots.saturation": (
        first("recording")(probe.plots.saturation),
        {"recording": OWN, "gates": None, "units": None, "layer": None, "title": None},
    ),
    "plots.traces": (
        first("recording")(probe.plots.traces),
        {"recording": OWN, "hue": None, "col": None, "units": 0, "signal": None, "layer": None, "name": ""} | LINES,
    ),
    "plots.against": (
        first("recording", "concept")(probe.plots.against),
        {"recording": OWN, "concept": CONCEPT.numpy(), "hue": None, "col": None, "units": 0, "name": ""}
        | {"signal": None, "layer": None}
        | LINES,
    ),
    "plots.tuning": (
        first("recording", "concept")(probe.plots.tuning),
        {"recording": OWN, "concept": CONCEPT.numpy(), "units": 0, "signal": None, "layer": None, "name": ""}
        | {"z_score": True}
        | NONE(("figsize", "title", "cmap", "ax")),
    ),
    "plots.heatmap": (
        first("recording")(probe.plots.heatmap),
        {"recording": OWN, "row": 0, "signals": "cell_state", "units": None, "layer": None, "tokens": None} | CELLS,
    ),
    "plots.text": (
        first("recording", "tokens", "unit")(probe.plots.text),
        {"recording": OWN, "tokens": list("abcde"), "unit": 0, "row": 0, "signal": None, "layer": None},
    ),
    "plots.trajectories": (
        first("recording")(probe.plots.trajectories),
        {"recording": OWN, "hue": None, "points": None, "flow": None, "directions": 2, "units": None, "name": ""}
        | {"signal": None, "layer": None}
        | LINES,
    ),
    "plots.contributions": (
        first("found")(probe.plots.contributions),
        {"found": SPLIT, "row": 0, "method": None, "tokens": None} | CELLS,
    ),
    "plots.memory": (
        first("found")(probe.plots.memory),
        {"found": MEMORY} | NONE(("figsize", "title", "palette", "ax")),
    ),
    "plots.table": (first("drawn")(probe.plots.table), {"drawn": probe.plots.saturation(OWN)}),
}
#: What goes to a model or a function of the user's alone, whose errors are their own.
THEIR_OWN = {("x", "a tensor"), ("x", "an empty tensor"), ("kwargs", "{'a': 1}")}
THEIR_OWN |= {(name, "a model") for name in ("output", "answer", "decide", "function", "flow", "gradient_of")}


def raw() -> Iterator[str]:
    """Yield the odd inputs that raise anything but ProbeError, with what and where."""
    for name, (call, right) in CALLS.items():
        if right.get("path") != "none":
            call(**right)
        for argument in right:
            for told, odd in ODD.items():
                if (argument, told) in THEIR_OWN or (argument in ("path", "out") and isinstance(odd, str)):
                    continue
                try:
                    call(**right | {argument: odd})
                except probe.ProbeError:
                    pass
                except Exception as error:  # noqa: BLE001 (what is looked for)
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    yield f"{name}({argument}={told}): {error!r}, {Path(place.filename).name}:{place.lineno}"
                plt.close("all")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    json.dump({"raw": [*raw()], "called": [*CALLS]}, sys.stdout)
