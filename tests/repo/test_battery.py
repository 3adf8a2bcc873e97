"""The battery as a whole: one checkpoint, several questions at a time, and all claims in one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import probe
from analyses import command, merged
from models import zoo

KEYS = {"key", "statement", "metric", "definition", "source", "rule", "value", "interval", "n", "null", "untrained"}
KEYS |= {"planted", "verdict"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where two questions about TensorFlow's network were answered, two at a time."""
    out = tmp_path_factory.mktemp("battery")
    words = ["--checkpoint", str(zoo.ZOO / "tf1" / "seed-0"), "--out", str(out), "--jobs", "2"]
    assert command.run(["accuracy", "bit_effects"], "battery", words) == 0
    return out


def test_a_checkpoint_trained_elsewhere_is_studied_alone(folder: Path) -> None:
    """Its findings are about it, its planted controls and nothing else; one network decides nothing."""
    found = probe.Finding.read(folder / "bit_effects")
    networks = found.measurements[["subject", "network"]].drop_duplicates()
    trained = networks[networks["subject"] == "trained"]["network"].tolist()
    assert len(trained) == 1
    assert set(networks["subject"]) <= {"trained", "untrained", "readout", "planted"}
    assert {claim.verdict for claim in found.claims} == {"undecided"}
    assert all(claim.n == 1 for claim in found.claims)


def test_all_claims_stand_in_one_file_with_their_rules(folder: Path) -> None:
    """`findings.json` has an entry a claim, with the rule's digest and the numbers of the claim itself."""
    entries = json.loads((folder / merged.NAME).read_text())
    claims = {
        claim.rule.key: claim
        for name in ("accuracy", "bit_effects")
        for claim in probe.Finding.read(folder / name).claims
    }
    assert [entry["key"] for entry in entries] == list(claims)
    for entry in entries:
        assert set(entry) >= KEYS
        assert entry["rule"]["digest"] == claims[entry["key"]].rule.digest
        assert entry["value"] == pytest.approx(claims[entry["key"]].value, rel=1e-5)
        assert entry["verdict"] == claims[entry["key"]].verdict


def test_two_choices_of_networks_are_one_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--fresh and --checkpoint together are wrong usage, said before anything is computed."""
    words = ["--fresh", str(tmp_path), "--checkpoint", str(tmp_path), "--out", str(tmp_path / "out")]
    assert command.run(["accuracy"], "battery", words) == command.USAGE
    assert "give one of them" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
