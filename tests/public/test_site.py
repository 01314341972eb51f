"""The built site in a browser: page width, console, links and anchors, search, copy buttons and dark mode."""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Page, Route

from tests.public import api, reference
from tests.report.test_report_browser import CHROMIUM, browser  # noqa: F401

PHONE, DESKTOP = 390, 1280

OUTSIDE = """() => {
    const scrolls = (element) => ["auto", "scroll", "hidden"].includes(getComputedStyle(element).overflowX);
    const clipped = (element) => {
        for (let parent = element.parentElement; parent && parent !== document.body; parent = parent.parentElement) {
            if (scrolls(parent)) return true;
        }
        return false;
    };
    return [...document.querySelectorAll(".md-content *, .md-header *, .md-footer *")]
        .filter((element) => element.getClientRects().length && !clipped(element))
        .filter((element) => element.getBoundingClientRect().right > window.innerWidth + 1)
        .map((element) => `${element.tagName} ${element.textContent.slice(0, 40)}`);
}"""
"""The elements of a page that reach out of the window and are not in a box that scrolls."""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("REQUIRE_CHROMIUM"),
    reason="Chromium is not installed. Run `apt-get install chromium`, or install google-chrome.",
)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class Links(HTMLParser):
    """The targets and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets, self.anchors = set[str](), {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.targets |= {value for name in ("href", "src") if (value := values.get(name)) is not None}
        self.anchors |= {value for name in ("id", "name") if (value := values.get(name))}


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site in a temporary folder."""
    project = tmp_path_factory.mktemp("site")
    shutil.copytree(reference.DOCS, project / "docs", ignore=shutil.ignore_patterns("reference", "llms.txt"))
    reference.write(project / "docs")
    shutil.copy(api.ROOT / "mkdocs.yml", project)
    build = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    subprocess.run(build, cwd=project, check=True, capture_output=True, timeout=50)
    return project / "site"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, Links]:
    """Return the links of each page by the path in its URL."""
    return {
        f"/{file.relative_to(site)}".removesuffix("index.html"): Links(file.read_text())
        for file in sorted(site.rglob("*.html"))
        if file.name != "404.html"
    }


@pytest.fixture(scope="session")
def base_url(site: Path) -> Iterator[str]:
    """Serve the site on the loopback interface."""
    handler = functools.partial(Handler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


Show = Callable[..., Page]


@pytest.fixture
def show(browser: Browser, base_url: str) -> Iterator[Show]:  # noqa: F811
    """Open a page. A request to another host, a failed request and an error of the page fail the test."""
    contexts, messages = list[BrowserContext](), list[str]()

    def route(request: Route) -> None:
        if request.request.url.startswith(base_url):
            request.continue_()
        else:
            messages.append(f"request to {request.request.url}")
            request.abort()

    def open_page(path: str = "/", width: int = DESKTOP, scheme: Any = "light", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        context.route("**", route)
        page = context.new_page()
        page.on("console", lambda message: messages.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"{page.url}: {error}"))
        page.on("response", lambda response: response.ok or messages.append(f"{response.status} {response.url}"))
        page.goto(base_url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []


def test_pages_fit_their_window(show: Show, base_url: str, pages: dict[str, Links]) -> None:
    """No page is wider than a phone or a desktop window, and none writes to the console."""
    assert len(pages) > 80
    page, wide = show(), dict[tuple[str, int], list[str]]()
    for path in pages:
        page.goto(base_url + path)
        for width in (PHONE, DESKTOP):
            page.set_viewport_size({"width": width, "height": 900})
            outside = page.evaluate(OUTSIDE)
            if outside or page.evaluate("document.documentElement.scrollWidth") > width:
                wide[path, width] = outside
    assert wide == {}


def test_links_and_anchors_have_targets(site: Path, pages: dict[str, Links]) -> None:
    """Each link to the site itself, each picture and each script has a target, and each anchor an element."""
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            if urlsplit(target).scheme:
                continue
            end, anchor = urldefrag(urljoin(path, target))
            exists = end in pages or ((site / end.removeprefix("/")).is_file())
            if not exists or (end in pages and unquote(anchor) not in pages[end].anchors):
                broken.append((path, target))
    assert broken == []
