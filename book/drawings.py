"""The charts of built pages: each SVG is taken into its page, so that it can follow the theme.

A page's colours are those of the file. On the dark theme greys are turned around, from ink to
background, and colours too dark to be seen there are lightened; what colour itself says something,
heat maps and pictures, stays as it is. Charts and pictures with words in them scroll where a page
is too narrow for the words to be read.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
INK, PAPER = (238, 238, 238), (18, 18, 18)  # of the dark theme
CONTRAST = 5  # of a colour with the dark paper, at least
FIXED = ("QuadMesh", "image")  # groups whose colours stay
COLOUR = re.compile(r"#[0-9a-f]{6}\b", re.I)
CHART = re.compile(r'<img\b[^>]*?\bsrc="(?P<src>[^"]+\.svg)"[^>]*>')
# a picture as large as it was drawn, in three parts: up to its style, its width, the rest
PICTURE = re.compile(
    r'(<img\b[^>]*?\bsrc="[^"]*_images/[^">]*\.png"[^>]*?\bstyle=")(?=width: (\d+px))([^>]*>)'
)

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def inlined(page: str, folder: Path) -> str:
    """A page of HTML with the drawings of its figures (those under `_images/`) in place of links
    to them. `folder` is the page's own."""
    used: dict[str, str] = {}
    count = 0

    def taken_in(match: re.Match) -> str:
        nonlocal count
        if "_images/" not in match["src"]:
            return match[0]
        count += 1
        alt = re.search(r'\balt="([^"]*)"', match[0])
        drawn = (folder / match["src"]).read_text(encoding="utf8")
        return drawing(drawn, html.unescape(alt[1]) if alt else "", f"chart{count}-", used)

    page = CHART.sub(taken_in, page)
    if used:
        shades = "".join(f"--{name}:{dark};" for name, dark in sorted(used.items()))
        style = f'<style>html[data-theme="dark"]{{{shades}}}</style>'
        page = page.replace("</head>", f"{style}</head>", 1)
    return page


def drawing(drawn: str, alt: str, prefix: str, used: dict[str, str]) -> str:
    """An SVG as a part of a page: described, its ids its own, its colours variables.

    `used` takes the variables, without their dashes, and what they are on the dark theme.
    """
    root = ElementTree.fromstring(drawn)
    for parent in [*root.iter()]:
        for child in [*parent]:
            if child.tag in (f"{{{SVG}}}style", f"{{{SVG}}}metadata"):
                parent.remove(child)
    _colours(root, used)
    _own_ids(root, prefix)
    width = float(root.get("width", "0").removesuffix("pt")) * 96 / 72
    root.attrib.pop("height", None)
    root.set("width", f"{width:.0f}")
    root.set("style", f"--own-width: {width:.0f}px")
    root.set("role", "img")
    root.set("aria-label", alt)
    return _boxed(ElementTree.tostring(root, encoding="unicode"))


def _boxed(shown: str) -> str:
    """A chart or picture in a box in which it scrolls where the page is narrow.

    A box that scrolls can be reached by keyboard.
    """
    return f'<span class="drawing" tabindex="0">{shown}</span>'


def boxed(page: str) -> str:
    """A page whose pictures with a width of their own, made of maps and words, scroll as charts
    do."""
    return PICTURE.sub(lambda match: _boxed(f"{match[1]}--own-width: {match[2]}; {match[3]}"), page)


def _colours(element, used: dict[str, str]) -> None:
    """Colours outside heat maps and pictures as variables, where the dark theme has others."""
    for key in ("style", "fill", "stroke"):
        if key in element.attrib:
            element.set(key, COLOUR.sub(lambda c: _variable(c[0].lower(), used), element.get(key)))
    for child in _turned(element):
        _colours(child, used)


def _turned(element) -> list:
    """The parts of a group whose colours may change: not a heat map, nor what is written or framed
    on its cells."""
    parts = [child for child in element if not child.get("id", "").startswith(FIXED)]
    if not any(child.get("id", "").startswith("QuadMesh") for child in element):
        return parts
    ground = next(child for child in parts if child.get("id", "").startswith("patch"))
    inside = _box(ground)
    around = [
        child
        for child in parts
        if child.get("id", "").startswith("text") and not _within(child, inside)
    ]
    axes = [child for child in parts if child.get("id", "").startswith("matplotlib.axis")]
    return [ground, *axes, *around]


def _box(patch) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a rectangle."""
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", patch.find(f".//{{{SVG}}}path").get("d"))]
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _within(text, box: tuple[float, float, float, float]) -> bool:
    for part in text.iter():
        if moved := re.match(r"translate\(([-\d.]+)[ ,]+([-\d.]+)\)", part.get("transform", "")):
            x, y = float(moved[1]), float(moved[2])
            return box[0] <= x <= box[2] and box[1] <= y <= box[3]
    return False


def _variable(colour: str, used: dict[str, str]) -> str:
    dark = on_dark(colour)
    if dark == colour:
        return colour
    name = f"c{colour[1:]}"
    used[name] = dark
    return f"var(--{name}, {colour})"


def on_dark(colour: str) -> str:
    """What a colour "#rrggbb" becomes on the dark theme: a grey its counterpart between ink and
    paper, another colour itself, or lighter until it can be seen."""
    rgb = tuple(int(colour[k : k + 2], 16) for k in (1, 3, 5))
    if len(set(rgb)) == 1:
        return _hex(_mixed(INK, PAPER, rgb[0] / 255))
    for step in range(21):
        mixed = _mixed(rgb, (255, 255, 255), step / 20)
        if contrast(mixed, PAPER) >= CONTRAST:
            return _hex(mixed)
    raise AssertionError("white can be seen on the dark paper")


def _mixed(first: tuple, second: tuple, share: float) -> tuple:
    return tuple(round(a + share * (b - a)) for a, b in zip(first, second, strict=True))


def _hex(rgb: tuple) -> str:
    return "#" + "".join(f"{c:02x}" for c in rgb)


def contrast(first: tuple, second: tuple) -> float:
    """The contrast of two colours, from 1 to 21, as WCAG defines it."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(rgb: tuple) -> float:
    """Relative luminance of 0 to 255 a channel, as WCAG defines it."""
    shares = [c / 255 for c in rgb]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _own_ids(root, prefix: str) -> None:
    """Give the ids that are referred to a prefix of the drawing's own, and drop the others."""
    text = ElementTree.tostring(root, encoding="unicode")
    wanted = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    for element in root.iter():
        if element.get("id") in wanted:
            element.set("id", prefix + element.get("id"))
        else:
            element.attrib.pop("id", None)
        for key, value in element.attrib.items():
            if key == f"{{{XLINK}}}href" and value.startswith("#"):
                element.set(key, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}"))


def lazy(page: str) -> str:
    """A page whose figures, but for the first, load when they come near the screen."""
    seen = 0

    def waiting(match: re.Match) -> str:
        nonlocal seen
        seen += 1
        return match[0] if seen == 1 else match[0].replace("<img ", '<img loading="lazy" ', 1)

    return re.sub(r'<img (?![^>]*\bloading=)[^>]*\bsrc="[^"]*_images/[^>]*>', waiting, page)
