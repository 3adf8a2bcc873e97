"""A page says of a planted network what `probe.linear_probe` and `probe.single_units` print, letter by letter."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted_cases import relu
from studied import answer, bits, planted
from torch import nn

import probe
from probe.probes.reading import VERDICTS

X = bits(60, 8, seed=3)
ONES = X[:, :, 0].cumsum(1)
STEP = np.broadcast_to(np.arange(8.0), ONES.shape)
#: How a concept of two values may be given: numbers, whole numbers, truths and texts.
SPELLED: dict[str, Callable[[np.ndarray], Any]] = {
    "float": lambda truth: truth.astype(float),
    "long": lambda truth: truth.astype(int),
    "bool": lambda truth: truth,
    "text": lambda truth: np.where(truth, "in", "out"),
}


def mixed() -> nn.RNN:
    """Return a network in which each unit holds the count, and none alone what the others do."""
    mixing = np.random.default_rng(0).uniform(0.5, 1, 5)
    return relu(1, 5, ih={unit: [0.1 * mixing[unit]] for unit in range(5)}, hh={(i, i): 1 for i in range(5)}).float()


def random(kind: Any, units: int, **more: Any) -> Any:
    """Return a network that nobody trained."""
    torch.manual_seed(0)
    return kind(1, units, batch_first=True, **more)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "one unit": planted,
    "all units": mixed,
    "no unit": lambda: relu(1, 3, ih={0: [1]}).float(),
    "the step": lambda: relu(1, 2, hh={(0, 0): 1}, bias={0: 0.1}).float(),
    "random weights": lambda: random(nn.GRU, 24),
    "two layers": lambda: random(nn.LSTM, 4, num_layers=2),
}
CONCEPTS: dict[str, Any] = {
    "a number": ONES,
    "0 and 1": (ONES > 2).astype(float),
    "texts": np.where(ONES > 2, "many", "few"),
}
#: A network and what it is asked about: who holds it, and how it is given; the last three are held by no state alone.
CASES = [
    *((network, CONCEPTS[concept], concept) for network in NETWORKS for concept in CONCEPTS),
    ("the step", STEP, "the step"),
    ("no unit", X[:, :, 0], "the last input"),
]


#: What a page says of a probe, and of units: the score, the best control's, that control, the verdict, and the place.
PROBE = re.compile(
    r"with (?:R²|balanced accuracy) (\S+) .*?best control (\S+) \((.*?)\): (.*?)\. "
    r"It was read from the (.*?) of (\S+)\."
)
UNIT = re.compile(r"of the ([a-z ]+) of (\S+) .*?within steps: .*? (\S+) \(.*?best control (\S+) \((.*?)\): (.*?)\.")


def printed(reading: Any, layer: str, signal: str, *how: str) -> list[str]:
    """Return the words of the line that a reading prints of a place: score, control, its score and verdict."""
    words = ([layer] if reading.summary["layer"].nunique() > 1 else []) + [signal.replace(" ", "_"), *how]
    (line,) = (line for line in str(reading).splitlines() if line.split()[: len(words)] == words)
    return line.split()[len(words) :]


def given(network: str, concept: Any) -> tuple[Any, dict[str, Any], probe.Study]:
    """Return a network's recording and its controls, as a user makes them, and a study of the same."""
    model, x = NETWORKS[network](), torch.tensor(X)
    return probe.record(model, x), probe.random_weights(model, x), probe.Study(model, X, {"it": concept})


@pytest.mark.parametrize(("network", "concept", "form"), CASES)
def test_a_page_says_what_the_probe_prints(network: str, concept: Any, form: str) -> None:
    """The score, the best control with its own, and the verdict, of the place that the page names."""
    recording, controls, study = given(network, concept)
    reading = probe.linear_probe(recording, concept, controls=controls)
    notes = answer(study, "reading-it").notes
    said = PROBE.search(notes["answer"])
    assert said, form
    score, its, control, verdict, signal, layer = said.groups()
    found = printed(reading, layer, signal)
    assert [found[0], " ".join(found[1:]).startswith(f"{control} {its}")] == [score, True]
    assert " ".join(found).endswith(verdict)
    assert f"{verdict.capitalize()}: {VERDICTS[verdict]}." in notes["setup"]


@pytest.mark.parametrize(("network", "concept", "form"), [case for case in CASES if case[2] != "the step"])
def test_a_page_says_of_units_what_the_function_prints(network: str, concept: Any, form: str) -> None:
    """The same of the unit that follows best within steps."""
    recording, controls, study = given(network, concept)
    reading = probe.single_units(recording, concept, controls=controls)
    said = UNIT.search(answer(study, "best-unit-it").notes["answer"])
    assert said, form
    signal, layer, score, its, control, verdict = said.groups()
    line = " ".join(printed(reading, layer, signal, "within", "steps"))
    assert f"{score} {control} {its}" in line
    assert line.endswith(verdict)


@pytest.mark.parametrize("network", ["one unit", "random weights"])
def test_a_labelling_has_one_score_however_it_is_given(network: str) -> None:
    """As float, whole number, truth or text: of the function, and of the page."""
    recording, controls, _ = given(network, ONES)
    readings = {
        name: probe.linear_probe(recording, spelled(ONES > 2), controls=controls).summary
        for name, spelled in SPELLED.items()
    }
    # Categories whose names are in another order are summed in another order.
    for summary in readings.values():
        pd.testing.assert_frame_equal(summary, readings["float"], rtol=1e-12)
