"""Bits as tensors, counts, answers and recipes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from models.counter import answer, expected_answer
from models.recipes import RECIPES, Recipe, recipe
from models.tasks import bit_strings, format_bits, parse_bits, running_count
from probe.errors import ProbeError


def test_bit_strings_are_all_strings_in_lexicographic_order() -> None:
    """Row r spells r in binary, so a table of rows is a table of strings."""
    x = bit_strings(10)
    assert x.shape == (1024, 10, 1)
    assert x.dtype == torch.float32
    assert format_bits(x) == [f"{row:010b}" for row in range(1024)]
    assert format_bits(bit_strings(1)) == ["0", "1"]


@pytest.mark.parametrize("length", [0, -3, 21])
def test_bit_strings_refuse_a_length_without_a_table(length: int) -> None:
    """An empty or an enormous table is refused with the lengths that are allowed."""
    with pytest.raises(ProbeError, match=f"{length} bits.*from 1 to 20"):
        bit_strings(length)


def test_parse_bits_is_the_inverse_of_format_bits() -> None:
    """What was written is what is read, in order."""
    x = parse_bits("0110")
    assert x.tolist() == [[[0.0], [1.0], [1.0], [0.0]]]
    assert format_bits(x) == ["0110"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give one or more of the characters '0' and '1'"),
        ("0120", "'0120' holds '2' at position 2; only the characters '0' and '1'"),
        ("01 1", "holds ' ' at position 2"),
        ("\u0661", "at position 0"),  # a digit one of another script: int() would take it
    ],
)
def test_parse_bits_names_what_it_cannot_read(text: str, message: str) -> None:
    """The message names the text, the character, where it is and what is allowed."""
    with pytest.raises(ProbeError, match=message):
        parse_bits(text)


def test_format_bits_refuses_to_round() -> None:
    """A tensor between two strings has no name."""
    with pytest.raises(ProbeError, match="other than 0 and 1"):
        format_bits(torch.full((1, 3, 1), 0.6))


def test_running_count_includes_the_bit_just_read() -> None:
    """The count at step t is the count of the first t + 1 bits."""
    assert running_count(parse_bits("10110")).tolist() == [[1, 1, 2, 3, 3]]
    assert running_count(bit_strings(10))[:, -1].bincount().tolist() == [
        1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1,
    ]  # fmt: skip


def test_expected_answer_moves_where_the_argmax_does_not() -> None:
    """y is the mean count under the softmax, a its most probable one."""
    p = torch.tensor([[0.6, 0.4, 0.0], [0.5, 0.1, 0.4]], dtype=torch.float64)
    logits = (p + 1e-30).log()
    assert answer(logits).tolist() == [0, 0]
    assert torch.allclose(expected_answer(logits), torch.tensor([0.4, 0.9], dtype=torch.float64))


def test_the_recipe_is_the_seed_notebooks() -> None:
    """500 of 1,024 strings in batches of 100, 2,000 times: 10,000 steps."""
    counter = recipe("counter")
    assert (counter.n_strings, counter.n_classes, counter.batches, counter.steps) == (1024, 11, 5, 10_000)
    assert (counter.hidden_size, counter.learning_rate, counter.forget_bias) == (12, 1e-3, 1.0)


def test_an_unknown_recipe_names_the_nearest() -> None:
    """A typing error is answered by the name that was meant."""
    with pytest.raises(ProbeError, match=r"no recipe 'countr'.*Did you mean 'counter'"):
        recipe("countr")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 300}, "500 training strings in batches of 300; the batch size must divide"),
        ({"train_size": 1024}, "trains on 1024 strings, but there are only 1024"),
        ({"epochs": 0}, "epochs = 0; it must be at least 1"),
        ({"hidden_size": -1}, "hidden_size = -1"),
    ],
)
def test_an_impossible_recipe_is_refused(change: dict[str, int], message: str) -> None:
    """The fields are checked when the recipe is made, not in the middle of training."""
    with pytest.raises(ProbeError, match=message):
        dataclasses.replace(RECIPES["counter"], **change)


def test_a_recipe_survives_json_and_refuses_other_fields() -> None:
    """A missing field is not filled in by a default, which would be another recipe."""
    values = recipe("counter").to_dict()
    assert Recipe.from_dict(values) == recipe("counter")
    missing = {name: value for name, value in values.items() if name != "epsilon"}
    with pytest.raises(ProbeError, match=r"missing \['epsilon'\], unknown \['colour'\]"):
        Recipe.from_dict({**missing, "colour": "red"})
