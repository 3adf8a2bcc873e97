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
from probe.explorer import Explorer, ExplorerNetwork
from tests.browser.explorers import (
    ATTACK,
    EXAMPLE,
    EXPERIMENTS,
    OTHERS,
    PROGRAMS,
    THIRTEEN,
    ZEROS,
    answer,
    page_of,
    recorded,
    says,
    written,
)
from tests.browser.tools import checked, run
from tests.repo.golden_runs import COMMITTED

PASTED = json.dumps(["json", 0, ATTACK, "", "", ATTACK])
HOSTILE = f"#x={quote(ATTACK)}&signal={quote(ATTACK)}&network=-1&edit={quote(PASTED)}"


def agreement(program: str, said: str, string: str, *places: int) -> list[str]:
    """Return a row of the table of programs: the program, what it says, and whether classes agree with that."""
    chosen = next(one for one in PROGRAMS if one.name == program)
    return [program, said, *("agrees" if abs(chosen(string) - place) <= 0.5 else "differs" for place in places)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of using the counters' explorer."""
    return run("explore.mjs", written(tmp_path_factory.mktemp("page")), COMMITTED, HOSTILE)


def test_the_explorer_violates_nothing_and_is_accessible(found: dict[str, Any]) -> None:
    """Used, linked to, attacked and in a frame: no request, message or violation; axe and Tab pass with an edit."""
    assert (found["requests"], found["console"], found["csp"]) == ([], [], [])
    assert found["axe"] == {"light": [], "dark": [], "narrow": [], "forced": []}
    assert found["walk"]["stops"] > 12
    assert (found["walk"]["unreached"], found["walk"]["unseen"], found["overflow"]) == ([], [], 0)
    attacked = found["attacked"]
    assert 'Step 1 is "<", which is no symbol here.' in attacked["status"]
    assert (attacked["images"], attacked["error"]) == (0, 1)


def test_the_keyboard_alone_types_edits_and_removes(found: dict[str, Any]) -> None:
    """What is typed is run and shown at every step, an edit is set with Tab and keys, and its removal keeps focus."""
    keyboard = found["keyboard"]
    assert says("111011") in keyboard["typed"]
    assert "\N{MULTIPLICATION X} wrong: 5 is right" in keyboard["typed"]
    assert "6 steps lie outside its training, which had sequences of 10." in keyboard["typed"]
    assert keyboard["cell"] == pytest.approx(keyboard["expected"], abs=0.0051)
    assert (keyboard["remove"], keyboard["focus"]) == ("Remove edit 1", "Add an edit")
    assert ("With them:" in keyboard["edited"], "With them:" in keyboard["removed"]) == (True, False)
    assert (keyboard["clamped"][2], keyboard["outlined"]) == (1.5, ["1.50"])
    # A new edit shows what an edit does before the reader sets anything: it takes the memory away half-way.
    forgets = probe.clamp("cell_state", 0.0, steps=[3])
    assert answer("111011", forgets) != answer("111011")
    assert f"With them: {says('111011', forgets)}" in keyboard["added"]
    assert "edit=" in keyboard["hash"]
    assert found["linked"] == keyboard["edited"]


def test_programs_answer_beside_the_network(found: dict[str, Any]) -> None:
    """A row a program: what it says, and in words whether the network agrees, also with edits; step by step."""
    keyboard, said = found["keyboard"], answer("111011")
    edited = answer("111011", probe.clamp("cell_state", 1.5, units=[3], steps=[2]))
    head, *rows = keyboard["programs"]
    assert head == ["program", "says", f"the network says {said}"]
    wanted = [("ones", "5"), ("zeros backwards", "9"), (ATTACK, "7")]
    assert rows[:3] == [agreement(name, answered, "111011", said) for name, answered in wanted]
    assert [row[0] for row in rows][3:] == ["with a drift"]
    head, first, *_ = keyboard["edited_programs"]
    assert head[2:] == [f"the network says {said}", f"with edits it says {edited}"]
    assert first == agreement("ones", "5", "111011", said, edited)
    assert keyboard["after"] == ["1", "2", "3", "3", "4", "5"]


def test_what_the_author_suggests_is_one_key_away(found: dict[str, Any]) -> None:
    """Each button sets the sequence and the edits that Python makes, keeps the focus, and its words are text."""
    longer, held, zeros, mean = found["suggested"]
    assert [one["button"] for one in found["suggested"]] == [one.label for one in EXPERIMENTS]
    assert all(one["focus"] == one["button"] and one["images"] == 0 for one in found["suggested"])
    assert longer["sequence"] == THIRTEEN
    assert f"The network answers: {says(THIRTEEN)}" in longer["status"]
    said = answer(THIRTEEN)
    rows = [agreement("ones", "8", THIRTEEN, said), agreement("zeros backwards", "5", THIRTEEN, said)]
    assert longer["programs"][1:3] == rows
    assert {row[2] for row in longer["programs"][1:]} == {"agrees", "differs"}
    kept = recorded(ZEROS)["cell_state"][0, 6]
    edit = EXPERIMENTS[-1].edits[0].made("lstm[0]", 12, recorded(OTHERS))
    edits = [probe.clamp("forget_gate", 1.0), probe.clamp("cell_state", kept, steps=[6]), edit]
    for one, made in zip((held, zeros, mean), edits, strict=True):
        assert f"With them: {says(EXAMPLE, made)}" in one["status"]
    assert answer(EXAMPLE, edit) != answer(EXAMPLE)
    assert (zeros["second"], zeros["handle"]) == ([], ["true", *ZEROS])
    assert [one["handle"] for one in (longer, held, mean)] == [["false"]] * 3
    assert mean["second"] == [" ".join(OTHERS)]
    scores = recorded([EXAMPLE], edit).output[0].softmax(0)
    assert [row[-1] for row in found["probabilities"]] == pytest.approx(scores.tolist(), abs=0.0051)


def test_the_page_shows_what_pytorch_computes_and_is_fast(found: dict[str, Any]) -> None:
    """The committed runs hold in the browser; a string of ten takes a tenth of 200,000 sums, a key five tables."""
    cell = recorded(["111011"])["cell_state"][0, -1, 3]
    assert found["keyboard"]["expected"][-1] == pytest.approx(float(cell), abs=1e-12)
    assert found["golden"]["runs"] >= 2000
    assert found["golden"]["largest"] <= 1e-12
    assert found["golden"]["answers"] == 0
    assert 0 < found["speed"]["run"] <= 0.1
    assert 0 < found["speed"]["key"] <= 5 < found["speed"]["slow"]


def test_a_sandboxed_frame_runs_it_too(found: dict[str, Any]) -> None:
    """Where no address can be written and nothing copied, typing works and the code is selected to copy by hand."""
    frame = found["frame"]
    assert says("111011") in frame["typed"]
    assert frame["selected"]
    assert frame["code"].startswith("import base64")
    assert says(THIRTEEN) in frame["tried"]


def test_a_page_with_a_table_of_numbers_passes_every_check(tmp_path: Path) -> None:
    """A stack of two layers that reads three features, and the sentence for a network above the limit."""
    torch.manual_seed(0)
    chosen = [ExplorerNetwork("small", nn.LSTM(3, 5, num_layers=2)), ExplorerNetwork("large", nn.LSTM(3, 256))]
    page = page_of(Explorer(chosen, [[0.5, -1.0, 2.0]] * 4)).write(tmp_path / "index.html")
    assert checked(page)["texts"]["example"] > 500
