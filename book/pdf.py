"""The book as one PDF: its built pages in the order of the contents, printed at once by Chromium.

They are put together into one page first, so that a link from one to another leads inside the
file; links to anything else of the book lead to where it is published, or nowhere.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

PLACE = "_static/sign-and-noise.pdf"
ABSENT = (
    "no Chromium: the book is built without its PDF; install it (Debian: apt-get install chromium) "
    "or name one in CHROMIUM"
)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROME_ON_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
HINT = "<!-- as-pdf -->"  # on the first page, where the link goes
LINK = f'<em>On paper</em>: <a href="../{PLACE}">the whole book as one PDF</a>.'

NOT_PRINTED = re.compile(
    r'<script\b.*?</script>|<a class="headerlink".*?</a>| loading="lazy"', re.S
)
# closed, unless it is the code of a cell
FOLDED = re.compile(r"<details(?![^>]*\b(?:hide|open)\b)")
LOOKS = re.compile(r'<link [^>]*rel="stylesheet"[^>]*>')
MATHJAX = re.compile(r"<script>window\.MathJax.*?</script>|<script[^>]*tex-chtml[^>]*></script>")
NOT_READY = "not ready"
# What is wider than the paper is made smaller, once equations are set and pictures read. The title
# tells that this was done before the page was printed.
READY = """
addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  await Promise.all([...document.images].map((image) => image.decode()));
  if (document.querySelector(".math:not(:has(mjx-container))")) return;
  for (const wide of document.querySelectorAll('table, mjx-container[display="true"]')) {
    const room = wide.parentElement.clientWidth;
    if (wide.scrollWidth > room) wide.style.zoom = room / wide.scrollWidth;
  }
  document.title = document.body.dataset.title;
});
"""
MILLISECONDS = 60_000  # of the page's own time, which stands still while it loads and computes
SECONDS = 600


class PrintError(RuntimeError):
    """The pages cannot be printed; the message says why."""


def chromium() -> str | None:
    """The command of an installed Chromium or Chrome, or of the one named in CHROMIUM."""
    installed = filter(None, map(shutil.which, (*CHROMIUM, CHROME_ON_MACOS)))
    return os.environ.get("CHROMIUM") or next(installed, None)


def parts_of(toc: dict) -> dict[str, list[str]]:
    """Caption -> names of the pages of that part, in the order of the table of contents."""
    parts = {"": [Path(toc["root"]).name]}
    for part in toc["parts"]:
        entries = [
            e for chapter in part["chapters"] for e in (chapter, *chapter.get("sections", []))
        ]
        parts[part["caption"]] = [Path(entry["file"]).name for entry in entries]
    return parts


def cover(citation: dict, provenance: str) -> str:
    """The first page, from what CITATION.cff says and the commit that the pages are built from."""
    title, _, about = citation["title"].partition(": ")
    authors = " and ".join(author["name"] for author in citation["authors"])
    lines = (
        f"{about[:1].upper()}{about[1:]}.",
        f"{authors}.",
        f"Version {citation['version']} of {citation['date-released']}. "
        f"{citation['license']} licence.",
    )
    told = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return f"<h1>{html.escape(title)}</h1>{told}<p>{provenance}</p>"


def title_of(page: str) -> str:
    """The title of a built page, as text."""
    match = re.search(r'<h1>(.*?)(?:<a class="headerlink".*?)?</h1>', page, flags=re.S)
    return html.unescape(re.sub(r"<[^>]+>", "", match[1])).strip()


def document(pages: dict[str, str], parts: dict[str, list[str]], cover: str, base: str = "") -> str:
    """One page of HTML: cover, contents, and every page of `parts`.

    `pages` are the built pages by name; `base` is the address that the book is published under.
    """
    anchors = {name: set(re.findall(r'\bid="([^"]+)"', page)) for name, page in pages.items()}
    names = [name for part in parts.values() for name in part]
    head = max((pages[name] for name in names), key=lambda page: len(MATHJAX.findall(page)))
    listed = "".join(
        f"<p>{html.escape(caption)}</p><ul>{''.join(_entry(name, pages) for name in part)}</ul>"
        for caption, part in parts.items()
    )
    lines = [
        '<!doctype html><html lang="en" data-theme="light" data-mode="light">',
        f'<head><meta charset="utf-8"><title>{NOT_READY}</title>',
        *LOOKS.findall(head.partition("</head>")[0]),
        '<link rel="stylesheet" href="../_static/print.css">',
        *MATHJAX.findall(head),
        f"<script>{READY}</script></head>",
        '<body data-title="Sign &amp; Noise"><div class="bd-content paper">',
        '<div class="bd-article-container">',
        f'<article class="bd-article cover">{cover}</article>',
        f'<article class="bd-article contents"><h1>Contents</h1>{listed}</article>',
        *(_article(name, pages[name], anchors, base) for name in names),
        "</div></div></body></html>",
    ]
    return "\n".join(lines)


def _entry(name: str, pages: dict[str, str]) -> str:
    return f'<li><a href="#{name}">{html.escape(title_of(pages[name]))}</a></li>'


def _article(name: str, page: str, anchors: dict[str, set[str]], base: str) -> str:
    """The text of a page, its anchors and its links made those of the whole document."""

    def whole(link: re.Match) -> str:
        place, _, anchor = link[2].partition("#")
        stem = Path(place).stem
        if re.match(r"\w+:", place):
            return link[0]
        if place.endswith(".html") and stem in anchors:
            inside = f"{stem}--{anchor}" if anchor in anchors[stem] else stem
            return f'{link[1]} href="#{inside}"'
        return f'{link[1]} href="{base.rstrip("/")}/book/{link[2]}"' if base else link[1]

    text = re.search(r'<article class="bd-article">.*?</article>', page, flags=re.S)[0]
    text = FOLDED.sub("<details open", NOT_PRINTED.sub("", text))
    text = re.sub(r'\b(?:id|for|aria-labelledby)="|href="#|url\(#', rf"\g<0>{name}--", text)
    text = re.sub(r'(<a\b[^>]*?) href="([^"#][^"]*)"', whole, text)
    return text.replace("<article ", f'<article id="{name}" ', 1)


def put_on_paper(source: Path, target: Path, browser: str) -> None:
    """Print the page `source` to `target`."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={profile}", "--no-pdf-header-footer"),
            *(f"--virtual-time-budget={MILLISECONDS}", f"--print-to-pdf={target}"),
            source.as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PrintError(f"Chromium did not print the book: {error}") from None
    if done.returncode or not target.is_file():
        raise PrintError(f"Chromium did not print the book:\n{done.stderr.strip()[-1000:]}")


def bookmarked(printed: Path, target: Path, parts: dict[str, list[str]], titles: dict) -> None:
    """Write a printed document to `target` with a bookmark for each part and page."""
    from pypdf import PdfReader, PdfWriter

    reader = PdfReader(printed)
    if reader.metadata.title == NOT_READY:
        raise PrintError("Chromium printed the book without its equations or without a picture.")
    anchors = reader.named_destinations  # the contents lead to every page
    places = {name: reader.get_destination_page_number(anchors[f"/{name}"]) for name in titles}
    writer = PdfWriter(printed, incremental=True)  # what was printed stays as it is
    for caption, names in parts.items():
        part = None
        if caption:
            part = writer.add_outline_item(title=caption, page_number=places[names[0]])
        for name in names:
            writer.add_outline_item(title=titles[name], page_number=places[name], parent=part)
    writer.page_mode = "/UseOutlines"
    writer.write(target)


def write(folder: Path, toc: dict, cover: str, browser: str) -> Path:
    """Print the built book in `folder`, and link the PDF on its first page; returns its path."""
    parts = parts_of(toc)
    names = [name for part in parts.values() for name in part]
    pages = {name: (folder / "book" / f"{name}.html").read_text(encoding="utf8") for name in names}
    target = folder / PLACE
    source = folder / "book" / "as-pdf.html"  # beside the pages: it has their pictures
    base = os.environ.get("SIGN_NOISE_ADDRESS", "")
    with tempfile.TemporaryDirectory() as work:
        printed = Path(work) / "book.pdf"
        try:
            source.write_text(document(pages, parts, cover, base), encoding="utf8")
            put_on_paper(source, printed, browser)
        finally:
            source.unlink(missing_ok=True)
        bookmarked(printed, target, parts, {name: title_of(pages[name]) for name in names})
    first = folder / "book" / f"{names[0]}.html"
    first.write_text(pages[names[0]].replace(HINT, LINK), encoding="utf8")
    return target
