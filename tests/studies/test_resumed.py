"""A report that was stopped goes on where it was, and another study's is never overwritten unasked."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from refusing import refused
from safetensors.torch import save_file
from studied import FUNCTIONS, STUDY, bits, planted, study_of, written
from torch import nn

from probe import Finding
from probe.command_line import main
from probe.studies.measuring import Progress

SMALL = STUDY.partition("[readout]")[0]


class StoppedError(Exception):
    """Raised by a test instead of a kill."""


def answered(study: object, folder: Path, **more: object) -> list[tuple[str, str]]:
    """Run a study and return what was told of each question, begun ones left out."""
    told: list[Progress] = []
    study.run(folder, progress=told.append, **more)  # pyright: ignore[reportAttributeAccessIssue]
    return [(one.question, one.state) for one in told if one.state != "started"]


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """After a stop the answered questions are kept, the others asked, and the page is that of a run without one."""
    study = study_of(planted(), readout=None)

    def stop(progress: Progress) -> None:
        if progress.question == "gates" and progress.state == "started":
            raise StoppedError

    with pytest.raises(StoppedError):
        study.run(tmp_path / "report", progress=stop)
    assert not (tmp_path / "report" / "index.html").exists()
    again = answered(study, tmp_path / "report")
    before_it = [name for name, state in again if state == "kept"]
    assert before_it[:2] == ["reading-ones", "one-sequence"]
    assert dict(again)["gates"] == dict(again)["fixed-points"] == "answered"
    study.run(tmp_path / "whole")
    assert (tmp_path / "report" / "index.html").read_bytes() == (tmp_path / "whole" / "index.html").read_bytes()


def test_a_killed_command_goes_on(tmp_path: Path) -> None:
    """A process that is killed leaves whole answers; the command run again keeps them and writes the page."""
    path, folder = written(tmp_path, SMALL), tmp_path / "report"
    command = [sys.executable, "-m", "probe.command_line.main", "report", str(path), "-o", str(folder)]

    def done() -> list[Path]:
        return list((folder / "measured").rglob("*.csv.xz"))

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 120
        while not done() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert done()
    assert not (folder / "index.html").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    page = folder / "index.html"
    assert again.stdout.endswith(f"\n{page} {page.stat().st_size} bytes\n")
    assert "Not asked" not in again.stdout
    assert again.stderr == ""


def test_a_damaged_answer_is_asked_again(tmp_path: Path) -> None:
    """Half of a file is no answer."""
    study = study_of(planted(), readout=None)
    study.run(tmp_path)
    (part,) = (tmp_path / "measured").rglob("*.csv.xz")
    part.write_bytes(part.read_bytes()[:-9])
    assert dict(answered(study, tmp_path))["gates"] == "answered"


FEW = {"inputs": bits(24, 5), "readout": None}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a report that no test may change."""
    folder = tmp_path_factory.mktemp("report")
    study_of(planted(), **FEW).run(folder)
    return folder


@pytest.mark.parametrize("more", [{"seed": 1}, {"inputs": bits(24, 5, seed=1)}, {"title": "Other"}])
def test_another_study_is_refused(more: dict[str, object], report: Path) -> None:
    """The sentence says what differs, and the report stays as it was."""
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    with refused():
        study_of(planted(), **FEW | more).run(report)
    assert {path: path.read_bytes() for path in report.rglob("*") if path.is_file()} == before


def test_a_report_of_another_version_is_refused(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a question computes may have changed between two versions."""
    monkeypatch.setattr("probe.studies.identity.__version__", "99.0")
    with refused():
        study_of(planted(), **FEW).run(report)


def test_another_study_is_run_where_it_may_replace_the_first(report: Path, tmp_path: Path) -> None:
    """With overwrite no answer of the first is kept."""
    shutil.copytree(report, tmp_path / "report")
    other = study_of(planted(), **FEW | {"title": "Other"})
    assert {state for _, state in answered(other, tmp_path / "report", overwrite=True)} == {"answered"}


def test_what_is_no_report_is_not_replaced(tmp_path: Path) -> None:
    """A folder with somebody's index.html, and a file, are refused."""
    (tmp_path / "index.html").write_text("mine")
    study = study_of(planted(), readout=None)
    with refused():
        study.run(tmp_path)
    with refused():
        study.run(tmp_path / "index.html")
    assert (tmp_path / "index.html").read_text() == "mine"


def test_an_interrupt_is_told_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C gives exit code 130 and leaves what was answered."""
    from probe.questions.states import gate_activity

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gate_activity, "measure", interrupted)
    path = written(tmp_path, SMALL)
    assert main.run(["report", str(path), "-o", str(tmp_path / "report")]) == 130
    assert capsys.readouterr().err == "rnn-probe: interrupted\n"
    assert list((tmp_path / "report" / "measured").rglob("*.csv.xz"))


def test_the_seed_of_the_command_line_is_that_of_the_study(tmp_path: Path) -> None:
    """`--seed` takes the place of the file's own."""
    from probe.studies.study_file import read_study

    path = written(tmp_path, SMALL.replace("[network]", "seed = 5\n[network]", 1))
    assert (read_study(path).seed, read_study(path, 7).seed) == (5, 7)


def test_a_python_file_is_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`study = probe.Study(...)` in a .py file is reported like a TOML file, from any folder."""
    _ = written(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nimport numpy as np, probe\nfrom functions import ones\n"
        "here = Path(__file__).parent\n"
        "study = probe.Study(here / 'weights.safetensors', here / 'inputs.npy', {'ones': ones})\n"
    )
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    words = ["report", str(tmp_path / "mine.py"), "-o", str(tmp_path / "report"), "--quiet"]
    assert main.run(words) == 0
    page = tmp_path / "report" / "index.html"
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == f"{page} {page.stat().st_size} bytes"
    found = {file.parent.name: Finding.read(file.parent) for file in tmp_path.glob("report/findings/*/finding.json")}
    assert [line for line in said if line.startswith("reading-ones: ")] == [found["reading-ones"].lines()[0]]
    # Once more: nothing is measured, and the figures are written for papers too.
    assert main.run([*words, "--figures", str(tmp_path / "figures")]) == 0
    said = capsys.readouterr().out.splitlines()
    wanted = {
        tmp_path / "figures" / name / f"{figure.name}.{form}"
        for name, finding in found.items()
        for figure in finding.figures
        for form in ("svg", "pdf", "png")
    }
    assert set(tmp_path.glob("figures/*/*")) == wanted
    assert {line.strip() for line in said} >= {str(path) for path in wanted}


def test_a_first_study_file_says_what_is_in_the_checkpoint_and_runs_once_filled_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks, sizes and possible heads stand in it; with inputs and a concept beside it, it is a study."""
    monkeypatch.chdir(tmp_path)
    _ = written(tmp_path)
    (tmp_path / "study.toml").unlink()
    assert main.run(["new-study", "weights.safetensors"]) == 0
    assert capsys.readouterr().out == f"study.toml {os.path.getsize('study.toml')} bytes\n"
    text = Path("study.toml").read_text()
    assert "[0]: LSTM, 1 input, 6 units" in text
    assert '# weight = "head.weight"   # could be: (score, unit) = (9, 6)' in text
    assert tomllib.loads(text)["network"]["file"] == "weights.safetensors"
    assert main.run(["new-study", "weights.safetensors"]) == 1
    assert "exists" in capsys.readouterr().err
    np.save("concept.npy", np.cumsum(bits()[:, :, 0], axis=1))
    assert main.run(["report", "study.toml", "-o", "report"]) == 0


def test_a_first_study_file_of_several_networks_asks_which(tmp_path: Path) -> None:
    """Both are listed with their layers, and the line to be filled in is no comment."""
    tensors = {f"{name}.{key}": value for name in ("a", "b") for key, value in nn.GRU(2, 3).state_dict().items()}
    save_file({**tensors, "more": torch.zeros(3)}, tmp_path / "two.safetensors")
    assert main.run(["new-study", str(tmp_path / "two.safetensors"), "-o", str(tmp_path / "s.toml")]) == 0
    text = (tmp_path / "s.toml").read_text()
    assert '\nname = "a"   # FILL IN which of them' in text
    assert "b[0]: GRU, 2 inputs, 3 units" in text


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("enc_emb", "dec_emb", "fc_w"), "fc_w"),
        (("aaa", "model.decoder.weight"), "model.decoder.weight"),
        (("a.wte.weight", "b.lookup.weight", "token_embedding", "c.lm_head.weight"), "c.lm_head.weight"),
        (("table", "Output.w"), "Output.w"),
        (("emb_out", "weights"), "weights"),
    ],
)
def test_a_first_study_file_offers_what_sounds_like_a_head_first(
    names: tuple[str, ...], first: str, tmp_path: Path
) -> None:
    """Of arrays whose sizes fit alike, those called like an embedding come last; the file says that it is a guess."""
    tensors = {f"rnn.{key}": value for key, value in nn.GRU(7, 5).state_dict().items()}
    tensors |= {name: torch.zeros(9, 5) for name in names}
    save_file(tensors, tmp_path / "one.safetensors")
    assert main.run(["new-study", str(tmp_path / "one.safetensors"), "-o", str(tmp_path / "s.toml")]) == 0
    text = (tmp_path / "s.toml").read_text()
    assert f'# weight = "{first}"   # could be: (score, unit) = (9, 5)' in text
    # Uncommented, every line that is written as one of TOML is one.
    for line in text.splitlines():
        if re.match(r"# \w+ = ", line):
            assert tomllib.loads(line.removeprefix("# "))
    assert "what fixed = names: a list of lists of 7 numbers" in text
