"""The live explorer in a real Chromium: by keyboard alone, in a frame, from a link, and under attack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import torch
from torch import nn

import probe
from models.zoo import networks
from probe.explorer import Explorer, ExplorerNetwork
from tests.browser.explorers import (
    ATTACK,
    EXPERIMENTS,
    OTHERS,
    PROGRAMS,
    THIRTEEN,
    ZEROS,
    answer,
    counters,
    page_of,
)
from tests.browser.tools import need, run
from tests.repo.golden_runs import COMMITTED, encoded

PASTED = json.dumps(["json", 0, ATTACK, "", "", ATTACK])
HOSTILE = f"#x={quote(ATTACK)}&signal={quote(ATTACK)}&network=-1&edit={quote(PASTED)}"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    need()


def agreement(program: str, says: str, string: str, *places: int) -> list[str]:
    """Return a row of the table of programs: the program, what it says, and whether classes agree with that."""
    chosen = next(one for one in PROGRAMS if one.name == program)
    words = ["agrees" if abs(chosen(string) - place) <= 0.5 else "differs" for place in places]
    return [program, says, *words]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of using the counters' explorer."""
    path = page_of(counters()).write(tmp_path_factory.mktemp("page") / "index.html")
    return run("explore.mjs", path, COMMITTED, HOSTILE)


def test_the_explorer_asks_says_and_violates_nothing(found: dict[str, Any]) -> None:
    """Used, linked to, attacked and in a frame: no request, no console message, no violation of the policy."""
    assert found["requests"] == []
    assert found["console"] == []
    assert found["csp"] == []


def test_the_keyboard_alone_types_edits_and_removes(found: dict[str, Any]) -> None:
    """What is typed is run and shown at every step, an edit is set with Tab and keys, and its removal keeps focus."""
    keyboard = found["keyboard"]
    assert f"{answer('111011')} (probability" in keyboard["typed"]
    assert "\N{MULTIPLICATION X} wrong: 5 is right" in keyboard["typed"]
    assert "6 steps lie outside its training, which had sequences of 10." in keyboard["typed"]
    assert keyboard["cell"] == pytest.approx(keyboard["expected"], abs=0.0051)
    assert keyboard["remove"] == "Remove edit 1"
    assert "With them:" in keyboard["edited"]
    assert keyboard["clamped"][2] == 1.5
    assert keyboard["outlined"] == ["1.50"]
    assert "With them:" not in keyboard["removed"]
    assert keyboard["focus"] == "Add an edit"


def test_a_new_edit_shows_what_an_edit_does(found: dict[str, Any]) -> None:
    """Before the reader sets anything, it takes the memory away half-way, which changes the answer."""
    forgets = answer("111011", probe.clamp("cell_state", 0.0, steps=[3]))
    assert forgets != answer("111011")
    assert f"With them: {forgets} (probability" in found["keyboard"]["added"]


def test_programs_answer_beside_the_network(found: dict[str, Any]) -> None:
    """A row a program: what it says, and in words whether the network agrees, also with edits; step by step."""
    says = answer("111011")
    edited = answer("111011", probe.clamp("cell_state", 1.5, units=[3], steps=[2]))
    head, *rows = found["keyboard"]["programs"]
    assert head == ["program", "says", f"the network says {says}"]
    assert rows[0] == agreement("ones", "5", "111011", says)
    assert rows[1] == agreement("zeros backwards", "9", "111011", says)
    assert rows[2] == agreement(ATTACK, "7", "111011", says)
    assert [row[0] for row in rows][3:] == ["with a drift"]
    head, first, *_ = found["keyboard"]["edited_programs"]
    assert head[2:] == [f"the network says {says}", f"with edits it says {edited}"]
    assert first == agreement("ones", "5", "111011", says, edited)
    assert found["keyboard"]["after"] == ["1", "2", "3", "3", "4", "5"]


def test_what_the_author_suggests_is_one_key_away(found: dict[str, Any]) -> None:
    """Each button sets the sequence and the edits that Python makes, keeps the focus, and its words are text."""
    model = networks(seeds=[0])[0].model.double()
    source = probe.record(model, encoded(OTHERS, 1), signals=probe.Signal)
    longer, held, zeros, mean = found["suggested"]
    assert [one["button"] for one in found["suggested"]] == [one.label for one in EXPERIMENTS]
    assert all(one["focus"] == one["button"] and one["images"] == 0 for one in found["suggested"])
    assert longer["sequence"] == THIRTEEN
    assert f"The network answers: {answer(THIRTEEN)} (probability" in longer["status"]
    assert longer["programs"][1] == agreement("ones", "8", THIRTEEN, answer(THIRTEEN))
    assert longer["programs"][2] == agreement("zeros backwards", "5", THIRTEEN, answer(THIRTEEN))
    assert {row[2] for row in longer["programs"][1:]} == {"agrees", "differs"}
    clamped = answer("0110101101", probe.clamp("forget_gate", 1.0))
    assert f"With them: {clamped} (probability" in held["status"]
    kept = probe.record(model, encoded(ZEROS, 1))["lstm[0]", "cell_state"][0, 6]
    put = answer("0110101101", probe.clamp("cell_state", kept, steps=[6]))
    assert (zeros["second"], zeros["handle"]) == ([], ["true", *ZEROS])
    assert f"With them: {put} (probability" in zeros["status"]
    assert [one["handle"] for one in (longer, held, mean)] == [["false"]] * 3
    assert mean["second"] == [" ".join(OTHERS)]
    edit = EXPERIMENTS[-1].edits[0].made("lstm[0]", 12, source)
    ablated = answer("0110101101", edit)
    assert ablated != answer("0110101101")
    assert f"With them: {ablated} (probability" in mean["status"]
    scores = probe.record(model, encoded(["0110101101"], 1), edits=[edit]).output[0].softmax(0)
    assert [row[-1] for row in found["probabilities"]] == pytest.approx(scores.tolist(), abs=0.0051)


def test_the_page_shows_what_pytorch_computes(found: dict[str, Any]) -> None:
    """The last number of a row is the module's own, the committed runs hold in the browser, no answer differs."""
    model = networks(seeds=[0])[0].model.double()
    _, (_, c) = model.layer(torch.tensor([[[float(bit)] for bit in "111011"]], dtype=torch.float64))
    assert found["keyboard"]["expected"][-1] == pytest.approx(float(c[0, 0, 3].detach()), abs=1e-12)
    assert found["golden"]["runs"] >= 2000
    assert found["golden"]["largest"] <= 1e-12
    assert found["golden"]["answers"] == 0


def test_a_state_can_be_linked(found: dict[str, Any]) -> None:
    """The address holds the edit, and a page opened from it says the same."""
    assert "edit=" in found["keyboard"]["hash"]
    assert found["linked"] == found["keyboard"]["edited"]


def test_a_hostile_address_is_text(found: dict[str, Any]) -> None:
    """What an address says is shown as words in the sentence on what is wrong, and makes no element."""
    assert 'Step 1 is "<", which is no symbol here.' in found["attacked"]["status"]
    assert found["attacked"]["images"] == 0
    assert found["attacked"]["error"] == 1


def test_an_edited_page_is_accessible_and_fits_a_phone(found: dict[str, Any]) -> None:
    """With an edit open: axe finds nothing in any mode, Tab reaches all, nothing overflows at 375 px."""
    assert found["axe"] == {"light": [], "dark": [], "narrow": [], "forced": []}
    assert found["walk"]["stops"] > 12
    assert (found["walk"]["unreached"], found["walk"]["unseen"]) == ([], [])
    assert found["overflow"] == 0


def test_a_sandboxed_frame_runs_it_too(found: dict[str, Any]) -> None:
    """Where no address can be written and nothing copied, typing works and the code is selected to copy by hand."""
    assert f"{answer('111011')} (probability" in found["frame"]["typed"]
    assert found["frame"]["selected"]
    assert found["frame"]["code"].startswith("import base64")
    assert f"{answer(THIRTEEN)} (probability" in found["frame"]["tried"]


def test_it_is_fast(found: dict[str, Any]) -> None:
    """A string of ten takes a tenth of 200,000 sums at most, and a key five plain tables, on any machine."""
    assert 0 < found["speed"]["run"] <= 0.1
    assert 0 < found["speed"]["key"] <= 5 < found["speed"]["slow"]


def test_a_page_with_a_table_of_numbers_passes_every_check(tmp_path: Path) -> None:
    """A stack of two layers that reads three features, and the sentence for a network above the limit."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small, large = nn.LSTM(3, 5, num_layers=2), nn.LSTM(3, 256)
    explorer = Explorer([ExplorerNetwork("small", small), ExplorerNetwork("large", large)], [[0.5, -1.0, 2.0]] * 4)
    report = run("check_page.mjs", page_of(explorer).write(tmp_path / "index.html"))
    assert report["wrong"] == [], json.dumps(report, indent=1)
    assert report["texts"]["example"] > 500
