"""A study of one network asks what it is told to, and what it has not answered yet; another study is refused."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import claims_told
import numpy as np
import pytest
from answering import answer
from many_counters import distance, far
from refusing import refused
from studied import STUDY, bits, keys_of, planted, report_of, study_of, written
from torch import nn

from probe import ProbeError
from probe.evidence import Control, Network, judge, measurement
from probe.evidence.measurements import tabulate
from probe.questions import Question
from probe.questions.interventions import interchange
from probe.questions.readings import why_unread
from probe.studies.answer import allowed
from probe.studies.prepare import prepare
from probe.studies.progress import Progress, shown
from probe.studies.study_file import read_study
from probe.subjects.states import recorded_rows
from probe.subjects.subject import Subject

pytestmark = pytest.mark.usefixtures("undrawn")
BEST = "the best of 2 networks with random weights"


def broken(_: Iterable[Subject]) -> list[dict[str, Any]]:
    """Fail."""
    raise ProbeError("No distance can be taken here.")


def test_only_chosen_questions_are_asked_and_what_fails_is_named(tmp_path: Path) -> None:
    """The card of the network is always there; a file's list of names does the same; a failure stops nothing."""
    failing = Question("broken", "Can it be broken?", broken)
    report = report_of(study_of(planted(), questions=["class-means", failing]), tmp_path / "report")
    assert list(report.findings) == ["broken", "class-means", "network"]
    keys = ["class-means", "explore", "limits", "network", "claims", "not-asked", "words", "networks"]
    assert keys_of(report.page) == keys
    assert report.findings["broken"].notes["missing"] == "Not asked: No distance can be taken here."
    assert len(report.findings["class-means"].measurements)
    assert "No distance can be taken here." in report.page.render()
    path = written(tmp_path, 'questions = ["noise-margin"]\n' + STUDY)
    assert set(report_of(read_study(path), tmp_path / "file").findings) == {"network", "noise-margin"}


def test_a_question_and_a_rule_of_ones_own_are_a_row_beside_the_controls(tmp_path: Path) -> None:
    """The verdict about the recipe is undecided; what the controls allow to say of this network stands beside it."""
    question = Question("distance", "How far?", distance, rules=(far("as far", Control("fitted head", 9.0)),))
    beside = Question("nearness", "How near?", distance)
    report = report_of(study_of(planted(), questions=[question, beside], rules=[far("far")]), tmp_path)
    own, other = (report.findings[name].claims for name in ("distance", "nearness"))
    assert [claim.verdict for claim in (*own, *other)] == ["undecided"] * 3
    assert own[0].differences[0].role == "fitted head"
    assert allowed(tabulate([]), other[0]) == "true of this network; the rule names no control"
    assert "true of this network, and as true of fitted head" in (page := report.page.render())
    assert [row["beyond controls"] for row in claims_told.rows(page)] == ["0 of 1", "", ""]


@pytest.mark.parametrize(
    ("network", "role", "control", "said"),
    [
        (0.4, "fitted head", 0.1, "not true of this network"),
        (0.9, "fitted head", 0.1, "true of this network, more than of fitted head (one network)"),
        (0.9, "fitted head", 0.8, "true of this network, and as true of fitted head"),
        (0.55, "fitted head", 0.45, "true of this network; fitted head is within 0.2 of it, and not in the bound"),
        (0.9, "fitted head", None, "true of this network; not measured of fitted head"),
        (0.9, "null", 0.9, "true of this network, and as true of the rule's null"),
        (0.9, "random weights", (0.1, 0.2), f"true of this network, more than of {BEST}"),
        (0.9, "random weights", (0.1, 0.8), f"true of this network, and as true of {BEST}"),
    ],
)
def test_what_the_controls_allow_to_say(network: float, role: str, control: Any, said: str) -> None:
    """A statement is told of a network by its own value, and by how far it is from each control."""
    beside = () if control is None else np.atleast_1d(control)
    values = [("a", "trained", network), *((f"b{place}", role, value) for place, value in enumerate(beside))]
    rows = ((Network(name, kind, planted(), "0"), value) for name, kind, value in values)
    table = tabulate(measurement("distance", "distance", *row) for row in rows)
    (claim,) = judge(table, [far("far", Control(role, 0.2))])
    assert allowed(table, claim) == said


def test_values_only_where_nothing_is_looked_at_cannot_be_read() -> None:
    """Of many sequences some are drawn; with no value in these there is no state to look at."""
    x, values = bits(2_600), np.zeros((2_600, 8))
    drawn = set(recorded_rows(*prepare(study_of(planted(), inputs=x, concepts={"rare": values}, readout=None))))
    values[:] = np.nan
    values[next(row for row in range(2_600) if row not in drawn)] = 1
    (subject,) = prepare(study_of(planted(), inputs=x, concepts={"rare": values}, readout=None))
    assert "“rare” has a value in 0 sequences" in (why_unread(subject, "rare") or "")


def test_states_that_do_not_differ_are_not_patched() -> None:
    """Without recurrent weights, and with the same input in the middle, all states are the same there."""
    x, model = bits(40), nn.RNN(1, 6, batch_first=True)
    x[:, 4:] = 1
    _ = nn.init.zeros_(model.get_parameter("weight_hh_l0"))
    (subject,) = prepare(study_of(model, inputs=x))
    found = answer(interchange.question(subject), [subject])
    assert "3 steps before the end all sequences have the same state." in found.notes["answer"]
    assert not len(found.measurements)


#: Questions of one network that take little.
FEW = {"inputs": bits(24, 5), "readout": None, "questions": ["gates", "fixed-points"]}


class StoppedError(Exception):
    """Raised by a test instead of a kill."""


def answered(study: object, folder: Path, **more: object) -> dict[str, str]:
    """Run a study and return what was told of each question that was measured."""
    told: list[Progress] = []
    study.run(folder, progress=told.append, **more)  # pyright: ignore[reportAttributeAccessIssue]
    return {one.question: one.state for one in told if one.state in ("answered", "kept")}


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """After a stop, and where half of a file is no answer; the page is that of a run without one."""
    study, report = study_of(planted(), **FEW), tmp_path / "report"

    def stop(progress: Progress) -> None:
        if progress.question == "fixed-points" and progress.state == "started":
            raise StoppedError

    with pytest.raises(StoppedError):
        study.run(report, progress=stop)
    assert not (report / "index.html").exists()
    again = answered(study, report)
    assert (again["gates"], again["fixed-points"]) == ("kept", "answered")
    study.run(tmp_path / "whole")
    assert (report / "index.html").read_bytes() == (tmp_path / "whole" / "index.html").read_bytes()
    (part,) = (report / "measured").rglob("*.csv.xz")
    part.write_bytes(part.read_bytes()[:-9])
    assert answered(study, report)["gates"] == "answered"


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_long_work_says_on_stderr_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a log a line a question, with its time and of 120 letters at most; in a terminal a bar; or nothing."""
    study = study_of(planted(), **FEW)
    study.run(tmp_path)
    out, err = capsys.readouterr()
    lines = [f"{place} of 3 TIME {name}" for place, name in enumerate(("gates", "fixed-points", "network"), 1)]
    lines += [f"3 of 3    writing  {tmp_path}/index.html", f"3 of 3 TIME {tmp_path}/index.html"]
    assert (out, re.sub(r" +\d+\.\d s  ", " TIME ", err).splitlines()) == ("", lines)
    study.run(tmp_path)
    assert capsys.readouterr().err.split()[3:15:5] == ["kept"] * 3
    study.run(tmp_path, progress=None)
    with refused():
        study.run(tmp_path, progress=True)  # pyright: ignore[reportArgumentType]
    assert capsys.readouterr() == ("", "")
    with shown() as tell:
        tell(Progress("a" * 200, 1, 1, "answered", 2.0))
    assert len(capsys.readouterr().err) == 121
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    study.run(tmp_path)
    assert "index.html: written" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_another_study_is_refused_unless_it_may_replace_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence says what differs, and all stays as it was; with overwrite no answer of the first is kept."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    study_of(planted(), **FEW).run(tmp_path)
    before = files()
    for more in ({"seed": 1}, {"inputs": bits(24, 5, seed=1)}, {"title": "Other"}, {"tolerance": 1e-4}):
        with refused():
            study_of(planted(), **FEW | more).run(tmp_path)
    with monkeypatch.context() as patch, refused():
        patch.setattr("probe.studies.identity.__version__", "99.0")
        study_of(planted(), **FEW).run(tmp_path)
    assert files() == before
    # A damaged mark makes no other study of it: the findings say whose it is, and what was measured is kept.
    good = (tmp_path / "study.json").read_bytes()
    (tmp_path / "study.json").write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
    with refused():
        study_of(planted(), **FEW | {"title": "Other"}).run(tmp_path)
    with pytest.warns(UserWarning, match="study.json' is damaged .*We go on with what is whole"):
        assert set(answered(study_of(planted(), **FEW), tmp_path).values()) == {"kept"}
    assert files() == before
    mine = tmp_path / "mine" / "index.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    for folder in (mine.parent, mine):  # what is no report
        with refused():
            study_of(planted(), **FEW).run(folder)
    assert mine.read_text() == "mine"
    other = study_of(planted(), **FEW | {"title": "Other"})
    assert set(answered(other, tmp_path, overwrite=True).values()) == {"answered"}
