"""Recolours an SVG for a page: ink and paper follow the theme of the page, colours of data stay.

matplotlib names its groups (`axes_1`, `patch_2`, `QuadMesh_1`, `text_7`), and that tells them apart.
"""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

# Up to this grey a stroke or a letter is ink: an axis in #262626 is invisible on a dark page.
DARKEST_DATA_GREY = 0x40
_MESHES = re.compile(r"(QuadMesh|PolyQuadMesh|TriMesh)_\d+")
_FURNITURE = re.compile(r"(matplotlib\.axis|patch|legend)_\d+")
_HEX = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Backdrop:
    """The rectangle of an axes that holds a picture; text on it keeps its colour."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, x: float, y: float) -> bool:
        """Whether a point lies on the rectangle."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom


@dataclass(frozen=True)
class Place:
    """Where in the figure an element stands."""

    furniture: bool = False
    patch: bool = False
    mesh: bool = False
    backdrop: Backdrop | None = None

    def enter(self, name: str, element: ET.Element) -> Place:
        """Return the place inside an element with this id."""
        if name.startswith("axes_"):
            return Place(backdrop=_backdrop(element))
        if _MESHES.fullmatch(name):
            return dataclasses.replace(self, mesh=True)
        if _FURNITURE.fullmatch(name):
            return dataclasses.replace(self, furniture=True, patch=name.startswith("patch_"))
        return self


def recolour(tag: str, attributes: dict[str, str], place: Place) -> dict[str, str]:
    """Return an element's attributes with ink as `currentColor` and paper as `none`."""
    changed = dict(attributes)
    if place.mesh:
        # matplotlib leaves black unsaid; a black cell is data, so it must not inherit the page's ink.
        if tag in ("path", "use", "rect") and "fill" not in changed:
            changed["fill"] = "#000"
        return changed
    if tag in ("text", "tspan") and place.backdrop is not None and place.backdrop.holds(*_position(changed)):
        changed.setdefault("fill", "#000")
        return changed
    for name in ("fill", "stroke"):
        grey = _grey(changed.get(name, ""))
        if grey is None:
            continue
        limit = DARKEST_DATA_GREY if place.furniture or tag in ("text", "tspan") else 0
        if grey <= limit:
            changed[name] = "currentColor"
        elif grey == 0xFF and place.patch and name == "fill":
            changed[name] = "none"
    return changed


def _grey(colour: str) -> int | None:
    """Return a colour's level if it is a grey, 0 for black, 255 for white."""
    colour = {"black": "#000000", "white": "#ffffff"}.get(colour.strip().lower(), colour.strip())
    match = _HEX.fullmatch(colour)
    if not match:
        return None
    digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
    red, green, blue = (int(digits[index : index + 2], 16) for index in (0, 2, 4))
    return red if red == green == blue else None


def _backdrop(axes: ET.Element) -> Backdrop | None:
    """Return the rectangle of an axes that holds a mesh or an image, from its background patch."""
    # Marks that were turned into pixels are no backdrop; only cells are drawn with hard edges.
    pictured = any(
        _MESHES.fullmatch(element.get("id", "")) or "pixelated" in element.get("style", "") for element in axes.iter()
    )
    if not pictured:
        return None
    for element in axes.iter():
        if str(element.tag).rpartition("}")[2] == "path":
            numbers = [float(number) for number in _NUMBER.findall(element.get("d", ""))]
            across, down = numbers[0::2], numbers[1::2]
            if across and down:
                return Backdrop(min(across), min(down), max(across), max(down))
    return None


def _position(attributes: dict[str, str]) -> tuple[float, float]:
    """Return where a text starts: its x and y, or its translation; far away if it says neither."""
    if "x" in attributes and "y" in attributes and "transform" not in attributes:
        pair = [attributes["x"], attributes["y"]]
    else:
        pair = _NUMBER.findall(attributes.get("transform", ""))
        if attributes.get("transform", "").startswith("rotate"):
            pair = pair[1:]
    try:
        return float(pair[0]), float(pair[1])
    except (IndexError, ValueError):
        return -1e9, -1e9
