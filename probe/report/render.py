"""Renders a page to HTML with Jinja2: all text escaped, and a content security policy."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .blocks import LiveBlock, LivePart
from .inline import plain
from .inlining import inline_svg, picture_size

if TYPE_CHECKING:
    from .page import Page

# Control characters are no HTML, and a lone surrogate has no UTF-8; both come in with other people's names.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
DEEPEST_HEADING = 6
#: A picture fills its column, up to so many times its own size. Wider ones scroll sideways on a phone.
LARGEST, PHONE = 1.25, 440
#: Of more sections the contents are a paragraph where the screen has no room beside the text.
MANY_SECTIONS = 9


def clean(text: str) -> str:
    """Return text with everything that HTML and XML forbid replaced by U+FFFD."""
    return _NOT_TEXT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def hash_source(text: str) -> str:
    """Return a `'sha256-...'` source for the Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@dataclass(frozen=True)
class Picture:
    """An inline SVG, and whether it is so wide that it scrolls sideways on a phone."""

    html: Markup
    wide: bool


class Renderer:
    """Renders the blocks of one page, counting figures and tables as it goes."""

    def __init__(self) -> None:
        self.level = 2
        self._counts: Counter[str] = Counter()

    def number(self, what: str) -> int:
        """Return the next number of a kind, from 1."""
        self._counts[what] += 1
        return self._counts[what]

    def block(self, block: object) -> Markup:
        """Return a block as HTML, by the macro that its `kind` names; a live block brings a template of its own."""
        if isinstance(block, LiveBlock | LivePart):
            return Markup(_environment().from_string(block.template).render(block=block, page=self))
        macros = _environment().get_template("blocks.html.j2").module
        return Markup(getattr(macros, getattr(block, "kind"))(block, self))  # noqa: B009 - any block

    def below(self, blocks: tuple[object, ...]) -> Markup:
        """Return blocks whose sections take the next lower heading."""
        self.level = min(self.level + 1, DEEPEST_HEADING)
        try:
            return Markup("\n").join(self.block(block) for block in blocks)
        finally:
            self.level -= 1

    def json(self, text: str) -> Markup:
        """Return JSON as it may stand inside a script element: nothing in it can end that, or begin a comment."""
        for letter in "<>&\u2028\u2029":
            text = text.replace(letter, f"\\u{ord(letter):04x}")
        return Markup(clean(text))

    def picture(self, svg: str, number: int | str, title: str, alt: str) -> Picture:
        """Return a figure's SVG, made safe to stand in the page."""
        name = clean(title or f"Figure {number}")
        html = inline_svg(svg, prefix=f"F{number}-", title=name, alt=clean(alt), scale=LARGEST)
        return Picture(Markup(html), picture_size(svg)[0] > PHONE)

    def thumbnail(self, svg: str) -> Markup:
        """Return an SVG that only decorates, made safe to stand in the page."""
        return Markup(inline_svg(svg, prefix=f"T{self.number('thumbnail')}-"))


def render_page(page: Page) -> str:
    """Return a page as HTML text."""
    style = source_of("page.css") + (_lean(page.live.style) if page.live is not None else "")
    style += source_of("contents.css") if len(page.sections) > MANY_SECTIONS else ""
    style += source_of("steps.css") if page.steps else ""
    style += source_of("sort.css") if page.sorts else ""
    policy = ["default-src 'none'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    policy.append(f"style-src {hash_source(style)}")
    if page.scripts:
        policy.append(f"script-src {' '.join(map(hash_source, page.scripts))}")
    template = _environment().get_template("page.html.j2")
    return (
        template.render(
            value=page,
            description=plain(page.lead),
            page=Renderer(),
            policy="; ".join(policy),
            style=Markup(style),
            # Live blocks bring scripts that end nowhere early, and the hashes pin them.
            scripts=[Markup(script) for script in page.scripts],
        ).rstrip("\n")
        + "\n"
    )


def render_template(name: str, **values: object) -> str:
    """Return what a template of this folder makes of values, each of them escaped."""
    return _environment().get_template(name).render(values).rstrip("\n")


@functools.cache
def source_of(name: str) -> str:
    """Return a style sheet or a script of the templates' folder without what only its readers need."""
    return _lean(resources.files("probe.report").joinpath(f"templates/{name}").read_text(encoding="utf-8"))


def _lean(text: str) -> str:
    """Return a style sheet or a script without comments and indentation."""
    without_comments = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return "\n".join(line.strip() for line in without_comments.splitlines() if line.strip())


@functools.cache
def _environment() -> Environment:
    # `finalize` cleans each value before it is escaped, so that no template can forget to.
    return Environment(
        loader=PackageLoader("probe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
