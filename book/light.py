"""Make the built pages light: icons and equations are loaded where a page has them.

The theme brings all icons of Font Awesome twice, as a script and as a font, and MathJax on every
page. What is taken out here no page misses.
"""

from __future__ import annotations

import re
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

ICON = re.compile(r"\bfa-[a-z][a-z0-9-]*")
# a rule of the theme that says which letter of the font an icon is
LETTER = re.compile(r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"(\\?[^"]*)"\}')
# where a style sheet spells a letter: as content, or in a variable
SPELT = re.compile(r'(?:content|--pst-icon-[\w-]+):\s*"(\\?[^"]*)"')
FONTS = ("fa-solid-900", "fa-regular-400", "fa-brands-400")
SCRIPT = re.compile(r"<script[^>]*></script>\s*")
# the theme's fold in the contents has a picture and no name
NAMELESS = '<summary><span class="toctree-toggle"'
NAMED = '<summary aria-label="Pages below this one"><span class="toctree-toggle"'
# what it calls a list of references has no items that are a list's
LISTED, UNLISTED = '<div role="list" class="citation-list">', '<div class="citation-list">'


def lighten(html: Path) -> None:
    """Rewrite the pages, the style sheets and the fonts below `html`."""
    pages = {path: path.read_text(encoding="utf8") for path in html.rglob("*.html")}
    used = {icon for text in pages.values() for icon in ICON.findall(text)}
    letters = _keep_icons(html, used)
    _keep_letters(html / "_static" / "vendor" / "fontawesome" / "webfonts", letters)
    for path, text in pages.items():
        path.write_text(_page(text), encoding="utf8")
    for heavy in (html / "_static" / "scripts" / "fontawesome.js", *html.rglob("*.map")):
        heavy.unlink(missing_ok=True)


def _page(text: str) -> str:
    """A page without the scripts that it has no use for, and with a name for every fold."""
    has_formulae = 'class="math' in text

    def kept(script: re.Match) -> str:
        useless = "fontawesome.js" in script[0] or ("mathjax" in script[0] and not has_formulae)
        return "" if useless else script[0]

    return SCRIPT.sub(kept, text).replace(NAMELESS, NAMED).replace(LISTED, UNLISTED)


def _keep_icons(html: Path, used: set[str]) -> set[str]:
    """Leave in the style sheets the rules of icons that some page uses.

    Returns the letters of the font that the sheets still name.
    """
    letters: set[str] = set()
    for sheet in html.rglob("*.css"):
        text = sheet.read_text(encoding="utf8")
        shorter = LETTER.sub(lambda rule: rule[0] if _icons(rule) & used else "", text)
        if shorter != text:
            sheet.write_text(shorter, encoding="utf8")
        # the theme's own rules name letters, too: the mark of a list, the arrow of a fold, and in
        # variables those of the boxes' titles
        letters |= {_letter(code) for code in SPELT.findall(shorter)}
    return letters - {""}


def _icons(rule: re.Match) -> set[str]:
    return {name.lstrip(".").split(":")[0] for name in rule[1].split(",")}


def _letter(code: str) -> str:
    """The character behind a `content` of CSS, or "" where it is no single one."""
    if re.fullmatch(r"\\[0-9a-fA-F]{1,6}", code):
        return chr(int(code[1:], 16))
    return code if len(code) == 1 else ""


def _keep_letters(folder: Path, letters: set[str]) -> None:
    """Cut the icon fonts down to these letters; the copies for browsers of 2012 go."""
    for name in FONTS:
        source = folder / f"{name}.ttf"
        if not source.is_file():
            continue
        font = TTFont(source)
        options = subset.Options(flavor="woff", notdef_outline=True, glyph_names=False)
        cut = subset.Subsetter(options)
        cut.populate(unicodes=[ord(letter) for letter in letters])
        cut.subset(font)
        font.flavor = "woff"
        font.save(folder / f"{name}.woff")
        for old in (source, folder / f"{name}.woff2"):
            old.unlink(missing_ok=True)
    for sheet in folder.parents[2].rglob("*.css"):
        text = sheet.read_text(encoding="utf8")
        sources = re.compile(r"src:url\(([^)]*/fa-[a-z]+-\d+)\.woff2\)[^;}]*")
        shorter = sources.sub(r'src:url(\1.woff) format("woff")', text)
        if shorter != text:
            sheet.write_text(shorter, encoding="utf8")
