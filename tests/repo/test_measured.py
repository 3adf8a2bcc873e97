"""The counter's measurements on disk: tied to weights, inputs and versions, safe from kills."""

from __future__ import annotations

import dataclasses
import json
import lzma
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from analyses.counter import command, common, measured, study
from models.checkpoints import weights_digest
from models.counter import Coded
from probe import ProbeError
from probe.evidence.measurements import COLUMNS, FITTED_HEADS, Network
from probe.studies import store

REPOSITORY = Path(__file__).parents[2]
NETWORK = common.planted_networks(("ones-alone",))[0]


def test_a_worker_with_another_version_measures_nothing(tmp_path: Path) -> None:
    """On a cluster it may have been started before an edit; it would measure what is then thrown away, for ever."""
    (one,) = study.groups("hidden-1", [0])
    with pytest.raises(ProbeError, match=r"A worker has another version.*of accuracy: .*Start the workers again"):
        study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"], {"accuracy": 99})
    assert list(tmp_path.iterdir()) == []
    versions = measured.versions(["accuracy"])
    assert study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"], versions) == ["accuracy"]


def digest(network: Network) -> str:
    """Return what a network is known by."""
    return measured.digests([network])[network.name]


@pytest.mark.parametrize("field", ["train", "test", "asked"])
def test_a_network_is_known_by_all_that_a_measurement_follows_from(field: str) -> None:
    """Another split gives another error on test strings with the same weights and the same code."""
    network = common.group("hidden-1", 0)[0]
    assert isinstance(network, common.Studied)
    others = {"train": network.test, "test": network.train, "asked": "template"}
    other = dataclasses.replace(network, **{field: others[field]})
    assert digest(other) != digest(network)
    assert digest(network).startswith(f"{weights_digest(network.model)[:16]}+")
    # What it is called, and how it is shown, is no part of what was measured.
    shown = dataclasses.replace(network, role="trained", name="x", detail=True, checkpoint=True)
    assert measured.digests([shown])["x"] == digest(network)


def test_a_network_is_known_by_the_code_in_which_it_reads_its_bits() -> None:
    """-1 and +1 or 0 and 2: the same weights."""
    given = [Coded(NETWORK.model, zero=zero, one=one) for zero, one in ((-1.0, 1.0), (0.0, 2.0), (-1.0, 1.0))]
    first, second, again = (digest(common.Studied("a", "other", model)) for model in given)
    assert first == again
    assert first.partition("+")[0] == second.partition("+")[0]
    assert first != second


def test_computed_weights_may_be_rounded_otherwise_and_others_may_not() -> None:
    """MKL's tanh and a fit give other last bits on another processor, which must read what was measured here."""
    (drawn,) = (each for each in common.group("after-100-steps", 3000) if each.role == "own initialisation")
    networks = [NETWORK, drawn, *common.group("counter", 2077)]
    assert len(set(map(digest, networks))) == len(networks) == 7
    for network in networks:
        known, computed = digest(network), network is drawn or network.role in FITTED_HEADS
        bias = network.model.get_parameter("head.bias").detach()
        was = bias.clone()
        bias.copy_(torch.nextafter(bias, torch.full_like(bias, 100.0)))
        assert not torch.equal(bias, was)
        assert (digest(network) == known) == (computed or network.role == "planted")
        bias.copy_(was * 1.001 + 0.001)
        assert (digest(network) == known) == computed
        bias.copy_(was)


#: Prints what the pages say of the weights of a counter, of its fitted heads, and of networks that are computed.
PROVENANCE = """
import json
from analyses.counter import common
networks = [*common.group("counter", 2077), *common.group("after-100-steps", 3000), *common.planted_networks()]
print(json.dumps(common.provenance("accuracy", networks)["weights"]))
"""


def test_pages_say_the_same_of_weights_on_every_processor() -> None:
    """The ridge head of counter 2077 has another last bit where OpenBLAS takes the kernels of a Haswell."""
    kernels = ["Haswell", "Prescott"] + ["SkylakeX"] * (torch.backends.cpu.get_cpu_capability() == "AVX512")
    settings = [("OPENBLAS_CORETYPE", each) for each in kernels]
    settings += [("ATEN_CPU_CAPABILITY", each) for each in ("default", "avx2")]
    said = {
        subprocess.run(
            [sys.executable, "-c", PROVENANCE],
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


def test_nothing_is_doubled_when_a_group_is_measured_twice(tmp_path: Path) -> None:
    """Not the second time, not with a question more, and in the order of the questions whichever came first."""
    (one,) = study.groups("hidden-1", [0])
    path = tmp_path / "parts" / "hidden-1" / "seed-0.csv.xz"
    assert study.measure(one, tmp_path, tmp_path / "parts", ["other_lengths"]) == ["other_lengths"]
    assert study.measure(one, tmp_path, tmp_path / "parts") == ["accuracy"]
    once = path.read_bytes()
    assert study.measure(one, tmp_path, tmp_path / "parts") == []
    assert path.read_bytes() == once
    tables = store.read(path)["seed-0"].tables
    assert list(tables) == ["accuracy", "other_lengths"]
    for table in tables.values():
        assert not table.duplicated(list(COLUMNS[:-1])).any()
    assert study.measure(one, tmp_path, tmp_path / "at once") == ["accuracy", "other_lengths"]
    assert (tmp_path / "at once" / "hidden-1" / "seed-0.csv.xz").read_bytes() == once
    digests = measured.digests(one.networks())
    kept = store.Store(tmp_path, tmp_path / "parts", "hidden-1")
    assert kept.pack({one.member: digests}, measured.versions()) == 1
    assert study.measure(one, tmp_path, tmp_path / "parts") == []
    assert [path.name for path in (tmp_path / "parts" / "hidden-1").iterdir()] == [".lock"]


def test_a_damaged_part_is_measured_anew(tmp_path: Path) -> None:
    """The last good one comes back, byte by byte."""
    (one,) = study.groups("hidden-1", [0])
    assert study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"]) == ["accuracy"]
    path = tmp_path / "parts" / "hidden-1" / "seed-0.csv.xz"
    good = path.read_bytes()
    assert path.write_bytes(good[:100])
    assert study.measure(one, tmp_path, tmp_path / "parts", ["accuracy"]) == ["accuracy"]
    assert path.read_bytes() == good


#: `python -m analyses counter accuracy`, which is slow to put its second file into place.
SLOW = """
import os, sys, time
from analyses.counter import command

replace, placed = os.replace, []

def slow(*paths):
    if placed:
        print("in the middle", flush=True)
        time.sleep(60)
    placed.append(replace(*paths))

os.replace = slow
sys.exit(command.run(["accuracy", *sys.argv[1:]]))
"""


def test_killed_in_the_middle_and_run_again_it_leaves_what_an_uninterrupted_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9 while the second of three files is written: the first stays, and the same command makes the others."""
    words = ["--recipe", "counter", "--seeds", "0:3", "--measured"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *words, str(killed)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    left, good = sorted(path.name for path in killed.rglob("*.xz*"))
    assert left.startswith(".seed-1.csv.xz.")
    assert good == "seed-0.csv.xz"
    for folder, done in ((killed, 2), (whole, 3), (killed, 0)):
        assert command.run(["accuracy", *words, str(folder)]) == 0
        assert capsys.readouterr().out == f"{folder}: {done} of 3 groups of counter measured, {3 - done} were there\n"
    files = [{path.name: path.read_bytes() for path in folder.rglob("*.xz*")} for folder in (killed, whole)]
    assert files[0] == files[1]
    assert list(files[0]) == ["counter.csv.xz"]
    head = json.loads(lzma.decompress(files[0]["counter.csv.xz"]).decode().partition("\n")[0])
    assert list(head["groups"]) == ["seed-0", "seed-1", "seed-2"]
    assert list(head["groups"]["seed-2"]["networks"]) == ["counter/seed-2"]
    assert {"commit", "torch", "numpy"} <= set(head["made"][0])
