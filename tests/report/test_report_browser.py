"""The report page in a real browser: silent, offline, sortable by keyboard, readable on a phone and in the dark."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from leadfeeder_async.report import Report, write_report
from leadfeeder_async.sandbox import World
from tests.support.database import make_database, state, world_database

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
END = date(2026, 11, 24)
SIZES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("REQUIRE_CHROMIUM"),
    reason="needs Chromium: apt-get install chromium, or any that is called chromium or google-chrome",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "REQUIRE_CHROMIUM is set, and there is no Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    """The page of a lively quarter: ``usual.html``."""
    path = world_database(folder / "usual.duckdb", World(seed=1, companies=4_000, visits=12_345, days=90, end_date=END))
    return write_report(path, folder / "usual.html")


@pytest.fixture(scope="module")
def odd(folder: Path) -> Path:
    """The page of data that are hard on a layout: ``odd.html``."""
    long = "W" * 3_000
    visits: list[dict[str, Any]] = [
        {
            "id": str(number),
            "company_id": str(number % 9) if number % 5 else None,
            "location_id": str(number % 200),
            "started_at": f"2026-11-{1 + number % 24:02}T10:00:00Z",
            "landing_page_path": "/" + "way/" * (number % 60),
            "source": long if number % 3 else "<script>document.title = 'owned'</script>",
            "visit_length": 1e9,
            "page_depth": 10 ** (number % 9),
        }
        for number in range(700)
    ]
    companies: list[dict[str, Any]] = [
        {
            "id": str(number),
            "name": (long, "<script>document.title = 'owned'</script>", "شركة")[number % 3],
            "industry": long,
            "country": "The United Kingdom of Great Britain and Northern Ireland",
            "intent_score": 9.75,
            "intent_tier": "exceptionally high",
            "do_not_contact": True,
            "tag_ids": [f"{long}-{tag}" for tag in range(number * 2)],
        }
        for number in range(9)
    ]
    tables = {
        "visits": visits,
        "companies": companies,
        "locations": [{"id": str(number), "country": f"Country number {number}"} for number in range(200)],
        "usage": [{"month": "2026-11", "method": "POST", "endpoint": "/v1/" + "long/" * 60, "requests": 99_999_999}],
        "credits": [{"seen_at": f"2026-11-{day:02}T03:00:00Z", "remaining": 10**9 - day} for day in (3, 9)],
        "sync_state": state(date(2026, 11, 1), None),
    }
    write_report(make_database(folder / "odd.duckdb", **tables), folder / "odd.html")
    return folder / "odd.html"


Show = Callable[..., Page]


@pytest.fixture
def show(browser: Browser, folder: Path, report: Report, odd: Path) -> Iterator[Show]:
    """Open a page at a width and in a colour scheme; whatever it asks for or complains of fails the test."""
    contexts, requests, complaints = [], list[str](), list[str]()

    def open_page(name: str = "usual", width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith("file://") for url in requests)
    assert len(requests) == len(contexts)


def column(page: Page, section: str, number: int) -> list[str]:
    """Return the texts of a column, as shown."""
    cells = page.locator(f"section[aria-labelledby={section}] tbody tr > :nth-child({number})")
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def test_the_numbers_are_there(show: Show, report: Report) -> None:
    """What a reader sees in the headlines and the first rows are the report's figures."""
    page = show()
    assert page.title() == page.locator("h1").inner_text() == "Website visitors"
    values = page.locator("section[aria-labelledby=glance] .value").all_inner_texts()
    totals = report.totals
    wanted = (totals.visits, totals.companies, totals.new, totals.reengaged_companies)
    assert values[:4] == [f"{number:,}" for number in wanted]
    assert column(page, "companies", 2) == [f"{one.visits:,}" for one in report.visitors]
    bars = page.locator("section[aria-labelledby=visits] .plot > g:not(.grid)")
    tips = [title.split(" visit")[0].rsplit(" ", 1)[-1] for title in bars.locator("title").all_text_contents()]
    assert tips == [f"{span.visits:,}" for span in report.spans]


def test_bars_are_as_high_as_their_numbers(show: Show, report: Report) -> None:
    """The drawn height of each day is in proportion to its visits, to two pixels."""
    boxes = show().evaluate(
        """() => [...document.querySelectorAll("[aria-labelledby=visits] .plot > g:not(.grid)")].map((bar) => {
            const layers = [...bar.querySelectorAll("rect:not(.slot)")].map((one) => one.getBoundingClientRect());
            return Math.max(...layers.map((one) => one.bottom)) - Math.min(...layers.map((one) => one.top));
        })"""
    )
    most = max(span.visits for span in report.spans)
    for height, span in zip(boxes, report.spans, strict=True):
        assert height == pytest.approx(max(boxes) * span.visits / most, abs=2)


def test_sorting_by_keyboard(show: Show, report: Report) -> None:
    """Tab reaches a head's button, Enter and Space sort by it, and aria-sort and the status say how."""
    page = show()
    heads = page.locator("section[aria-labelledby=companies] thead th")
    names = column(page, "companies", 1)
    assert heads.nth(1).get_attribute("aria-sort") == "descending"
    page.locator("summary").first.focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Minutes"
    page.keyboard.press("Enter")
    minutes = sorted((one.visit_length for one in report.visitors), reverse=True)
    assert column(page, "companies", 3) == [f"{value / 60:,.1f}" for value in minutes]
    assert [heads.nth(place).get_attribute("aria-sort") for place in range(3)] == [None, None, "descending"]
    page.keyboard.press("Space")
    assert column(page, "companies", 3) == [f"{value / 60:,.1f}" for value in reversed(minutes)]
    assert heads.nth(2).get_attribute("aria-sort") == "ascending"
    assert page.get_by_role("status").inner_text() == "Sorted by Minutes, ascending"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert column(page, "companies", 1) == sorted(names, key=str.casefold)
    assert sorted(names) == sorted(column(page, "companies", 1))


def test_sorting_what_is_unknown(show: Show) -> None:
    """Numbers sort as numbers though a text follows them, days as days, and the row of the rest stays last."""
    page = show("odd")
    page.get_by_role("button", name="Companies").first.click()
    rows = page.locator("section[aria-labelledby=landing] tbody tr td:last-child").all_inner_texts()
    assert rows == sorted(rows, key=int, reverse=True)
    assert "more" in page.locator("section[aria-labelledby=landing] tr").last.inner_text()
    page.get_by_role("button", name="Pages").click()
    pages = [int(text.replace(",", "")) for text in column(page, "companies", 4)]
    assert pages == sorted(pages, reverse=True)
    assert pages[0] > 1_000_000 > 1_000 > pages[-1]
    page.get_by_role("button", name="Last visit").click()
    days = page.locator("section[aria-labelledby=companies] time").evaluate_all("all => all.map((one) => one.dateTime)")
    assert days == sorted(days, reverse=True)


@pytest.mark.parametrize(("width", "scheme"), SIZES)
@pytest.mark.parametrize("name", ["usual", "odd"])
def test_nothing_sticks_out(name: str, width: int, scheme: str, show: Show) -> None:
    """Neither the page nor anything within a section is broader than its place, its tables of numbers opened."""
    page = show(name, width, scheme)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("section :is(th, td, p, dl, ul, span, small, .chart, text, rect)")]
            .filter((one) => !one.closest(".unseen") && one.getClientRects().length)
            .filter((one) => one.getBoundingClientRect().right >
                one.closest("section").getBoundingClientRect().right - 8)
            .map((one) => `${one.tagName} ${one.textContent.slice(0, 40)}`)"""
    )
    assert outside == []


CONTRASTS = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
        .map((one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
        .reduce((sum, one, place) => sum + one * [0.2126, 0.7152, 0.0722][place], 0);
    const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
    const ground = (one) => {
        for (; one; one = one.parentElement) {
            const color = parse(getComputedStyle(one).backgroundColor);
            if (color[3] !== 0) return color;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const one of document.querySelectorAll("body *")) {
        const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        const style = getComputedStyle(one);
        if (own && !["SCRIPT", "title"].includes(one.tagName)) {
            const color = one.tagName === "text" ? style.fill : style.color;
            found.push([ratio(parse(color), ground(one)), 4.5, one.textContent.slice(0, 30)]);
        }
        if (one.tagName === "rect" && !one.classList.contains("slot"))
            found.push([ratio(parse(style.fill), ground(one.closest("section"))), 3, one.getAttribute("class")]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str, show: Show) -> None:
    """Every text stands out 4.5 to 1 from its ground and every bar 3 to 1 (WCAG AA), in both schemes."""
    found = show("usual", 1280, scheme).evaluate(CONTRASTS) + show("odd", 390, scheme).evaluate(CONTRASTS)
    assert len(found) > 500
    assert [one for one in found if one[0] < one[1]] == []


def test_paper_is_broad_enough(show: Show) -> None:
    """Printed on A4 between margins (700 px), nothing is cut off, and the charts keep their colours."""
    page = show("usual", 700)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    bar = page.locator("section[aria-labelledby=visits] rect.new").first
    assert bar.evaluate("(one) => getComputedStyle(one).printColorAdjust") == "exact"


def test_dark_is_dark(show: Show) -> None:
    """The colour scheme of the reader decides, and paper stays white."""
    grounds = {}
    for scheme in ("light", "dark"):
        page = show("usual", 1280, scheme)
        grounds[scheme] = page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 31, 39)"}
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details").first.is_hidden()


@pytest.mark.parametrize("width", [390, 1280])
def test_what_a_screen_reader_meets(width: int, show: Show) -> None:
    """Landmarks, headings without a gap, named tables with headed rows and columns, charts with their gist."""
    page = show("usual", width)
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.get_by_role("region", name="Top companies").count() == 1
    table = page.get_by_role("table", name="The 25 of")
    assert table.get_by_role("columnheader").count() == 8
    assert table.get_by_role("rowheader").count() == 25
    assert table.get_by_role("row").count() == 26
    for chart in page.get_by_role("img").all():
        assert len(chart.get_attribute("aria-label") or "") > 60
    assert page.get_by_role("img").count() == 2
    page.locator("summary").first.click()
    assert page.get_by_role("table", name="Visits per day").get_by_role("row").count() == 31


def test_without_scripts(show: Show, report: Report) -> None:
    """A mail program that runs no script shows the same page, without buttons that do nothing."""
    page = show("usual", java_script_enabled=False)
    assert page.locator("thead button").count() == 0
    assert column(page, "companies", 2) == [f"{one.visits:,}" for one in report.visitors]


def test_scripts_in_the_data_do_not_run(show: Show) -> None:
    """A company and a source called <script> are only shown."""
    page = show("odd")
    assert page.title() == "Website visitors"
    assert "<script>document.title = 'owned'</script>" in column(page, "companies", 1)[1]
    page.evaluate("document.body.append(document.createElement('script'))")
    assert page.locator("script").count() == 2
