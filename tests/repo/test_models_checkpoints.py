"""Bits and counts, and trained folders.

- Bits as tensors, counts and answers.
- Trained folders: what loads, and what a damaged one says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from refusing import refused

from models.checkpoints import CONFIG_KINDS, load, load_config
from models.counter import answer, expected_answer
from models.packing import unpack
from models.planted import drift_counter, ones_counter
from models.recipes import RECIPES, recipe
from models.tasks import bit_strings, format_bits, parse_bits, running_count
from models.tf1 import from_basic_lstm_cell
from models.training import train
from models.zoo import checkpoint


def test_bit_strings_are_all_strings_in_lexicographic_order() -> None:
    """Row r spells r in binary, and is read back; the count at step t is that of the first t + 1 bits."""
    x = bit_strings(10)
    assert (x.shape, x.dtype) == ((1024, 10, 1), torch.float32)
    assert format_bits(x) == [f"{row:010b}" for row in range(1024)]
    assert torch.equal(torch.cat([parse_bits(text) for text in format_bits(x)]), x)
    assert running_count(parse_bits("10110")).tolist() == [[1, 1, 2, 3, 3]]
    assert running_count(x)[:, -1].bincount().tolist() == [math.comb(10, ones) for ones in range(11)]


@pytest.mark.parametrize(
    "call",
    [
        lambda: bit_strings(0),
        lambda: bit_strings(21),
        lambda: parse_bits(""),
        lambda: parse_bits("0120"),
        lambda: parse_bits("\u0661"),  # a digit one of another script: int() would take it
        lambda: format_bits(torch.full((1, 3, 1), 0.6)),
        lambda: recipe("countr"),
        lambda: ones_counter(distractors=-1),
        lambda: drift_counter(-0.1),
        lambda: drift_counter(1.5),
        # Arrays of two networks.
        lambda: from_basic_lstm_cell(
            np.zeros((13, 48)), np.zeros(48), np.zeros((11, 11)), np.zeros(11), forget_bias=1.0
        ),
    ],
)
def test_what_is_no_string_and_no_network_is_refused(call: Callable[[], object]) -> None:
    """An empty or an enormous table, another character, a number between two bits, a name that was not meant."""
    with refused():
        call()


def test_expected_answer_moves_where_the_argmax_does_not() -> None:
    """y is the mean count under the softmax, a its most probable one."""
    p = torch.tensor([[0.6, 0.4, 0.0], [0.5, 0.1, 0.4]], dtype=torch.float64)
    logits = (p + 1e-30).log()
    assert answer(logits).tolist() == [0, 0]
    assert torch.allclose(expected_answer(logits), torch.tensor([0.4, 0.9], dtype=torch.float64))


Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a committed network, to be damaged."""
    return Path(unpack("counter", 1, tmp_path / "seed-1"))


def test_a_network_loads_as_it_was_trained_and_is_left_alone(folder: Path) -> None:
    """In evaluation mode, the second bias frozen; training it into its folder again changes no file."""
    model, untrained = load(folder), load(folder, which="untrained")
    assert not model.training
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["lstm.bias_hh_l0"]
    assert not torch.equal(model.head.weight, untrained.head.weight)
    assert checkpoint(folder).seed == 1
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert train(RECIPES["counter"], 1, folder, resume=True) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != ".lock"} == before


#: A description with all its parts and nothing in them.
EMPTY = json.dumps({name: kind() for name, kind in CONFIG_KINDS.items()})


def test_what_is_no_network_any_more_is_refused(folder: Path, tmp_path: Path) -> None:
    """Names, shapes, types, finiteness and hash of weights are checked, and every field of the description."""
    changes: list[Callable[[Tensors], object]] = [
        lambda t: t.pop("head.bias"),
        lambda t: t.update({"head.weight": torch.zeros(11, 13)}),
        lambda t: t.update({"head.bias": t["head.bias"].double()}),
        lambda t: t["lstm.weight_ih_l0"][0].fill_(torch.nan),
        lambda t: t["head.bias"].add_(1e-6),
    ]
    model, config = folder / "model.safetensors", folder / "config.json"
    weights, described = model.read_bytes(), load_config(folder)
    for change in changes:
        tensors = safetensors.torch.load(weights)
        change(tensors)
        model.write_bytes(safetensors.torch.save(tensors))
        with refused():
            load(folder)
    assert load(folder, which="untrained").head.weight.shape == (11, 12)
    model.write_bytes(weights[:2000])
    for call in (lambda: load(folder), lambda: load(folder, which="untraned"), lambda: load(tmp_path / "gone")):
        with refused():
            call()
    # A missing field is not filled in by a default, which would be another recipe.
    described["recipe"]["colour"] = described["recipe"].pop("epsilon")
    model.write_bytes(weights)
    for content in ("{", "[]", '{"recipe": {}}', EMPTY, json.dumps(described)):
        config.write_text(content)
        with refused():
            load(folder)
    config.unlink()
    with refused():
        load(folder)
