"""A browser and a server for the tests of the built book."""

from __future__ import annotations

import http.server

import pytest

from book import pdf


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    chromium = pdf.chromium()
    if chromium is None:
        pytest.skip(
            "no Chromium: install it (Debian: apt-get install chromium) or name one in CHROMIUM"
        )
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
            ],
        )
        yield running
        running.close()
