"""What search engines and links to a page show: title, description, picture, and the map of it all.

Addresses must be whole for that, so pictures and the site map need the address that the book is
published under (`html.baseurl` of the configuration); without one they are left out.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import quote

CARD = "book/_static/maps.png"
LONGEST = 200  # letters of a description


def described(text: str, base: str = "", place: str = "") -> str:
    """A built page with its description and, if `base` is the address of the book, its card."""
    title = _plain(_first(r"<h1[^>]*>(.*?)</h1>", text)).rstrip("#").strip()
    about = _shortened(_plain(_first(r"</h1>.*?<p>(.*?)</p>", text)))
    tags = [("property", "og:title", title), ("property", "og:type", "website")]
    if about:
        tags += [("name", "description", about), ("property", "og:description", about)]
    if base:
        tags.append(("property", "og:url", _under(base, place)))
        tags.append(("property", "og:image", _under(base, CARD)))
        tags.append(("name", "twitter:card", "summary_large_image"))
    lines = [
        f'<meta {kind}="{name}" content="{html.escape(value, quote=True)}" />'
        for kind, name, value in tags
        if value
    ]
    # the book's own name twice over is no title
    text = re.sub(r"<title>\s*(.+?) — \1\s*</title>", r"<title>\1</title>", text, flags=re.S)
    return text.replace("</head>", "\n".join([*lines, "</head>"]), 1)


def site_map(folder: Path, base: str) -> str:
    """The addresses of all pages, as search engines read them (sitemaps.org)."""
    pages = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("book/*.html"))
    places = "".join(f"<url><loc>{html.escape(_under(base, page))}</loc></url>" for page in pages)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{places}</urlset>\n'
    )


def write(folder: Path, base: str = "") -> None:
    """Describe every page below `folder`; with an address, map them too."""
    for page in folder.glob("book/*.html"):
        place = page.relative_to(folder).as_posix()
        page.write_text(described(page.read_text(encoding="utf8"), base, place), encoding="utf8")
    if base:
        (folder / "sitemap.xml").write_text(site_map(folder, base), encoding="utf8")


def _under(base: str, place: str) -> str:
    return f"{base.rstrip('/')}/{quote(place)}"


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, flags=re.S)
    return match[1] if match else ""


def _plain(markup: str) -> str:
    """Text without its tags and without the signs of a formula."""
    text = html.unescape(re.sub(r"<[^>]+>", "", markup))
    return re.sub(r"\\[()\[\]]", "", " ".join(text.split()))


def _shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rsplit(" ", 1)[0].rstrip(",;:") + " …"
