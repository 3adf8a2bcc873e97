"""Ordinary networks that `record` must take, whatever rounding makes of them, and changed ones that it must refuse.

    python -m benchmarks.rounding

Forty LSTMs, GRUs and plain RNNs, of which ten reach cell states above 50 and ten are trained on the letters of the
README, are recorded and edited, and swept unless they are chaotic. Then each gets another forward: a matrix that is a
thousandth larger, a bias that is forgotten, another tanh or sigmoid, wherever the output moves by more than a
thousandth. The command prints a line for each network, and fails if an ordinary one is refused or a changed one is
not. Weights are drawn and trained anew; it takes a few CPU minutes.
"""

from __future__ import annotations

import copy
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import probe

from .opens.families import ROOT

#: Of kind, layers, units, steps, rows, what weights are multiplied by, and what is added to the forget gate's bias.
LARGE = (
    ("LSTM", 1, 512, 1000, 2, 1, 6), ("LSTM", 2, 128, 400, 8, 3, 4), ("LSTM", 2, 128, 400, 4, 3, 4),
    ("LSTM", 1, 64, 1000, 8, 3, 8), ("LSTM", 3, 12, 1000, 8, 5, 8), ("LSTM", 2, 256, 500, 4, 3, 4),
    ("LSTM", 1, 12, 1000, 16, 3, 6), ("LSTM", 3, 32, 300, 8, 4, 5), ("LSTM", 1, 128, 200, 8, 4, 8),
    ("LSTM", 2, 48, 600, 4, 2, 6),
)  # fmt: skip
DRAWN = (
    ("LSTM", 1, 12, 50, 64, 1, 0), ("LSTM", 2, 64, 100, 16, 1, 1), ("LSTM", 3, 256, 100, 4, 1, 0),
    ("LSTM", 1, 128, 1000, 4, 5, 0), ("LSTM", 1, 512, 60, 4, 1, 1), ("LSTM", 2, 32, 300, 16, 10, 0),
    ("GRU", 1, 12, 1000, 16, 1, 0), ("GRU", 2, 64, 100, 16, 3, 0), ("GRU", 3, 256, 100, 4, 1, 0),
    ("GRU", 1, 128, 1000, 4, 10, 0), ("GRU", 1, 512, 200, 2, 2, 0), ("GRU", 2, 32, 300, 16, 20, 0),
    ("GRU", 3, 48, 50, 32, 5, 0), ("RNN", 1, 12, 1000, 16, 1, 0), ("RNN", 2, 64, 100, 16, 3, 0),
    ("RNN", 3, 256, 100, 4, 1, 0), ("RNN", 1, 128, 1000, 4, 5, 0), ("RNN", 1, 512, 200, 2, 2, 0),
    ("RNN", 2, 32, 300, 16, 10, 0), ("RNN", 3, 48, 50, 32, 5, 0),
)  # fmt: skip
TRAINED = (
    ("LSTM", 2, 128, 80, 8, 1, 0), ("LSTM", 1, 64, 200, 8, 1, 4), ("LSTM", 3, 32, 100, 8, 1, 1),
    ("LSTM", 1, 12, 300, 16, 1, 0), ("GRU", 2, 128, 80, 8, 1, 0), ("GRU", 1, 64, 200, 8, 1, 0),
    ("GRU", 3, 32, 100, 8, 1, 0), ("RNN", 2, 128, 80, 8, 1, 0), ("RNN", 1, 64, 200, 8, 1, 0),
    ("RNN", 3, 32, 100, 8, 1, 0),
)  # fmt: skip
UPDATES, LETTERS = 60, 128
#: How far an output must move for a changed network to count.
MOVED = 1e-3


@dataclass(frozen=True)
class Network:
    """A network and what it reads.

    Attributes:
        name: its kind, layers, units and steps.
        model: the network.
        rnn: its recurrent module.
        x: what it reads.
    """

    name: str
    model: nn.Module
    rnn: Any
    x: Tensor


class Letters(nn.Module):
    """A language model of letters."""

    def __init__(self, rnn: Any) -> None:
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(LETTERS, rnn.input_size), rnn
        self.head = nn.Linear(rnn.hidden_size, LETTERS)

    def forward(self, letters: Tensor) -> Tensor:
        """Return scores of the next letter, (batch, time, letter)."""
        return self.head(self.rnn(self.embedding(letters))[0])


def networks() -> Iterator[Network]:
    """Yield the forty networks."""
    for trained, group in ((False, LARGE), (False, DRAWN), (True, TRAINED)):
        for seed, (kind, layers, units, steps, rows, times, added) in enumerate(group):
            torch.manual_seed(seed)
            rnn: Any = getattr(nn, kind)(8, units, layers, batch_first=True)
            with torch.no_grad():
                for name, parameter in rnn.named_parameters():
                    parameter.mul_(times)
                    if kind == "LSTM" and "bias_ih" in name:
                        parameter[units : 2 * units] += added
            name = f"{'trained ' * trained}{kind} {layers} x {units}, {steps} steps"
            if trained:
                model = Letters(rnn)
                yield Network(name, model, rnn, _train(model, rows, steps))
            else:
                yield Network(name, rnn, rnn, torch.randn(rows, steps, 8))


def _train(model: nn.Module, rows: int, steps: int) -> Tensor:
    """Train a model on letters, and return some of them, (batch, time)."""
    text = (ROOT / "README.md").read_text(encoding="ascii", errors="ignore")
    letters = torch.tensor([ord(letter) for letter in text])
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(UPDATES):
        starts = torch.randint(len(letters) - 61, (16,))
        read = letters[starts[:, None] + torch.arange(61)]
        loss = nn.functional.cross_entropy(model(read[:, :-1]).flatten(0, 1), read[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    starts = torch.randint(len(letters) - steps, (rows,))
    return letters[starts[:, None] + torch.arange(steps)]


def tried(network: Network) -> tuple[str, float, float]:
    """Record and edit a network; return what was refused, the largest difference and the largest state."""
    model, x = network.model, network.x
    try:
        recording = probe.record(model, x)
        layer = recording.layers[-1]
        whole = ["hidden_state", "cell_state"] if isinstance(network.rnn, nn.LSTM) else ["hidden_state"]
        own = [probe.patch(signal, recording, layer=layer, steps=x.shape[1] // 2) for signal in whole]
        patched = probe.record(model, x, edits=own)
        first, again = (
            one.output[0] if isinstance(one.output, tuple) else one.output for one in (recording, patched)
        )
        if not torch.equal(first, again):
            return "its own states change it", 0.0, 0.0
        clamps = [probe.clamp(whole[-1], value, layer=recording.layers[0], steps=3) for value in (-1.0, 0.0, 1.0)]
        errors = [recording.max_error or 0.0, probe.record(model, x, edits=clamps[:1]).max_error or 0.0]
    except probe.ProbeError as error:
        return str(error), 0.0, 0.0
    largest = max(float(recording[name, whole[-1]].abs().max()) for name in recording.layers)
    return "", max(errors), largest


def swept(network: Network) -> bool:
    """Return whether a network is swept; one in which rounding moves outputs as far as other rows would is not."""
    signal = "cell_state" if isinstance(network.rnn, nn.LSTM) else "hidden_state"
    layer = probe.inspect(network.model).layers[0]
    clamps = [probe.clamp(signal, value, layer=layer.name, steps=3) for value in (-1.0, 0.0, 1.0)]
    try:
        probe.sweep(network.model, network.x, edits=clamps)
    except probe.ProbeError as error:
        if "cannot be told" not in str(error):
            raise
        return False
    return True


def _fast_tanh(x: Tensor) -> Tensor:
    """Return tanh to about 1e-4: Lambert's continued fraction, as audio programs have it."""
    x = x.clamp(-4.97, 4.97)
    s = x * x
    return (x * (135135 + s * (17325 + s * (378 + s))) / (135135 + s * (62370 + s * (3150 + 28 * s)))).clamp(-1, 1)


def _step(rnn: Any, a: Tensor, b: Tensor, state: list[Tensor], *, tanh: Any, sigmoid: Any) -> list[Tensor]:
    """Return the states after a step, given both products."""
    if isinstance(rnn, nn.LSTM):
        i, f, g, o = (a + b).chunk(4, dim=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * tanh(g)
        return [sigmoid(o) * tanh(c), c]
    if isinstance(rnn, nn.GRU):
        (a_r, a_z, a_n), (b_r, b_z, b_n) = a.chunk(3, dim=-1), b.chunk(3, dim=-1)
        z, n = sigmoid(a_z + b_z), tanh(a_n + sigmoid(a_r + b_r) * b_n)
        return [(1 - z) * n + z * state[0]]
    return [tanh(a + b)]


def in_loops(rnn: Any, tanh: Any = torch.tanh, sigmoid: Any = torch.sigmoid, bias: float = 1) -> Callable[..., Any]:
    """Return a forward in Python, with functions of its own."""

    @torch.no_grad()
    def forward(_: Any, x: Tensor) -> Any:
        finals, weights = list[list[Tensor]](), rnn.state_dict()
        for level in range(rnn.num_layers):
            W, U, b, b_h = (weights[f"{name}_l{level}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            state = [x.new_zeros(len(x), rnn.hidden_size) for _ in range(1 + isinstance(rnn, nn.LSTM))]
            every = []
            for read in (x @ W.T + b).unbind(1):
                state = _step(rnn, read, state[0] @ U.T + bias * b_h, state, tanh=tanh, sigmoid=sigmoid)
                every.append(state[0])
            x = torch.stack(every, 1)
            finals.append(state)
        last = [torch.stack(parts) for parts in zip(*finals, strict=True)]
        return x, tuple(last) if len(last) > 1 else last[0]

    return forward


def larger(rnn: Any, name: str) -> Callable[..., Any]:
    """Return a forward with a matrix that is a thousandth larger."""
    other = copy.deepcopy(rnn)
    with torch.no_grad():
        getattr(other, name).mul_(1 + 1e-3)
    return lambda _, x: other(x)


def changes(rnn: Any) -> list[tuple[str, Callable[..., Any]]]:
    """Return forwards that are not the module's own."""
    top = rnn.num_layers - 1
    every = [
        ("U larger", larger(rnn, f"weight_hh_l{top}")),
        ("W larger", larger(rnn, f"weight_ih_l{top}")),
        ("a fast tanh", in_loops(rnn, _fast_tanh)),
        ("W of the first layer larger", larger(rnn, "weight_ih_l0")),
        ("a forgotten bias", in_loops(rnn, bias=0)),
        ("U of the first layer larger", larger(rnn, "weight_hh_l0")),
    ]
    return every if isinstance(rnn, nn.RNN) else [*every, ("a hard sigmoid", in_loops(rnn, sigmoid=_hard_sigmoid))]


def _hard_sigmoid(x: Tensor) -> Tensor:
    return (x / 6 + 0.5).clamp(0, 1)


def refused(network: Network, number: int) -> tuple[str, str]:
    """Change a network so that its output moves; return how it was changed, and the refusal."""
    model, rnn, every = network.model, network.rnn, changes(network.rnn)
    with torch.no_grad():
        before = model(network.x)
    for offset in range(len(every)):
        what, forward = every[(number + offset) % len(every)]
        vars(rnn)["forward"] = types.MethodType(forward, rnn)
        try:
            with torch.no_grad():
                after = model(network.x)
            if float(_first(after).sub(_first(before)).abs().max()) > MOVED:
                probe.record(model, network.x, signals=["hidden_state"])
                return what, ""
        except probe.ProbeError as error:
            return what, str(error)
        finally:
            del vars(rnn)["forward"]
    return "nothing moves it", ""


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def main() -> int:
    """Print a line for each network."""
    torch.set_num_threads(1)
    begin, wrong, large, not_swept = time.process_time(), 0, 0, 0
    for number, network in enumerate(networks()):
        why, error, state = tried(network)
        what, refusal = refused(network, number)
        found = "does not compute what its weights say" in refusal
        wrong += bool(why) + (not found)
        large += state > 50
        not_swept += not swept(network)
        line = f"{network.name}: {why or f'taken, differs by {error:.2g}, states up to {state:.3g}'}; {what}: "
        sys.stdout.write(line + ("refused" if found else f"NOT REFUSED {refusal}") + "\n")
        sys.stdout.flush()
    seconds = time.process_time() - begin
    told = f"{large} have states above 50; {not_swept} are too chaotic for a sweep; {wrong} wrong"
    sys.stdout.write(f"{told}; {seconds:.0f} CPU seconds\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
