"""The small explorers in chapters: the live page's numbers, by keyboard, narrow, dark, unloaded."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import nbformat
import pydata_sphinx_theme
import pytest

from book import live, small
from tests.book.test_live import AT_REST, SECONDS, lay_out, shown

THEME = Path(pydata_sphinx_theme.__file__).parent / "theme/pydata_sphinx_theme/static/styles"
browsing = pytest.mark.browser
every = pytest.mark.parametrize("name", small.SMALL)


# ---- where they are put --------------------------------------------------------------------------


@every
@pytest.mark.parametrize("folder", ["notebooks", "book"])
def test_a_chapter_gets_its_explorer_below_its_figure(name, folder):
    notebook = nbformat.read(live.ROOT / folder / f"{name}.ipynb", as_version=4)
    before = list(notebook.cells)
    small.insert(notebook, name)
    (added,) = [cell for cell in notebook.cells if cell not in before]
    above = notebook.cells[notebook.cells.index(added) - 1]
    assert above.metadata["mystnb"]["figure"]["name"] == small.SMALL[name].figure
    ids = re.findall(r'\bid="([^"]+)"', added.source)
    assert len(ids) == len(set(ids))
    assert f'href="live.html#{small.SMALL[name].state}"' in unescape(added.source)


def test_other_chapters_stay_as_they_are():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Other")])
    small.insert(notebook, "06_noise_benchmark")
    assert len(notebook.cells) == 1


def test_a_figure_that_is_gone_is_named():
    with pytest.raises(ValueError, match=r"04_rectgrad has no figure named fig-threshold; name in"):
        small.insert(nbformat.v4.new_notebook(), "04_rectgrad")


# ---- in a browser, opened from disk --------------------------------------------------------------


def chapter(name: str) -> str:
    """A page as a book has it: the theme's colours, and as narrow as an article on a phone."""
    sheet = (THEME / "pydata-sphinx-theme.css").as_uri()
    block = small.block(small.SMALL[name]).split("\n", 1)[1].rsplit("\n", 1)[0]
    return (
        f'<!doctype html><html lang="en" data-theme="light"><meta charset="utf8"><title>{name}'
        f'</title><meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="data:,"><link rel="stylesheet" href="{sheet}">'
        f'<body><main style="padding: 0 1rem"><h1>Try</h1>{block}</main></body></html>'
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = lay_out(tmp_path_factory.mktemp("small")).parent
    for name in small.SMALL:
        (folder / f"{name}.html").write_text(chapter(name), encoding="utf8")
    return folder


@pytest.fixture(scope="module")
def page(browser):
    """One page for all tests; nothing may be complained of."""
    page, complaints = browser.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    yield page
    page.close()
    assert not complaints


# all that is compared is shown: where pixels are deleted the curves come after the maps
SHOWN = f"globalThis.liveShown && (liveShown().withCurves ? liveShown().curves : {AT_REST})"


def settled(page) -> None:
    page.wait_for_function(SHOWN, timeout=1000 * SECONDS)


def opened(page, folder: Path, name: str):
    """The chapter's explorer, begun by keyboard."""
    page.goto((folder / f"{name}.html").as_uri())
    page.locator("#live-start").focus()
    page.keyboard.press("Enter")
    settled(page)
    return page


@browsing
@every
def test_nothing_is_loaded_before_it_is_asked_for(page, folder, name):
    loaded = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto((folder / f"{name}.html").as_uri())
    files = {Path(url).name for url in loaded if "/_static/" in url and "pydata" not in url}
    assert files == {"start.js"} and page.locator("#live").is_hidden()


PICTURE = "input[name=live-picture]:checked"
# control and key, one after the other
STEPS = {
    "01_sign_importance": [
        (PICTURE, "ArrowLeft"),
        ("input[name=live-class]:checked", "ArrowDown"),
    ],
    "04_rectgrad": [(PICTURE, "ArrowRight"), ("#live-q", "PageDown")],
    "05_deletion_benchmark": [
        (PICTURE, "ArrowRight"),
        ("input[name=live-map]:checked", "ArrowLeft"),
        ("#live-fraction", "PageUp"),
        ("input[name=live-fill]:checked", "ArrowRight"),
    ],
}
CHOSEN = ("network", "q", "method", "reduce", "fraction", "fill", "target", "bytes")


@browsing
@every
def test_by_keyboard_it_shows_what_the_live_page_shows(page, folder, name):
    opened(page, folder, name)
    assert page.evaluate("document.activeElement.name") == "live-picture"
    for control, key in STEPS[name]:
        page.locator(control).press(key)
    settled(page)
    here, deletes = shown(page), page.locator("#live-after").count()
    said = page.locator("#live-passing, #live-after-says, #live-classes").all_inner_texts()
    status = page.get_by_role("status").last.inner_text()
    state = page.locator("#live-open").get_attribute("href").partition("#")[2]
    assert state != small.SMALL[name].state
    assert set(here["found"]) == set(
        page.locator("#live-grid").get_attribute("data-methods").split()
    )

    page.get_by_role("link", name="Open in the explorer").click()
    settled(page)
    assert page.url.endswith(f"/live.html#{state}")
    there = shown(page)
    for part in (*CHOSEN, "effect", "probabilities"):
        assert here[part] == there[part], part
    for method, found in here["found"].items():
        assert found == there["found"][method], method
    assert set(said) <= {
        *page.locator("#live-passing, #live-after-says, #live-classes").all_inner_texts()
    }
    if deletes:
        assert here["curves"] == there["curves"]
        assert status == page.get_by_role("status").inner_text()
    else:
        assert status.startswith("Pixels that are not zero")


@browsing
def test_the_curve_is_drawn_as_far_as_pixels_are_deleted(page, folder):
    opened(page, folder, "05_deletion_benchmark")
    beyond = """() => {
      const seen = document.querySelector('#live-curves svg svg');
      return [...seen.querySelectorAll('circle')]
        .filter((point) => point.cx.baseVal.value > seen.width.baseVal.value).length;
    }"""
    assert page.evaluate(beyond) == 8  # of the paper's shares those above 10 %
    assert page.locator("#live-curves > div").count() == 1
    page.locator("#live-fraction").press("End")
    settled(page)
    assert page.evaluate(beyond) == 0


OUTSIDE = """() => {
  const box = document.getElementById('live').getBoundingClientRect();
  const far = [...document.querySelectorAll('#live *')]
    .filter((e) => e.getBoundingClientRect().right > box.right + 2.5).map((e) => e.outerHTML);
  const root = document.documentElement;
  return root.scrollWidth > root.clientWidth ? ['the page', ...far] : far;
}"""


@browsing
@every
def test_it_is_legible_on_a_narrow_screen_and_in_both_themes(page, folder, name):
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is absent")
    opened(page, folder, name)
    for slider in page.locator("#live input[type=range]").all():
        slider.press("Home")  # at q = 0 the counts of units are longest
    settled(page)
    page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf8"))
    for width, theme in ((1280, "light"), (400, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        page.wait_for_timeout(300)  # the theme fades from one to the other
        assert page.evaluate(OUTSIDE) == [], (width, theme)
        found = page.evaluate("axe.run('section', {preload: false})")["violations"]
        serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
        assert not [(f["id"], f["nodes"][0]["html"]) for f in serious], (width, theme)


@browsing
def test_without_javascript_there_is_a_sentence_and_the_link(browser, folder):
    page = browser.new_page(java_script_enabled=False)
    page.goto((folder / "04_rectgrad.html").as_uri())
    assert page.locator("noscript").inner_text().startswith("JavaScript is off")
    assert page.locator("noscript").is_visible()
    assert page.get_by_role("link", name="Open in the explorer").is_visible()
    assert page.locator("#live-start").is_hidden() and page.locator("#live").is_hidden()
    page.close()


@browsing
def test_a_file_that_does_not_load_is_named(browser, folder):
    page = browser.new_page()
    page.route("**/paint.js", lambda route: route.abort())
    page.goto((folder / "04_rectgrad.html").as_uri())
    page.locator("#live-start").click()
    page.get_by_text("paint.js could not be loaded").wait_for()
    page.close()
