"""One colour, one meaning: the table of all colours of figures and pages, and what has none."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import ProbeError, unknown

#: What has no colour of its own: ink is drawn in the colour of the page's text, grey stands behind the data, and the
#: middle of cells is paper.
INK, GREY, PAPER = "black", "#808080", "#ffffff"

#: The meanings that are scales, from their first end to their last.
STEP, VALUE = "step: first to last", "value: low to high; on cells below 0 to above 0, over white"
#: What a colour means in a figure: one colour, or those of a scale from its first end to its last. Each has a
#: contrast of at least 3:1 on white and on the dark page. Two meanings are at least .07 apart in OKLab, where .02 is
#: just visible.
MEANINGS: Mapping[str, tuple[str, ...]] = {
    "role: trained": ("#3f90da",),
    "role: own initialisation": ("#e76300",),
    "role: planted": ("#009e73",),
    "role: fitted head": ("#c06aa8",),
    "role: ridge head": ("#d6455d",),
    "role: noise head": ("#7f8a1c",),
    "role: scores head": ("#3050f8",),
    "role: scaled head": ("#f840e0",),
    "role: random weights": ("#a96b59",),
    "role: template": ("#339920",),
    VALUE: ("#158294", "#55704f", "#7f6321", "#b67c01"),
    STEP: ("#888dc6", "#8679db", "#8b60e5", "#9a3fdc", "#aa28c7", "#be24a7", "#d30386"),
}

ROLES = tuple(meaning.removeprefix("role: ") for meaning in MEANINGS if meaning.startswith("role: "))

#: What a colour of letters and frames means in a page: its variable in page.css, and the colour on the light and on
#: the dark page.
OF_PAGES: Mapping[str, tuple[str, str, str]] = {
    "verdict: established, or passed": ("good", "#0b6b3a", "#7fdca6"),
    "verdict: refuted, or failed; a wrong answer": ("bad", "#a1261b", "#ffa79c"),
    "verdict: undecided": ("open", "#6d4900", "#f3cf77"),
    "verdict: not specific": ("idle", "#4d5660", "#bcc5ce"),
    "a link, and what you chose": ("link", "#0b57a4", "#86bdf5"),
}


def of_role(role: str) -> str:
    """Return the colour of a role.

    Args:
        role: such as `trained`.

    Raises:
        ProbeError: there is no such role.
    """
    if role not in ROLES:
        raise ProbeError(unknown("role", role, ROLES))
    return MEANINGS[f"role: {role}"][0]


def parts(hexed: str) -> tuple[int, int, int]:
    """Return red, green and blue of a colour, each from 0 to 255.

    Args:
        hexed: the colour as `#rrggbb`.
    """
    return int(hexed[1:3], 16), int(hexed[3:5], 16), int(hexed[5:7], 16)
