"""How alike networks are that differ in their seed: copies, states that are rotations, a GRU that counts nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from known_machines import subjects
from torch import Tensor, nn

from probe import ProbeError
from probe.evidence.measurements import Network
from probe.questions.answers import agreement
from probe.subjects.subject import Subject


class Summing(nn.Module):
    """A GRU on two inputs, and the sum of its last state."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = nn.GRU(2, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return one number a row."""
        return self.rnn(x)[0][:, -1].sum(1)


def rounded(output: Tensor) -> Tensor:
    """Return the nearest whole number."""
    return output.round()


def itself(output: Tensor) -> Tensor:
    """Return the output."""
    return output


def every(length: int) -> Tensor:
    """Return all sequences of two inputs of a length."""
    bits = torch.tensor(list(np.ndindex(*[2] * length)))
    return torch.stack([bits, 1 - bits], -1).float()


def asked(networks: list[Network], length: int = 5) -> list[Subject]:
    """Return networks over the sequences of a length; what the concept is does not matter."""
    return subjects(networks, every(length), lambda x: x[:, 0].cumsum(), answer=rounded, expected=itself)


def test_the_same_network_twice_agrees_with_itself_and_a_third_less() -> None:
    """Equal answers by length and CKA are 1 of a copy, and means over the others; roles are kept apart."""
    networks = [
        Network(f"n/{name}", "trained", Summing(seed), number)
        for number, (name, seed) in enumerate((("a", 0), ("b", 0), ("c", 1)))
    ]
    table = agreement.measure(asked(networks), lengths=(3, 5, 6))
    assert set(table["metric"]) == {"equal_answers", "cka"}
    at_three = table[table["at"] == 3].set_index("network")["value"]
    with torch.no_grad():
        first, _, third = (rounded(network.model(every(3))) for network in networks)
    share = float((first == third).double().mean())
    assert share < 1
    assert at_three.to_dict() == pytest.approx({"n/a": (1 + share) / 2, "n/b": (1 + share) / 2, "n/c": share})
    cka = table[table["metric"] == "cka"].set_index("network")["value"]
    assert cka["n/a"] == pytest.approx((1 + cka["n/c"]) / 2)
    alone = [networks[0], Network("n/u", "own initialisation", Summing(2), 0)]
    assert agreement.measure(asked(alone)).empty


def test_linear_cka_is_one_under_rotation_and_scale_and_known_otherwise() -> None:
    """Kornblith et al. 2019: invariant to both; of two uncorrelated columns 0, of one shared of two as computed."""
    generator = np.random.default_rng(0)
    states = generator.normal(size=(50, 3))
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    assert agreement.linear_cka([states, 7 * states @ rotation + 1]) == pytest.approx(np.ones((2, 2)))
    one = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    other = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    assert agreement.linear_cka([one, other])[0, 1] == pytest.approx(0)
    # <one one', both both'> / (|one one'| |both both'|) = 16 / (4 * sqrt(32)).
    assert agreement.linear_cka([one, np.hstack([one, other])])[0, 1] == pytest.approx(16 / (4 * np.sqrt(32)))
    with pytest.raises(ProbeError, match="same in every row"):
        agreement.linear_cka([one, np.ones((4, 1))])


def test_what_cannot_be_compared_is_named_and_the_picture_has_a_column_a_metric() -> None:
    """Inputs of which there are many; an empty table."""
    networks = [Network(f"n/{seed}", "trained", Summing(seed), seed) for seed in range(3)]
    many = subjects(networks, torch.rand(64, 5, 2), lambda x: x[:, 0], answer=rounded, expected=itself)
    with pytest.raises(ProbeError, match="more than 8 different values"):
        agreement.measure(many)
    table = agreement.measure(asked(networks, 6), lengths=(3, 5, 6))
    labels = [" ".join(label.get_text().split()) for label in agreement.draw(table).get_xticklabels()]
    assert labels == ["equal answers at 3", "equal answers at 5", "equal answers at 6", "states (CKA)"]
    with pytest.raises(ProbeError, match="no equal_answers"):
        agreement.draw(table[table["metric"] == "none"])
