"""Charts in built pages: within the page, drawn for both themes, their ids their own."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest

from book import drawings
from study import figures
from study.figures import show

SVG = "{http://www.w3.org/2000/svg}"


def chart() -> str:
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 2))
    left.plot([0, 1], [1, 0], color="#000000")
    left.plot([0, 1], [0, 1], color="#882255")
    left.set_title("Lines", color="#262626")
    mesh = right.pcolormesh(np.array([[0, 1], [2, 3]]), cmap="gray")
    right.text(0.5, 0.5, "7", color="#ffffff")
    right.set_title("Cells", color="#262626")
    figure.colorbar(mesh, ax=right)
    drawn = show.svg(figure)
    plt.close(figure)
    return drawn


@pytest.fixture
def page(tmp_path):
    figures.style()
    (tmp_path / "_images").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "_images" / "a.svg").write_text(chart(), encoding="utf8")
    image = '<img alt="One &lt; two &quot;so&quot;" src="../_images/a.svg" />'
    icon = '<img src="../_static/icon.svg" alt="sign" />'
    return tmp_path / "book", f"<head></head><body>{icon}{image}{image}</body>"


def test_each_chart_is_in_the_page_with_its_description_and_ids_of_its_own(page):
    folder, text = page
    built = drawings.inlined(text, folder)
    assert built.count("<svg") == 2 and "_images" not in built and "icon.svg" in built
    assert built.count('aria-label="One &lt; two &quot;so&quot;"') == 2
    ids = re.findall(r'\bid="([^"]+)"', built)
    assert len(set(ids)) == len(ids) > 10
    wanted = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', built)
    assert {a or b for a, b in wanted} == set(ids)
    assert "--own-width: 576px" in built and 'tabindex="0"' in built


def test_the_dark_theme_turns_ink_and_paper_and_keeps_what_colour_says(page):
    folder, text = page
    built = drawings.inlined(text, folder)
    shades = dict(re.findall(r"--c([0-9a-f]{6}):(#[0-9a-f]{6});", built))
    assert shades["ffffff"] == "#121212" and shades["000000"] == "#eeeeee"
    assert set(re.findall(r"var\(--c([0-9a-f]{6}),", built)) == set(shades)
    lightened = tuple(int(shades["882255"][k : k + 2], 16) for k in (1, 3, 5))
    assert drawings.contrast(lightened, drawings.PAPER) >= drawings.CONTRAST
    used = {}
    root = ElementTree.fromstring(
        re.search(r"<svg.*</svg>", drawings.drawing(chart(), "", "", used), re.S)[0]
    )
    # greys of the cells and the digit written on one of them stay, titles turn
    plain = [e.get("style") or "" for e in root.iter() if "var(" not in (e.get("style") or "")]
    assert sum("fill: #ffffff" in style for style in plain) >= 2
    assert any("fill: #555555" in style for style in plain)
    titles = [e for e in root.iter() if "--c262626" in (e.get("style") or "")]
    assert len(titles) >= 2


@pytest.mark.parametrize(
    "colour, dark",
    [
        ("#ffffff", "#121212"),
        ("#000000", "#eeeeee"),
        ("#e69f00", "#e69f00"),
        ("#7f7f7f", "#808080"),
    ],
)
def test_colours_on_the_dark_theme(colour, dark):
    found = drawings.on_dark(colour)
    if colour == "#7f7f7f":  # the middle stays near the middle
        assert abs(int(found[1:3], 16) - int(dark[1:3], 16)) < 4
    else:
        assert found == dark
    assert drawings.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_pictures_below_the_first_wait_until_they_are_near():
    image = '<img alt="a" src="../_images/{}.png" />'
    text = "".join(map(image.format, "abc")) + '<img src="../_static/logo.png" />'
    built = drawings.lazy(text)
    assert [("lazy" in tag) for tag in re.findall("<img[^>]*>", built)] == [
        False,
        True,
        True,
        False,
    ]
    assert drawings.lazy(built) == built


def test_a_picture_with_a_width_of_its_own_scrolls_as_a_chart_does():
    image = '<img alt="a" src="../_images/a.png" style="width: 662px;" />'
    others = '<img src="../_images/b.png" /><img src="../_static/c.png" style="width: 9px;" />'
    assert drawings.boxed(image + others) == (
        '<span class="drawing" tabindex="0"><img alt="a" src="../_images/a.png" '
        f'style="--own-width: 662px; width: 662px;" /></span>{others}'
    )
