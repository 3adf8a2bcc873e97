"""Shares of units, gates and routes: of LSTMs by hand, of a GRU, and of drawn, ragged and undefined sequences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from answering import answer
from known_machines import CLASSES, LEAD, LENGTH, WINS, Reader, Tally, X, machine_of, subjects
from studied import beside, bits, head, planted, study_of
from tables_read import by, rows, value, values
from torch import Tensor, nn

from probe import Readout
from probe.evidence import measurement
from probe.evidence.measurements import Network
from probe.methods.decomposition.contexts import changed_at
from probe.methods.decomposition.gates import gate_table
from probe.methods.decomposition.routes import route_table
from probe.methods.decomposition.shapley import pooled_shares
from probe.methods.decomposition.units import unit_table
from probe.questions import Question, needs
from probe.questions.answers import inputs, memory
from probe.questions.interventions import gate_shares, routes, unit_shares
from probe.questions.states import noise_margin, quantised_states, single_units
from probe.studies.measure import groups_of
from probe.studies.prepare import prepare
from probe.subjects.ends import ends_of
from probe.subjects.pairs import input_pairs, pairs_by_step, usual_steps
from probe.subjects.subject import Subject

LONG, OPEN, COUNTS = 8, 40.0, torch.arange(CLASSES).double()
SHARES = (unit_shares, gate_shares, routes)
GATES = ("input_gate", "forget_gate", "cell_candidate", "output_gate")


class ByHand(nn.Module):
    """An LSTM of two features with weights of zero and open gates but where said; `read` takes the last h.

    Args:
        units: how many.
        read: from h (batch, unit) to the output.
        given: parameter, gate in torch's order i f g o -> its value for all units.
    """

    def __init__(self, units: int, read: Callable[[Tensor], Tensor], **given: dict[int, Tensor | float]) -> None:
        super().__init__()
        self.read, self.lstm = read, nn.LSTM(2, units, batch_first=True)
        with torch.no_grad():
            for name, parameter in self.lstm.named_parameters():
                parameter.zero_()
                gates = parameter.view(4, units, -1)
                if name == "bias_ih_l0":
                    gates[[0, 1, 3]] = OPEN
                for gate, value in given.get(name.removesuffix("_l0"), {}).items():
                    gates[gate] = value

    def forward(self, x: Tensor) -> Tensor:
        """Return what is read."""
        return self.read(self.lstm(x)[0][:, -1].double())


def balance() -> ByHand:
    """Return two units: the first holds the wins, the second the losses; their difference is read."""
    levels = torch.tanh(0.02 * COUNTS) - torch.tanh(0.02 * (LENGTH - COUNTS))
    given: dict[int, Tensor | float] = {2: math.atanh(0.02) * torch.eye(2)}
    return ByHand(2, lambda h: -1e6 * (h[:, :1] - h[:, 1:] - levels) ** 2, weight_ih=given)


def by_input_gate() -> ByHand:
    """Return one unit whose candidate is the same whatever comes: a win opens the input gate, a loss shuts it."""
    return ByHand(
        1,
        lambda h: -1e5 * (h - torch.tanh(0.1 * COUNTS)) ** 2,
        bias_ih={0: -OPEN, 2: math.atanh(0.1)},
        weight_ih={0: torch.tensor([2 * OPEN, 0.0])},
    )


def handed() -> ByHand:
    """Return a count that is written anew at each step: nothing is kept in the cell, h goes into the candidate."""
    write: dict[int, Tensor | float] = {2: torch.tensor([0.02, 0.0])}
    return ByHand(1, lambda h: h[:, 0] / 0.02, bias_ih={1: -OPEN}, weight_ih=write, weight_hh={2: 1.0})


def measured(of: Any, model: nn.Module, concept: torch.Tensor = WINS, **options: Any) -> pd.DataFrame:
    """Return the table of one network, by one of the questions."""
    return of.measure(subjects([Network("it", "trained", model, 0)], concept=concept), **options)


def is_all(found: dict[str, float], whole: str) -> bool:
    """Return whether one has the whole share, and each of the others none."""
    return found == pytest.approx(dict.fromkeys(found, 0.0) | {whole: 1.0}, abs=1e-12)


def test_a_tally_is_written_by_its_candidate_and_a_win_that_opens_the_input_gate_by_that() -> None:
    """Share 1 of g at every step, with gates that never move every answer is right, and all that is written is kept.

    Of the other i has all; with it at its mean of one half every sequence ends at tanh(5 x .05), nearest to 3 wins.
    """
    table = measured(gate_shares, Tally())
    assert is_all(by("signal", table, "gate_share"), "cell_candidate")
    for step in (1, 2, 3, 4):
        assert is_all(by("signal", table, "gate_share_at_step", step=step), "cell_candidate")
    assert tuple(by("signal", table, "gate_share")) == GATES
    assert value(table, "constant_gates_accuracy") == 1
    assert by("step", table, "kept") == dict.fromkeys(range(5), 1.0)
    opened = measured(gate_shares, by_input_gate())
    assert is_all(by("signal", opened, "gate_share"), "input_gate")
    assert value(opened, "constant_gates_accuracy") == pytest.approx(10 / 32)


def test_a_tally_is_carried_by_its_unit_alone_and_a_balance_by_two_alike() -> None:
    """Nobody works against the one unit, and one takes part; wins in one and losses in the other have a half each."""
    table = measured(unit_shares, Tally(idle=2), step=3)
    assert is_all(by("units", table, "unit_share"), "0")
    assert value(table, "negative_unit_shares") == pytest.approx(0, abs=1e-12)
    for metric in ("largest_unit_share", "correlated_unit_share"):
        assert by("units", table, metric) == pytest.approx({"0": 1})
    assert values(table, "unit_participation") == pytest.approx(values(table, "whole_difference")) == [1]
    two = measured(unit_shares, balance(), step=3)
    assert values(two, "unit_share") == pytest.approx([0.5, 0.5], abs=1e-6)
    assert value(two, "unit_participation") == pytest.approx(2, abs=1e-5)


def test_a_tally_stays_in_its_cell_and_a_count_that_is_handed_over_goes_through_the_candidate() -> None:
    """All goes through f * c, or, with the forget gate shut, is written again by what the candidate reads of h."""
    table = measured(routes, Tally(idle=2), step=2)
    assert set(by("signal", table, "route_share")) == {"cell_state", *GATES}
    assert is_all(by("signal", table, "route_share"), "cell_state")
    assert value(table, "whole_difference") == pytest.approx(1)
    own: dict[str, Any] = {"answer": torch.round, "expected": lambda output: output}
    table = routes.measure(subjects([Network("it", "trained", handed())], **own), step=2)
    assert is_all(by("signal", table, "route_share"), "cell_candidate")


def test_shares_of_a_gru_with_another_concept_are_those_of_its_tables() -> None:
    """r, z and n pooled over all steps but the first; units and routes of all pairs that differ two steps before."""
    model = Reader("gru", 4)
    machine, pairs = machine_of(model), changed_at(X, LEAD, 1, 3)
    table = measured(gate_shares, model, LEAD)
    assert list(by("signal", table, "gate_share")) == ["reset_gate", "update_gate", "candidate"]
    tables = [gate_table(machine, changed_at(X, LEAD, k, k), k) for k in range(1, 5)]
    whole = sum(np.average(rows[:, -1] - rows[:, 0], weights=weight) for rows, weight in tables)
    added = np.sum([pooled_shares(*one).values * pooled_shares(*one).whole for one in tables], axis=0)
    assert values(table, "gate_share") == pytest.approx(added / whole, abs=1e-12)
    assert len(values(table, "kept")) == 4 * 5
    assert len(values(table, "constant_gates_accuracy")) == 1

    table = measured(routes, model, LEAD, step=3)
    found = by("signal", table, "route_share")
    assert list(found) == ["hidden_state", "reset_gate", "update_gate", "candidate"]
    assert list(found.values()) == pytest.approx(pooled_shares(*route_table(machine, pairs, 3)).values, abs=1e-12)
    assert sum(found.values()) == pytest.approx(1)

    table = measured(unit_shares, model, LEAD, step=3)
    shares = np.array(values(table, "unit_share"))
    assert shares == pytest.approx(pooled_shares(*unit_table(machine, pairs, 3)).values, abs=1e-12)
    assert shares.sum() == pytest.approx(1)
    assert value(table, "largest_unit_share") == shares.max()
    assert value(table, "negative_unit_shares") == pytest.approx(-shares[shares < 0].sum())
    assert value(table, "unit_participation") == pytest.approx(1 / (shares**2).sum())
    # The unit of claim 1a: the largest absolute correlation within steps.
    best = single_units.measure(subjects([Network("it", "trained", model)], concept=LEAD))
    (unit,) = by("units", best, "largest_correlation")
    assert by("units", table, "correlated_unit_share") == {unit: shares[int(unit)]}
    other = measured(unit_shares, model, LEAD, step=3, changed=0)
    assert value(other, "whole_difference") != value(table, "whole_difference")
    # A plain RNN has one place and one route, and no gate to freeze.
    plain = measured(gate_shares, Reader("rnn"), LEAD)
    assert by("signal", plain, "gate_share") == pytest.approx({"hidden_state": 1})
    assert set(plain["metric"]) == {"gate_share", "gate_share_at_step"}
    route = measured(routes, Reader("rnn"), LEAD, step=3)
    assert by("signal", route, "route_share") == pytest.approx({"hidden_state": 1})


def subject_of(model: nn.Module | None = None, inputs: np.ndarray | None = None, **more: Any) -> Subject:
    """Return the planted network with drawn bits."""
    given = bits(200, LONG) if inputs is None else inputs
    (subject,) = prepare(study_of(planted() if model is None else model, inputs=given, **more))
    return subject


def why_not(subject: Subject, *modules: Any) -> str:
    """Return the one reason why questions are not asked of a network."""
    (reason,) = {str(module.question(subject).why_not(subject)) for module in modules}
    return reason


def test_pairs_of_drawn_sequences_share_what_is_known_by_hand() -> None:
    """Pairs differ in the one bit alone; unit 0, the candidate and c have the whole share.

    Two runs draw the same pairs, and a network with random weights gets them too; another seed draws others.
    """
    subject = subject_of()
    changed, step = usual_steps(subject)
    base, source = (torch.as_tensor(rows) for rows in input_pairs(subject, changed, step).pairs)
    x = ends_of(subject).machine.clean.inputs
    assert ((x[base] != x[source]).any(2).nonzero()[:, 1] == changed).all()
    assert (x[source, changed] == 1).all()
    assert value(unit_shares.measure([subject]), "unit_share", units="0") == pytest.approx(1)
    assert value(gate_shares.measure([subject]), "gate_share", signal="cell_candidate") == pytest.approx(1)
    assert value(routes.measure([subject]), "route_share", signal="cell_state") == pytest.approx(1)
    control = next(iter(groups_of([subject]).values()))[1]
    drawn = [
        input_pairs(each, changed, step, most=40).pairs[0].tolist()
        for each in (subject, subject_of(), control, subject_of(seed=1))
    ]
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3]
    # Hardly two of 12 sequences differ in one bit alone; a single step has no state before it.
    few = subject_of(inputs=bits(12, LONG, seed=1))
    assert all("6 are needed. Give more sequences" in why_not(few, module) for module in SHARES)
    single = subject_of(inputs=bits(20, 1))
    assert all("single step" in why_not(single, module) for module in (routes, gate_shares, memory, inputs))


def test_time_and_inputs_of_a_counter() -> None:
    """What a reset takes from the count is missing to the end, and each bit moves the answer by one."""
    subject = subject_of()
    lasts, moved = answer(memory.question(subject), [subject]), answer(inputs.question(subject), [subject])
    assert by("at", lasts.measurements, "kept_at_lag") == pytest.approx(dict.fromkeys(range(LONG - 1), 1), abs=0.01)
    end, half = (values(lasts.measurements, name) for name in ("kept_at_end", "halved"))
    assert (end, half) == (pytest.approx([1], abs=0.01), [0])
    assert "the last answer changes 1.00 times as much as the one at once" in lasts.notes["answer"]
    assert np.asarray(inputs.draw(moved.measurements).get_lines()[0].get_xdata()).tolist() == [*range(1, LONG + 1)]
    assert by("step", moved.measurements, "effect_at_step") == pytest.approx(dict.fromkeys(range(LONG), 1), abs=0.02)
    assert values(moved.measurements, "early_share") == pytest.approx([0.5], abs=0.01)
    assert "makes 50% of what single inputs change in the answer; no step's input" in moved.notes["answer"]
    assert len(moved.figures) == len(lasts.figures) == 1
    ragged = subject_of(lengths=np.random.default_rng(0).integers(7, LONG + 1, 200))
    assert why_not(ragged, memory, inputs).startswith("its sequences differ in length. ")


def test_sequences_of_several_lengths_are_asked_at_their_ends() -> None:
    """Rows of one window differ in the bit alone, from the same state; the shares are those of whole sequences."""
    lengths = np.random.default_rng(0).integers(7, LONG + 1, 200)
    subject = subject_of(lengths=lengths)
    end = ends_of(subject)
    assert not end.whole
    for pairs in pairs_by_step(subject).values():
        base, source = (torch.as_tensor(rows) for rows in pairs.pairs)
        assert torch.equal(end.machine.clean.initial[base], end.machine.clean.initial[source])
    assert why_not(subject, noise_margin, quantised_states).startswith("its sequences differ in length. ")
    assert value(gate_shares.measure([subject]), "gate_share", signal="cell_candidate") == pytest.approx(1)
    assert value(unit_shares.measure([subject]), "unit_share", units="0") == pytest.approx(1)


def test_units_of_a_stack_share_by_random_orders_where_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are named by their layers; 18 have intervals, and wider stacks are not asked; gates are of one layer."""
    weight = np.random.default_rng(0).normal(size=(LONG + 1, 9))
    subject = subject_of(nn.GRU(1, 9, 2, batch_first=True), readout=Readout("ones", weight=weight))
    # A random head answers nothing right, and would not be asked.
    told = answer(dataclasses.replace(unit_shares.question(subject), needs=()), [subject])
    shares, best = (rows(told.measurements, metric) for metric in ("unit_share", "largest_unit_share"))
    assert shares["units"].tolist() == [f"[{layer}]:{unit}" for layer in (0, 1) for unit in range(9)]
    assert shares["value"].sum() == pytest.approx(1)
    assert (shares["n"] == 512).all()
    assert ((shares["low"] < shares["value"]) & (shares["value"] < shares["high"])).all()
    assert (best["low"] < best["high"]).all()
    assert "we drew 512 orders" in told.notes["setup"]
    assert "stack of several layers" in why_not(subject, gate_shares, routes)
    monkeypatch.setattr(unit_shares, "TOO_MUCH", 0)
    assert "18 units" in why_not(subject, unit_shares)


def parity(count: int, seed: int) -> Subject:
    """Return an LSTM by hand that says whether the ones so far are odd: unit 0 is its last "or", unit 1 its "and"."""
    lstm: Any = nn.LSTM(1, 2, batch_first=True)
    high = math.tanh(1)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([OPEN, OPEN, -OPEN, -OPEN, -OPEN / 2, -OPEN * 3 / 2, OPEN, OPEN]))
        lstm.weight_ih_l0[4:6] = OPEN
        lstm.weight_hh_l0[4:6] = torch.tensor([1.0, -1.0]) * OPEN / (2 * high)
    weight = np.array([[0.0, 0.0], [OPEN, -OPEN]]) / (2 * high)
    readout = Readout("odd", weight=weight, bias=np.array([0.0, -OPEN / 2]))
    odd = {"odd": lambda x: x[:, 0].cumsum() % 2}
    return subject_of(lstm, bits(count, LONG, seed), concepts=odd, readout=readout)


@pytest.mark.parametrize(("count", "seed"), [(200, 0), (200, 1), (200, 2), (200, 3), (500, 0)])
def test_changes_that_cancel_have_no_shares(count: int, seed: int) -> None:
    """Every bit moves a parity by one, up or down: what is left of the mean is chance, and shares of it are none.

    Of few pairs more is left by chance.
    """
    subject = parity(count, seed)
    assert ends_of(subject).machine.clean.answers.chosen.tolist() == subject.last_values.tolist()
    assert "up or down, and by" in why_not(subject, unit_shares)
    assert "up or down, and by" in why_not(subject, routes)
    assert why_not(subject_of(), unit_shares, routes) == "None"


def test_a_control_that_guesses_is_no_control_of_what_rests_on_answers() -> None:
    """Also where a need that comes before those of a question says that the answers must be better than a guess."""
    group = beside(subject_of())
    guessing = {one.network.name for one in group if needs.better_than_a_guess(one)}
    assert 0 < len(guessing) < len(group)

    def measure(subjects: Any) -> Any:
        return [measurement("told", "told", one.network, 1.0) for one in subjects]

    for need, asked in ((needs.kept_answers, guessing), (needs.one_length, set[str]())):
        question = Question("told", "Is it told?", measure, (need,), copies=None, heads=None)
        assert set(question.ask(group)["network"]) == {one.network.name for one in group} - asked


def named(x: np.ndarray) -> list[str | None]:
    """Return how many ones there are as a name, from the fifth step on."""
    return [f"{count:02.0f}" if step >= 4 else None for step, count in enumerate(x[:, 0].cumsum())]


def test_categories_that_are_undefined_at_first_have_states_where_they_are_defined() -> None:
    """Quantised after eight of twelve steps; noise asks for the last value alone; shares need a scale."""
    weight, bias = head(LONG)
    readout = Readout("ones", weight=weight, bias=bias, answers=[f"{count:02d}" for count in range(LONG + 1)])
    subject, numbers = subject_of(concepts={"ones": named}, readout=readout), subject_of()
    table, every = (quantised_states.measure([each]) for each in (subject, numbers))
    assert value(table, "own_accuracy") == 1
    assert rows(table, "right_class", kind="by_step")["step"].tolist() == list(range(4, LONG))
    assert value(table, "states", kind="by_step") < value(every, "states", kind="by_step")
    noisy = [value(noise_margin.measure([one], draws=4), "noisy_accuracy") for one in (subject, numbers)]
    assert noisy[0] == noisy[1]
    assert "has several categories" in why_not(subject, *SHARES)
    # A number that tells all sequences apart is neither right nor wrong, and its units have shares all the same.
    apart = {"ones": lambda x: (x[:, 0] * np.exp(np.arange(len(x)))).cumsum()}
    number = subject_of(readout=Readout("ones", weight=np.eye(1, 6), kind="number"), concepts=apart)
    assert "too many values to call one answer right" in why_not(number, noise_margin, quantised_states)
    assert not len(rows(gate_shares.measure([number]), "constant_gates_accuracy"))
    last = subject_of(concepts={"ones": lambda x: [*[np.nan] * (len(x) - 1), x[:, 0].sum()]})
    assert "one step alone after which all sequences with an answer" in why_not(last, quantised_states)
    assert value(unit_shares.measure([last]), "unit_share", units="0") == pytest.approx(1)
