"""The live explorer in a real Chromium: by keyboard alone, in a frame, from a link, and under attack."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

import probe
from tests.browser import explorers
from tests.browser.explorers import ATTACK, EXAMPLE, EXPERIMENTS, OTHERS, THIRTEEN, ZEROS, answer, recorded, says
from tests.browser.tools import run
from tests.repo.golden_runs import COMMITTED

PASTED = json.dumps(["json", 0, ATTACK, "", "", ATTACK])
HOSTILE = f"#x={quote(ATTACK)}&signal={quote(ATTACK)}&network=-1&edit={quote(PASTED)}"


def agreement(program: str, said: str, string: str, *places: int) -> list[str]:
    """Return a row of the table of programs: the program, what it says, and whether classes agree with that."""
    chosen = next(one for one in explorers.PROGRAMS if one.name == program)
    return [program, said, *("agrees" if abs(chosen(string) - place) <= 0.5 else "differs" for place in places)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what came of using the counters' explorer."""
    return run("explore.mjs", explorers.written(tmp_path_factory.mktemp("page")), COMMITTED, HOSTILE)


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
    assert "It was trained on ten bits; this string has six." in keyboard["typed"]
    assert keyboard["cell"] == pytest.approx(keyboard["expected"], abs=0.0051)
    assert (keyboard["remove"], keyboard["focus"]) == ("Remove edit 1", "Add an edit")
    assert ("With them:" in keyboard["edited"], "With them:" in keyboard["removed"]) == (True, False)
    assert (keyboard["clamped"][2], keyboard["outlined"]) == (1.5, ["1.50"])
    # A new edit shows what an edit does before the reader sets anything: it takes the memory away half-way.
    forgets = probe.clamp("cell_state", 0.0, steps=[3])
    assert answer("111011", forgets) != answer("111011")
    assert f"With them: {says('111011', forgets)}" in keyboard["added"]
    assert ("edit=" in keyboard["hash"], found["linked"]) == (True, keyboard["edited"])


def test_what_is_shown_is_a_link_that_can_be_copied(found: dict[str, Any]) -> None:
    """By keyboard, with and without a change, and said; where nothing can be copied, it is selected to be."""
    for one, part in ((found["first"], f"#x={EXAMPLE}"), (found["link"], "edit=")):
        assert (one["written"].startswith("file:"), part in one["written"], one["gone"]) == (True, True, 0)
        assert one["copied"] == {"said": "Copied.", "chosen": "", "text": one["written"], "fixed": True}
        assert one["refused"]["said"] == "This browser lets no page copy here: it is selected below."
        assert one["refused"]["chosen"] == one["refused"]["text"] == one["written"]
    assert found["shared"] == found["keyboard"]["edited"]
    # A page in a frame has no address that leads to it.
    assert found["frame"]["links"] == 0


def test_programs_answer_beside_the_network(found: dict[str, Any]) -> None:
    """A row a program: what it says, and in words whether the network agrees, also with edits; step by step."""
    keyboard, said = found["keyboard"], answer("111011")
    edited = answer("111011", probe.clamp("cell_state", 1.5, units=[3], steps=[2]))
    wanted = [("ones", "5"), ("zeros backwards", "9"), (ATTACK, "7")]
    assert keyboard["programs"][:4] == [
        ["program", "says", f"the network says {said}"],
        *(agreement(name, answered, "111011", said) for name, answered in wanted),
    ]
    head, first, *_ = keyboard["edited_programs"]
    assert head[2:] == [f"the network says {said}", f"with edits it says {edited}"]
    assert first == agreement("ones", "5", "111011", said, edited)
    assert keyboard["after"] == ["1", "2", "3", "3", "4", "5"]


def test_what_the_author_suggests_is_one_key_away(found: dict[str, Any]) -> None:
    """Each button sets the sequence and the edits that Python makes, keeps the focus, and its words are text."""
    longer, held, zeros, mean = found["suggested"]
    assert [one["button"] for one in found["suggested"]] == [one.label for one in EXPERIMENTS]
    assert all(one["focus"] == one["button"] and one["images"] == 0 for one in found["suggested"])
    assert (longer["sequence"], f"The network answers: {says(THIRTEEN)}" in longer["status"]) == (THIRTEEN, True)
    assert longer["programs"][1] == agreement("ones", "8", THIRTEEN, answer(THIRTEEN))
    kept = recorded(ZEROS)["cell_state"][0, 6]
    edit = EXPERIMENTS[-1].edits[0].made("lstm[0]", 12, recorded(OTHERS))
    edits = [probe.clamp("forget_gate", 1.0), probe.clamp("cell_state", kept, steps=[6]), edit]
    for one, made in zip((held, zeros, mean), edits, strict=True):
        assert f"With them: {says(EXAMPLE, made)}" in one["status"]
    assert answer(EXAMPLE, edit) != answer(EXAMPLE)
    assert (zeros["second"], zeros["handle"]) == ([], ["true", *ZEROS])
    assert (mean["second"], mean["handle"]) == ([" ".join(OTHERS)], ["false"])
    scores = recorded([EXAMPLE], edit).output[0].softmax(0)
    assert [row[-1] for row in found["probabilities"]] == pytest.approx(scores.tolist(), abs=0.0051)


def test_a_sandboxed_frame_runs_it_too_and_the_page_shows_what_pytorch_computes(found: dict[str, Any]) -> None:
    """The committed runs hold in the browser. Where no address can be written and nothing copied, typing works."""
    cell = recorded(["111011"])["cell_state"][0, -1, 3]
    assert found["keyboard"]["expected"][-1] == pytest.approx(float(cell), abs=1e-12)
    golden, frame = found["golden"], found["frame"]
    assert (golden["runs"] >= 2000, golden["largest"] <= 1e-12, golden["answers"]) == (True, True, 0)
    assert says("111011") in frame["typed"]
    assert (frame["selected"], frame["code"].startswith("import base64")) == (True, True)
    assert says(THIRTEEN) in frame["tried"]
