"""What a user without a type checker reads, in a process of its own: the suite checks every annotation."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from refusing import refused, said
from torch import nn

import probe
from probe.edits.constructors import Where
from probe.influence.memory import Options

PREPARE = """
import numpy as np, torch, probe
from types import SimpleNamespace
from probe import Finding
lstm = torch.nn.LSTM(3, 5, batch_first=True)
x, many = torch.randn(4, 7, 3), torch.randn(20, 7, 3)
own = probe.record(lstm, x)
patch = probe.patch("cell_state", own)
def inside(context):
    with context:
        lstm(x)
def index(at):
    some = probe.record(lstm, x, steps=at)
    assert torch.equal(some["cell_state"], own["cell_state"][:, 3:4]) and type(some.steps[0]) is int
    edit = probe.patch("cell_state", own, steps=at, units=at, rows=at, source_rows=at)
    assert edit == probe.patch("cell_state", own, steps=3, units=3, rows=3, source_rows=3)
def answer(code):
    try:
        eval(code)
    except probe.ProbeError as error:
        return str(error)
    return "not refused"
import json, sys
print(json.dumps([answer(code) for code in json.load(sys.stdin)]))
"""
#: Steps and units that come out of an array choose what the plain number chooses.
RIGHT = [f"index({at})" for at in ("np.int64(3)", "np.array([3])", "torch.tensor([3])", "[np.int32(3)]")]
#: The public classes that are made of, or read from, what a user gives.
PLACES_OF_DATA = {"Concept", "Edit", "Finding", "Readout", "Recording", "Study"}
#: Plots of tables, and the class of one.
TABLES = {"plots.ColouredText", "plots.dose", "plots.matrix"}
#: What is given, by what it should have been.
WRONG: dict[str, list[str]] = {
    "a model": [
        *('probe.record("model", x)', "probe.inspect(torch.jit.script(lstm))", 'probe.inspect("weights.pt")'),
        "probe.record(SimpleNamespace(model=lstm), x)",
        "inside(probe.watch(SimpleNamespace(policy=lstm)))",
        "probe.sweep(SimpleNamespace(module=lstm), x, edits=[patch])",
        "inside(probe.intervene(SimpleNamespace(net=lstm), patch))",
        'probe.record(torch.nn.ModuleDict({"rnn": lstm}), x)',
        "probe.sweep(torch.nn.ModuleList([lstm]), x, edits=[patch])",
    ],
    "an argument": [
        "probe.record(lstm, x, attention_mask=x)",
        "probe.sweep(lstm, x, edits=[patch], attention_mask=x)",
        "probe.record(lstm, x, step=3)",
        "inside(probe.intervene(lstm, patch, tolerence=1))",
        'inside(probe.watch(lstm, signal=["hidden_state"]))',
        "probe.inspect(lstm, layer=[])",
        "probe.rollout(lstm, None, 3, envs=2)",
    ],
    "edits": [
        'inside(probe.intervene(lstm, "patch"))',
        "probe.record(lstm, x, edits=patch)",
        "probe.rollout(lstm, SimpleNamespace, 1, edits=patch, act=lambda *given: given)",
        "probe.sweep(lstm, x, edits=patch)",
        "probe.sweep(lstm, x, edits=[3])",
    ],
    "an index": [
        "probe.record(lstm, x, steps=1.5)",
        'probe.patch("cell_state", own, units="3")',
        'probe.patch("cell_state", own, units=[(0.5, 1)])',
        'probe.patch("cell_state", own, units=[1, (2, 3)])',
        *(f'probe.Readout("n", weight=np.ones((1, 5)), steps={steps})' for steps in ("1.5", "('last',)", "[None]")),
        'probe.Readout("n", weight=np.ones((1, 5)), steps=True)',
        "own[3]",
        'own["[0]", "cell_state", 0]',
    ],
    "an option": [
        'probe.record(lstm, x, dtype="float64")',
        'probe.record(lstm, x, check="no")',
        "probe.record(lstm, x, signals=3)",
        "probe.record(lstm, x, kwargs=[1])",
        'probe.record(lstm, x, gradient_of="sum")',
        'probe.ablate("cell_state", kind="resample", reference=own, seed=1.5)',
        'inside(probe.intervene(lstm, probe.clamp("cell_state", 0.0), tolerance="x"))',
        *(f'probe.load("w.pt", {given})' for given in ('forget_bias="1"', "gate_order=3", "forget_bias=True")),
    ],
    "a recording": [
        "probe.linear_probe(lstm, x)",
        "probe.linear_probe(own, x[..., 0], controls=own)",
        # A control is looked at where the recording and the concept fit: of enough sequences.
        'probe.single_units(probe.record(lstm, many), many[..., 0], controls={"other": lstm})',
    ],
    "a path, or names": [
        *(f"{take}({path})" for path in ("b'w.pt'", "3", "['w.pt']", "None") for take in ("probe.load", "own.save")),
        *(f"{take}(3)" for take in ("probe.load_recording", "Finding.read")),
        *(f'probe.load("w.pt", names={names})' for names in ("['a']", "'a'", "{1: 'a'}", "{'a': 1}", "3")),
        'probe.load("w.pt", into={})',
    ],
}


def test_what_is_of_another_type_is_named() -> None:
    """Each with what was given and what is wanted, before torch fails with words about something else."""
    codes = [*RIGHT, *(code for calls in WRONG.values() for code in calls)]
    words, given = [sys.executable, "-c", PREPARE], json.dumps(codes)
    done = subprocess.run(words, input=given, capture_output=True, text=True, cwd=os.sep, check=True)
    answers = json.loads(done.stdout)
    assert [answer == "not refused" for answer in answers] == [code in RIGHT for code in codes]
    for answer in answers[len(RIGHT) :]:
        said(answer)


def test_an_odd_input_works_or_is_refused() -> None:
    """Of every public function each argument in turn is odd: what is raised is a ProbeError, or nothing."""
    code = Path(__file__).parents[1] / "helpers" / "odd_inputs.py"
    done = subprocess.run([sys.executable, str(code)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["raw"] == []
    public = {name for name in probe.__all__ if inspect.isroutine(getattr(probe, name)) or name in PLACES_OF_DATA}
    assert public <= {*found["called"]}
    assert {f"plots.{name}" for name in probe.plots.__all__} - {*found["called"]} == TABLES


def test_what_was_taken_and_is_refused_now() -> None:
    """What went wrong in silence: a complex answer lost its imaginary part, a mask chose the steps 0 and 1."""
    lstm, x = nn.LSTM(2, 3, batch_first=True), torch.randn(4, 6, 2)
    with refused():
        probe.contributions(lstm, x, output=lambda returned: returned[0][:, -1, 0] * 1j, method="occlusion")
    with refused():
        probe.memory(lstm, x, answer=lambda returned: returned[0] * 1j)
    with refused():
        probe.contributions(lstm, x, output=lambda returned: returned[0][:, -1, 0], baseline=1j, method="occlusion")
    for mask in ([True, False], torch.tensor([True, False])):
        with refused():
            probe.record(lstm, x, steps=mask)
    episodes: dict[str, Any] = {"policy": lstm, "make": dict, "episodes": 1, "act": lambda seen, state, starts: None}
    with refused():
        probe.rollout(**episodes)


def test_a_layer_is_named_alike_everywhere() -> None:
    """`layer=`, one name where one layer is asked for, and several in brackets where several may be."""
    calls = [name for name in probe.__all__ if name not in ("ProbeError", "Signal", "Step")]
    asked = {name: inspect.signature(getattr(probe, name)).parameters for name in calls}
    drawn = {name: inspect.signature(getattr(probe.plots, name)).parameters for name in probe.plots.__all__}
    asked["recording_size"] = inspect.signature(type(probe.inspect(nn.LSTM(2, 3))).recording_size).parameters
    assert not [name for name, parameters in drawn.items() if "layers" in parameters]
    assert {name for name, parameters in asked.items() if "layers" in parameters} == set()
    named = {"contributions", "linear_probe", "record", "rollout", "single_units", "watch"}
    named |= {"Readout", "Site", "Study", "recording_size"}
    assert {name for name, parameters in asked.items() if "layer" in parameters} == named
    for options in (Options, Where):
        assert "layer" in options.__annotations__
        assert "layers" not in options.__annotations__
