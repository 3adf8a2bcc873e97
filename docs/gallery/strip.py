import numpy as np
import pandas as pd

import probe
from models import zoo
from models.tasks import bit_strings, running_count
from probe import plots

bits = bit_strings(8)
count = running_count(bits).numpy().ravel()
rows = []
for trained in zoo.networks(seeds=range(20)):
    for role, model in (("trained", trained.model), ("own initialisation", trained.untrained)):
        cells = probe.record(model, bits, signals=["cell_state"])["cell_state"].flatten(0, 1).numpy()
        best = max(abs(np.corrcoef(cell, count)[0, 1]) for cell in cells.T)
        rows.append({"role": role, "value": best})
ax = plots.strip(pd.DataFrame(rows), label="|r| of the best cell with the running count")
ax.figure.savefig("strip.png", dpi=120)
