"""The code of docs/gallery.md: what stands first, and then a part for each picture."""

# --8<-- [start:first]
from pathlib import Path

import pandas as pd
import seaborn as sns
import torch

import probe
from probe import plots
from probe.methods.dynamics import StackDynamics
from probe.methods.fixed_points import find_points, step

counter, bits, concepts = probe.examples.counter()  # an LSTM, all 1,024 strings of ten bits,
ones = concepts["ones so far"]  # and what it may hold after each bit
recording = probe.record(counter, bits)
# --8<-- [end:first]

# --8<-- [start:against]
ax = recording.plot.against(ones, units=8, name="ones read so far", noun="bit")
ax.figure.savefig("against.png", dpi=120)
# --8<-- [end:against]

# --8<-- [start:cells]
figure = recording.plot.against(ones, units=range(6), name="ones read so far", noun="bit")
figure.savefig("cells.png", dpi=85)
# --8<-- [end:cells]

# --8<-- [start:tuning]
ax = recording.plot.tuning(ones, name="ones read so far")
ax.figure.savefig("tuning.png", dpi=110)
# --8<-- [end:tuning]

# --8<-- [start:heatmap]
string = "0110101101"
single = probe.record(counter, bits[int(string, 2)][None])
figure = single.plot.heatmap(tokens=string, noun="bit")
figure.savefig("heatmap.png", dpi=120)
# --8<-- [end:heatmap]

# --8<-- [start:contributions]
string = "0110101101"
x, counts = bits[int(string, 2)][None], torch.arange(11.0)  # the answer: their mean
found = probe.contributions(counter, x, output=lambda scores: scores.softmax(1) @ counts)
figure = plots.contributions(found, tokens=string, noun="bit")
figure.savefig("contributions.png", dpi=100)
# --8<-- [end:contributions]

# --8<-- [start:traces]
ax = recording.plot.traces(hue=ones[:, -1], units=8, name="ones in all", noun="bit")
ax.figure.savefig("traces.png", dpi=120)
# --8<-- [end:traces]

# --8<-- [start:trajectories]
ax = recording.plot.trajectories(hue=ones, name="ones read so far", noun="bit")
ax.figure.savefig("trajectories.png", dpi=100)
# --8<-- [end:trajectories]

# --8<-- [start:fixed_points]
network, pulses, _ = probe.examples.flipflop()
network, pulses = network.double(), pulses.double()
held = probe.record(network, pulses)
visited = held["hidden_state"].flatten(0, 1)[::4]
starts = torch.cat([visited, (visited[1:] + visited[:-1]) / 2])
points = find_points(StackDynamics(network.layer), torch.zeros(3).double(), starts)
ax = held.plot.trajectories(points=points, directions=3, noun="pulse")
ax.figure.savefig("fixed_points.png", dpi=100)
# --8<-- [end:fixed_points]

# --8<-- [start:memory]
network, pulses, _ = probe.examples.flipflop()
ax = plots.memory(probe.memory(network, pulses, put="another row", times=20, random=2))
ax.figure.savefig("memory.png", dpi=120)
# --8<-- [end:memory]

# --8<-- [start:flow]
torch.manual_seed(0)
rnn = torch.nn.RNN(1, 2, batch_first=True).double()
with torch.no_grad():  # each unit keeps its sign, and pulls the other one along
    rnn.weight_hh_l0.copy_(torch.tensor([[1.4, 0.2], [0.2, 1.4]]))
    rnn.weight_ih_l0.copy_(torch.tensor([[1.0], [-0.5]]))
    rnn.bias_hh_l0.zero_()
    rnn.bias_ih_l0.zero_()
dynamics, silence = StackDynamics(rnn), torch.zeros(1).double()
grid = torch.cartesian_prod(*[torch.linspace(-1, 1, 9).double()] * 2)
points = find_points(dynamics, silence, grid)
drawn = probe.record(rnn, 0.6 * torch.randn(12, 10, 1).double())


def flow(states):
    """Return the states one step later."""
    return step(dynamics, torch.tensor(states), silence)


ax = drawn.plot.trajectories(points=points, flow=flow)
ax.figure.savefig("flow.png", dpi=100)
# --8<-- [end:flow]

# --8<-- [start:saturation]
figure = recording.plot.saturation()
figure.savefig("saturation.png", dpi=120)
# --8<-- [end:saturation]

# --8<-- [start:text]
rnn = torch.nn.RNN(1, 1, batch_first=True)
with torch.no_grad():  # an opening bracket sets the unit, a closing one sets it back
    for parameter, value in zip(rnn.parameters(), (6.0, 3.0, 0.0, 0.0), strict=True):
        parameter.fill_(value)
text = "States (of any layer) are recorded (and checked) & shown."
inputs = torch.tensor([[{"(": 1.0, ")": -1.0}.get(letter, 0.0) for letter in text]])[:, :, None]
coloured = probe.record(rnn, inputs).plot.text(text, unit=0)
Path("text.html").write_text(coloured.html, encoding="utf-8")
# --8<-- [end:text]

# --8<-- [start:matrix]
one = bits[:, :, 0] == 1
moved = {}
for gate in ("input_gate", "forget_gate", "output_gate"):
    values = recording[gate][:, :, :8]
    moved[gate.replace("_", " ")] = (values[one].mean(0) - values[~one].mean(0)).numpy()
table = pd.DataFrame(moved).rename_axis("unit").T
ax = plots.matrix(table, title="mean gate at a 1, minus that at a 0")
ax.figure.savefig("matrix.png", dpi=120)
# --8<-- [end:matrix]

# --8<-- [start:dose]
base = bits[int("1110000" + "010", 2)][None]
parts = {"all cells": range(12), "cells 0 to 5": range(6), "cell 8 alone": [8]}
rows = []
for count in range(8):
    source = probe.record(counter, bits[int("1" * count + "0" * (10 - count), 2)][None])
    for part, units in parts.items():
        edit = probe.patch("cell_state", source, steps=6, units=units)  # after seven bits
        with torch.no_grad(), probe.intervene(counter, edit):
            answer = counter(base).argmax().item() - 1  # the last three bits hold a one
        rows.append({"ones put in": count, "ones answered": answer, "part": part})
table = pd.DataFrame(rows)
ax = plots.dose(table, given="ones put in", answered="ones answered", hue="part", base=3)
ax.figure.savefig("dose.png", dpi=120)
# --8<-- [end:dose]

# --8<-- [start:seaborn_against]
table = recording.to_frame(concept={"ones": ones}, signals=["cell_state"], units=8)
grid = sns.relplot(table, x="ones", y="value", hue="step", kind="line", errorbar=None)
grid.savefig("seaborn_against.png", dpi=60)
# --8<-- [end:seaborn_against]

# --8<-- [start:seaborn_traces]
concept = {"first": bits[:, 0, 0]}
table = recording.to_frame(concept=concept, signals="cell_state", units=[0, 1, 2])
look = {"kind": "line", "errorbar": ("pi", 50), "height": 2.5}
grid = sns.relplot(table, x="step", y="value", hue="first", col="unit", **look)
grid.savefig("seaborn_traces.png", dpi=75)
# --8<-- [end:seaborn_traces]

# --8<-- [start:seaborn_tuning]
table = recording.to_frame(concept={"ones": ones}, signals=["cell_state"])
means = table.pivot_table(index="unit", columns="ones", values="value")
sns.clustermap(means, z_score=0, col_cluster=False).savefig("seaborn_tuning.png", dpi=50)
# --8<-- [end:seaborn_tuning]

# --8<-- [start:seaborn_scores]
table = probe.linear_probe(recording, ones, name="ones").table.query("step.isna()")
grid = sns.catplot(table, x="score", y="signal", hue="network", jitter=False, aspect=1.4)
grid.savefig("seaborn_scores.png", dpi=60)
# --8<-- [end:seaborn_scores]
