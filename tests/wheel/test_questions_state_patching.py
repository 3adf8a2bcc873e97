"""Interchanges on a one-unit LSTM whose cell is a tally, and on networks that hold nothing."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from known_machines import subjects
from torch import Tensor, nn

from probe import ProbeError, Signal
from probe.evidence.measurements import Network
from probe.methods.causal.interchange import interchange
from probe.methods.causal.pairs import all_pairs, columns
from probe.methods.causal.task import Task
from probe.methods.machines import Machine
from probe.questions.interventions import patched_runs, state_patching
from probe.subjects.subject import Subject

LENGTH, CLASSES = 6, 7


class Tally(nn.Module):
    """One unit that adds 0.1 where feature 0 is the larger; its answer is read off the last hidden state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 1, batch_first=True)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.lstm.get_parameter("weight_ih_l0")[2, 0] = math.atanh(0.1)
            self.lstm.get_parameter("bias_ih_l0").copy_(torch.tensor([40.0, 40.0, 0.0, 40.0]))

    def forward(self, x: Tensor):
        """Return scores: the nearer a level, the higher."""
        h, _ = self.lstm(x)
        return -1e5 * (h[:, -1] - torch.tanh(0.1 * torch.arange(CLASSES))) ** 2


class Random(nn.Module):
    """Two random LSTMs and a head."""

    def __init__(self, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.low = nn.LSTM(2, 3, batch_first=True)
        self.high = nn.LSTM(3, 3, batch_first=True)
        self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        return self.head(self.high(self.low(x)[0])[0][:, -1])


def every_sequence():
    """Return all sequences of wins and losses."""
    bits = (torch.arange(2**LENGTH)[:, None] >> torch.arange(LENGTH)) & 1
    return torch.stack([bits, 1 - bits], -1).float()


def answer(logits: Tensor):
    """Return the class with the highest score."""
    return logits.argmax(1)


def expected(logits: Tensor):
    """Return the mean class under the model's own probabilities."""
    return torch.softmax(logits, 1) @ torch.arange(CLASSES).to(logits)


X = every_sequence()
WINS = (X[:, :, 0] > X[:, :, 1]).cumsum(1)
READ: dict[str, Any] = {"answer": answer, "expected": expected}


@pytest.fixture
def tally():
    """Return the planted network."""
    return Network("tally", "planted", Tally())


@pytest.fixture
def rand():
    """Return a network that has learned nothing."""
    return Network("random", "own initialisation", Random(0), 0)


def asked(*networks: Network, concept: Tensor = WINS, **read: Any) -> list[Subject]:
    """Return networks over every sequence."""
    return subjects(networks, X, concept, **(READ | read))


def by_step(table: pd.DataFrame, metric: str, part: str):
    """Return a metric's values by step."""
    rows = table[(table["metric"] == metric) & (table["kind"] == part)]
    return rows.sort_values("step")["value"].tolist()


@pytest.mark.parametrize("metric", ["interchange_accuracy", "shift"])
def test_a_tally_in_the_cell_moves_with_the_cell_alone(tally: Network, metric: str):
    """The cell carries everything; the hidden state carries nothing until the head reads it."""
    table = state_patching.measure(asked(tally))
    assert by_step(table, metric, "whole_state") == pytest.approx([1] * LENGTH, abs=1e-6)
    assert by_step(table, metric, "cell_state") == pytest.approx([1] * LENGTH, abs=1e-6)
    assert by_step(table, metric, "hidden_state") == pytest.approx([0] * (LENGTH - 1) + [1], abs=1e-6)
    assert by_step(table, metric, "none") == [0] * LENGTH
    assert by_step(table, metric, "cell_state_alone") == pytest.approx([1] * (LENGTH - 1) + [0], abs=1e-6)


def test_the_whole_state_gives_the_answers_to_the_spliced_sequences(tally: Network):
    """The check holds of every network, trained or not: the future sees nothing but the state."""
    random = Tally()
    with torch.no_grad():
        for parameter in random.parameters():
            parameter.normal_()
    table = state_patching.measure(asked(tally, Network("random", "own initialisation", random, 0)))
    assert table[table["metric"] == "whole_state_equals_accuracy"]["value"].tolist() == [1, 1]


def test_the_check_fails_where_the_splice_is_one_step_off(tally: Network, monkeypatch: pytest.MonkeyPatch):
    """The control arm: against another sequence's answers the check must not pass."""
    right = patched_runs.splice
    monkeypatch.setattr(patched_runs, "splice", lambda s, b, step: right(s, b, max(step - 1, 0)))
    table = state_patching.measure(asked(tally))
    assert table[table["metric"] == "whole_state_equals_accuracy"]["value"].tolist() == [0]


def test_splice_takes_the_source_up_to_and_including_the_step():
    """The state at a step is the one after reading that input."""
    spliced = patched_runs.splice(torch.ones(1, 4, 1), torch.zeros(1, 4, 1), 1)
    assert spliced[0, :, 0].tolist() == [1, 1, 0, 0]


def test_a_layer_must_be_named_where_there_are_several(rand: Network):
    """The upper layer's whole state is not the whole model's: patched alone, it does not equal the splice."""
    with pytest.raises(ProbeError, match=r"holds 2 layers|names no layer"):
        state_patching.measure(asked(rand))
    table = state_patching.measure(asked(rand, layer="high[0]"), steps=[2])
    assert set(table["layer"]) == {"high[0]"}
    with pytest.raises(ProbeError, match="no layer 'hihg"):
        state_patching.measure(asked(rand, layer="hihg[0]"))


def test_steps_seed_and_combine_change_what_is_measured(tally: Network):
    """Every option is used."""
    base = state_patching.measure(asked(tally), steps=[2])
    assert set(base["step"].dropna()) == {2}
    last = state_patching.measure(asked(tally), steps=[-1])
    assert set(last["step"].dropna()) == {LENGTH - 1}
    other = state_patching.measure(asked(tally, combine=lambda s, b, f: f), steps=[2])
    assert by_step(other, "interchange_accuracy", "none") == [1]
    assert by_step(other, "shift", "cell_state") == [0]

    gru = Network("gru", "trained", Gru(), 0)
    drawn = [
        by_step(state_patching.measure(asked(gru), steps=[2], seed=s, most=m), "shift", "whole_state")
        for s, m in ((0, 100), (1, 100), (0, 2**21), (1, 2**21))
    ]
    assert drawn[0] != drawn[1]
    assert drawn[2] == drawn[3]


class Gru(nn.Module):
    """A random GRU of two features with a head; read off its mean over steps where so asked."""

    def __init__(self, mean: bool = False):
        super().__init__()
        self.mean = mean
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.rnn = nn.GRU(2, 3, batch_first=True)
            self.head = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor):
        """Return scores, (batch, class)."""
        h = self.rnn(x)[0]
        return self.head(6 * (h.mean(1) if self.mean else h[:, -1]))


def test_a_gru_has_its_whole_state_and_no_part():
    """All pairs, as `probe.methods.causal` runs them; another concept and layer; the check holds."""
    lead = 2 * WINS - torch.arange(1, LENGTH + 1)
    options: dict[str, Any] = {"layer": "rnn[0]", "answer": lambda s: 2 * answer(s) - LENGTH, "expected": expected}
    model = Gru()
    table = state_patching.measure(asked(Network("gru", "trained", model, 0), concept=lead, **options))
    assert set(table["kind"]) == {"none", "whole_state", ""}
    machine = Machine.of(model, X, answer=options["answer"], expected=expected)
    for step in range(LENGTH):
        scores = interchange(
            all_pairs(machine, step), Task(lead), columns(machine.dynamics.columns(Signal.HIDDEN_STATE))
        )
        assert by_step(table, "interchange_accuracy", "whole_state")[step] == scores.iia
        assert by_step(table, "interchange_accuracy", "none")[step] == scores.unpatched
        assert by_step(table, "shift", "whole_state")[step] == pytest.approx(scores.shift)
    assert by_step(table, "off_support_distance", "whole_state") == [0] * LENGTH
    assert table[table["metric"] == "whole_state_equals_accuracy"]["value"].tolist() == [1]


def test_a_model_that_is_no_machine_is_run_whole():
    """A mean over steps depends on more than the last state: the permutation's pairs, no distance, no splice."""
    model = Gru(mean=True)
    table = state_patching.measure(asked(Network("mean", "trained", model, 0)), steps=[2])
    assert "off_support_distance" not in set(table["metric"])
    sources = torch.as_tensor(np.random.default_rng(0).permutation(len(X)))
    with torch.no_grad():
        own, other = model.rnn(X)[0], model.rnn(X[sources])[0][:, 2]
        rest = model.rnn(X[:, 3:], other[None].contiguous())[0]
        mixed = torch.cat([own[:, :2], other[:, None], rest], 1).mean(1)
        answers = answer(model.head(6 * mixed))
    target = WINS[sources, 2] + WINS[:, -1] - WINS[:, 2]
    counted = WINS[sources, 2] != WINS[:, 2]
    hits = float((answers == target)[counted].double().mean())
    assert by_step(table, "interchange_accuracy", "whole_state") == pytest.approx([hits])
    assert table[table["metric"] == "whole_state_equals_accuracy"]["value"].tolist() == [0]


def test_parts_of_a_stack_are_patched_in_the_running_model(rand: Network):
    """The same parts where the model is run whole: a stale hidden state is the base's own."""
    table = state_patching.measure(asked(rand, layer="low[0]"), steps=[LENGTH - 1])
    assert set(table["kind"]) == {*patched_runs.PARTS, ""}
    alone = by_step(table, "interchange_accuracy", "cell_state_alone")
    assert alone == by_step(table, "interchange_accuracy", "none")
    assert by_step(table, "shift", "cell_state_alone") == pytest.approx([0], abs=1e-6)
    assert by_step(table, "shift", "cell_state") == pytest.approx(by_step(table, "shift", "whole_state"), abs=0.5)


def test_a_concept_that_never_differs_counts_no_pair(tally: Network):
    """Without a counted pair there is no share; the check remains."""
    table = state_patching.measure(asked(tally, concept=torch.zeros_like(WINS)))
    assert set(table["metric"]) == {"whole_state_equals_accuracy"}


def test_misaligned_concepts_and_steps_beyond_the_input_are_refused(tally: Network):
    """The message says what was found and what is allowed."""
    with pytest.raises(ProbeError, match=r"concept is a Tensor of shape \(64, 5\)"):
        state_patching.measure(asked(tally, concept=WINS[:, 1:]))
    with pytest.raises(ProbeError, match="steps=6 lies outside"):
        state_patching.measure(asked(tally), steps=[6])


def test_one_patch_can_be_read(tally: Network):
    """The arithmetic of one pair: 2 of the source so far, none of the base's rest."""
    (subject,) = asked(tally)
    # Bit k of a row's number is its step k.
    run, swap = patched_runs.PatchedRuns(subject, [0b000000, 0b000111]), torch.tensor([1, 0])
    assert run.answers.tolist() == [0, 3]
    found = [run.patched(1, swap, part)[0][0] for part in ("cell_state", "whole_state")]
    assert [*found, run.spliced(1, swap)[0]] == [2, 2, 2]
    assert run.patched(1, swap, "none")[0].tolist() == [0, 3]


def test_draw_shows_a_line_for_each_part_of_the_state(tally: Network):
    """Lines hold the table's numbers and differ in marker and style; one panel a role."""
    table = state_patching.measure(asked(tally))
    ax = state_patching.draw(table, role="planted")
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert set(lines) == {"whole state", "cell state", "cell state alone", "hidden state", "no patch"}
    assert np.asarray(lines["cell state"].get_xdata()).tolist() == list(range(1, LENGTH + 1))
    assert np.asarray(lines["hidden state"].get_ydata())[-1] == pytest.approx(1)
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines.values()}) == 5
    assert state_patching.draw(table, role="planted", metric="shift", ax=ax) is ax
    assert ax.get_ylabel() == "shift"
    with pytest.raises(ProbeError, match="role 'trained'"):
        state_patching.draw(table)
    figure = state_patching.draw_grid(table)
    assert [ax.get_title() or ax.get_title(loc="left") for ax in figure.axes] == ["planted"]
