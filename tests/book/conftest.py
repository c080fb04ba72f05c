"""A browser and a server for the tests of the built book."""

from __future__ import annotations

import http.server
import os
import shutil

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROME_ON_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    installed = filter(None, map(shutil.which, (*CHROMIUM, CHROME_ON_MACOS)))
    chromium = os.environ.get("CHROMIUM") or next(installed, None)
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
