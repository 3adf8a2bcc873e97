"""The explorer that the tests in a browser use: the counters of the zoo."""

from __future__ import annotations

import torch

from models.zoo import networks
from probe.report import Explorer, ExplorerNetwork, Page, Section


def page_of(explorer: Explorer) -> Page:
    """Return a page that holds an explorer."""
    return Page("Explore", "It runs here.", [Section("Run it", [explorer], "run")])


def counters() -> Explorer:
    """Return an explorer of a trained counter, its untrained twin and a trained GRU."""
    lstm, gru = networks(seeds=[0])[0], networks("gru", seeds=[0])[0]
    assert lstm.untrained is not None
    given = {"trained": lstm.model, "untrained": lstm.untrained, "GRU": gru.model}
    chosen = [ExplorerNetwork(name, model, f"The {name} one.") for name, model in given.items()]
    return Explorer(chosen, "0110101101", {"0": 0.0, "1": 1.0}, [str(count) for count in range(11)], [10])


def answer(string: str) -> int:
    """Return what the trained counter says to a string."""
    bits = torch.tensor([[[float(bit)] for bit in string]])
    return int(networks(seeds=[0])[0].model(bits).argmax())
