"""What a study's live network reads first, and that the sentence above it is true, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from studied import bits
from torch import nn

from probe import Readout, Study
from probe.explorer import Explorer
from probe.report.blocks import Text
from probe.report.inline import plain
from probe.studies.pages import first_sequence, live_network
from probe.studies.prepare import prepare

WRONG = "It starts with a string that the network gets wrong: "


def counter() -> nn.RNN:
    """Return a network of one unit that holds how many ones it read."""
    rnn = nn.RNN(1, 1, nonlinearity="relu", bias=False, batch_first=True)
    for weight in rnn.parameters():
        _ = nn.init.ones_(weight)
    return rnn


def head(*weights: float, bias: tuple[float, ...] = ()) -> nn.Linear:
    """Return a head of one unit with so many scores."""
    made = nn.Linear(1, len(weights))
    with torch.no_grad():
        _ = made.weight.copy_(torch.tensor(weights)[:, None])
        _ = made.bias.copy_(torch.tensor(bias or (0.0,) * len(weights)))
    return made


def ones(x: np.ndarray) -> np.ndarray:
    """Return how many ones were read."""
    return x.sum(1).cumsum()


def starts(x: np.ndarray, readout: Readout | None = None, concept: Any = ones, **more: Any) -> tuple[str, Explorer]:
    """Return the sentence above the explorer of the counter's page, empty where there is none, and the explorer."""
    name = "ones" if readout is None else readout.concept
    (subject,) = prepare(Study(counter(), x, {name: concept}, readout=readout, **more))
    *above, explorer = live_network.blocks(subject)
    assert isinstance(explorer, Explorer), explorer
    texts = [block for block in above if isinstance(block, Text)]
    assert len(texts) == len(above)
    return " ".join(plain(paragraph) for block in texts for paragraph in block.paragraphs), explorer


def written(x: np.ndarray) -> list[str]:
    """Return sequences of bits as they are typed."""
    return ["".join(str(int(bit)) for bit in row[:, 0]) for row in x]


def changes(string: str) -> int:
    """Return how often the count of ones becomes another after a step."""
    return string[1:].count("1")


def test_it_starts_with_a_wrong_answer() -> None:
    """Of a number that is too small: with most changes, of these the least wrong; what is said is what it answers."""
    x = bits(40)
    strings = written(x)
    said, explorer = starts(x, Readout("ones", function=head(0.8)))
    wrong = [string for string in strings if round(0.8 * string.count("1")) != string.count("1")]
    most = [string for string in wrong if changes(string) == max(map(changes, wrong))]
    string = min(most, key=lambda one: one.count("1"))
    assert (explorer.example, 0 < len(wrong) < len(strings)) == (string, True)
    count = string.count("1")
    counts = f", which counts as {round(0.8 * count)}" if 0.8 * count % 1 else ""
    assert said == f"{WRONG}it answers {0.8 * count:.2f}{counts}, and {count} is right."
    assert explorer.answer == f"{0.8 * count:.2f}"


def test_of_wrong_answers_one_of_usual_length_is_shown() -> None:
    """Where almost all are wrong, it is no long one, in which more happens; and padding is not shown."""
    x, lengths = bits(41), np.arange(41) % 7 + 2
    x[np.arange(8) >= lengths[:, None]] = np.nan
    said, explorer = starts(x, Readout("ones", function=head(-1.0)), lengths=lengths)
    usual = [text[:5] for text, length in zip(written(np.nan_to_num(x)), lengths, strict=True) if length == 5]
    assert explorer.example == max(usual, key=changes)
    count = str(explorer.example).count("1")
    assert said == f"{WRONG}it answers \N{MINUS SIGN}{count}, and {count} is right."


def test_a_wrong_class_is_called_as_the_page_calls_it() -> None:
    """A text stands in quotes; after every step that is answered, and in a long string only what is shown counts."""
    many = np.array(["few", "many"], dtype=object)
    readout = Readout("much", function=head(0, 1, bias=(0, -3.5)), answers=["few", "many"])
    concept = lambda x: many[(ones(x) > 2).astype(int)]  # noqa: E731
    said, explorer = starts(bits(60), readout, concept)
    assert said == f"{WRONG}it answers “few”, and “many” is right."
    assert (str(explorer.example).count("1"), explorer.answer) == (3, "few")
    readout = Readout("much", function=head(0, 1, bias=(0, -3.5)), answers=["few", "many"], steps="every")
    said, explorer = starts(bits(60, length=40), readout, concept)
    example = str(explorer.example)
    third = [place for place, bit in enumerate(example) if bit == "1"][2] + 1
    begin = f"It starts with the first 32 steps of {WRONG.removeprefix('It starts with ')}"
    assert said == f"{begin}after {third} steps it answers “few”, and “many” is right."
    assert len(example) == 32


def test_it_starts_where_the_concept_changes_most() -> None:
    """Where all is right, or nobody knows what is: in whose course most happens; where nothing differs, nothing."""
    x = bits(60)
    most = max(map(changes, written(x)))
    best = [string for string in written(x) if changes(string) == most]
    for readout in (None, Readout("ones", function=head(1.0))):
        said, explorer = starts(x, readout)
        article = "a" if len(best) > 1 else "the"
        assert said == f"It starts with {article} string in which “ones” changes most often, {most} times."
        assert explorer.example in best
    long = bits(30, length=40)
    said, explorer = starts(long)
    most = max(changes(string[:32]) for string in written(long))
    assert said.endswith(f"in whose first 32 steps “ones” changes most often, {most} times.")
    assert (len(str(explorer.example)), changes(str(explorer.example))) == (32, most)
    said, explorer = starts(x, concept=lambda x: np.arange(len(x)) % 3)
    assert (said, explorer.example) == ("", written(x)[0])


def test_numbers_are_a_sequence_and_wrong_answers_of_no_step_that_is_shown_are_none() -> None:
    """Of more than ten inputs 12 steps are shown; a wrong answer after more of them is not what is told."""
    x = np.random.default_rng(0).integers(0, 30, (40, 20, 1)).astype(float)
    over = lambda x: (x[:, 0] > 14).cumsum()  # noqa: E731
    said, explorer = starts(x, Readout("over", function=head(1.0)), over)
    counts = [int((row[1:12, 0] > 14).sum()) for row in x]
    assert said.endswith(f" sequence in whose first 12 steps “over” changes most often, {max(counts)} times.")
    assert isinstance(explorer.example, list)
    assert len(explorer.example) == 12


def test_what_the_page_would_not_show_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is wrong in the network's own numbers alone, which the page's may not be."""

    def right(_: object, x: torch.Tensor, **__: object) -> tuple[np.ndarray, np.ndarray]:
        return x[:, :, 0].sum(1).numpy(), x[:, :, 0].sum(1).numpy()

    monkeypatch.setattr(first_sequence, "answers_to", right)
    said, _ = starts(bits(40), Readout("ones", function=head(0.8)))
    assert "changes most often" in said
