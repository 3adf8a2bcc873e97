"""One colour, one meaning: the table, the style sheets, and figures that would break it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from painted import DARK_PAGE, WHITE, contrast, faults, looked_at, meaning
from refusing import refused

import probe
from probe.colours import MEANINGS, OF_PAGES, ROLES, STEP, VALUE, of_role, parts
from probe.plots import networks
from probe.plots.style import GREY, INK, ROLE_STYLE, SIGNS, STEPS, VALUES, RoleStyle, colours, new_figure

FOLDER = Path(probe.__file__).parent
#: The distance of two colours in OKLab that is kept between two meanings; .02 is just visible.
APART = 0.07
#: The colours of each meaning that are compared; of a scale many, as far as it is used for lines and marks.
SHOWN = {name: list(own) for name, own in MEANINGS.items()} | {
    STEP: colours(24, STEPS),
    VALUE: colours(24, VALUES),
    "grey": [GREY],
}


def oklab(colour: str) -> np.ndarray:
    """Return a colour in OKLab, in which equal distances look alike (Ottosson 2020)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lms = np.array(
        [
            [0.41222147, 0.53633254, 0.05144599],
            [0.2119035, 0.68069955, 0.10739696],
            [0.08830246, 0.28171884, 0.62997870],
        ]
    )
    lab = np.array(
        [
            [0.21045426, 0.79361779, -0.00407205],
            [1.9779985, -2.42859221, 0.45059371],
            [0.02590404, 0.78277177, -0.80867577],
        ]
    )
    return lab @ np.cbrt(lms @ linear)


def distance(one: str, other: str) -> float:
    """Return how far two colours lie apart in OKLab; black and white are 1 apart."""
    return float(np.linalg.norm(oklab(one) - oklab(other)))


def test_black_and_white_are_one_apart() -> None:
    """So the distances are those of OKLab."""
    assert distance("#000000", "#ffffff") == pytest.approx(1, abs=1e-4)
    assert oklab("#ff0000") == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)


@pytest.mark.parametrize("name", SHOWN)
def test_every_colour_is_seen_on_both_pages(name: str) -> None:
    """3:1, on white and on the dark page."""
    for colour in SHOWN[name]:
        assert min(contrast(colour, page) for page in (WHITE, DARK_PAGE)) >= 3


def test_no_two_meanings_look_alike() -> None:
    """Each colour of a meaning, grey among them, lies apart from each colour of every other one."""
    near = {
        (one, other): found
        for one, other in itertools.combinations(SHOWN, 2)
        if (found := min(itertools.starmap(distance, itertools.product(SHOWN[one], SHOWN[other])))) < APART
    }
    assert near == {}


def test_the_letters_of_pages_have_colours_of_their_own() -> None:
    """4.5:1 on their page; no verdict has the colour of another one, or of something that a figure shows."""
    every = [colour for own in MEANINGS.values() for colour in own]
    for place, page in ((1, WHITE), (2, DARK_PAGE)):
        letters = [own[place] for own in OF_PAGES.values()]
        for one, other in itertools.combinations(letters, 2):
            assert distance(one, other) >= APART
        for colour in letters:
            assert contrast(colour, page) >= 4.5
            assert min(distance(colour, other) for other in every) >= APART


def test_the_style_sheets_have_the_colours_of_the_table() -> None:
    """Verdicts and links, on both pages; roles, and numbers below and above 0, in the explorer."""
    page = (FOLDER / "report/templates/page.css").read_text(encoding="utf-8")
    for variable, *wanted in OF_PAGES.values():
        assert re.findall(rf"--{variable}: (#[0-9a-f]{{6}});", page) == wanted
    explorer = (FOLDER / "explorer/templates/explorer.css").read_text(encoding="utf-8")
    assert re.findall(r"\.([a-z-]+) { --role: (#[0-9a-f]{6}); }", explorer) == [
        (role.replace(" ", "-"), of_role(role)) for role in ROLES
    ]
    shaded = re.findall(r"\.([pn])\d { background: rgb\((\d+) (\d+) (\d+) /", explorer)
    low, *_, high = (tuple(map(str, parts(colour))) for colour in MEANINGS[VALUE])
    assert {name: tuple(own) for name, *own in shaded} == {"p": high, "n": low}
    assert len(shaded) == 8


def test_no_other_colour_stands_in_a_style_sheet() -> None:
    """Whatever is no letter of the table is grey, or nearly: paper, ink, lines, and what stands behind a verdict."""
    listed = {colour for _, *own in OF_PAGES.values() for colour in own} | {of_role(role) for role in ROLES}
    listed |= {*MEANINGS[VALUE]}
    behind = r"--(?:good|bad|open|idle)-back: #[0-9a-f]{6}"
    for sheet in FOLDER.rglob("*.css"):
        text = re.sub(behind, "", sheet.read_text(encoding="utf-8"))
        for colour in set(re.findall(r"#[0-9a-f]{6}\b", text)) - listed:
            assert np.hypot(*oklab(colour)[1:]) < 0.025, f"{sheet.name}: {colour}"


def test_an_unknown_role_has_no_colour() -> None:
    """The roles that there are are named."""
    with refused():
        _ = of_role("gate")


@pytest.mark.parametrize(("value", "end"), [(-1.0, 0), (1.0, -1)])
def test_a_sign_has_the_colour_of_low_or_high_values(value: float, end: int) -> None:
    """On cells and as a line alike; 0 is paper."""
    assert to_rgb(MEANINGS[VALUE][end]) == pytest.approx(SIGNS((value + 1) / 2)[:3], abs=1 / 255)
    assert to_rgb(MEANINGS[VALUE][end]) == pytest.approx(VALUES((value + 1) / 2)[:3], abs=1 / 255)
    assert SIGNS(0.5)[:3] == pytest.approx((1, 1, 1), abs=1 / 100)


def test_what_colours_mean() -> None:
    """Roles, scales, and nothing; of others the table has none."""
    assert [meaning(look.color) for look in ROLE_STYLE.values()] == list(ROLES)
    assert (meaning(STEPS(0.37)), meaning(VALUES(0.7))) == (STEP, VALUE)
    assert {meaning(one) for one in (INK, GREY, WHITE, (0, 0, 0, 0.3))} == {""}
    assert meaning("#d1495b") is None


def _gate_as_role(ax: Axes) -> None:
    ax.plot([0, 1], color=of_role("own initialisation"), label="forget gate")


def _panel_of_a_gate(ax: Axes) -> None:
    ax.plot([0, 1], color=of_role("own initialisation"))
    ax.set_title("forget gate")


def _role_as_role(ax: Axes) -> None:
    ax.plot([0, 1], color=of_role("planted"), label="trained")


def _role_in_ink(ax: Axes) -> None:
    ax.plot([0, 1], color=INK, label="trained")


def _key_alone(ax: Axes) -> None:
    ax.plot([0, 1], color=of_role("planted"), label="_")
    (line,) = ax.plot([0, 1], color=of_role("trained"), label="_")
    ax.legend([line], ["planted"])


def _stranger(ax: Axes) -> None:
    ax.bar([0, 1], [1, 2], color="tomato")


def _map(ax: Axes) -> None:
    ax.imshow(np.arange(4.0).reshape(2, 2), cmap="viridis")


BROKEN: dict[Callable[[Axes], None], str] = {
    _gate_as_role: "'forget gate' is drawn as 'own initialisation'",
    _panel_of_a_gate: "something is drawn as 'own initialisation', and no word",
    _role_as_role: "'trained' is drawn as 'planted'",
    _role_in_ink: "'trained' is drawn as 'ink or grey'",
    _key_alone: "the key of 'planted' is drawn as 'trained'",
    _stranger: "is not in the table",
    _map: "AxesImage has the colours 'viridis'",
}


@pytest.mark.parametrize("draw", BROKEN, ids=lambda draw: draw.__name__)
def test_a_colour_that_says_something_else_is_found(draw: Callable[[Axes], None]) -> None:
    """The control arm of the fixture that looks at every figure: a gate in the colour of a role, and others."""
    figure, axes = new_figure()
    draw(axes[0, 0])
    assert any(BROKEN[draw] in fault for fault in faults(figure))


def test_a_figure_of_roles_in_their_colours_has_no_faults() -> None:
    """With or without a legend, by a title, and where all networks are of one role."""
    figure, axes = new_figure(2)
    for ax, role in zip(axes[0], ("trained", "planted"), strict=True):
        ax.plot([0, 1], **ROLE_STYLE[role].line(), label=role)
        ax.fill_between([0, 1], [0, 1], [1, 2], color=of_role(role), alpha=0.2)
        ax.axhline(0, color=INK)
    axes[0, 0].legend()
    assert faults(figure) == []
    alone, axes = new_figure()
    axes[0, 0].plot([0, 1], color=of_role("trained"))
    assert faults(alone)
    assert faults(alone, ["trained"]) == []


def test_figures_of_the_package_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control arm: one that is drawn by a module of the package in another colour is found once."""
    monkeypatch.setitem(networks.ROLE_STYLE, "trained", RoleStyle(of_role("planted"), "-", "o"))
    rows = pd.DataFrame({"role": ["trained"], "network": ["net"], "metric": ["m"], "value": [1.0]})
    _ = networks.draw_dots(rows, {"m": "m"})
    assert any("planted" in fault for fault in looked_at())
    assert looked_at() == []
