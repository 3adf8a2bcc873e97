import pandas as pd

import probe
from models import zoo
from models.tasks import bit_strings
from probe import plots

bits = bit_strings(10)
counter = zoo.networks(seeds=[0])[0].model
recording = probe.record(counter, bits)
one = bits[:, :, 0] == 1
moved = {}
for gate in ("input_gate", "forget_gate", "output_gate"):
    values = recording[gate][:, :, :8]
    moved[gate.replace("_", " ")] = (values[one].mean(0) - values[~one].mean(0)).numpy()
table = pd.DataFrame(moved).rename_axis("unit").T
ax = plots.matrix(table, label="mean gate at a 1, minus that at a 0")
ax.figure.savefig("matrix.png", dpi=120)
