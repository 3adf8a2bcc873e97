"""Cleans an SVG so that it can stand inside a page, and recolours it: ink and paper follow the theme of the page.

Only allowed elements and attributes stay. A page with a strict Content-Security-Policy ignores `style="..."` and
`<style>`, so that matplotlib's figures turn black; here each declaration becomes a presentation attribute, which no
policy forbids. Black becomes `currentColor` and white backgrounds vanish, so that a figure follows the page into dark
mode; colours of data stay. matplotlib names its groups (`axes_1`, `patch_2`, `QuadMesh_1`, `text_7`), and that tells
them apart.
"""

from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ..errors import ProbeError

# Up to this grey a stroke or a letter is ink: an axis in #262626 is invisible on a dark page.
DARKEST_DATA_GREY = 0x40
_MESHES = re.compile(r"(QuadMesh|PolyQuadMesh|TriMesh)_\d+")
_FURNITURE = re.compile(r"(matplotlib\.axis|patch|legend)_\d+")
_HEX = re.compile(r"#([0-9a-f]{6}|[0-9a-f]{3})", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTS = _words(
    """
    svg g defs symbol use path rect circle ellipse line polyline polygon text tspan image clipPath
    linearGradient radialGradient stop
    """
)


_PAINT = _words(
    """
    fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-dasharray stroke-dashoffset
    stroke-linecap stroke-linejoin stroke-miterlimit opacity clip-path clip-rule color display visibility
    font-size font-weight font-style text-anchor dominant-baseline image-rendering stop-color stop-opacity
    """
)


_GEOMETRY = _words(
    """
    id d x y x1 x2 y1 y2 cx cy r rx ry dx dy width height points transform viewBox preserveAspectRatio
    clipPathUnits gradientUnits gradientTransform offset href
    """
)


_DOCTYPE = re.compile(r'<!DOCTYPE\s+svg\s+PUBLIC\s+"[^"\[\]<>]*"\s+"[^"\[\]<>]*"\s*>')


_REFERENCE = re.compile(r"""url\(\s*["']?#([^"')\s]+)["']?\s*\)""")


_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]+")


_FONT_SIZE = re.compile(r"([\d.]+(?:px|pt|em|%)?)(?:/\S+)?\s")


_STEP = re.compile(r"(at|run)-(\d+)(?:-.*)?")


_LENGTH = re.compile(r"([\d.]+)\s*(pt|px|)")


PIXELS_PER_POINT = 96 / 72


def inline_svg(svg: str, *, prefix: str, title: str = "", alt: str = "", scale: float = 1.0) -> str:
    """Return an SVG rewritten to stand inside an HTML page.

    Args:
        svg: the SVG's text. What has the id `at-K` or `at-K-name` gets the class `at-K`, and `run-K` alike.
        prefix: set before each id. Without it two figures on one page would share clip paths and markers.
        title: the picture's short name.
        alt: what the picture shows; empty where it only decorates.
        scale: how many times its own size it has.

    Returns:
        An `<svg role="img">`, or one that is hidden from screen readers where it only
        decorates, without scripts, styles, event handlers, links or anything fetched.

    Raises:
        ProbeError: the text is no SVG, or it declares entities.
    """
    root = _parse(svg)
    writer = _Rewriter(prefix, _referenced(root))
    out = ET.Element("svg")
    width, height = _size(root)
    out.set("viewBox", root.get("viewBox", f"0 0 {width:g} {height:g}"))
    out.set("width", f"{width * scale:g}")
    out.set("height", f"{height * scale:g}")
    if alt:
        out.set("role", "img")
        out.set("aria-labelledby", f"{prefix}title {prefix}desc")
    else:
        out.set("aria-hidden", "true")
    # Inherited by every mark: matplotlib leaves black unsaid, and says these two in a <style> for `*`.
    out.set("fill", "currentColor")
    out.set("stroke-linejoin", "round")
    if alt:
        ET.SubElement(out, "title", {"id": f"{prefix}title"}).text = title
        ET.SubElement(out, "desc", {"id": f"{prefix}desc"}).text = alt
    writer.children(root, out, Place())
    return ET.tostring(out, encoding="unicode")


def picture_size(svg: str) -> tuple[float, float]:
    """Return the natural width and height of an SVG in CSS pixels."""
    return _size(_parse(svg))


def _parse(svg: str) -> ET.Element:
    # matplotlib writes this one declaration; any other may define entities that grow without bound.
    text = _DOCTYPE.sub("", svg, count=1)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ProbeError("The SVG declares a document type or entities; save it without them.")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise ProbeError(f"The figure is no SVG: {error}. Give the text that figure_to_svg returns.") from error
    if _local(root.tag) != "svg":
        raise ProbeError(f"The figure's outermost element is <{_local(root.tag)[:40]}>; give one <svg>.")
    return root


def _local(name: object) -> str:
    return name.rpartition("}")[2] if isinstance(name, str) else ""


def _size(root: ET.Element) -> tuple[float, float]:
    """Return the natural size in CSS pixels: the SVG's own, else that of its viewBox."""
    sizes = [_LENGTH.fullmatch(root.get(name, "").strip()) for name in ("width", "height")]
    if sizes[0] and sizes[1]:
        width, height = (float(size[1]) * (PIXELS_PER_POINT if size[2] == "pt" else 1) for size in sizes if size)
        return round(width, 1), round(height, 1)
    numbers = re.findall(r"-?[\d.]+", root.get("viewBox", ""))
    if len(numbers) == 4:
        return float(numbers[2]), float(numbers[3])
    raise ProbeError("The SVG has neither width and height nor a viewBox, so its shape is unknown; add one.")


def _referenced(root: ET.Element) -> frozenset[str]:
    """Return the ids that something refers to; the others are dropped, which saves a tenth of a figure."""
    names: set[str] = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            names.update(_REFERENCE.findall(value))
            if _local(key) == "href" and value.startswith("#"):
                names.add(value[1:])
    return frozenset(names)


class _Rewriter:
    """Copies what is allowed from one tree into another."""

    def __init__(self, prefix: str, referenced: frozenset[str]) -> None:
        self._prefix = prefix
        self._referenced = referenced

    def children(self, source: ET.Element, target: ET.Element, place: Place) -> None:
        """Copy the children of an element, and the text between them where it is drawn."""
        drawn = _local(source.tag) in ("text", "tspan")
        if drawn:
            target.text = source.text
        for child in source:
            copy = self._element(child, target, place)
            if drawn and copy is not None:
                copy.tail = child.tail

    def _element(self, source: ET.Element, target: ET.Element, place: Place) -> ET.Element | None:
        tag = _local(source.tag)
        if tag not in _ELEMENTS:
            return None
        inside = place.enter(source.get("id", ""), source)
        attributes = self._attributes(source, tag, inside)
        if tag == "g" and not attributes:
            # Groups without attributes change nothing on screen; matplotlib writes hundreds.
            self.children(source, target, inside)
            return None
        if tag == "image" and "href" not in attributes:
            return None
        copy = ET.SubElement(target, tag, attributes)
        self.children(source, copy, inside)
        if tag in ("g", "defs") and len(copy) == 0:
            target.remove(copy)
            return None
        return copy

    def _attributes(self, source: ET.Element, tag: str, place: Place) -> dict[str, str]:
        found: dict[str, str] = {}
        for key, value in source.attrib.items():
            name = _local(key)
            if name in _GEOMETRY or name in _PAINT:
                found[name] = value
        found.update(_declarations(source.get("style", "")))
        step = _STEP.fullmatch(found.get("id", ""))
        found = {name: kept for name, value in found.items() if (kept := self._value(tag, name, value))}
        if step:
            found["class"] = f"{step[1]}-{step[2]}"
        if tag == "svg":
            found.pop("id", None)
        return recolour(tag, found, place)

    def _value(self, tag: str, name: str, value: str) -> str | None:
        """Return what is kept of an attribute's value, with ids prefixed."""
        if name == "id":
            return self._prefix + value if value in self._referenced else None
        if name == "href":
            return self._href(tag, value)
        if "url(" in value.lower() or "\\" in value:
            reference = _REFERENCE.fullmatch(value.strip())
            return f"url(#{self._prefix}{reference[1]})" if reference else None
        if name == "transform" and value.startswith("rotate(-0 "):
            return None
        return " ".join(value.split()) or None

    def _href(self, tag: str, value: str) -> str | None:
        if tag == "image":
            return re.sub(r"\s+", "", value) if _PNG.fullmatch(value) else None
        return f"#{self._prefix}{value[1:]}" if value.startswith("#") else None


def _declarations(style: str) -> dict[str, str]:
    """Return the declarations of a `style` that have a presentation attribute."""
    found: dict[str, str] = {}
    for declaration in style.split(";"):
        name, _, value = declaration.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "font":
            found.update(_font(value))
        elif name in _PAINT:
            found[name] = value
    return found


def _font(shorthand: str) -> dict[str, str]:
    """Split the `font` shorthand, which is no presentation attribute; the family is the page's own."""
    found: dict[str, str] = {}
    size = _FONT_SIZE.search(shorthand + " ")
    if size is None:
        return found
    found["font-size"] = size[1]
    for word in shorthand[: size.start()].split():
        if word in ("italic", "oblique"):
            found["font-style"] = word
        elif word in ("bold", "bolder", "lighter") or word.isdigit():
            found["font-weight"] = word
    return found


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
