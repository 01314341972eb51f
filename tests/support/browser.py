"""A Chromium without requests of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of the system. Without one, skip the test, or fail if ``REQUIRE_CHROMIUM`` is set."""
    if CHROMIUM is None and not os.environ.get("REQUIRE_CHROMIUM"):
        pytest.skip("Chromium is not installed. Run `apt-get install chromium`, or install google-chrome.")
    assert CHROMIUM, "REQUIRE_CHROMIUM is set, but Chromium is not installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()
