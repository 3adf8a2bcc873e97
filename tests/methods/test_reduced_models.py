"""Affine recurrences: known ones come back, and nonlinear networks are followed as well as they can be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from known_machines import Reader, expected, machine_of
from refusing import refused
from torch import Tensor, nn

from probe.methods.abstraction.reduced import fit_affine
from probe.methods.machines import Machine

READ: dict[str, Any] = {"answer": lambda y: y.round().long(), "expected": lambda y: y}
WIN, LOSS, TIE = [1.0, 0.0], [0.0, 1.0], [0.5, 0.5]


def every(length: int, alphabet: tuple[list[float], ...] = (WIN, LOSS)) -> Tensor:
    """Return all sequences of a length over an alphabet of steps with two features."""
    return torch.tensor(list(itertools.product(alphabet, repeat=length)), dtype=torch.float64)


class Linear(nn.Module):
    """A plain RNN so near to 0 that it is linear to 1e-12, over two features: an affine recurrence of two numbers."""

    SMALL = 1e-5

    def __init__(self, matrix: list[list[float]], read: list[float]):
        super().__init__()
        self.rnn = nn.RNN(2, 2, batch_first=True).double()
        with torch.no_grad():
            for parameter in self.rnn.parameters():
                parameter.zero_()
            self.rnn.get_parameter("weight_hh_l0").copy_(torch.tensor(matrix, dtype=torch.float64))
            drive = torch.tensor([[1.0, -0.5], [0.3, 0.8]], dtype=torch.float64)
            self.rnn.get_parameter("weight_ih_l0").copy_(drive * self.SMALL)
        self.read = torch.tensor(read, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reading plus 3, (batch,)."""
        return self.rnn(x)[0][:, -1] @ self.read / self.SMALL + 3


MATRIX = [[0.9, -0.3], [0.4, 0.7]]


@pytest.mark.parametrize("alphabet", [(WIN, LOSS), (WIN, LOSS, TIE)], ids=["two symbols", "three"])
def test_an_affine_network_is_given_back_at_lengths_that_were_not_fitted(alphabet: tuple[list[float], ...]) -> None:
    """Its answers at longer ones follow exactly, A has its matrix's eigenvalues, and one dimension is too few."""
    model = Linear(MATRIX, [1.0, 0.5])
    machine = Machine.of(model, every(5, alphabet), **READ)
    fitted = fit_affine(machine, range(1, 6))
    assert fitted.error < 1e-7
    assert fit_affine(machine, range(1, 6), dimensions=1).error > 1e-2
    longer = every(8, alphabet)[::7]
    with torch.no_grad():
        assert np.abs(fitted.predict(longer) - model(longer).numpy()).max() < 1e-5
    wanted = np.sort_complex(np.linalg.eigvals(np.array(MATRIX)))
    for symbol in range(len(alphabet)):
        assert np.abs(np.sort_complex(np.linalg.eigvals(fitted.maps[symbol])) - wanted).max() < 1e-3


def test_the_error_is_of_y_on_the_lengths_that_were_asked_each_of_the_same_weight() -> None:
    """Recomputed from predictions and the bare model; refinement must leave little of the variance."""
    model = Reader(units=4).double()
    fitted = fit_affine(machine_of(model, every(6)), (3, 6))
    squares, variance = [], []
    for length in (3, 6):
        with torch.no_grad():
            y = expected(model(every(length))).numpy()
        squares.append(((fitted.predict(every(length)) - y) ** 2).mean())
        variance.append(y.var())
    assert fitted.error == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)
    assert np.mean(squares) < 0.02 * np.mean(variance)


def test_the_fit_is_the_same_again_and_fits_what_it_was_asked_to_fit() -> None:
    """Two runs agree to the last bit; a fit on one length is better there than a fit on others."""
    machine = machine_of(Reader(units=4), every(6))
    first, again = (fit_affine(machine, range(1, 7), seed=3) for _ in range(2))
    assert np.array_equal(first.maps, again.maps)
    assert first.error == again.error
    y = machine.clean.answers.expected.numpy()
    off = [
        ((fit_affine(machine, lengths).predict(every(6)) - y) ** 2).mean()
        for lengths in ((6,), range(1, 7), (1, 2, 3))
    ]
    assert off[0] <= off[1] < off[2]


def test_sequences_need_not_be_all_of_their_length_nor_in_order() -> None:
    """Prefixes are found whatever the order of the rows; missing ones are missing from the fit only."""
    model = Linear(MATRIX, [1.0, 0.5])
    order = torch.as_tensor(np.random.default_rng(0).permutation(64))
    whole, mixed, some = (
        fit_affine(Machine.of(model, every(6)[rows], **READ), range(1, 7))
        for rows in (torch.arange(64), order, order[:40])
    )
    assert np.abs(mixed.predict(every(6)) - whole.predict(every(6))).max() < 1e-6
    assert np.abs(some.predict(every(6)) - whole.predict(every(6))).max() < 1e-4
    rows = every(7)  # the first symbol is always the same one, and the last
    rows[:, 0], rows[:, -1] = torch.tensor(WIN).double(), torch.tensor(LOSS).double()
    fitted = fit_affine(Machine.of(model, rows, **READ), range(1, 8))
    with torch.no_grad():
        assert np.abs(fitted.predict(rows) - model(rows).numpy()).max() < 1e-4


def test_what_no_recurrence_is_fitted_to_is_refused() -> None:
    """Lengths and dimensions that there are not, a symbol that was not seen, or seen as the first one alone."""
    machine, first = machine_of(Reader(), every(3)), every(5)
    first[:, 0] = torch.tensor(TIE).double()
    fitted = fit_affine(machine, (1, 2))
    cases: list[Any] = [
        *(lambda lengths=lengths: fit_affine(machine, lengths) for lengths in ((), (4,))),
        lambda: fit_affine(machine, (1, 2), dimensions=0),
        lambda: fitted.predict(torch.tensor([[TIE]])),
        lambda: fit_affine(Machine.of(Linear(MATRIX, [1.0, 0.5]), first, **READ), range(1, 6)),
    ]
    for ask in cases:
        with refused():
            ask()
