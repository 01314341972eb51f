"""The report: the numbers on the page, the date range, invalid databases, and the output file."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadfeeder_async import CheckpointError, ConfigurationError, DatabaseError, DatabaseLockedError
from leadfeeder_async.cli import exit_code
from leadfeeder_async.cli.report_command import report as report_command
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.report import write_report
from leadfeeder_async.report.charts import axis_ticks
from leadfeeder_async.report.formatting import PLACEHOLDER
from leadfeeder_async.report.load import choose_granularity, read_report, requested_window
from leadfeeder_async.report.render import MAX_TAGS, headline_cards, render
from leadfeeder_async.report.report_data import CreditBalance, Totals
from leadfeeder_async.sandbox import World
from tests.jobs.helpers import FOREIGN_FILES, make_foreign_file
from tests.report.page_parser import body_of, headlines_of, table_in, text_of
from tests.support.database import company_row, make_database, state, visit_row, world_database
from tests.support.examples import examples

Row = dict[str, Any]
CATEGORIES = ("returning", "reengaged", "new", "unidentified")
END = date(2026, 11, 24)
MONTH = DateWindow(END - timedelta(29), END)


# An independent calculation of the same numbers.


def start_of(visit: Row) -> datetime:
    return datetime.fromisoformat(visit["started_at"]).astimezone(UTC)


def categorize(visits: Iterable[Row]) -> list[tuple[Row, str]]:
    """Return the visits that have a time, in order, each with its category."""
    latest, categorized = dict[str, datetime](), list[tuple[Row, str]]()
    for visit in sorted((visit for visit in visits if visit["started_at"]), key=lambda row: (start_of(row), row["id"])):
        company, start = visit["company_id"], start_of(visit)
        if company is None:
            categorized.append((visit, "unidentified"))
            continue
        previous = latest.get(company)
        gap = start - previous if previous else None
        categorized.append((visit, "new" if gap is None else "reengaged" if gap >= timedelta(30) else "returning"))
        latest[company] = start
    return categorized


def within(visits: Iterable[tuple[Row, str]], window: DateWindow) -> list[tuple[Row, str]]:
    return [(visit, kind) for visit, kind in visits if window.start <= start_of(visit).date() <= window.end]


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def totals_of(visits: Sequence[tuple[Row, str]]) -> dict[str, float | None]:
    kinds = Counter(kind for _, kind in visits)
    return {
        "visits": len(visits),
        "companies": len({visit["company_id"] for visit, _ in visits} - {None}),
        "new": kinds["new"],
        "reengaged": kinds["reengaged"],
        "returning": kinds["returning"],
        "unidentified": kinds["unidentified"],
        "reengaged_companies": len({visit["company_id"] for visit, kind in visits if kind == "reengaged"}),
        "mean_visit_length": mean(visit["visit_length"] for visit, _ in visits),
        "mean_page_depth": mean(visit["page_depth"] for visit, _ in visits),
    }


def breakdown_rows(visits: Sequence[tuple[Row, str]], label_of: Callable[[Row], str]) -> list[list[str]]:
    """Return the rows of a breakdown, with the rest in one row."""
    numbers, companies = Counter[str](), defaultdict[str, set[str]](set)
    for visit, _ in visits:
        numbers[label_of(visit)] += 1
        companies[label_of(visit)] |= {visit["company_id"]} - {None}

    def row(name: str, number: int, company_count: str) -> list[str]:
        return [name, f"{number:,} {100 * number / len(visits):.1f}%", company_count]

    order = sorted(numbers, key=lambda name: (-numbers[name], name))
    rows = [row(name, numbers[name], f"{len(companies[name]):,}") for name in order[:12]]
    rest = sum(numbers[name] for name in order[12:])
    return [*rows, row(f"{len(order) - 12} more", rest, "")] if rest else rows


def visits_with_gaps(world: World) -> list[Row]:
    """Return the visits of a world. Some lack fields, as the API allows, and there are many landing pages."""
    visits = [visit_row(world, visit_id) for visit_id in world.visit_ids()]
    for number, visit in enumerate(visits):
        visit["landing_page_path"] = f"{visit['landing_page_path']}?{number % 7}"
        for every, name in ((11, "company_id"), (13, "visit_length"), (17, "page_depth"), (97, "started_at")):
            if number % every == 0:
                visit[name] = None
    return visits


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_page_numbers_match_the_rows(seed: int, tmp_path: Path) -> None:
    """Headlines, days, companies and breakdowns equal an independent calculation from the same rows."""
    world = World(seed=seed, companies=700, visits=3_000, days=90, end_date=END)
    visits = visits_with_gaps(world)
    path = world_database(tmp_path / "a.duckdb", world, visits=visits)
    write_report(path, tmp_path / "report.html")
    body = body_of((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert text_of(body.findall("./header/p")[0]) == "26 Oct to 24 Nov 2026, 30 days in UTC · account 310042"
    categorized = categorize(visits)
    now = within(categorized, MONTH)
    before = within(categorized, DateWindow(MONTH.start - timedelta(30), MONTH.start - timedelta(1)))
    check_headlines(headlines_of(body), totals_of(now), totals_of(before))
    check_days(table_in(body, "visits"), now)
    check_companies(table_in(body, "companies"), now, world)
    assert table_in(body, "landing") == breakdown_rows(now, lambda visit: visit["landing_page_path"])
    sources = breakdown_rows(
        now, lambda visit: f"{visit['source']} / {visit['medium']}" if visit["source"] else "Direct or unknown"
    )
    assert sorted(table_in(body, "sources")) == sorted(sources)
    countries = {company_id: company_row(world, company_id)["country"] for company_id in world.company_ids()}
    by_country = breakdown_rows(now, lambda visit: countries.get(visit["company_id"], "Unknown"))
    assert sorted(table_in(body, "countries")) == sorted(by_country)
    without_time = sum(visit["started_at"] is None for visit in visits)
    assert f"Not counted: {without_time} visits without a start time." in text_of(body)


def check_headlines(
    headlines: dict[str, list[str]], now: dict[str, float | None], before: dict[str, float | None]
) -> None:
    names = {
        "Visits": "visits",
        "Companies": "companies",
        "New companies": "new",
        "Re-engaged companies": "reengaged_companies",
    }
    for headline, name in names.items():
        value, previous = now[name], before[name]
        assert value is not None
        assert previous
        change = 100 * (value - previous) / previous
        assert abs(change) >= 0.05
        arrow = "▲ up" if change > 0 else "▼ down"
        assert headlines[headline] == [f"{value:,}", f"{arrow} {abs(change):,.1f}% from {previous:,}"]
    assert headlines["Minutes per visit"][0] == f"{(now['mean_visit_length'] or 0) / 60:.1f}"
    assert headlines["Pages per visit"][0] == f"{now['mean_page_depth']:.1f}"


@pytest.mark.parametrize(
    ("value", "previous", "change"),
    [
        (150, 100, ("up", "50.0%")),
        (5_000, 2, ("up", "249,900.0%")),
        (99, 100, ("down", "1.0%")),
        (10_001, 10_000, ("up", "less than 0.1%")),
        (0, 100, ("down", "100.0%")),
        (3, 0, ("up", None)),
        (0, 0, (None, None)),
        (7, 7, (None, None)),
    ],
)
def test_headline_change(value: int, previous: int, change: tuple[str | None, str | None]) -> None:
    """A headline shows the direction and size of its change, and no size if the previous value is zero."""
    card = next(headline_cards(Totals(visits=value), Totals(visits=previous)))
    assert (card.direction, card.change) == change
    assert (card.value, card.previous) == (f"{value:,}", f"{previous:,}")


def check_days(rows: list[list[str]], now: Sequence[tuple[Row, str]]) -> None:
    by_day = Counter((start_of(visit).date(), kind) for visit, kind in now)
    assert len(rows) == 30
    for index, row in enumerate(rows):
        day = MONTH.start + timedelta(index)
        numbers = [by_day[day, kind] for kind in CATEGORIES]
        assert row == [f"{day.day} {day:%b} {day.year}", *(f"{number:,}" for number in (sum(numbers), *numbers))]


def check_companies(rows: list[list[str]], now: Sequence[tuple[Row, str]], world: World) -> None:
    visits_of = defaultdict[str, list[Row]](list)
    for visit, _ in now:
        if visit["company_id"]:
            visits_of[visit["company_id"]].append(visit)

    def seconds(company: str) -> float:
        return sum(visit["visit_length"] or 0 for visit in visits_of[company])

    order = sorted(visits_of, key=lambda company: (-len(visits_of[company]), -seconds(company), company))[:25]
    assert len(rows) == 25
    for row, company in zip(rows, order, strict=True):
        expected = company_row(world, company)
        assert row[0].startswith(expected["name"])
        assert ("Do not contact" in row[0]) == expected["do_not_contact"]
        assert row[1:4] == [
            f"{len(visits_of[company]):,}",
            f"{seconds(company) / 60:,.1f}",
            f"{sum(visit['page_depth'] or 0 for visit in visits_of[company]):,}",
        ]
        assert row[4] == f"{expected['intent_score']:.1f} {expected['intent_tier']}"
        assert row[5] == expected["country"]
        last = max(map(start_of, visits_of[company]))
        assert row[6] == f"{last.day} {last:%b}"


FIRST = datetime(2026, 7, 1, tzinfo=UTC)
times = st.integers(0, 147 * 86_400 - 1).map(lambda seconds: FIRST + timedelta(seconds=seconds))
exactly_30_days_apart = st.sampled_from(range(5)).map(lambda months: FIRST + timedelta(0.5 + 30 * months))
companies = st.none() | st.sampled_from("abc")
lengths = st.none() | st.integers(0, 5_000)
visit_rows = st.lists(
    st.tuples(companies, times | exactly_30_days_apart, lengths, st.none() | st.integers(0, 20)), max_size=30
)


@given(visit_rows, st.integers(1, 70))
@settings(max_examples=examples(40))
def test_any_visits_are_counted_correctly(rows: list[tuple[Any, ...]], days: int) -> None:
    """Random visits fall into the expected days and categories. A gap of exactly 30 days is a re-engagement."""
    visits = [
        {
            "id": f"{number:02}",
            "company_id": company,
            "started_at": time.isoformat(),
            "visit_length": length,
            "page_depth": depth,
        }
        for number, (company, time, length, depth) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = make_database(Path(folder) / "a.duckdb", visits=visits, sync_state=state(date(2026, 7, 1), END))
        report = read_report(path, since=f"{days}d")
    now = within(categorize(visits), report.window)
    for name, value in totals_of(now).items():
        assert getattr(report.totals, name) == (pytest.approx(value) if isinstance(value, float) else value), name
    assert report.totals_before is not None or report.window_before.start < date(2026, 7, 1)
    by_day = Counter((start_of(visit).date(), kind) for visit, kind in now)
    first = report.window.start
    assert [bucket.day for bucket in report.time_buckets] == [first + timedelta(index) for index in range(days)]
    for bucket in report.time_buckets:
        assert bucket.categories == tuple(by_day[bucket.day, kind] for kind in CATEGORIES)


def one_visit(**more: Any) -> Row:
    return {"id": "1", "company_id": "7", "started_at": "2026-11-24T10:00:00Z", **more}


def page_of(tmp_path: Path, **tables: Iterable[Row]) -> str:
    """Return the page of a database with these rows."""
    return render(read_report(make_database(tmp_path / "a.duckdb", **tables)))


def test_empty_database(tmp_path: Path) -> None:
    """The page of a database without rows says that there is no data."""
    text = text_of(body_of(page_of(tmp_path)))
    assert "The database contains no visits yet." in text
    assert "No visits in this period." in text
    assert "No company was identified in this period." in text
    assert "because it is unknown when the database begins" in text
    assert text.count("No visits.") == 3
    assert text.count("No data yet:") == 2


def test_synced_database_without_visits(tmp_path: Path) -> None:
    """The page of a synced month without visits shows zeros."""
    page = page_of(tmp_path, sync_state=state(date(2026, 9, 1), END, finished_at="2026-11-25T01:00:00Z"))
    assert headlines_of(body_of(page))["Visits"] == ["0", "no change from 0"]
    assert "contains no visits yet" not in page


def test_missing_values_are_dashes(tmp_path: Path) -> None:
    """The page shows a visit that has only a time, and a dash for each missing value."""
    body = body_of(page_of(tmp_path, visits=[one_visit()], sync_state=state(END, END)))
    assert table_in(body, "companies") == [
        ["Company 7 New", "1", PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, "24 Nov", PLACEHOLDER]
    ]
    assert table_in(body, "landing") == [["Unknown", "1 100.0%", "1"]]
    assert table_in(body, "sources") == [["Direct or unknown", "1 100.0%", "1"]]
    assert table_in(body, "countries") == [["Unknown", "1 100.0%", "1"]]
    requested = "The report was requested for 26 Oct to 24 Nov 2026, but the database contains only 24 Nov 2026."
    assert requested in text_of(body)
    assert "The first sync has not finished" in text_of(body)


@pytest.mark.parametrize(
    ("rows", "caption"),
    [
        ([one_visit()], "1 company"),
        ([one_visit(id=str(number), company_id=str(number)) for number in range(9)], "9 companies"),
        (
            [one_visit(id=str(number), company_id=str(number)) for number in range(1_026)],
            "The 25 companies with the most visits, of 1,026",
        ),
    ],
)
def test_caption_counts_companies(rows: list[Row], caption: str, tmp_path: Path) -> None:
    """The caption says how many companies there are and how many of them are listed."""
    body = body_of(page_of(tmp_path, visits=rows, sync_state=state(END, END)))
    assert text_of(body.findall(".//section[@aria-labelledby='companies']//caption")[0]) == caption


def test_company_row_shows_every_field(tmp_path: Path) -> None:
    """The row of a company shows its badges, industry, size, intent, country and tags."""
    company = {
        "id": "7",
        "name": "Acme",
        "industry": "Software",
        "employee_range": "11-50",
        "country": "Finland",
        "intent_score": 7.25,
        "intent_tier": "high",
        "do_not_contact": True,
        "tag_ids": ["t", "untold"],
    }
    visits = [
        one_visit(id="1", started_at="2026-10-01T10:00:00Z", visit_length=None, page_depth=None),
        one_visit(id="2", visit_length=90.0, page_depth=4),
        one_visit(id="3", visit_length=30.0, page_depth=2),
    ]
    tags = [{"id": "t", "name": "Customer"}]
    tables = {"visits": visits, "companies": [company], "tags": tags, "sync_state": state(date(2026, 9, 1), END)}
    assert table_in(body_of(page_of(tmp_path, **tables)), "companies") == [
        [
            "Acme Re-engaged Do not contact Software · 11-50 employees",
            "2",
            "2.0",
            "6",
            "7.2 high",
            "Finland",
            "24 Nov",
            "Customer untold",
        ]
    ]


@pytest.mark.parametrize(("finished_at", "has_note"), [("2026-11-24T23:59:59Z", True), ("2026-11-26T00:00:00Z", False)])
def test_partial_last_day_has_a_note(finished_at: str, has_note: bool, tmp_path: Path) -> None:
    """A last day that was not over when it was synced is shown with a note."""
    page = page_of(tmp_path, visits=[one_visit()], sync_state=state(END, END, finished_at=finished_at))
    note = "The last sync was on 24 Nov 2026, 23:59, so the visits of 24 Nov 2026 are incomplete."
    assert (note in page) == has_note


@pytest.mark.parametrize("finished_at", ["2026-11-24T12:00:00Z", "2026-11-25T00:10:00Z"])
def test_partial_day_is_shown_only_if_requested(finished_at: str, tmp_path: Path) -> None:
    """By default, the report ends with the last day that was over when its sync began, which may end after midnight."""
    sync_state = state(date(2026, 9, 1), END, finished_at=finished_at)
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=sync_state)
    report = read_report(path, since="7d")
    assert report.window == DateWindow(date(2026, 11, 17), date(2026, 11, 23))
    assert report.totals.visits == 0
    assert "are incomplete" not in render(report)
    assert read_report(path, since="7d", until=END).totals.visits == 1


def test_previous_report_of_another_account(tmp_path: Path) -> None:
    """A page that replaces that of another account does not count from the sync of that account."""
    out = tmp_path / "report.html"
    for account in ("1", "2"):
        finished_at = f"2026-11-2{5 + int(account)}T01:00:00Z"
        write_report(
            make_database(
                tmp_path / f"{account}.duckdb",
                visits=[one_visit(account_id=account)],
                sync_state=state(END, END, finished_at=finished_at, account_id=account),
            ),
            out,
            overwrite=True,
        )
        assert f'<meta name="leadfeeder-account" content="{account}">' in out.read_text(encoding="utf-8")
    assert "New since the previous report" not in out.read_text(encoding="utf-8")


def test_relative_last_day(tmp_path: Path) -> None:
    """The last day of a report can be given relative to the current day in its time zone."""
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=state(date(2026, 9, 1), END))
    now = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert read_report(path, until="yesterday", now=now).window.end == date(2026, 11, 23)
    assert read_report(path, until="yesterday", now=now, tz="Europe/Berlin").window.end == END
    with pytest.raises(ConfigurationError, match="'tomorrow' is not a date"):
        read_report(path, until="tomorrow")


def test_nan_and_infinity_are_unknown(tmp_path: Path) -> None:
    """A visit length of NaN and an infinite score are shown as missing."""
    path = make_database(
        tmp_path / "a.duckdb", visits=[one_visit()], companies=[{"id": "7"}], sync_state=state(END, END)
    )
    with duckdb.connect(path) as database:
        database.execute("UPDATE visits SET visit_length = 'nan'; UPDATE companies SET intent_score = '-inf'")
    row = table_in(body_of(render(read_report(path))), "companies")[0]
    assert row[2:5] == [PLACEHOLDER, PLACEHOLDER, PLACEHOLDER]


def test_large_values_are_shortened(tmp_path: Path) -> None:
    """A long name, a hundred tags and 200 countries are shortened, and the page says how many are left out."""
    visits = [one_visit(id=str(number), location_id=str(number)) for number in range(200)]
    locations = [{"id": str(number), "country": f"Country {number}"} for number in range(200)]
    company = {"id": "7", "name": "Ä" * 50_000, "tag_ids": [f"tag-{number}" for number in range(100)]}
    page = page_of(tmp_path, visits=visits, locations=locations, companies=[company], sync_state=state(END, END))
    body = body_of(page)
    assert len(page.encode()) < 60_000
    assert table_in(body, "companies")[0][0] == "Ä" * 159 + "… New"
    assert table_in(body, "companies")[0][7].endswith(f"and {100 - MAX_TAGS} more")
    countries = table_in(body, "countries")
    assert (len(countries), countries[-1]) == (13, ["188 more", "188 94.0%", ""])
    assert "200 countries, by visits" in text_of(body)


def test_reengaged_after_exactly_30_days(tmp_path: Path) -> None:
    """A visit 30 days after the last one is a re-engagement. One second earlier, it is a return."""
    times = {
        "a": ("2026-10-20T10:00:00Z", "2026-11-19T10:00:00Z"),
        "b": ("2026-10-20T10:00:00Z", "2026-11-19T09:59:59Z"),
    }
    visits = [
        {"id": f"{company}{index}", "company_id": company, "started_at": time}
        for company, pair in times.items()
        for index, time in enumerate(pair)
    ]
    path = make_database(tmp_path / "a.duckdb", visits=visits, sync_state=state(date(2026, 9, 1), END))
    totals = read_report(path, since="7d").totals
    assert (totals.reengaged, totals.returning, totals.new) == (1, 1, 0)


@pytest.mark.parametrize(
    ("options", "window", "is_compared"),
    [
        ({}, DateWindow(date(2026, 10, 26), END), True),
        ({"since": "7d"}, DateWindow(date(2026, 11, 18), END), True),
        ({"since": "2026-11-01", "until": "2026-11-10"}, DateWindow(date(2026, 11, 1), date(2026, 11, 10)), True),
        ({"since": "2026-09-20"}, DateWindow(date(2026, 9, 20), END), False),
        ({"since": "300d"}, DateWindow(date(2026, 9, 1), END), False),
        ({"since": date(2026, 11, 1), "until": date(2027, 1, 1)}, DateWindow(date(2026, 11, 1), END), True),
    ],
)
def test_window_of_the_report(options: dict[str, Any], window: DateWindow, is_compared: bool, tmp_path: Path) -> None:
    """Relative dates count back from the last complete day. Days outside the database are not shown or compared."""
    later = one_visit(id="2", started_at="2026-11-25T01:00:00Z")
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit(), later], sync_state=state(date(2026, 9, 1), END))
    report = read_report(path, **options)
    assert report.window == window
    assert (report.totals_before is not None) == is_compared
    assert report.totals.visits == (window.end == END)


@pytest.mark.parametrize(
    ("since", "comparison"),
    [
        ("30d", "Compared with the 30 days before, 26 Sep to 25 Oct 2026."),
        ("1d", "Compared with the day before, 23 Nov 2026."),
        ("70d", "Not compared with the 70 days before, because the database begins on 1 Sep 2026."),
    ],
)
def test_page_states_the_compared_days(since: str, comparison: str, tmp_path: Path) -> None:
    """The page names the days that the headline numbers are compared with."""
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=state(date(2026, 9, 1), END))
    assert comparison in text_of(body_of(render(read_report(path, since=since))))


@pytest.mark.parametrize("days", [1, 92, 93, 400, 731, 732, 3_660])
def test_long_reports_have_wider_bars(days: int, tmp_path: Path) -> None:
    """A chart has at most 125 bars, which cover each day once and count every visit."""
    start = END - timedelta(days - 1)
    visits = [
        one_visit(id=str(number), started_at=f"{start + timedelta(number % days)}T23:30:00-02:00")
        for number in range(50)
    ]
    path = make_database(tmp_path / "a.duckdb", visits=visits, sync_state=state(start, END))
    report = read_report(path, since=f"{days}d")
    buckets = report.time_buckets
    assert report.granularity == choose_granularity(days)
    assert len(buckets) <= 125
    assert (buckets[0].day, buckets[-1].last_day) == (start, END)
    assert all(first.last_day + timedelta(1) == second.day for first, second in pairwise(buckets))
    assert sum(bucket.visits for bucket in buckets) == report.totals.visits
    body = body_of(render(report))
    assert f"Visits per {report.granularity}" in text_of(body)
    assert not report.totals.visits or len(table_in(body, "visits")) == len(buckets)


@given(st.integers(0, 10**12))
def test_axis_ticks_are_round(largest: int) -> None:
    """An axis has two to six ticks, and only the last one is at or above the largest value."""
    ticks = axis_ticks(largest)
    assert ticks[0] == 0
    assert ticks[-1] >= largest
    assert 2 <= len(ticks) <= 6
    assert largest == 0 or ticks[-2] < largest


def test_charts_have_summaries(tmp_path: Path) -> None:
    """The label of each chart sums it up for screen readers."""
    visits = [one_visit(), one_visit(id="2", company_id=None), one_visit(id="3", started_at="2026-11-23T10:00:00Z")]
    tables = {"visits": visits, "credits": [credit(f"2026-11-{day}T03:00:00Z", day) for day in (20, 21)]}
    body = body_of(page_of(tmp_path, sync_state=state(date(2026, 11, 1), END), **tables))
    visits_label, credits_label = [chart.get("aria-label") for chart in body.findall(".//*[@role='img']")]
    assert visits_label == (
        "Bar chart of the visits per day, 1 Nov to 24 Nov 2026: 1 returning, 1 new, 1 unidentified. "
        "The highest bar is 24 Nov 2026 with 2 visits."
    )
    assert credits_label == ("Bar chart of the credits left, 20 Nov to 21 Nov 2026: 980 at the start, 979 at the end.")
    tooltips = [text_of(title) for title in body.findall(".//{*}svg//{*}title")]
    assert "24 Nov 2026: 2 visits (1 returning, 1 unidentified)" in tooltips
    assert "22 Nov 2026: 0 visits" in tooltips
    assert tooltips[-1] == "21 Nov 2026: 979 credits left"


def credit(seen_at: str, used: int, reset: str | None = "2026-12-01") -> Row:
    return {"seen_at": seen_at, "available": 1_000, "used": used, "remaining": 1_000 - used, "next_reset_on": reset}


UNKNOWN_USAGE = "The daily usage is known after two readings that are at least one day apart."
RESET = "The next reset is on 1 Dec 2026."
UNKNOWN_RESET = "The date of the next reset is unknown."


@pytest.mark.parametrize(
    ("readings", "text"),
    [
        ([credit("2026-11-20T00:00:00Z", 100)], f"{UNKNOWN_USAGE} {RESET}"),
        (
            [credit("2026-11-10T00:00:00Z", 100), credit("2026-11-20T00:00:00Z", 400)],
            f"30.0 credits per day were used. At this rate, the remaining credits last 20 days, beyond the next reset. {RESET}",
        ),
        (
            [credit("2026-11-18T00:00:00Z", 500), credit("2026-11-20T00:00:00Z", 900)],
            f"At this rate, the remaining credits last 0 days and run out before the next reset. {RESET}",
        ),
        ([credit("2026-10-30T00:00:00Z", 900, "2026-11-01"), credit("2026-11-20T00:00:00Z", 10)], UNKNOWN_USAGE),
        (
            [credit("2026-11-10T00:00:00Z", 5, None), credit("2026-11-20T00:00:00Z", 5, None)],
            f"Since 10 Nov 2026, 0.0 credits per day were used. {UNKNOWN_RESET}",
        ),
        (
            [credit("2026-11-10T00:00:00Z", 100, None), credit("2026-11-20T00:00:00Z", 300, None)],
            f"At this rate, the remaining credits last 35 days. {UNKNOWN_RESET}",
        ),
        ([credit("2026-10-30T00:00:00Z", 10, "2026-11-01"), credit("2026-11-20T00:00:00Z", 400)], UNKNOWN_USAGE),
        ([{"seen_at": "2026-11-20T00:00:00Z"}], f"{UNKNOWN_USAGE} {UNKNOWN_RESET}"),
    ],
)
def test_how_long_credits_last(readings: list[Row], text: str, tmp_path: Path) -> None:
    """The usage per day is measured within one billing period and compared with the next reset."""
    page = page_of(tmp_path, credits=readings, sync_state=state(date(2026, 9, 1), END))
    assert text in text_of(body_of(page))


@pytest.mark.parametrize(
    ("balance", "expected"),
    [
        ({"used_since": -3, "remaining": 10}, (None, None, None)),
        ({"used_since": 0, "remaining": 10}, (0, None, None)),
        ({"used_since": 10, "remaining": None}, (2, None, None)),
        ({"used_since": 10, "remaining": -4}, (2, 0, False)),
        ({"used_since": 10, "remaining": 21}, (2, 10, False)),
        ({"used_since": 10, "remaining": 22}, (2, 11, True)),
        ({"used_since": 1, "remaining": 10**18}, (0.2, 5 * 10**18, True)),
    ],
)
def test_credit_forecast(balance: dict[str, Any], expected: tuple[float | None, int | None, bool | None]) -> None:
    """The forecast is None if it is unknown, and has no limit."""
    seen = datetime(2026, 11, 20, tzinfo=UTC)
    credits_ = CreditBalance(seen_at=seen, since=seen - timedelta(5), next_reset_on=date(2026, 12, 1), **balance)
    assert (credits_.used_per_day, credits_.days_left, credits_.lasts_until_reset) == expected


def test_usage_by_month_and_endpoint(tmp_path: Path) -> None:
    """Requests and credits are summed by month, and by endpoint for the last month, and compared with the quota."""
    usage = [
        {"month": month, "method": "GET", "endpoint": endpoint, "requests": requests, "credits_charged": charged}
        for month, endpoint, requests, charged in (
            ("2026-10", "/v1/tags", 400, 0),
            ("2026-11", "/v1/tags", 1_000, None),
            ("2026-11", "/v1/ip", 1_500, 70),
        )
    ]
    body = body_of(page_of(tmp_path, usage=usage, sync_state=state(date(2026, 9, 1), END)))
    assert table_in(body, "usage") == [["2026-11", "2,500", "70"], ["2026-10", "400", "0"]]
    assert table_in(body, "usage", 1) == [["GET /v1/ip", "1,500", "70"], ["GET /v1/tags", "1,000", PLACEHOLDER]]
    assert "2,500 requests in 2026-11, 2.5% of the monthly quota of 100,000." in text_of(body)


def test_accounts_are_separate(tmp_path: Path) -> None:
    """One of several accounts must be chosen, and its report contains no data of the others."""
    second = {"account_id": "2", "version": 1, "first_day": END, "last_day": END}
    visits = [one_visit(), one_visit(account_id="2", id="1"), one_visit(account_id="2", id="2")]
    names = [{"id": "7", "name": "Ours"}, {"account_id": "2", "id": "7", "name": "Theirs"}]
    path = make_database(tmp_path / "a.duckdb", visits=visits, companies=names, sync_state=[*state(END, END), second])
    with pytest.raises(
        ConfigurationError, match=r"contains 2 accounts: 2, 310042\. Choose one of them with account_id"
    ):
        read_report(path)
    with pytest.raises(
        ConfigurationError, match=r"does not contain account '3'.*Choose one of its accounts: 2, 310042"
    ):
        read_report(path, account_id="3")
    theirs = read_report(path, account_id="2")
    assert (theirs.totals.visits, theirs.visitors[0].name) == (2, "Theirs")
    assert read_report(path, account_id="310042").totals.visits == 1


def test_invalid_databases_are_rejected(tmp_path: Path) -> None:
    """The error names a file that is missing, not a database, without the tables, or of another schema version."""
    (tmp_path / "text.duckdb").write_text("not a database " * 500, encoding="utf-8")
    with duckdb.connect(tmp_path / "other.duckdb") as database:
        database.execute("CREATE TABLE visits (id VARCHAR)")
    make_database(tmp_path / "new.duckdb", sync_state=[{**state(END, END)[0], "version": 99}])
    for name in ("missing.duckdb", ".", "text.duckdb", "other.duckdb", "new.duckdb"):
        with pytest.raises(DatabaseError, match=re.escape(str(tmp_path / name))) as caught:
            read_report(tmp_path / name)
        assert caught.value.hint
        assert exit_code(caught.value) == 2


def test_column_of_another_type_is_rejected(tmp_path: Path) -> None:
    """A database that has a column of another type is rejected."""
    with duckdb.connect(make_database(tmp_path / "a.duckdb")) as database:
        database.execute("ALTER TABLE visits ALTER page_depth TYPE VARCHAR")
    with pytest.raises(DatabaseError, match=r"visits\.page_depth INTEGER"):
        read_report(tmp_path / "a.duckdb")


@contextmanager
def opened_by_another_process(path: Path, *, read_only: bool) -> Iterator[None]:
    code = (
        f"import duckdb, sys; kept = duckdb.connect({str(path)!r}, read_only={read_only}); "
        "print('open', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline().rstrip() == b"open"
        try:
            yield
        finally:
            other.stdin.close()


def test_database_in_use(tmp_path: Path) -> None:
    """DatabaseLockedError is raised if another process writes to the database or this process has it open."""
    path = make_database(tmp_path / "a.duckdb")
    with opened_by_another_process(path, read_only=False):
        with pytest.raises(DatabaseLockedError) as caught:
            read_report(path)
        assert exit_code(caught.value) == 5
    with duckdb.connect(path), pytest.raises(DatabaseLockedError):
        read_report(path)
    assert read_report(path).totals.visits == 0


@pytest.mark.parametrize("since", ["soon", "0d", "2027-01-01"])
def test_invalid_dates(since: str, tmp_path: Path) -> None:
    """A first day that is invalid or after the last day is rejected."""
    path = make_database(tmp_path / "a.duckdb", sync_state=state(date(2026, 9, 1), END))
    with pytest.raises(ConfigurationError):
        read_report(path, since=since)
    with pytest.raises(ConfigurationError, match="contains none of the requested days"):
        read_report(path, since="2026-01-01", until="2026-01-31")


def test_database_is_only_read(tmp_path: Path) -> None:
    """A report leaves the database unchanged and no file beside it, and other processes may read it meanwhile."""
    path = world_database(tmp_path / "a.duckdb", World(seed=1, companies=20, visits=300, days=40, end_date=END))
    before = path.read_bytes()
    with opened_by_another_process(path, read_only=True):
        read_report(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.duckdb"]


def test_page_is_written_completely_or_not_at_all(tmp_path: Path) -> None:
    """A page that exists is replaced only with ``overwrite``. A page that cannot be written leaves no file."""
    path, out = make_database(tmp_path / "a.duckdb"), tmp_path / "new" / "report.html"
    write_report(str(path), str(out), title="Weekly")
    assert "<title>Weekly</title>" in out.read_text(encoding="utf-8")
    with pytest.raises(CheckpointError, match="exists"):
        write_report(path, out)
    write_report(path, out, title="Again", overwrite=True)
    assert "<h1>Again</h1>" in out.read_text(encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"cannot be written: Not a directory\. Choose another path\."):
        write_report(path, path / "report.html")
    assert [file.name for file in out.parent.iterdir()] == ["report.html"]


def test_file_that_appears_during_a_report_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is created while the database is read is not replaced."""
    path, out = make_database(tmp_path / "a.duckdb"), tmp_path / "report.html"

    def render_slowly(*_: object) -> str:
        out.write_text("precious", encoding="utf-8")
        return "page"

    monkeypatch.setattr("leadfeeder_async.report.render.render", render_slowly)
    with pytest.raises(CheckpointError, match="exists"):
        write_report(path, out)
    assert out.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("kind", FOREIGN_FILES)
def test_report_refuses_a_log_of_others(tmp_path: Path, kind: str) -> None:
    """A file that DuckDB did not write is not read as the log of the database, and a pipe is not waited for."""
    path = make_database(tmp_path / "a.duckdb")
    make_foreign_file(tmp_path / "a.duckdb.wal", kind, tmp_path / "target")
    with pytest.raises(DatabaseError, match=r"a\.duckdb\.wal "):
        write_report(path, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_command_writes_the_page(tmp_path: Path) -> None:
    """The command writes the page and a summary to stderr. It exits with 2 if the file exists."""
    path = world_database(tmp_path / "a.duckdb", World(seed=1, companies=20, visits=300, days=40, end_date=END))
    options = ("--db", str(path), "--out", str(tmp_path / "report.html"), "--since", "7d", "--title", "Mine")
    command = [sys.executable, "-c", "from leadfeeder_async.cli import main; main()", "report", *options]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    report = read_report(path, since="7d")
    assert (done.returncode, done.stdout) == (0, "")
    summary = f"{report.totals.visits} visits of {report.totals.companies} companies, 2026-11-18 to 2026-11-24, "
    assert done.stderr.startswith(summary)
    assert "<h1>Mine</h1>" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert again.returncode == 2
    assert "exists" in again.stderr
    assert "overwrite" in again.stderr


def test_command_warns_of_an_unfinished_sync(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says on stderr that the first sync has not finished."""
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=state(END, END))
    report_command(db=path, out=tmp_path / "report.html")
    assert "The first sync has not finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("zone", "day"),
    [("UTC", date(2026, 11, 20)), ("Europe/Berlin", date(2026, 11, 21)), ("America/New_York", date(2026, 11, 20))],
)
def test_days_of_a_time_zone(tmp_path: Path, zone: str, day: date) -> None:
    """A visit counts on its day in the time zone of the report, which the page names."""
    visits = [one_visit(started_at="2026-11-20T23:30:00Z")]
    synced = state(date(2026, 9, 1), date(2026, 11, 25), finished_at="2026-11-25T01:00:00Z")
    path = make_database(tmp_path / "a.duckdb", visits=visits, sync_state=synced)
    report = read_report(path, tz=zone)
    assert [bucket.day for bucket in report.time_buckets if bucket.visits] == [day]
    assert report.window.end == date(2026, 11, 23 if zone == "America/New_York" else 24)
    assert f"in {zone}" in text_of(body_of(render(report)))


@pytest.mark.parametrize(
    ("zone", "first"),
    [("UTC", date(2026, 11, 20)), ("Asia/Tokyo", date(2026, 11, 21)), ("America/Lima", date(2026, 11, 20))],
)
def test_first_day_of_a_time_zone(tmp_path: Path, zone: str, first: date) -> None:
    """A report begins with the first day of its time zone that is completely in the database."""
    for last_day in (date(2026, 11, 25), date(2026, 11, 21)):
        synced = state(date(2026, 11, 20), last_day, finished_at=f"{last_day}T21:00:00Z")
        path = make_database(tmp_path / f"{last_day}.duckdb", visits=[one_visit()], sync_state=synced)
        assert read_report(path, tz=zone).window.start == first


def test_unknown_time_zone(tmp_path: Path) -> None:
    """A time zone that does not exist is refused, with the most similar one."""
    with pytest.raises(ConfigurationError, match=r"tz='Europe/Berln' is not a time zone. Did you mean 'Europe/Berlin'"):
        read_report(make_database(tmp_path / "a.duckdb"), tz="Europe/Berln")


@pytest.mark.parametrize("kind", ["same", "other path", "hard link"])
def test_report_never_replaces_its_database(tmp_path: Path, kind: str) -> None:
    """The database is rejected as the file of the page, also with ``overwrite``."""
    database = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=state(END, END))
    out = tmp_path / "x" / ".." / "a.duckdb" if kind == "other path" else tmp_path / "link.html"
    (tmp_path / "x").mkdir()
    if kind == "hard link":
        out.hardlink_to(database)
    before = database.read_bytes()
    with pytest.raises(ConfigurationError, match="is the database and would be overwritten"):
        write_report(database, database if kind == "same" else out, overwrite=True)
    assert database.read_bytes() == before


@pytest.mark.parametrize("name", ["localtime", "posixrules", "posix/Europe/Berlin", "right/UTC"])
def test_names_that_are_no_time_zones_elsewhere(tmp_path: Path, name: str) -> None:
    """Files of this computer's time zone database are no time zones for DuckDB."""
    with pytest.raises(ConfigurationError, match="is not a time zone"):
        read_report(make_database(tmp_path / "a.duckdb"), tz=name)


@pytest.mark.parametrize("since", ["0001-01-01", "0900-01-01"])
def test_report_since_an_early_year(tmp_path: Path, since: str) -> None:
    """A first day long ago is no error, and neither is the period before it."""
    path = make_database(tmp_path / "a.duckdb")
    assert read_report(path, since=since).window.start >= date(1970, 1, 1)
    with pytest.raises(ConfigurationError, match="is before 1970-01-01"):
        read_report(path, since=since, until="0950-01-01")
    with pytest.raises(ConfigurationError, match="is not a date"):
        read_report(path, since="9" * 5_000 + "d")


@pytest.mark.parametrize("until", [date(1, 1, 5), "0001-01-05", "1969-12-31"])
def test_last_day_before_1970(until: date | str) -> None:
    """A last day before 1970 is refused, also if the period before it would be outside the calendar."""
    with pytest.raises(ConfigurationError, match="before 1970-01-01"):
        requested_window("30d", until, None, date(2026, 1, 1))


def test_future_visit_before_the_first_sync_is_complete(tmp_path: Path) -> None:
    """The page of an incomplete first sync ends today, although a visit is dated in the future."""
    now = datetime.now(UTC)
    starts = {"1": now - timedelta(days=2), "2": now + timedelta(days=900)}
    visits = [{**one_visit(), "id": row, "started_at": start.isoformat()} for row, start in starts.items()]
    report = read_report(make_database(tmp_path / "a.duckdb", visits=visits))
    assert now.date() - timedelta(1) <= report.window.end <= now.date()
    assert report.totals.visits == 1


def test_report_with_a_name_that_is_too_long(tmp_path: Path) -> None:
    """The error about such a name is one of this package."""
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=state(date(2026, 9, 1), END))
    with pytest.raises(CheckpointError, match="too long"):
        write_report(path, tmp_path / f"{'x' * 300}.html")
