"""Blocks that show: panels, pictures step by step, pills and cards, and what stands before a page's first words."""

from __future__ import annotations

import re

import pytest

from probe.errors import ProbeError
from probe.report import Card, Cards, Details, Figure, Link, Page, Panels, Pill, Pills, Section, Text, Verdict
from probe.report.blocks import MOST_STEPS
from probe.report.inlining import inline_svg

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><rect width="5" height="5"/></svg>'


def figure(number: int = 1, **changed: object) -> Figure:
    """A figure with an alt text of its own."""
    content: dict[str, object] = {"svg": SVG, "alt": f"{number} square", "caption": "A square.", "title": "Square"}
    return Figure(**(content | changed))  # pyright: ignore[reportArgumentType]


def page(*blocks: object, **changed: object) -> str:
    """A page of one section, as HTML."""
    section = Section("Found", list(blocks), key="found")  # pyright: ignore[reportArgumentType]
    return Page("Title", "Lead.", [section], **changed).render()  # pyright: ignore[reportArgumentType]


def test_panels_are_one_figure_with_a_title_above_each_picture() -> None:
    """They have one number and one caption, and each picture its own alt text."""
    html = page(Panels([figure(1, title="Left"), figure(2, title="Right")], "Both.", "Two"), figure(3))
    assert re.findall(r'<p class="panel">(\w+)</p>', html) == ["Left", "Right"]
    assert html.count("<figcaption>") == 2
    assert "<b>Figure 2.</b>" in html
    assert "<b>Figure 3.</b>" not in html
    assert [alt for alt in ("1 square", "2 square", "3 square") if alt in html] == [
        "1 square",
        "2 square",
        "3 square",
    ]
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_one_panel_is_a_figure_and_two_need_two_alt_texts() -> None:
    """A single picture has a caption of its own; pictures that say the same are refused as in figures."""
    with pytest.raises(ProbeError, match=r"two pictures or more, and 1 were given; use a Figure"):
        Panels([figure()], "One.")
    with pytest.raises(ProbeError, match="the alt text '1 square'"):
        page(Panels([figure(), figure()], "Both."))


def test_what_belongs_to_a_step_gets_its_class_and_nothing_else_does() -> None:
    """The class is the number alone, whatever stands behind it; other ids and classes are dropped."""
    svg = SVG.replace(
        "<rect",
        '<g id="at-3-line"><path d="M0 0"/></g><g id="at-12"><path d="M0 0"/></g><g id="at-x" class="b"/><rect',
    )
    html = inline_svg(svg, prefix="F1-", title="t", alt="1")
    assert re.findall(r'class="([^"]*)"', html) == ["at-3", "at-12"]
    assert "at-3-line" not in html


@pytest.mark.parametrize("number", [-1, MOST_STEPS + 1])
def test_more_steps_than_the_style_sheet_has_are_refused(number: int) -> None:
    """A step without a rule would never be shown."""
    with pytest.raises(ProbeError, match=rf"0 to {MOST_STEPS} steps, and {number} were given"):
        figure(steps=number)


def test_every_step_has_its_rule() -> None:
    """To be chosen, and, after the first one, to appear later when it is played."""
    html = page(figure())
    for step in range(1, MOST_STEPS + 1):
        assert f"input:nth-of-type({step}):checked ~ .picture .at-{step}" in html
        assert step == 1 or re.search(rf"\.at-{step} {{ animation-delay: {0.5 * (step - 1):g}s; }}", html)


def test_a_step_is_chosen_or_played_without_a_script() -> None:
    """One radio button a step, the last one at first; or a box that plays them. Neither runs anything."""
    html = page(figure(steps=3, choose="bits read"))
    assert re.findall(r'type="radio" name="Step1" id="Step1-(\d)"( checked)?', html) == [
        ("1", ""),
        ("2", ""),
        ("3", " checked"),
    ]
    assert "<legend>bits read</legend>" in html
    assert 'type="checkbox"' in page(figure(steps=3))
    assert "<script" not in html
    assert "script-src" not in html


def test_pills_and_cards_link_and_their_links_are_checked() -> None:
    """A number, its verdict and a link; a card's picture only decorates. A link that leads nowhere is refused."""
    pills = Pills([Pill("3", Verdict("refuted"), "#found")], "Claims")
    cards = Cards([Card("More", "more.html", "What is there.", SVG), Card("Less", "less.html", "That.")])
    html = page(pills, cards)
    assert re.search(r'<a href="#found">3</a>.*refuted', html)
    assert '<a href="more.html">' in html
    assert "<p>What is there.</p>" in html
    assert html.count('class="thumbnail" aria-hidden="true"') == 1
    assert 'role="img"' not in html
    with pytest.raises(ProbeError, match="nowhere"):
        page(Pills([Pill("3", Verdict("refuted"), "#nowhere")], "Claims"))
    with pytest.raises(ProbeError, match="javascript"):
        page(Cards([Card("Bad", "javascript:alert(1)", "No.")]))


def test_a_page_may_show_before_it_tells_and_lead_on() -> None:
    """The hero stands between title and lead, its figure is the first; neighbours stand at the end."""
    html = page(
        Details("Folded", [Text("Inside.")]),
        figure(2),
        hero=[figure(1, title="First")],
        neighbours=[Link("Before", "a.html"), Link("Next", "b.html")],
        folds_printed=False,
    )
    order = [html.index(part) for part in ("<h1", "1 square", 'class="lead"', "2 square", 'class="neighbours"')]
    assert order == sorted(order)
    assert html.count('class="lead"') == 1
    assert 'id="Figure1"' in html[: html.index('class="lead"')]
    assert '<body class="brief">' in html
    assert "<body>" in page(figure())
