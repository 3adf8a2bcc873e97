"""What a reader sees of the page of a study: words, pictures and pixels of five pages of other people's networks.

    python -m benchmarks.study_pages [--out FOLDER]

README's LSTM; a language model of letters with a category and a number; a network in which one unit was written by
hand to hold a bracket; ten GRUs; and a tanh network whose states hold the last four bits. A page may have at most 700
words and 6 pictures outside of folds and be 7,000 pixels high, and no caption may stand twice; it needs node and
Chromium. The pages stay in FOLDER.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from probe import Study
from probe.command_line.shell import command, emit, run

from .planted_units import networks
from .speed import table

ROOT = Path(__file__).resolve().parents[1]
#: The bars: words, pictures and pixels on a desk of 1,280 by 900.
WORDS, FIGURES, HEIGHT = 700, 6, 7_000
LETTERS = 'ab "'


def readme(folder: Path) -> None:
    """Run the last lines of the README, which train an LSTM and study it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python run\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec("import torch, probe\n" + next(block for block in blocks if 'run("report")' in block), {})


class Speaking(nn.Module):
    """A language model of letters."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(len(LETTERS), 8), nn.LSTM(8, 24, batch_first=True)
        self.out = nn.Linear(24, len(LETTERS))

    def forward(self, ids: Tensor) -> Tensor:
        """Return the scores of the next letter, (batch, time, letter)."""
        return self.out(self.lstm(self.words(ids))[0])


def letters() -> Study:
    """Return a language model of texts in which `a` is frequent in quotes and `b` outside."""
    rng = np.random.default_rng(0)
    quotes = rng.random((400, 40)) < 0.15
    inside = quotes.cumsum(1) % 2 == 1
    likely = np.where(rng.random(inside.shape) < 0.9, inside, ~inside)
    ids = np.where(quotes, 3, np.where(rng.random(inside.shape) < 0.3, 2, np.where(likely, 0, 1)))
    model = Speaking()
    fit(model, torch.as_tensor(ids), lambda out, x: cross_entropy(out[:, :-1].flatten(0, 1), x[:, 1:].flatten()), 120)

    def length(text: np.ndarray) -> list[int]:
        """Return how many letters the word has so far."""
        lengths = [0]
        for one in text.ravel():
            lengths.append(0 if one >= 2 else lengths[-1] + 1)
        return lengths[1:]

    concepts = {"in quotes": np.where(inside, "in quotes", "outside"), "word length": length}
    return Study(model, ids, concepts, symbols=LETTERS)


class Counting(nn.Module):
    """A GRU with a head."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(1, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer after the last step, (batch,)."""
        return self.head(self.gru(x)[0][:, -1])[:, 0]


def ten() -> Study:
    """Return ten GRUs that count the ones in strings of six bits."""
    bits = torch.tensor([[int(bit) for bit in f"{number:06b}"] for number in range(64)]).float()[:, :, None]
    ones = bits[:, :, 0].cumsum(1)
    trained = []
    for seed in range(10):
        torch.manual_seed(seed)
        trained.append(Counting())
        fit(trained[-1], bits, lambda out, _: (out - ones[:, -1]).square().mean(), 300)
    return Study(trained, bits, {"ones so far": ones})


@torch.no_grad()
def last_four() -> Study:
    """Return a tanh network whose units hold the last four bits, each in turn, and a head that reads their number."""
    rnn: Any = nn.RNN(1, 16, batch_first=True)
    for weight in rnn.parameters():
        weight.mul_(0.05)
    rnn.weight_hh_l0[:4], rnn.weight_ih_l0[:4] = 0, 0
    rnn.weight_ih_l0[0] = 0.1
    for unit in range(3):
        rnn.weight_hh_l0[unit + 1, unit] = 1
    for bias in (rnn.bias_ih_l0, rnn.bias_hh_l0):
        bias[:4] = 0
    head = nn.Linear(16, 1)
    head.weight.zero_()
    head.weight[0, :4] = torch.tensor([1.0, 2.0, 4.0, 8.0]) / torch.tanh(torch.tensor(0.1))
    head.bias.zero_()

    class Reading(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = rnn, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.rnn(x)[0])[:, :, 0]

    def number(text: np.ndarray) -> list[int]:
        """Return the number whose lowest binary digits are the last bits."""
        bits = [0, 0, 0, *text.ravel().astype(int).tolist()]
        return [sum(bits[at + 3 - back] << back for back in range(4)) for at in range(len(text))]

    x = torch.as_tensor(np.random.default_rng(1).integers(0, 2, (400, 12, 1))).float()
    return Study(Reading(), x, {"last four bits": number})


def bracket() -> Study:
    """Return a network in which unit 3 was written by hand to hold whether a bracket is open."""
    planted = networks()[0]
    return Study(planted.model, planted.inputs, {"a bracket is open": planted.concept}, **planted.more)


def fit(model: nn.Module, x: Tensor, loss: Callable[[Tensor, Tensor], Tensor], steps: int) -> None:
    """Train a model."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        adam.zero_grad()
        loss(model(x), x).backward()
        adam.step()


#: What each page is of, and what makes the study; README's makes its own.
PAGES: dict[str, Callable[[], Study] | None] = {
    "README's LSTM": None,
    "a language model": letters,
    "a planted bracket": bracket,
    "ten GRUs": ten,
    "a tanh network": last_four,
}


def written(name: str, folder: Path) -> Path:
    """Write the page of that name into a folder, and return where it is."""
    study = PAGES[name]
    folder.mkdir(parents=True, exist_ok=True)
    if study is None:
        readme(folder)
    else:
        torch.manual_seed(0)
        _ = study().run(folder / "report", progress=None, overwrite=True)
    return folder / "report" / "index.html"


def seen(page: Path) -> dict[str, Any]:
    """Return what a browser sees of a page on a desk, and the captions that stand twice."""
    found = {}
    for script in ("reading.mjs", "bars.mjs"):
        command = ["node", str(ROOT / "tests" / "browser" / script), str(page)]
        found[script] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["reading.mjs"]["desk"] | {"twice": found["bars.mjs"]["twice"]}


def holds(found: dict[str, Any]) -> bool:
    """Return whether a page holds the bars."""
    few = found["words"] <= WORDS and found["figures"] <= FIGURES and found["height"] <= HEIGHT
    return few and not found["twice"]


app = command("python -m benchmarks.study_pages")


@app.default
def main(*, out: Path | None = None) -> int:
    """Write the five pages, and print what a reader sees of each.

    Args:
        out: where the pages stay; without it they do not.
    """
    torch.set_num_threads(1)
    rows, well = [], True
    with tempfile.TemporaryDirectory() as own:
        for name in PAGES:
            page = written(name, (out or Path(own)).resolve() / re.sub(r"\W+", "-", name.lower()))
            found, (title,) = seen(page), re.findall("<title>(.*?)</title>", page.read_text(encoding="utf-8"))
            rows.append((name, *(f"{found[what]:,}" for what in ("words", "figures", "height")), title))
            well &= holds(found)
    emit(table(("page", "words", "pictures", "pixels", "title"), rows))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(run(app))
