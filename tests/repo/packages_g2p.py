"""g2p-en: letters to phonemes; a GRU reads a word and another writes its pronunciation, feeding on what it wrote."""

from __future__ import annotations

import ast
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import probe
from tests.repo.packages_files import G2P, own_class, read

#: How many phonemes the package writes at most; it cuts a pronunciation at its end, which changes nothing before.
STEPS = 20
START, END = 2, 3
WORDS = ("rhythm", "activationist", "ox", "onomatopoeia", "knight")
FILE = "g2p_en/checkpoint20.npz"


class Graphemes(nn.Module):
    """The whole network: letters (batch, time), and how many there are; the decoder is called one step at a time."""

    def __init__(self, checkpoint: probe.Checkpoint) -> None:
        super().__init__()
        self.letters = nn.Parameter(checkpoint.tensors["enc_emb"])
        self.phonemes = nn.Parameter(checkpoint.tensors["dec_emb"])
        self.head = nn.Linear(256, 74)
        self.head.load_state_dict({"weight": checkpoint.tensors["fc_w"], "bias": checkpoint.tensors["fc_b"]})
        encoder, decoder = checkpoint.recurrent["enc"], checkpoint.recurrent["dec"]
        assert isinstance(encoder, nn.GRU)
        assert isinstance(decoder, nn.GRU)
        self.encoder, self.decoder = encoder, decoder

    def forward(self, letters: Tensor, lengths: Tensor) -> Tensor:
        """Return the scores of the phonemes, (batch, step, phoneme)."""
        x = pack_padded_sequence(self.letters[letters], lengths, batch_first=True, enforce_sorted=False)
        _, h = self.encoder(x)
        scores, written = [], torch.full((len(letters),), START)
        for _ in range(STEPS):
            _, h = self.decoder(self.phonemes[written][:, None], h)
            scores.append(self.head(h[0]))
            written = scores[-1].argmax(dim=1)
        return torch.stack(scores, dim=1)


def lists() -> tuple[list[str], list[str]]:
    """Return the package's letters and phonemes in the order of their numbers, from its source."""
    source = read(G2P, "g2p_en/g2p.py").decode()
    found = []
    for name in ("graphemes", "phonemes"):
        _, _, text = source.partition(f"self.{name} = ")
        first, _, rest = text.partition(" + ")
        found.append(ast.literal_eval(first))
        alphabet = list("abcdefghijklmnopqrstuvwxyz")
        found[-1] += ast.literal_eval(rest.partition("]")[0] + "]") if name == "phonemes" else alphabet
    return found[0], found[1]


def own() -> Any:
    """Return the package's own object, with the numpy code that predicts a word and without what it imports."""
    methods = ("sigmoid", "grucell", "gru", "encode", "predict")
    package = own_class(read(G2P, "g2p_en/g2p.py"), "G2p", methods, {"np": np})()
    graphemes, phonemes = lists()
    package.g2idx = {letter: number for number, letter in enumerate(graphemes)}
    package.idx2p = dict(enumerate(phonemes))
    with np.load(io.BytesIO(read(G2P, FILE))) as file:
        vars(package).update(file)
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
