"""What the counter's measurements are tied to: weights, split and code of bits, on every processor alike."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

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


def test_a_network_is_known_by_all_that_a_measurement_follows_from() -> None:
    """Another split, task or code of bits gives another error with the same weights; a name is no part of it."""
    (network,) = common.of_recipe("hidden-1", [0])
    assert network.known_by.startswith(f"{weights_digest(network.model)[:16]}+")
    for field, other in (("train", network.test), ("test", network.train), ("asked", "template")):
        assert known(dataclasses.replace(network, **{field: other})) != network.known_by
    assert known(dataclasses.replace(network, role="trained", name="x")) == network.known_by
    given = [Coded(PLANTED.model, zero=zero, one=one) for zero, one in ((-1.0, 1.0), (0.0, 2.0), (-1.0, 1.0))]
    first, second, again = (known(common.Studied("a", "other", model)) for model in given)
    assert first == again != second
    assert first.partition("+")[0] == second.partition("+")[0]


def test_computed_weights_may_be_rounded_otherwise_and_others_may_not() -> None:
    """MKL's tanh and a fit give other last bits on another processor, which must read what was measured here."""
    drawn = common.of_recipe("after-100-steps", [3000])[1]
    networks = [PLANTED, drawn, *common.with_controls("counter", 2077)]
    assert len({network.known_by for network in networks}) == len(networks) == 9
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
    found = {}
    for blas, torchs in (("Haswell", "default"), ("Prescott", "avx2")):
        environment = os.environ | {"OPENBLAS_CORETYPE": blas, "ATEN_CPU_CAPABILITY": torchs}
        words = [sys.executable, "-c", KNOWN]
        done = subprocess.run(words, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True)
        found[blas] = json.loads(done.stdout)
    assert found["Haswell"] == found["Prescott"]
    assert "counter/seed-2077/ridge head" in found["Haswell"]
