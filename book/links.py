"""Does what the book links to elsewhere still answer? Asks over the network, once for each address.

    python book/links.py [_build/html]

Ends with 1 if an address is gone or nothing could be asked. A site that turns programs away, or is
down today, is named and counts as unknown.
"""

from __future__ import annotations

import html
import re
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BUILT = Path(__file__).resolve().parent.parent / "_build" / "html"
LINK = re.compile(r'<a [^>]*?href="(https?://[^"#]+)')
BROWSER = "Mozilla/5.0 (compatible; link check)"  # some sites answer only what looks like one
GONE = (404, 410)
SECONDS = 20


def external(folder: Path) -> dict[str, str]:
    """Address -> the first page that links to it, of the built pages below `folder`."""
    addresses: dict[str, str] = {}
    for page in sorted(folder.glob("book/*.html")):
        for address in LINK.findall(page.read_text(encoding="utf8")):
            addresses.setdefault(html.unescape(address), page.name)
    return addresses


def answer(address: str) -> int | str:
    """The status that an address answers with, or why there is none."""
    request = urllib.request.Request(address, headers={"User-Agent": BROWSER})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return str(getattr(error, "reason", error))


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else BUILT
    pages = external(folder)
    if not pages:
        print(f"error: no page below {folder} links elsewhere; `make book` builds it")
        return 1
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(pages, pool.map(answer, pages), strict=True))
    if all(isinstance(told, str) for told in answers.values()):
        print(f"error: none of {len(pages)} addresses could be asked; is there a network?")
        return 1
    for address, told in answers.items():
        if told != 200:
            known = "gone" if told in GONE else "unknown"
            print(f"{known}: {address} ({told}), on {pages[address]}")
    gone = sum(told in GONE for told in answers.values())
    print(f"{len(pages)} addresses, {gone} gone")
    return int(gone > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
