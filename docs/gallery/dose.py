import pandas as pd
import torch

import probe
from models import zoo
from models.tasks import parse_bits
from probe import plots

counter = zoo.networks(seeds=[0])[0].model
base = parse_bits("1110000" + "010")
rows = []
for count in range(8):
    source = probe.record(counter, parse_bits("1" * count + "0" * (7 - count)))
    for part, units in {"all cells": range(12), "cells 0 to 5": range(6), "cell 8 alone": [8]}.items():
        edit = probe.patch("cell_state", source, steps=6, units=units)  # after seven bits
        with torch.no_grad(), probe.intervene(counter, edit):
            answer = counter(base).argmax().item() - 1  # the last three bits hold a one
        rows.append({"ones put in": count, "ones answered": answer, "part": part})
ax = plots.dose(pd.DataFrame(rows), given="ones put in", answered="ones answered", by="part", base=3)
ax.figure.savefig("dose.png", dpi=120)
