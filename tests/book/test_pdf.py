"""The printed book: one file, its bookmarks, and links that lead inside it or to nothing."""

from __future__ import annotations

import re

import pytest
from pypdf import PdfReader

from book import build, pdf

TOC = {
    "root": "book/index",
    "parts": [
        {
            "caption": "Chapters",
            "chapters": [{"file": "book/one", "sections": [{"file": "book/one_values"}]}],
        },
    ],
}
CITATION = {
    "title": "Sign & Noise: two papers",
    "version": "1.0.0",
    "date-released": "2026-11-27",
    "license": "MIT",
    "authors": [{"name": "The authors"}],
}
FRONT = f'See <a href="one.html">one</a> and <a href="one_values.html#t">its table</a>. {pdf.HINT}'
CHAPTER = """<p><a href="index.html#net=1">A state</a>, <a href="../data/t.csv">a file</a>,
<a href="https://example.org/a">elsewhere</a>, <a href="#here">here</a>.</p>
<p id="here"><span class="math">f</span></p><script>alert(1)</script>
<details><summary>More</summary><p>unfolded</p></details>
<details class="admonition hide"><summary>code</summary><p>folded</p></details>
<button>Press</button><svg width="9" height="9"><g id="g"/><use xlink:href="#g"/></svg>"""
VALUES = f"""<table id="t"><tr>{"<td>wide_and_unbroken</td>" * 9}<td>last</td></tr></table>"""


def page(title: str, text: str) -> str:
    """A built page as Sphinx writes it; its equations are set by what stands for MathJax."""
    math = "document.querySelectorAll('.math').forEach(m => m.innerHTML = '<mjx-container>set')"
    later = f"new Promise(done => setTimeout(() => {{ {math}; done(); }}, 3000))"
    return f"""<html><head><link href="../_static/custom.css" rel="stylesheet" />
<script>window.MathJax = {{startup: {{promise: {later}}}}}</script></head>
<body><nav>Side bar</nav><article class="bd-article"><section>
<h1>{title}<a class="headerlink" href="#x">#</a></h1>{text}</section></article></body></html>"""


@pytest.fixture
def folder(tmp_path):
    """A built book of three pages."""
    pages = {
        "index": page("Front", FRONT),
        "one": page("1 · One &amp; <em>only</em>", CHAPTER),
        "one_values": page("A1 · Values", VALUES),
    }
    static = tmp_path / "_static"
    for place in (static, tmp_path / "book"):
        place.mkdir()
    for sheet in ("custom.css", "print.css"):
        (static / sheet).write_bytes((build.ROOT / "book" / "_static" / sheet).read_bytes())
    for name, text in pages.items():
        (tmp_path / "book" / f"{name}.html").write_text(text, encoding="utf8")
    return tmp_path


def read(folder, name: str) -> str:
    return (folder / "book" / f"{name}.html").read_text(encoding="utf8")


def test_pages_follow_the_contents_with_an_appendix_behind_its_chapter():
    assert pdf.parts_of(TOC) == {"": ["index"], "Chapters": ["one", "one_values"]}


def test_links_lead_inside_the_document_or_to_where_the_book_is_published(folder):
    parts = pdf.parts_of(TOC)
    pages = {name: read(folder, name) for name in ("index", "one", "one_values")}
    for base in ("", "https://example.org/book/"):
        text = pdf.document(pages, parts, "<h1>Cover</h1>", base)
        anchors = re.findall(r'\bid="([^"]+)"', text)
        assert len(anchors) == len(set(anchors))
        links = re.findall(r'<a [^>]*?href="([^"]*)"', text)
        assert {link for link in links if link.startswith("#")} <= {f"#{a}" for a in anchors}
        assert {"#one", "#one_values--t", "#index", "#one--here"} <= set(links)
        outside = {link for link in links if not link.startswith("#")}
        csv = {f"{base}book/../data/t.csv"} if base else set()
        assert outside == {"https://example.org/a"} | csv
        assert 'xlink:href="#one--g"' in text and "alert" not in text


def test_without_chromium_one_line_says_so_and_nothing_is_linked(folder, monkeypatch, capsys):
    monkeypatch.setattr(pdf, "chromium", lambda: None)
    before = read(folder, "index")
    build.print_book(folder, build.ROOT / "_toc.yml", build.ROOT)
    assert capsys.readouterr().err.strip() == pdf.ABSENT
    assert read(folder, "index") == before and not (folder / pdf.PLACE).exists()


def test_a_profile_has_no_pdf(capsys):
    with pytest.raises(SystemExit):
        build.main(["--pdf", "--profile", "quick"])
    assert "leave --profile out" in capsys.readouterr().err


@pytest.fixture
def chromium():
    return pdf.chromium() or pytest.skip(pdf.ABSENT)


def left_of(sheet, word: str) -> float:
    """Where a word begins, in points from the left edge of the paper."""
    places = []

    def note(text, page, line, *_):
        if word in text:
            places.append(line[4] * page[0] + page[4])

    sheet.extract_text(visitor_text=note)
    return max(places)


@pytest.mark.browser
@pytest.mark.slow
def test_the_printed_book(folder, chromium):
    """In one printing, for it takes seconds: what is on paper, and what is not."""
    cover = pdf.cover(CITATION, "Built from commit <code>abc</code>.")
    printed = PdfReader(pdf.write(folder, TOC, cover, chromium))
    texts = [sheet.extract_text() for sheet in printed.pages]
    assert len(texts) == 5
    assert "Version 1.0.0 of 2026-11-27" in texts[0] and "commit abc" in texts[0]
    assert all(str(number) in text.split() for number, text in enumerate(texts, 1))
    chapter = " ".join(texts[3].split())
    assert "set" in chapter and "unfolded" in chapter
    for absent in ("Side bar", "Press", "folded code", "#"):
        assert absent not in chapter
    assert "folded" not in chapter.replace("unfolded", "")
    assert left_of(printed.pages[4], "last") <= printed.pages[4].mediabox.width

    def titles(items):
        return [titles(item) if isinstance(item, list) else item.title for item in items]

    assert titles(printed.outline) == ["Front", "Chapters", ["1 · One & only", "A1 · Values"]]
    places = {
        link.get_object()["/A"].get("/URI")
        for sheet in printed.pages
        for link in sheet.get("/Annots", [])
        if "/A" in link.get_object()
    } - {None}
    assert places == {"https://example.org/a"}
    assert pdf.LINK in read(folder, "index") and not (folder / "book" / "as-pdf.html").exists()


@pytest.mark.browser
def test_an_equation_that_is_not_set_stops_the_printing(folder, chromium):
    for path in (folder / "book").glob("*.html"):
        broken = path.read_text(encoding="utf8").replace("m.innerHTML", "m.title")
        path.write_text(broken, encoding="utf8")
    with pytest.raises(pdf.PrintError, match="without its equations"):
        pdf.write(folder, TOC, "<h1>Cover</h1>", chromium)
    assert pdf.HINT in read(folder, "index")
