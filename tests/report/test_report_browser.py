"""The report page in a browser: no requests, sorting by keyboard, narrow screens, dark mode, and screen readers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from leadfeeder_async.report import Report, write_report
from leadfeeder_async.sandbox import World
from tests.report.hostile_values import HARMLESS, HOSTILE, database_of
from tests.support.database import make_database, state, world_database

END = date(2026, 11, 24)
SIZES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    """Write ``usual.html``, a page of a quarter with many visits."""
    path = world_database(folder / "usual.duckdb", World(seed=1, companies=4_000, visits=12_345, days=90, end_date=END))
    return write_report(path, folder / "usual.html")


@pytest.fixture(scope="module")
def odd(folder: Path) -> Path:
    """Write ``odd.html``, a page whose data is hard to lay out."""
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
    """Open a page at a width and in a color scheme. A request or an error of the page fails the test."""
    contexts, requests, messages = list[BrowserContext](), list[str](), list[str]()

    def open_page(name: str = "usual", width: int = 1280, scheme: Any = "light", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.goto((folder / f"{name}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []
    assert all(url.startswith("file://") for url in requests)
    assert len(requests) == len(contexts)


def column(page: Page, section: str, number: int) -> list[str]:
    """Return the displayed texts of a column."""
    cells = page.locator(f"section[aria-labelledby={section}] tbody tr > :nth-child({number})")
    return [" ".join(text.split()) for text in cells.all_inner_texts()]


def test_page_shows_the_numbers(show: Show, report: Report) -> None:
    """The headlines, the company table and the chart show the figures of the report."""
    page = show()
    assert page.title() == page.locator("h1").inner_text() == "Website visitors"
    values = page.locator("section[aria-labelledby=glance] .value").all_inner_texts()
    totals = report.totals
    expected = (totals.visits, totals.companies, totals.new, totals.reengaged_companies)
    assert values[:4] == [f"{number:,}" for number in expected]
    assert column(page, "companies", 2) == [f"{company.visits:,}" for company in report.visitors]
    bars = page.locator("section[aria-labelledby=visits] .plot > g:not(.grid)")
    tooltips = [title.split(" visit")[0].rsplit(" ", 1)[-1] for title in bars.locator("title").all_text_contents()]
    assert tooltips == [f"{bucket.visits:,}" for bucket in report.time_buckets]


def test_bar_heights_are_proportional(show: Show, report: Report) -> None:
    """The height of each bar is proportional to its visits, within two pixels."""
    heights = show().evaluate(
        """() => [...document.querySelectorAll("[aria-labelledby=visits] .plot > g:not(.grid)")].map((bar) => {
            const layers = [...bar.querySelectorAll("rect:not(.hover-area)")].map((layer) => layer.getBoundingClientRect());
            return Math.max(...layers.map((box) => box.bottom)) - Math.min(...layers.map((box) => box.top));
        })"""
    )
    highest = max(bucket.visits for bucket in report.time_buckets)
    for height, bucket in zip(heights, report.time_buckets, strict=True):
        assert height == pytest.approx(max(heights) * bucket.visits / highest, abs=2)


def test_sorting_by_keyboard(show: Show, report: Report) -> None:
    """Tab reaches the button of a header, Enter and Space sort by it, and aria-sort and the status announce it."""
    page = show()
    headers = page.locator("section[aria-labelledby=companies] thead th")
    names = column(page, "companies", 1)
    assert headers.nth(1).get_attribute("aria-sort") == "descending"
    page.locator("summary").first.focus()
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Minutes"
    page.keyboard.press("Enter")
    minutes = sorted((company.visit_length for company in report.visitors), reverse=True)
    assert column(page, "companies", 3) == [f"{value / 60:,.1f}" for value in minutes]
    assert [headers.nth(index).get_attribute("aria-sort") for index in range(3)] == [None, None, "descending"]
    page.keyboard.press("Space")
    assert column(page, "companies", 3) == [f"{value / 60:,.1f}" for value in reversed(minutes)]
    assert headers.nth(2).get_attribute("aria-sort") == "ascending"
    assert page.get_by_role("status").inner_text() == "Sorted by Minutes, ascending"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    assert column(page, "companies", 1) == sorted(names, key=str.casefold)
    assert sorted(names) == sorted(column(page, "companies", 1))


def test_sorting_of_numbers_and_dates(show: Show) -> None:
    """Numbers sort by value, even with text after them. Dates sort by time, and the row for the rest stays last."""
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
    days = page.locator("section[aria-labelledby=companies] time").evaluate_all(
        "all => all.map((time) => time.dateTime)"
    )
    assert days == sorted(days, reverse=True)


@pytest.mark.parametrize(("width", "scheme"), SIZES)
@pytest.mark.parametrize("name", ["usual", "odd"])
def test_no_element_overflows(name: str, width: int, scheme: str, show: Show) -> None:
    """Neither the page nor an element of a section is wider than its container, with all tables open."""
    page = show(name, width, scheme)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = page.evaluate(
        """() => [...document.querySelectorAll("section :is(th, td, p, dl, ul, span, small, .chart, text, rect)")]
            .filter((element) => !element.closest(".visually-hidden") && element.getClientRects().length)
            .filter((element) => element.getBoundingClientRect().right >
                element.closest("section").getBoundingClientRect().right - 8)
            .map((element) => `${element.tagName} ${element.textContent.slice(0, 40)}`)"""
    )
    assert outside == []


CONTRASTS = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => [r, g, b].map((value) => value / 255)
        .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const ratio = (a, b) => {
        const [light, dark] = [luminance(a), luminance(b)].sort((m, n) => n - m);
        return (light + 0.05) / (dark + 0.05);
    };
    const background = (element) => {
        for (; element; element = element.parentElement) {
            const color = parse(getComputedStyle(element).backgroundColor);
            if (color[3] !== 0) return color;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        const style = getComputedStyle(element);
        if (hasText && !["SCRIPT", "title"].includes(element.tagName)) {
            const color = element.tagName === "text" ? style.fill : style.color;
            found.push([ratio(parse(color), background(element)), 4.5, element.textContent.slice(0, 30)]);
        }
        if (element.tagName === "rect" && !element.classList.contains("hover-area")) {
            const section = background(element.closest("section"));
            found.push([ratio(parse(style.fill), section), 3, element.getAttribute("class")]);
        }
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(scheme: str, show: Show) -> None:
    """In both color schemes, text has a contrast of at least 4.5 to 1 and bars of at least 3 to 1 (WCAG AA)."""
    found = show("usual", 1280, scheme).evaluate(CONTRASTS) + show("odd", 390, scheme).evaluate(CONTRASTS)
    assert len(found) > 500
    assert [(ratio, minimum, text) for ratio, minimum, text in found if ratio < minimum] == []


def test_printed_page_fits_on_a4(show: Show) -> None:
    """On A4 paper with margins (700 px), nothing is cut off, and the charts keep their colors."""
    page = show("usual", 700)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    bar = page.locator("section[aria-labelledby=visits] rect.new").first
    assert bar.evaluate("(bar) => getComputedStyle(bar).printColorAdjust") == "exact"


def test_color_scheme(show: Show) -> None:
    """The page uses the color scheme of the reader, and the light one in print."""
    backgrounds = {}
    for scheme in ("light", "dark"):
        page = show("usual", 1280, scheme)
        backgrounds[scheme] = page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor")
    assert backgrounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(27, 31, 39)"}
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details").first.is_hidden()


@pytest.mark.parametrize("width", [390, 1280])
def test_accessible_structure(width: int, show: Show) -> None:
    """The page has landmarks, nested headings, named tables with headers, and charts with a summary."""
    page = show("usual", width)
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1
    levels = page.locator("h1, h2, h3").evaluate_all("all => all.map((heading) => Number(heading.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.get_by_role("region", name="Top companies").count() == 1
    table = page.get_by_role("table", name="The 25 companies")
    assert table.get_by_role("columnheader").count() == 8
    assert table.get_by_role("rowheader").count() == 25
    assert table.get_by_role("row").count() == 26
    for chart in page.get_by_role("img").all():
        assert len(chart.get_attribute("aria-label") or "") > 60
    assert page.get_by_role("img").count() == 2
    page.locator("summary").first.click()
    assert page.get_by_role("table", name="Visits per day").get_by_role("row").count() == 31


def test_without_scripts(show: Show, report: Report) -> None:
    """Without scripts, as in most mail programs, the page shows the same data without buttons."""
    page = show("usual", java_script_enabled=False)
    assert page.locator("thead button").count() == 0
    assert column(page, "companies", 2) == [f"{company.visits:,}" for company in report.visitors]


def test_scripts_in_values_do_not_run(show: Show) -> None:
    """A company and a source that contain a script element are shown as text."""
    page = show("odd")
    assert page.title() == "Website visitors"
    assert "<script>document.title = 'owned'</script>" in column(page, "companies", 1)[1]
    assert page.locator("script").count() == 1


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_hostile_values_change_no_element(value: str, folder: Path, show: Show) -> None:
    """The browser builds the same elements from hostile values as from harmless ones, and runs no script."""
    elements = list[str]()
    for name, text in (("hostile", value), ("harmless", HARMLESS)):
        path = folder / f"{name}.duckdb"
        path.unlink(missing_ok=True)
        write_report(database_of(path, text), folder / f"{name}.html", title=text, overwrite=True)
        page = show(name)
        elements.append(
            page.evaluate(
                "[...document.querySelectorAll('*')].map((node) => `${node.tagName} ${node.getAttributeNames()}`).join()"
            )
        )
    assert elements[0] == elements[1]


NEIGHBORS = """() => [...document.querySelectorAll("bdi, .name, .tag")].flatMap((element) => {
    const box = element.getBoundingClientRect();
    const siblings = [...element.parentNode.childNodes];
    const index = siblings.indexOf(element);
    const range = document.createRange();
    return siblings.flatMap((node, at) => {
        range.selectNodeContents(node);
        const other = range.getClientRects()[0];
        if (at === index || !node.textContent.trim() || !other) return [];
        if (other.top >= box.bottom || other.bottom <= box.top) return [];
        return [[node.textContent.trim(), at < index ? other.right <= box.left + 1 : other.left >= box.right - 1]];
    });
})"""


def test_right_to_left_values_move_no_other_text(folder: Path, show: Show) -> None:
    """A value with right-to-left marks does not change the order of the text around it."""
    path = database_of(folder / "bidi.duckdb", "\u202ecba")
    write_report(path, folder / "bidi.html")
    neighbors = show("bidi").evaluate(NEIGHBORS)
    assert {"New", "employees", "\u00b7"} <= {text for text, _ in neighbors}
    assert any(text.startswith(", 0.0% of the monthly quota") for text, _ in neighbors)
    assert [text for text, is_in_order in neighbors if not is_in_order] == [], neighbors


def test_policy_blocks_other_scripts_and_styles(browser: Browser, folder: Path, report: Report) -> None:
    """A script or a style that is added to the page has no effect."""
    assert report
    context = browser.new_context()
    page = context.new_page()
    page.goto((folder / "usual.html").as_uri())
    page.evaluate(
        """() => {
            for (const [name, text] of [["script", "window.added = true"], ["style", "h1 { color: rgb(1, 2, 3); }"]]) {
                const element = document.createElement(name);
                element.textContent = text;
                document.body.append(element);
            }
        }"""
    )
    assert page.evaluate("window.added") is None
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") != "rgb(1, 2, 3)"
    context.close()
