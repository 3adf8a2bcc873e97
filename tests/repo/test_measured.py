"""What the counter's measurements are tied to: weights, split and code of bits, on every processor alike."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from analyses.counter import common
from models.checkpoints import weights_digest
from models.counter import Coded
from probe.evidence.measurements import FITTED_HEADS

REPOSITORY = Path(__file__).parents[2]
(PLANTED,) = common.planted_networks(["ones-alone"])


def known(network: common.Studied) -> str:
    """Return what a network is known by, as it is now."""
    return common.known(network).known_by


@pytest.mark.parametrize("field", ["train", "test", "asked"])
def test_a_network_is_known_by_all_that_a_measurement_follows_from(field: str) -> None:
    """Another split gives another error on test strings with the same weights and the same code."""
    (network,) = common.of_recipe("hidden-1", [0])
    others = {"train": network.test, "test": network.train, "asked": "template"}
    assert known(dataclasses.replace(network, **{field: others[field]})) != network.known_by
    assert network.known_by.startswith(f"{weights_digest(network.model)[:16]}+")
    # What it is called is no part of what was measured.
    assert known(dataclasses.replace(network, role="trained", name="x")) == network.known_by


def test_a_network_is_known_by_the_code_in_which_it_reads_its_bits() -> None:
    """-1 and +1 or 0 and 2: the same weights."""
    given = [Coded(PLANTED.model, zero=zero, one=one) for zero, one in ((-1.0, 1.0), (0.0, 2.0), (-1.0, 1.0))]
    first, second, again = (known(common.Studied("a", "other", model)) for model in given)
    assert first == again
    assert first.partition("+")[0] == second.partition("+")[0]
    assert first != second


def test_computed_weights_may_be_rounded_otherwise_and_others_may_not() -> None:
    """MKL's tanh and a fit give other last bits on another processor, which must read what was measured here."""
    drawn = common.of_recipe("after-100-steps", [3000])[1]
    networks = [PLANTED, drawn, *common.with_controls("counter", 2077)]
    assert len({network.known_by for network in networks}) == len(networks) == 7
    for network in networks:
        computed = network is drawn or network.role in FITTED_HEADS
        bias = network.model.get_parameter("head.bias").detach()
        was = bias.clone()
        bias.copy_(torch.nextafter(bias, torch.full_like(bias, 100.0)))
        assert not torch.equal(bias, was)
        assert (known(network) == network.known_by) == (computed or network.role == "planted")
        bias.copy_(was * 1.001 + 0.001)
        assert (known(network) == network.known_by) == computed
        bias.copy_(was)


#: Prints what a counter, its fitted heads and networks that are computed are known by.
KNOWN = """
import json
from analyses.counter import common
from models import planted
networks = [*common.with_controls("counter", 2077), *common.of_recipe("after-100-steps", [3000])]
networks += common.planted_networks(planted.battery())
print(json.dumps({network.name: network.known_by for network in networks}))
"""


def test_a_network_is_known_by_the_same_on_every_processor() -> None:
    """The ridge head of counter 2077 has another last bit where OpenBLAS takes the kernels of a Haswell."""
    kernels = ["Haswell", "Prescott"] + ["SkylakeX"] * (torch.backends.cpu.get_cpu_capability() == "AVX512")
    settings = [("OPENBLAS_CORETYPE", each) for each in kernels]
    settings += [("ATEN_CPU_CAPABILITY", each) for each in ("default", "avx2")]
    said = {
        subprocess.run(
            [sys.executable, "-c", KNOWN],
            cwd=REPOSITORY,
            env=os.environ | {name: value},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name, value in settings
    }
    assert len(said) == 1
    assert "counter/seed-2077/ridge head" in json.loads(said.pop())
