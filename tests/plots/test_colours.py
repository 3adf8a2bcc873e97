"""One colour, one meaning: the table, the style sheets, and figures that would break it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from painted import DARK_PAGE, WHITE, contrast, faults, looked_at

import probe
from probe.colours import MEANINGS, OF_PAGES, ROLES, STEP, VALUE, of_role, parts
from probe.plots import networks
from probe.plots.style import GREY, INK, ROLE_STYLE, STEPS, VALUES, RoleStyle, colours, name_colours, new_figure

FOLDER = Path(probe.__file__).parent
#: The distance of two colours in OKLab that is kept between two meanings; .02 is just visible.
APART = 0.07
#: The colours of each meaning that are compared; of a scale many, as far as it is used for lines and marks.
SHOWN = {name: list(own) for name, own in MEANINGS.items()} | {
    STEP: colours(24, STEPS),
    VALUE: colours(24, VALUES),
    "grey": [GREY],
}
_LMS = (
    [0.41222147, 0.53633254, 0.05144599],
    [0.2119035, 0.68069955, 0.10739696],
    [0.08830246, 0.28171884, 0.6299787],
)
_LAB = (
    [0.21045426, 0.79361779, -0.00407205],
    [1.9779985, -2.42859221, 0.45059371],
    [0.02590404, 0.78277177, -0.80867577],
)


def oklab(colour: str) -> np.ndarray:
    """Return a colour in OKLab, in which equal distances look alike (Ottosson 2020)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.array(_LAB) @ np.cbrt(np.array(_LMS) @ linear)


def distance(one: str, other: str) -> float:
    """Return how far two colours lie apart in OKLab; black and white are 1 apart."""
    return float(np.linalg.norm(oklab(one) - oklab(other)))


def test_every_colour_is_seen_on_both_pages_and_no_two_meanings_look_alike() -> None:
    """3:1, on white and on the dark page; the distances are those of OKLab."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert distance("#000000", "#ffffff") == pytest.approx(1, abs=1e-4)
    assert oklab("#ff0000") == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)
    every = [colour for own in SHOWN.values() for colour in own]
    assert min(contrast(*both) for both in itertools.product(every, (WHITE, DARK_PAGE))) >= 3
    near = {
        (one, other): found
        for one, other in itertools.combinations(SHOWN, 2)
        if (found := min(itertools.starmap(distance, itertools.product(SHOWN[one], SHOWN[other])))) < APART
    }
    assert near == {}


@pytest.mark.parametrize("count", [2, 8, 20, 32])
def test_names_have_hues_that_are_seen_on_both_pages(count: int) -> None:
    """3:1 on white and on the dark page, as light as each other, so that none looks like more than another."""
    found = name_colours(count)
    assert len(set(found)) == count
    assert min(contrast(*both) for both in itertools.product(found, (WHITE, DARK_PAGE))) >= 3
    assert np.ptp([oklab(colour)[0] for colour in found]) < 0.1


def test_the_letters_of_pages_have_colours_of_their_own() -> None:
    """4.5:1 on their page; no verdict has the colour of another one, or of something that a figure shows."""
    every = [colour for own in MEANINGS.values() for colour in own]
    for place, page in ((1, WHITE), (2, DARK_PAGE)):
        letters = [own[place] for own in OF_PAGES.values()]
        assert min(itertools.starmap(distance, itertools.combinations(letters, 2))) >= APART
        assert min(itertools.starmap(distance, itertools.product(letters, every))) >= APART
        assert min(contrast(colour, page) for colour in letters) >= 4.5


def test_the_style_sheets_have_the_colours_of_the_table_and_greys() -> None:
    """Verdicts and links on both pages; roles, and numbers below and above 0, in the explorer; all else is grey."""
    page = (FOLDER / "report/templates/page.css").read_text(encoding="utf-8")
    for variable, *wanted in OF_PAGES.values():
        assert re.findall(rf"--{variable}: (#[0-9a-f]{{6}});", page) == wanted
    explorer = (FOLDER / "explorer/templates/explorer.css").read_text(encoding="utf-8")
    assert re.findall(r"\.([a-z-]+) { --role: (#[0-9a-f]{6}); }", explorer) == [
        (role.replace(" ", "-"), of_role(role)) for role in ROLES
    ]
    shaded = re.findall(r"\.([pn])\d { background: rgb\((\d+) (\d+) (\d+) /", explorer)
    low, *_, high = (tuple(map(str, parts(colour))) for colour in MEANINGS[VALUE])
    assert ({name: tuple(own) for name, *own in shaded}, len(shaded)) == ({"p": high, "n": low}, 8)
    listed = {colour for _, *own in OF_PAGES.values() for colour in own} | {of_role(role) for role in ROLES}
    listed |= {*MEANINGS[VALUE]}
    behind = r"--(?:good|bad|open|idle)-back: #[0-9a-f]{6}"
    for sheet in FOLDER.rglob("*.css"):
        text = re.sub(behind, "", sheet.read_text(encoding="utf-8"))
        for colour in set(re.findall(r"#[0-9a-f]{6}\b", text)) - listed:
            assert np.hypot(*oklab(colour)[1:]) < 0.025, f"{sheet.name}: {colour}"


def line(ax: Axes, colour: str, **words: Any) -> Any:
    """Draw a line in a colour."""
    return ax.plot([0, 1], color=colour, **words)[0]


OWN, PLANTED, TRAINED = map(of_role, ("own initialisation", "planted", "trained"))
BROKEN: dict[str, Callable[[Axes], Any]] = {
    "'forget gate' is drawn as 'own initialisation'": lambda ax: line(ax, OWN, label="forget gate"),
    "something is drawn as 'own initialisation', and no word": lambda ax: (line(ax, OWN), ax.set_title("gate")),
    "'trained' is drawn as 'planted'": lambda ax: line(ax, PLANTED, label="trained"),
    "'trained' is drawn as 'ink or grey'": lambda ax: line(ax, INK, label="trained"),
    "the key of 'planted' is drawn as 'trained'": lambda ax: ax.legend(
        [line(ax, PLANTED, label="_"), line(ax, TRAINED, label="_")][1:], ["planted"]
    ),
    "the entry '' of a legend": lambda ax: ax.legend([line(ax, INK)], [""]),
    "the entry 'gone' of a legend": lambda ax: ax.legend([line(ax, INK, linestyle="none")], ["gone"]),
    "is not in the table": lambda ax: ax.bar([0, 1], [1, 2], color="tomato"),
    "AxesImage has the colours 'viridis'": lambda ax: ax.imshow(np.eye(2), cmap="viridis"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_colour_that_says_something_else_is_found(fault: str) -> None:
    """The control arm of the fixture that looks at every figure: a gate in the colour of a role, and others."""
    figure, axes = new_figure()
    BROKEN[fault](axes[0, 0])
    assert any(fault in one for one in faults(figure))


def test_figures_of_the_package_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Around each test; one in the colours of its roles has no fault, one in another colour is found once."""
    figure, axes = new_figure(2)
    for ax, role in zip(axes[0], ("trained", "planted"), strict=True):
        ax.plot([0, 1], **ROLE_STYLE[role].line(), label=role)
        ax.fill_between([0, 1], [0, 1], [1, 2], color=of_role(role), alpha=0.2)
    assert faults(figure) == []
    alone, axes = new_figure()
    line(axes[0, 0], TRAINED)
    assert faults(alone)
    assert faults(alone, ["trained"]) == []
    monkeypatch.setitem(networks.ROLE_STYLE, "trained", RoleStyle(PLANTED, "-", "o"))
    rows = pd.DataFrame({"role": ["trained"], "network": ["net"], "metric": ["m"], "value": [1.0]})
    _ = networks.draw_dots(rows, {"m": "m"})
    assert any("planted" in fault for fault in looked_at())
    assert looked_at() == []
