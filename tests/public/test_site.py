"""The built site in a browser: page width, console, links and anchors, search, copy buttons and dark mode."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.public import api, reference

PHONE, DESKTOP = 390, 1280

QUIET = {"info", "log", "debug"}
"""The types of console messages that are neither errors nor warnings."""

OUTSIDE = """() => {
    const scrolls = (element) => getComputedStyle(element).overflowX !== "visible";
    const isClipped = (element) => {
        for (let parent = element.parentElement; parent !== document.body; parent = parent.parentElement) {
            if (scrolls(parent)) return true;
        }
        return false;
    };
    const right = document.documentElement.clientWidth + 1;
    const outside = [...document.querySelectorAll(".md-content *, .md-header *, .md-footer *")]
        .filter((element) => element.getBoundingClientRect().right > right && !isClipped(element));
    return outside.map((element) => `${element.tagName} ${element.textContent.slice(0, 40)}`)
        .concat(document.documentElement.scrollWidth > right ? [`page ${document.documentElement.scrollWidth} px`] : []);
}"""
"""The elements that reach out of the window and are not in a box that scrolls."""

SHOW_CONTENT_OF = """async (path) => {
    const text = await (await fetch(path)).text();
    const content = (page) => page.querySelector("[data-md-component=container]");
    const found = content(new DOMParser().parseFromString(text, "text/html"));
    for (const picture of found.querySelectorAll("img")) picture.src = new URL(picture.getAttribute("src"), new URL(path, location));
    content(document).replaceWith(found);
    await Promise.all([...document.images].map((picture) => picture.decode().catch(() => {})));
}"""
"""Replaces the content of a page by that of another one. This takes less time than loading the page."""

LOW_CONTRAST = """() => {
    const context = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const drawn = (...colors) => {
        context.clearRect(0, 0, 1, 1);
        for (const color of colors) { context.fillStyle = color; context.fillRect(0, 0, 1, 1); }
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const luminance = (color) => {
        const [r, g, b] = color.map((part) => part / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const low = (element) => {
        const colors = [];
        for (let parent = element; parent; parent = parent.parentElement) colors.unshift(getComputedStyle(parent).backgroundColor);
        const below = drawn("white", ...colors);
        const above = drawn(`rgb(${below})`, getComputedStyle(element).color);
        const [dark, light] = [luminance(below), luminance(above)].sort((a, b) => a - b);
        return (light + 0.05) / (dark + 0.05) < 4.5;
    };
    const text = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("body *")]
        .filter((element) => element.checkVisibility({opacityProperty: true, visibilityProperty: true}) && text(element) && low(element))
        .map((element) => `${element.className} ${element.textContent.trim().slice(0, 30)}`);
}"""
"""The elements whose text has too little contrast to its background, by the guidelines for accessibility (WCAG AA)."""

pytestmark = pytest.mark.browser


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
    pytest.importorskip("zensical", reason="Zensical is not installed. It is in the group docs, not in test.")
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
        f"/{file.relative_to(site).as_posix()}".removesuffix("index.html"): Links(file.read_text(encoding="utf-8"))
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
def show(browser: Browser, base_url: str) -> Iterator[Show]:
    """Open a page. Requests to other hosts are blocked. They, missing files and errors of the page fail the test."""
    contexts, messages = list[BrowserContext](), list[str]()

    def open_page(path: str = "/", width: int = DESKTOP, scheme: Any = "light", **options: Any) -> Page:
        blocked: Any = {"server": "127.0.0.1:9", "bypass": "127.0.0.1"}  # a proxy that does not exist
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, proxy=blocked, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith(base_url) or messages.append(request.url))
        page.on("response", lambda response: response.status < 400 or messages.append(response.url))
        page.on("console", lambda message: message.type in QUIET or messages.append(f"{page.url}: {message.text}"))
        page.on("pageerror", lambda error: messages.append(f"{page.url}: {error}"))
        page.goto(base_url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []


def test_pages_fit_their_window(show: Show, pages: dict[str, Links]) -> None:
    """No page is wider than a phone or a desktop window."""
    assert len(pages) > 80
    page, outside = show(), list[tuple[str, int, str]]()
    for path in pages:
        page.evaluate(SHOW_CONTENT_OF, path)
        for width in (PHONE, DESKTOP):
            page.set_viewport_size({"width": width, "height": 900})
            outside += [(path, width, element) for element in page.evaluate(OUTSIDE)]
    assert outside == []


@pytest.mark.parametrize("path", ["/", "/quickstart/", "/report/", "/recipes/web-apps/", "/reference/client/"])
def test_pages_load_nothing_from_other_hosts(path: str, show: Show) -> None:
    """A page loads nothing from other hosts, writes nothing to the console, and has no errors."""
    assert show(path).title()


def test_links_and_anchors_have_targets(site: Path, pages: dict[str, Links]) -> None:
    """Each internal link, picture and script has a target, and each anchor has an element."""
    broken = []
    for path, links in pages.items():
        for target in links.targets:
            if urlsplit(target).scheme:
                continue
            end, anchor = urldefrag(urljoin(path, target))
            exists = end in pages or (site / end.removeprefix("/")).is_file()
            if not exists or (end in pages and unquote(anchor) not in pages[end].anchors):
                broken.append((path, target))
    assert broken == []


def background(page: Page) -> list[int]:
    """Return the red, green and blue of the page's background."""
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(value) for value in re.findall(r"\d+", color)][:3]


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_search(width: int, show: Show) -> None:
    """A search finds the name of a class in the reference, and Enter opens its section."""
    page = show("/", width)
    page.locator("label[for=__search], .md-search__button").locator("visible=true").click()
    page.get_by_role("combobox", name="Search").press_sequentially("OutcomeUnknownError")
    first = page.get_by_role("listbox", name="Search results").get_by_role("option").first
    expect(first).to_contain_text("OutcomeUnknownError")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/reference/errors/.*#outcomeunknownerror$"))
    expect(page.locator("#outcomeunknownerror")).to_be_in_viewport()


def test_copy_button(show: Show) -> None:
    """The button of a code block copies its text."""
    page = show("/quickstart/", permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".language-python pre").first
    block.get_by_role("button", name="Copy to clipboard").click()
    expect(page.get_by_role("status")).to_have_text("Copied to clipboard")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == (block.locator("code").text_content() or "").strip()
    assert "import" in copied


def test_color_scheme(show: Show) -> None:
    """The page uses the scheme of the system, and the button changes it for the next pages too."""
    page = show(scheme="dark")
    assert max(background(page)) < 60
    page.get_by_title("Switch to light mode").click()
    assert min(background(page)) > 200
    page.get_by_role("link", name="Quickstart").first.click()
    expect(page).to_have_url(re.compile("/quickstart/$"))
    assert min(background(page)) > 200
    page.get_by_title("Switch to dark mode").click()
    assert max(background(page)) < 60


@pytest.mark.parametrize("path", ["/", "/credits/", "/reference/client/"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: Literal["light", "dark"], path: str, show: Show) -> None:
    """Text, links, code and the navigation have enough contrast in both color schemes."""
    assert show(path, scheme=scheme).evaluate(LOW_CONTRAST) == []


def test_anchors_scroll_to_their_heading(show: Show) -> None:
    """A link to a section shows its heading below the header."""
    page = show("/credits/")
    page.get_by_role("link", name="The monthly quota").last.click()
    heading = page.locator("#the-monthly-quota")
    expect(heading).to_be_in_viewport()
    header = page.locator(".md-header").bounding_box()
    box = heading.bounding_box()
    assert header
    assert box
    assert box["y"] >= header["height"]


def test_reference_lists_arguments(show: Show) -> None:
    """A method has a table of its arguments. On a phone, a description is below the name and has the full width."""
    rows = "#lftagscreate ~ .fields >> nth=0 >> tbody tr"
    desktop, phone = show("/reference/calls/").locator(rows), show("/reference/calls/", PHONE).locator(rows)
    assert desktop.first.inner_text().split("\t") == ["name", "str", "The name of the tag."]
    for row, is_stacked in ((desktop.first, False), (phone.first, True)):
        name, description = row.locator("td").first.bounding_box(), row.locator("td").last.bounding_box()
        assert name
        assert description
        assert (description["y"] > name["y"] + 10) == is_stacked


def test_first_page(show: Show) -> None:
    """The first page shows an example, a picture and the measured numbers."""
    page = show()
    assert page.locator("article img").evaluate("(image) => image.naturalWidth") >= 1000
    code = page.locator(".language-python code").first
    assert code.evaluate("(code) => code.scrollWidth <= code.clientWidth")
    assert "AsyncLeadfeeder()" in code.inner_text()
    assert page.locator("#measured ~ * >> table").first.locator("tr").count() > 5
