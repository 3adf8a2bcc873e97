"""What completion offers between brackets, as in a notebook: the keys that are taken, and no others."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from bodies import Model
from commands import started
from torch import Tensor, nn

import probe

X = torch.randn(12, 6, 3, generator=torch.Generator().manual_seed(0))
CONCEPT = (X[:, :, 0] > 0).cumsum(1)
KEPT = ["cell_state", "hidden_state"]


def lstm() -> nn.LSTM:
    """Return an LSTM of five units."""
    return nn.LSTM(3, 5, batch_first=True)


def mixed(m: Any, x: Tensor) -> Tensor:
    """Call an LSTM once, a GRU once, and another LSTM twice."""
    h = m.twice(m.gru(m.once(x)[0])[0])[0]
    return m.twice(h)[0]


def recorded(**layers: nn.Module) -> probe.Recording:
    """Return a recording of layers in a row, or of one LSTM."""
    model = Model(mixed, **layers) if layers else lstm()
    return probe.record(model, X, signals=[*KEPT, "reset_gate"] if layers else KEPT)


def layered() -> probe.Recording:
    """Return a recording of an LSTM, a GRU, and an LSTM that is called twice."""
    return recorded(once=lstm(), gru=nn.GRU(5, 5, batch_first=True), twice=nn.LSTM(5, 5, batch_first=True))


def of_two_layers() -> Any:
    """Return what is read off two layers that have the same signals."""
    recording = probe.record(nn.LSTM(3, 5, 2, batch_first=True), X, signals=KEPT)
    return probe.linear_probe(recording, CONCEPT, folds=3)


#: What has brackets, and what they take.
TAKEN: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "recording": (recorded, [*KEPT, ("[0]", KEPT[0]), ("[0]", KEPT[1])]),
    "layers": (
        layered,
        ["reset_gate", *[("once[0]", one) for one in KEPT], ("gru[0]", "reset_gate"), ("gru[0]", "hidden_state")],
    ),
    "states before the first step": (lambda: recorded().initial, [*KEPT, *[("[0]", one) for one in KEPT]]),
    "those of layers": (
        lambda: layered().initial,
        [*[("once[0]", one) for one in ("hidden_state", "cell_state")], ("gru[0]", "hidden_state")],
    ),
    "reading": (
        lambda: probe.linear_probe(recorded(), CONCEPT, folds=3),
        [*KEPT, *[("[0]", one) for one in KEPT]],
    ),
    "units": (lambda: probe.single_units(recorded(), CONCEPT), [*KEPT, *[("[0]", one) for one in KEPT]]),
    "reading of layers": (
        of_two_layers,
        [(layer, one) for layer in ("[0]", "[1]") for one in KEPT],
    ),
    "contributions": (lambda: probe.contributions(lstm(), X, output=lambda out: out[0][:, -1, 0]), ["occlusion"]),
}
LAYERS = ("[0]", "[1]", "once[0]", "gru[0]", "twice[0]", "occlusion")


@pytest.mark.parametrize("name", TAKEN)
def test_completion_offers_what_brackets_take(name: str) -> None:
    """Each key gives something; every other one that could be typed is refused."""
    make, taken = TAKEN[name]
    value = make()
    offered = value._ipython_key_completions_()
    assert set(taken) <= set(offered)
    assert len(set(offered)) == len(offered)
    words = [*LAYERS, *KEPT, "reset_gate", "integrated gradients"]
    for key in [*words, *[(one, other) for one in LAYERS for other in words]]:
        try:
            _ = value[key]
        except probe.ProbeError:
            assert key not in offered
        else:
            assert key in offered
    assert {type(word) for key in offered for word in (key if isinstance(key, tuple) else (key,))} == {str}


#: What is typed, and what is offered.
TYPED = {
    'one["': ["[0]", "candidate", "candidate_recurrent", "hidden_state", "reset_gate", "update_gate"],
    'one["h': ["hidden_state"],
    'two["': ["[0]", "[1]"],
    'two["[1]", "cell_s': ["cell_state"],
    'reading["': ["[0]", "hidden_state"],
}
SHELL = f"""
from IPython.core.interactiveshell import InteractiveShell
import torch
import probe

x = torch.randn(12, 6, 3)
one = probe.record(torch.nn.GRU(3, 5, batch_first=True), x)
two = probe.record(torch.nn.LSTM(3, 5, 2, batch_first=True), x)
reading = probe.linear_probe(one, (x[:, :, 0] > 0).cumsum(1), signals=["hidden_state"], folds=3)
shell = InteractiveShell.instance()
shell.push(dict(one=one, two=two, reading=reading))
for typed in {list(TYPED)!r}:
    offered = [word.rpartition('"')[2] for word in shell.complete(typed, typed)[1]]
    print(*sorted(word for word in offered if word))
"""


@pytest.mark.skipif(find_spec("IPython") is None, reason="IPython is not installed, whose completer is asked")
def test_ipython_offers_the_keys(tmp_path: Path) -> None:
    """Of one layer its signals, of several the layers first; in a process of its own, with settings of its own."""
    shown, _ = started("-c", SHELL, more={"IPYTHONDIR": str(tmp_path)})
    assert shown.splitlines() == [" ".join(words) for words in TYPED.values()]
