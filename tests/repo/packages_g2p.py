"""g2p-en: letters to phonemes; a GRU reads a word and another writes its pronunciation, feeding on what it wrote."""

from __future__ import annotations

import ast
import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from tests.repo.packages_files import G2P, own_class, read
from tests.repo.packages_reference import (
    GRU_GATES,
    Array,
    Case,
    Loop,
    Plan,
    Signals,
    doubles,
    run_layer,
    torch_gates,
)

#: How many phonemes the package writes at most; it cuts a pronunciation at its end, which changes nothing before.
STEPS = 20
START, END = 2, 3

SAME_LENGTH = ("giraffe", "lullaby", "quantum", "phoneme", "wrinkle", "cupcake")
DIFFERENT_LENGTHS = ("rhythm", "activationist", "ox", "onomatopoeia", "knight")


class Decoder(nn.Module):
    """Writes phonemes one by one with a cell in a loop, or with a layer that is called for one step at a time."""

    def __init__(self, cell: nn.GRUCell | nn.GRU) -> None:
        super().__init__()
        self.embedding = nn.Embedding(74, 256)
        if isinstance(cell, nn.GRU):
            self.rnn = cell
        else:
            self.cell = cell
        self.head = nn.Linear(256, 74)

    def forward(self, h: Tensor) -> Tensor:
        """Return the scores of the phonemes, (batch, step, phoneme), from the state (batch, unit) to begin with."""
        scores = []
        written = torch.full((len(h),), START)
        for _ in range(STEPS):
            x = self.embedding(written)
            if hasattr(self, "rnn"):
                _, last = self.rnn(x[:, None], h[None])
                h = last[0]
            else:
                h = self.cell(x, h)
            scores.append(self.head(h))
            written = scores[-1].argmax(dim=1)
        return torch.stack(scores, dim=1)


class Graphemes(nn.Module):
    """The whole network: letters (batch, time), and how many there are if they differ."""

    def __init__(self, cell: nn.GRUCell | nn.GRU) -> None:
        super().__init__()
        self.embedding = nn.Embedding(29, 256)
        self.encoder = nn.GRU(256, 256, batch_first=True)
        self.decoder = Decoder(cell)

    def forward(self, letters: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the scores of the phonemes, (batch, step, phoneme)."""
        x = self.embedding(letters)
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        _, last = self.encoder(x)
        return self.decoder(last[0])


@functools.cache
def arrays() -> dict[str, NDArray[np.float32]]:
    """Return the package's own weights, by the names that it gives them."""
    with np.load(io.BytesIO(read(G2P, "g2p_en/checkpoint20.npz"))) as file:
        return dict(file)


def rebuild(*, layer_by_step: bool = False) -> Graphemes:
    """Return the network; its decoder is a cell in a loop, or a layer called step by step."""
    model = Graphemes(nn.GRU(256, 256, batch_first=True) if layer_by_step else nn.GRUCell(256, 256))
    suffix = "_l0" if layer_by_step else ""
    kinds = {"w_ih": "weight_ih", "w_hh": "weight_hh", "b_ih": "bias_ih", "b_hh": "bias_hh"}
    cell = "decoder.rnn" if layer_by_step else "decoder.cell"
    names = {
        "enc_emb": "embedding.weight",
        "dec_emb": "decoder.embedding.weight",
        "fc_w": "decoder.head.weight",
        "fc_b": "decoder.head.bias",
        **{f"enc_{short}": f"encoder.{kind}_l0" for short, kind in kinds.items()},
        **{f"dec_{short}": f"{cell}.{kind}{suffix}" for short, kind in kinds.items()},
    }
    model.load_state_dict({names[name]: torch.from_numpy(array) for name, array in arrays().items()})
    return model.eval()


def lists() -> tuple[list[str], list[str]]:
    """Return the package's letters and phonemes in the order of their numbers, from its source."""
    source = read(G2P, "g2p_en/g2p.py").decode()
    found = []
    for name in ("graphemes", "phonemes"):
        _, _, text = source.partition(f"self.{name} = ")
        first, _, rest = text.partition(" + ")
        found.append(ast.literal_eval(first))
        found[-1] += ast.literal_eval(rest.partition("]")[0] + "]") if name == "phonemes" else list(_ALPHABET)
    return found[0], found[1]


_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def own() -> Any:
    """Return the package's own object, with the numpy code that predicts a word and without what it imports."""
    methods = ("sigmoid", "grucell", "gru", "encode", "predict")
    source = read(G2P, "g2p_en/g2p.py")
    package = own_class(source, "G2p", methods, {"np": np})()
    graphemes, phonemes = lists()
    package.g2idx = {letter: number for number, letter in enumerate(graphemes)}
    package.idx2p = dict(enumerate(phonemes))
    vars(package).update(arrays())
    return package


def read_words(words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return the numbers of the words' letters and end marks, (word, time), padded with 0, and their lengths."""
    graphemes, _ = lists()
    numbers = [torch.tensor([*map(graphemes.index, word), graphemes.index("</s>")]) for word in words]
    return nn.utils.rnn.pad_sequence(numbers, batch_first=True), torch.tensor([len(row) for row in numbers])


def pronunciations(scores: Tensor) -> list[list[str]]:
    """Return each word's phonemes, up to the end mark, from the scores (word, step, phoneme)."""
    _, phonemes = lists()
    rows = scores.argmax(dim=2).tolist()
    return [[phonemes[number] for number in row[: row.index(END) if END in row else None]] for row in rows]


def by_hand(letters: Tensor, lengths: Tensor, decoder: str, plan: Plan) -> tuple[Array, Signals]:
    """Return the scores and every signal of the encoder and of the decoder, the layer's name of which is given."""
    file = doubles(arrays())
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    gates = {
        half: torch_gates({kind: file[f"{half}_{short}"] for kind, short in names.items()}, "{}", GRU_GATES)
        for half in ("enc", "dec")
    }
    x = file["enc_emb"][letters.numpy()]
    read_, signals = run_layer("encoder[0]", gates["enc"], x, plan, lengths.numpy())
    h = read_[np.arange(len(x)), lengths.numpy() - 1]
    loop = Loop(decoder, gates["dec"], plan, {"hidden_state": h})
    written, scores = np.full(len(x), START), []
    for t in range(STEPS):
        h = loop.step(t, file["dec_emb"][written])
        scores.append(h @ file["fc_w"].T + file["fc_b"])
        written = scores[-1].argmax(axis=1)
    return np.stack(scores, axis=1), signals | loop.signals


def case(words: Sequence[str], *, packed: bool = False, layer_by_step: bool = False) -> Case:
    """Return the network with some words to read, packed where they differ in length."""
    letters, lengths = read_words(words)
    decoder = "decoder.rnn[0]" if layer_by_step else "decoder.cell"
    return Case(
        rebuild(layer_by_step=layer_by_step),
        (letters, lengths) if packed else (letters,),
        lambda plan: by_hand(letters, lengths, decoder, plan),
    )
