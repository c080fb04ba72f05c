"""The built book: nothing missing, nothing remote, and nothing that a browser complains about."""

from __future__ import annotations

import csv
import functools
import http.server
import math
import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from book import build, parts
from notebooks import run
from tests.book.conftest import Quiet

REMOTE = re.compile(r"(?i)^(?:https?:)?//")
WORD = "allegiance"

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """The anchors, links and loaded resources of one built page."""

    def __init__(self, path: Path):
        super().__init__()
        self.anchors, self.links, self.resources = set(), set(), set()
        self.silent, self.prose, self.described = [], [], []
        self.feed(path.read_text(encoding="utf8"))

    def handle_starttag(self, tag, pairs):
        given = dict(pairs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        elif tag == "link":
            self.resources.add(given["href"])
        elif given.get("src"):
            self.resources.add(given["src"])
        if tag == "img" and "_images/" in given.get("src", ""):
            self.described.append(given.get("alt", ""))
        if tag == "svg" and given.get("role") == "img":
            self.described.append(given.get("aria-label", ""))
        if tag == "img" and not given.get("alt"):
            self.silent.append(given.get("src"))
        if tag == "svg" and given.get("role") == "img" and not given.get("aria-label"):
            self.silent.append("a drawing")

    handle_startendtag = handle_starttag

    def handle_data(self, data):
        self.prose.append(data)


def has_appendix(name: str) -> bool:
    """Is this page a chapter of the published book that carries its values on a page of its own?"""
    path = build.ROOT / "book" / f"{name}.ipynb"
    return path.exists() and '"# All values' in path.read_text(encoding="utf8")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The published book, built from the committed chapters; a warning of Sphinx is an error."""
    return build.build(None, tmp_path_factory.mktemp("site")).parent


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, Page]:
    return {
        path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts
    }


def test_the_index_leads_to_every_page(site, pages):
    assert (site / "index.html").exists()
    built = {path.stem for path in pages if path.parent.name == "book"}
    stored = {
        path.stem for kind in ("md", "ipynb") for path in (build.ROOT / "book").glob(f"*.{kind}")
    }
    appendices = {f"{name}_values" for name in stored if has_appendix(name)}
    assert built == stored | appendices
    start = pages[site / "book" / "index.html"]
    linked = {Path(urlsplit(link).path).stem for link in start.links if not REMOTE.match(link)}
    assert built - {"index"} <= linked


def test_internal_links_and_anchors_resolve(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links | page.resources:
            parts = urlsplit(link)
            if parts.scheme or REMOTE.match(link):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                broken.append(f"{path.name}: {link} is missing")
            elif (
                parts.fragment
                and "=" not in parts.fragment  # a state of the live page
                and target.suffix == ".html"
                and unquote(parts.fragment) not in pages[target].anchors
            ):
                broken.append(f"{path.name}: {link} has no such anchor")
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site, pages):
    remote = [
        f"{path.name}: {resource}"
        for path, page in pages.items()
        for resource in page.resources
        if REMOTE.match(resource)
    ]
    for sheet in site.rglob("*.css"):
        remote += [
            f"{sheet.name}: {found}"
            for found in re.findall(
                r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)\"';]*",
                sheet.read_text(encoding="utf8"),
            )
        ]
    for path in pages:
        remote += [
            f"{path.name}: {found}"
            for found in re.findall(
                r"(?:unpkg|jsdelivr|cdnjs|googleapis|mybinder)[\w./-]*",
                path.read_text(encoding="utf8"),
            )
        ]
    assert not remote


def test_every_picture_has_alt_text(pages):
    assert not {path.name: page.silent for path, page in pages.items() if page.silent}


def test_the_description_of_a_chapters_figure_says_what_it_shows(pages):
    """With a number: the sentence beside the figure, or the chapter's first."""
    figures = {path.stem: page.described for path, page in pages.items() if parts.number(path.stem)}
    assert sum(map(len, figures.values())) > len(run.chapters())
    for name, described in figures.items():
        for text in described:
            assert re.search(r" (Result|The chapter in short): .*\d", text), (name, text)


def test_no_page_shows_the_name_of_an_object(pages):
    for path, page in pages.items():
        text = "".join(page.prose)
        assert not re.search(r"<\w+(\.\w+)+ object( at 0x|>)", text), path.name


def test_figures_and_tables_are_numbered_by_chapter(site, pages):
    """From 1, without a gap, with the chapter's number before the point; elsewhere not at all."""
    for path in pages:
        text = path.read_text(encoding="utf8")
        numbers = re.findall(r'"caption-number">(Fig\.|Table) (\w*?)\.?(\d+) <', text)
        chapter = parts.number(path.stem)
        assert {of for _, of, _ in numbers} <= ({chapter} if chapter else set()), path.name
        for kind in ("Fig.", "Table"):
            places = [int(place) for which, _, place in numbers if which == kind]
            assert places == list(range(1, len(places) + 1)), path.name


def test_a_tables_file_has_the_numbers_of_the_page(site, pages):
    for path, page in pages.items():
        for link in page.links:
            if "/tables/" in link and link.endswith(".csv"):
                file = (path.parent / unquote(link)).resolve()
                head, *rows = csv.reader(file.open(encoding="utf8"))
                assert rows and all(len(row) == len(head) for row in rows), link


def test_every_page_names_the_commit_it_was_built_from(site, pages):
    for path, page in pages.items():
        if path.parent.name == "book":
            assert "Built from" in "".join(page.prose), path.name


MEGABYTES = 1.0  # of a page before its figures; its equations bring 1.2 more where it has any


def test_pages_are_light(site, pages):
    weights = {}
    for path, page in pages.items():
        text = path.read_text(encoding="utf8")
        drawn = re.sub(r"<svg.*?</svg>", "", text, flags=re.S)
        loaded = {(path.parent / unquote(urlsplit(r).path)).resolve() for r in page.resources}
        files = [f for f in loaded if f.suffix in (".js", ".css") and "mathjax" not in f.parts]
        weights[path.stem] = (len(drawn.encode()) + sum(f.stat().st_size for f in files)) / 1e6
        assert ("tex-chtml.js" in text) == ('class="math' in text), path.stem
    heaviest = max(weights, key=weights.get)
    told = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
    print(f"MB of a page before its figures: {told}")
    assert weights[heaviest] <= MEGABYTES


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def address(site):
    """The book, served on this machine."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="session")
def visit(browser, address):
    """Open a page with no network beyond the book, in a browser that one reader uses throughout.

    What the browser complains about is collected in `.complaints`.
    """
    page = browser.new_context(viewport=WIDE, reduced_motion="reduce").new_page()

    def keep_to_the_book(route):
        if route.request.url.startswith(address):
            route.continue_()
        else:
            route.abort()

    def said(message):
        if message.type == "error":
            page.complaints.append(f"console: {message.text}")

    def failed(request):
        # a reader who moves on before an icon has come aborts its request; a file that is
        # missing answers 404
        left = request.url.startswith(address) and "ERR_ABORTED" in (request.failure or "")
        if not left:
            page.complaints.append(f"failed: {request.url}")

    def answered(answer):
        if answer.status >= 400:
            page.complaints.append(f"{answer.status}: {answer.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: page.complaints.append(f"script: {error}"))
    page.on("requestfailed", failed)
    page.on("response", answered)
    page.route("**/*", keep_to_the_book)

    def visit(where: str):
        page.complaints = []
        page.set_viewport_size(WIDE)
        page.emulate_media(color_scheme="light")
        page.goto(address + where, wait_until="load")
        return page

    yield visit
    page.context.close()


def settled(page):
    """Wait until equations are typeset, and pictures decoded and drawn."""
    page.evaluate(
        "window.MathJax && MathJax.startup ? MathJax.startup.promise.then(() => true) : true"
    )
    page.evaluate(
        "Promise.all([...document.images].map("
        "i => { i.loading = 'eager'; return i.decode().catch(() => null); }"
        ")).then(() => true)"
    )
    page.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
    )
    return page


LOOK = """() => ({
  broken: [...document.images]
    .filter(i => i.getClientRects().length && !i.naturalWidth).map(i => i.src),
  untypeset: [...document.querySelectorAll('.bd-article .math')]
    .filter(m => !m.querySelector('mjx-container')).map(m => m.textContent.slice(0, 60)),
  unrendered: [...document.querySelectorAll('.bd-article p')]
    .filter(p => /\\|:?[-—]+:?\\|/.test(p.textContent)).map(p => p.textContent.slice(0, 60)),
  wrong: [...document.querySelectorAll('mjx-merror')].map(m => m.textContent.slice(0, 60)),
  sideways: Math.max(
    0, document.documentElement.scrollWidth - document.documentElement.clientWidth - 2),
  cut: [...document.querySelectorAll(
      '.bd-article :is(caption, table.claims td, table:has([id^="score-"]) td)')]
    .filter(c => c.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map(c => c.textContent.slice(0, 60)),
})"""
# code that a reader sees without unfolding it, and sees cut
CODE = """() => [...document.querySelectorAll('.bd-article .cell_input pre')]
  .filter(c => c.checkVisibility({contentVisibilityAuto: true}) && c.scrollWidth > c.clientWidth)
  .map(c => c.textContent.slice(0, 60))"""
# words outside folded boxes, charts and formulae
SHOWN = """() => {
  const aside = 'script, style, svg, .math, details:not([open])';
  const texts = document.createTreeWalker(
    document.querySelector('.bd-article') || document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  while (texts.nextNode()) {
    const inside = texts.currentNode.parentElement;
    if (inside.closest(aside) || !inside.checkVisibility()) continue;
    count += (texts.currentNode.data.match(/[^\\s]*[\\p{L}\\p{N}][^\\s]*/gu) || []).length;
  }
  return count;
}"""
# The letters of a chart are shapes of 100 units, put into groups that say their size in points; in
# a picture they cannot be measured, but are POINTS at least, as the tests of the figures hold.
POINTS, LEGIBLE = 7, 7  # the second in CSS pixels
DRAWINGS = """async () => {
  // two frames: one to lay out, one for the scripts that follow a change of width
  await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  return [...document.querySelectorAll('.drawing')].map(box => {
    const shown = box.firstElementChild, width = shown.getBoundingClientRect().width;
    const own = parseFloat(getComputedStyle(shown).getPropertyValue('--own-width'));
    const written = [...box.querySelectorAll('g:has(> use)')]
      .map(g => /scale\\(([\\d.]+) -\\1\\)/.exec(g.getAttribute('transform'))).filter(Boolean);
    const points = shown.tagName === 'IMG' ? [POINTS] : written.map(found => 100 * found[1]);
    const ink = box.querySelector('[style*="--c262626"]');
    return {
      letters: Math.min(...points) * 96 / 72 * width / own,
      scrolls: box.scrollWidth > box.clientWidth,
      more: box.dataset.more,
      shade: getComputedStyle(box, '::after').backgroundImage,
      ink: ink && getComputedStyle(ink).fill,
    };
  });
}""".replace("POINTS", str(POINTS))
HEIGHT = "document.querySelector('.bd-article')?.getBoundingClientRect().height"
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 900}
# axe-core spends its time on contrasts. Drawings have tests of their own; of what another theme and
# a narrow screen can change, a table's first rows stand for those that look like them
DRAWN = ".drawing svg"
ALIKE = "tbody tr:nth-child(n + 6):not(:has(.verdict, [style]))"
CHANGING = ["color-contrast", "scrollable-region-focusable"]


def grave(page, excluded: list[str], **options) -> list[str]:
    """What axe-core calls serious or critical on a page."""
    result = page.evaluate(
        "([exclude, options]) => axe.run({exclude}, options)",
        [
            [[part] for part in excluded],
            # without preload it fetches no style sheets of its own
            {"resultTypes": ["violations"], "preload": False, **options},
        ],
    )
    return [
        f"{fault['id']}, {len(fault['nodes'])} times, first {fault['nodes'][0]['html'][:90]}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="session")
def seen(visit, site, pages) -> dict[str, dict]:
    """Page -> what a browser sees of it, opened once: wide and light, then narrow in both themes.

    `index.html` is not among them: that one only leads to book/index.html.
    """
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is absent")
    axe = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf8")
    found = {}
    for path in sorted(set(pages) - {site / "index.html"}):
        where = path.relative_to(site).as_posix()
        page = settled(visit(where))
        page.evaluate(axe)
        views = {"wide": page.evaluate(LOOK) | {"cut code": page.evaluate(CODE)}}
        height, words = page.evaluate(HEIGHT), page.evaluate(SHOWN)
        graves = {"light": grave(page, [DRAWN])}
        page.set_viewport_size(NARROW)
        drawn = {"light": page.evaluate(DRAWINGS)}
        page.emulate_media(color_scheme="dark")
        settled(page).wait_for_timeout(400)  # the theme takes 300 ms to follow a change of width
        views["narrow"], drawn["dark"] = page.evaluate(LOOK), page.evaluate(DRAWINGS)
        shown = page.evaluate("document.documentElement.dataset.theme")
        views["narrow"]["theme"] = "" if shown == "dark" else f"{shown}, not dark"
        graves["dark"] = grave(page, [DRAWN, ALIKE], runOnly=CHANGING)
        found[where] = {
            "views": views,
            "drawn": drawn,
            "height": height,
            "words": words,
            "graves": graves,
            "complaints": page.complaints,
        }
    return found


@pytest.mark.browser
@pytest.mark.parametrize("view", ["wide", "narrow"])
def test_no_page_has_a_fault_that_a_browser_sees(seen, view):
    """Narrow is dark, too: the reader's system says so while the page is open."""
    faults = {}
    for where, of in seen.items():
        faulty = {kind: fault for kind, fault in of["views"][view].items() if fault}
        if of["complaints"]:
            faulty["complaints"] = of["complaints"]
        if faulty:
            faults[where] = faulty
    assert not faults


SCREEN, SCREENS = 800, 12  # pixels of height, and how many of them a chapter may take


@pytest.mark.browser
@pytest.mark.parametrize("name", [name for name in run.chapters() if name[:2].isdigit()])
def test_a_chapter_is_read_on_twelve_screens(seen, name):
    if not has_appendix(name):
        pytest.skip(f"the published {name} is not yet in the form that parts off its values")
    height, words = (seen[f"book/{name}.html"][what] for what in ("height", "words"))
    print(f"{name}: {words} words outside folded boxes, {height / SCREEN:.1f} screens")
    assert words
    assert height <= SCREENS * SCREEN, f"{height / SCREEN:.1f} screens"


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_charts_and_pictures_are_legible_on_a_narrow_screen_and_in_both_themes(seen, theme):
    """Letters are large enough, and what scrolls for it is shaded where more is hidden."""
    drawn = [(where, one) for where, of in seen.items() for one in of["drawn"][theme]]
    assert any(one["scrolls"] for _, one in drawn)
    for where, one in drawn:
        assert LEGIBLE <= one["letters"] < math.inf, (where, one)
        assert one["more"] == ("right" if one["scrolls"] else ""), (where, one)
        assert ("gradient" in one["shade"]) == one["scrolls"], (where, one)
        if one["ink"]:
            light = sum(map(int, re.findall(r"\d+", one["ink"])[:3])) > 3 * 128
            assert light == (theme == "dark"), (where, one["ink"])


@pytest.mark.browser
def test_what_scrolls_is_shaded_where_more_is_hidden_and_a_caption_stays(visit):
    page = visit("book/05_deletion_benchmark.html")
    page.set_viewport_size(NARROW)
    box = page.locator(".drawing[data-more=right]").first
    box.evaluate("box => { box.scrollLeft = 30; }")
    page.locator('.drawing[data-more="left right"]').wait_for()
    page.locator('.drawing[data-more="left right"]').evaluate("box => { box.scrollLeft = 9999; }")
    page.locator(".drawing[data-more=left]").wait_for()
    left = page.locator("table:has(caption)[tabindex]").first.evaluate("""table => {
      const at = () => table.caption.getBoundingClientRect().left, first = at();
      table.scrollLeft = 40;
      return [table.scrollLeft, first - at()];
    }""")
    assert left == [40, 0]


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_screen_reader_and_a_keyboard_find_their_way(seen, theme):
    """axe-core finds nothing serious or critical on any page."""
    found = {where: of["graves"][theme] for where, of in seen.items() if of["graves"][theme]}
    number = sum(map(len, found.values()))
    print(f"{number} serious or critical findings of axe-core on {len(seen)} pages, {theme}")
    assert not found


@pytest.mark.browser
def test_the_index_opens_and_search_leads_to_a_page_with_the_word(visit):
    page = visit("index.html")
    page.wait_for_url("**/book/index.html")
    answers = page.locator(".answers").bounding_box()
    assert answers["y"] + answers["height"] < SCREEN, "the three answers stand on one screen"
    page.keyboard.press("Control+k")
    page.keyboard.type(WORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    result = page.locator("#search-results li a").first
    result.wait_for()
    result.click()
    page.wait_for_url("**/book/*.html*")
    assert WORD in page.locator(".bd-article").inner_text().lower()
    assert not page.complaints


@pytest.mark.browser
def test_the_book_can_be_read_from_disk(browser, site):
    page = browser.new_page(viewport=NARROW, color_scheme="dark")
    page.goto(f"{site.as_uri()}/search.html?q={WORD}")
    page.locator("#search-results li a").first.wait_for()
    page.goto((site / "book" / "index.html").as_uri())
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert not page.evaluate(LOOK)["sideways"]
    page.close()
