"""Pages made light: what is taken out no page misses."""

from __future__ import annotations

import re
from pathlib import Path

import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

from book import light

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
PAGE = """<html><head>
<script defer src="../_static/scripts/fontawesome.js?digest=5"></script>
<script defer="defer" src="../_static/mathjax/tex-chtml.js"></script>
<script src="../_static/doctools.js"></script>
</head><body><i class="fa-solid fa-bars"></i><img src="a.png" alt="a">
<details><summary><span class="toctree-toggle"></span></summary></details>{}</body></html>"""


@pytest.fixture
def html(tmp_path):
    """A built book of two pages with the theme's own style sheet and fonts."""
    for part in ("styles", "scripts", "vendor/fontawesome/webfonts"):
        (tmp_path / "_static" / part).mkdir(parents=True)
    sheet = "styles/pydata-sphinx-theme.css"
    (tmp_path / "_static" / sheet).write_bytes((THEME / sheet).read_bytes())
    (tmp_path / "_static/scripts/fontawesome.js").write_text("heavy")
    for font in (THEME / "vendor/fontawesome/webfonts").glob("*"):
        (tmp_path / "_static/vendor/fontawesome/webfonts" / font.name).write_bytes(
            font.read_bytes()
        )
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "plain.html").write_text(PAGE.format(""))
    (tmp_path / "book" / "formula.html").write_text(
        PAGE.format('<span class="math notranslate">x</span>')
    )
    light.lighten(tmp_path)
    return tmp_path


def test_scripts_that_a_page_has_no_use_for_are_gone(html):
    plain = (html / "book" / "plain.html").read_text()
    formula = (html / "book" / "formula.html").read_text()
    assert "mathjax" not in plain and "mathjax" in formula
    for text in (plain, formula):
        assert "fontawesome" not in text and "doctools.js" in text
        assert '<summary aria-label="Pages below this one">' in text
    assert not (html / "_static/scripts/fontawesome.js").exists()


def test_icons_in_use_stay_and_the_others_go(html):
    sheet = (html / "_static/styles/pydata-sphinx-theme.css").read_text(encoding="utf8")
    font = html / "_static/vendor/fontawesome/webfonts/fa-solid-900.woff"
    letters = TTFont(font).getBestCmap()
    assert 0xF0C9 in letters, "fa-bars is on both pages"
    assert 0xF0F3 in letters, "the bell of a box is named in a variable"
    assert 0xF0F4 not in letters, "a cup of coffee is on none"
    assert ".fa-bars:before" in sheet and ".fa-coffee:before" not in sheet
    assert font.stat().st_size < 20_000 and len(sheet) < 0.85 * _bytes_of_the_theme()


def _bytes_of_the_theme() -> int:
    return (THEME / "styles/pydata-sphinx-theme.css").stat().st_size


def test_every_font_that_a_sheet_names_is_there(html):
    sheet = html / "_static/styles/pydata-sphinx-theme.css"
    named = re.findall(r"url\(([^)]*fa-[^)]*)\)", sheet.read_text(encoding="utf8"))
    assert named and all((sheet.parent / name).is_file() for name in named)
