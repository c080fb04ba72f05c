"""Descriptions, cards and the site map of the built pages."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from book import meta

PAGE = """<html><head><title>Sign &amp; Noise — Sign &amp; Noise</title></head><body>
<h1>RectGrad<a class="headerlink" href="#x">#</a></h1><div><p>Units <em>pass</em> if
\\(a R &gt; \\tau\\) &amp; "so".</p></div></body></html>"""


def test_a_page_says_what_it_is_about():
    told = meta.described(PAGE)
    assert "<title>Sign &amp; Noise</title>" in told
    assert 'property="og:title" content="RectGrad"' in told
    about = "Units pass if a R &gt; \\tau &amp; &quot;so&quot;."
    assert f'name="description" content="{about}"' in told
    assert "og:image" not in told, "a picture needs a whole address"


def test_long_paragraphs_end_at_a_word():
    told = meta.described(PAGE.replace("Units", "word " * 80))
    about = told.split('name="description" content="')[1].split('"')[0]
    assert about.endswith("word …") and len(about) <= meta.LONGEST + 2


@pytest.mark.parametrize("base", ["https://example.org/book", "https://example.org/book/"])
def test_with_an_address_there_are_a_card_and_a_map(tmp_path, base):
    (tmp_path / "book").mkdir()
    for name in ("index", "a b"):
        (tmp_path / "book" / f"{name}.html").write_text(PAGE, encoding="utf8")
    meta.write(tmp_path, base)
    shown = (tmp_path / "book" / "index.html").read_text(encoding="utf8")
    assert f'og:image" content="https://example.org/book/{meta.CARD}"' in shown
    tree = ElementTree.fromstring((tmp_path / "sitemap.xml").read_text())
    assert [place.text for place in tree.iter() if place.tag.endswith("loc")] == [
        "https://example.org/book/book/a%20b.html",
        "https://example.org/book/book/index.html",
    ]


def test_without_an_address_no_map_is_written(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").write_text(PAGE, encoding="utf8")
    meta.write(tmp_path)
    assert not (tmp_path / "sitemap.xml").exists()
