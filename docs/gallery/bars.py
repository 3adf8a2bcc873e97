import pandas as pd
import torch

from models import zoo
from models.tasks import bit_strings
from probe import plots
from probe.evidence.intervals import share_interval

counter = zoo.networks(seeds=[0])[0].model
rows = []
for length in range(7, 13):
    bits = bit_strings(length)[:: 2 ** (length - 7)]  # 128 strings of each length
    with torch.no_grad():
        right = (counter(bits).argmax(1) == bits.sum((1, 2))).sum().item()
    low, high = share_interval(right, len(bits))
    rows.append({"name": f"{length} bits", "value": right / len(bits), "low": low, "high": high})
ax = plots.bars(pd.DataFrame(rows), label="share of right answers, with its 95 % interval")
ax.figure.savefig("bars.png", dpi=120)
