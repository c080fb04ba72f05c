"""External links: asked of a server on this machine that stands for the network."""

from __future__ import annotations

import http.server
import threading

import pytest

from book import links
from tests.book.conftest import Quiet


class Answering(Quiet):
    """Answers `/404` with 404, and so on."""

    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.end_headers()


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def linking(folder, *addresses: str):
    """A built page with these links, each twice, and one to a page of the book."""
    (folder / "book").mkdir()
    text = "".join(f'<a class="x" href="{a}">a</a><a href="{a}#b">b</a>' for a in addresses)
    (folder / "book" / "page.html").write_text(f'{text}<a href="other.html">c</a>')
    return folder


def test_what_is_gone_fails_and_is_named_with_its_page(tmp_path, address, capsys):
    linking(tmp_path, f"{address}/200", f"{address}/404", f"{address}/403")
    assert links.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"gone: {address}/404 (404), on page.html",
        f"unknown: {address}/403 (403), on page.html",
        "3 addresses, 1 gone",
    ]


def test_who_turns_programs_away_is_not_gone(tmp_path, address):
    assert links.main([str(linking(tmp_path, f"{address}/200", f"{address}/403"))]) == 0


def test_without_a_network_it_says_that_nothing_was_asked(tmp_path, capsys):
    assert links.main([str(linking(tmp_path, "http://127.0.0.1:1/a"))]) == 1
    assert "none of 1 addresses could be asked" in capsys.readouterr().out


def test_a_book_that_is_not_built_is_no_success(tmp_path, capsys):
    assert links.main([str(tmp_path)]) == 1
    assert "make book" in capsys.readouterr().out
