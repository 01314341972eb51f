"""The report page: its numbers, its limits, what it refuses, and what cannot break it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadfeeder_async import CheckpointError, ConfigurationError, DatabaseError, DatabaseLockedError
from leadfeeder_async.cli import exit_code
from leadfeeder_async.cli.report_command import report as report_command
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.report import write_report
from leadfeeder_async.report.charts import scale
from leadfeeder_async.report.html import PLACEHOLDER
from leadfeeder_async.report.load import read_report, step_for
from leadfeeder_async.report.render import render
from leadfeeder_async.report.report_data import Balance
from leadfeeder_async.report.tables import MOST_TAGS
from leadfeeder_async.sandbox import World
from tests.support.database import company_row, make_database, state, visit_row, world_database

Row = dict[str, Any]
END = date(2026, 11, 24)
MONTH = DateWindow(END - timedelta(29), END)


def body_of(page: str) -> ET.Element:
    """Return the page's body; that it is XML shows that no value has broken its markup."""
    inside = re.search(r"<body>.*</body>", re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL), re.DOTALL)
    assert inside
    return ET.fromstring(inside[0])


def text_of(part: ET.Element) -> str:
    return " ".join("".join(part.itertext()).split())


def table_under(body: ET.Element, section: str, number: int = 0) -> list[list[str]]:
    """Return the cells of a section's table, by rows, its head left out."""
    found = body.findall(f".//section[@aria-labelledby='{section}']//table")[number]
    return [[text_of(cell) for cell in row] for row in found.findall("./tbody/tr") + found.findall("./tfoot/tr")]


def tiles_of(body: ET.Element) -> dict[str, list[str]]:
    tiles = body.findall(".//section[@aria-labelledby='glance']/dl/div")
    return {text_of(tile[0]): [text_of(part) for part in tile[1:]] for tile in tiles}


# The same numbers once more, counted by hand.


def began(visit: Row) -> datetime:
    return datetime.fromisoformat(visit["started_at"]).astimezone(UTC)


def standings(visits: Iterable[Row]) -> list[tuple[Row, str]]:
    """Tell of each visit with a time what it was to its company."""
    last, told = dict[str, datetime](), list[tuple[Row, str]]()
    for visit in sorted((one for one in visits if one["started_at"]), key=lambda one: (began(one), one["id"])):
        company, when = visit["company_id"], began(visit)
        if company is None:
            told.append((visit, "unidentified"))
            continue
        before = last.get(company)
        apart = when - before if before else None
        told.append((visit, "new" if apart is None else "reengaged" if apart >= timedelta(30) else "returning"))
        last[company] = when
    return told


def inside(told: Iterable[tuple[Row, str]], window: DateWindow) -> list[tuple[Row, str]]:
    return [one for one in told if window.start <= began(one[0]).date() <= window.end]


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def counts(told: Sequence[tuple[Row, str]]) -> dict[str, float | None]:
    by = Counter(standing for _, standing in told)
    return {
        "visits": len(told),
        "companies": len({visit["company_id"] for visit, _ in told} - {None}),
        "new": by["new"],
        "reengaged": by["reengaged"],
        "returning": by["returning"],
        "unidentified": by["unidentified"],
        "reengaged_companies": len({visit["company_id"] for visit, standing in told if standing == "reengaged"}),
        "visit_length": mean(visit["visit_length"] for visit, _ in told),
        "page_depth": mean(visit["page_depth"] for visit, _ in told),
    }


def shares(told: Sequence[tuple[Row, str]], label: Any) -> list[list[str]]:
    """Return the rows of a breakdown, the rest in one."""
    visits, companies = Counter[str](), defaultdict[str, set[str]](set)
    for visit, _ in told:
        visits[label(visit)] += 1
        companies[label(visit)] |= {visit["company_id"]} - {None}

    def row(name: str, some: int, of: str) -> list[str]:
        return [name, f"{some:,} {100 * some / len(told):.1f} %", of]

    order = sorted(visits, key=lambda name: (-visits[name], name))
    rows = [row(name, visits[name], f"{len(companies[name]):,}") for name in order[:12]]
    rest = sum(visits[name] for name in order[12:])
    return [*rows, row(f"{len(order) - 12} more", rest, "")] if rest else rows


def spoiled(world: World) -> list[Row]:
    """Return a world's visits, some with gaps as the API may leave them, and with far more landing pages."""
    visits = [visit_row(world, visit_id) for visit_id in world.visit_ids()]
    for number, visit in enumerate(visits):
        visit["landing_page_path"] = f"{visit['landing_page_path']}?{number % 7}"
        for every, name in ((11, "company_id"), (13, "visit_length"), (17, "page_depth"), (97, "started_at")):
            if number % every == 0:
                visit[name] = None
    return visits


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_page_shows_what_the_rows_say(seed: int, tmp_path: Path) -> None:
    """Headlines, days, companies and breakdowns on the page are those counted by hand from the same rows."""
    world = World(seed=seed, companies=700, visits=3_000, days=90, end_date=END)
    visits = spoiled(world)
    path = world_database(tmp_path / "a.duckdb", world, visits=visits)
    write_report(path, tmp_path / "report.html")
    body = body_of((tmp_path / "report.html").read_text())
    told = standings(visits)
    now, before = inside(told, MONTH), inside(told, DateWindow(MONTH.start - timedelta(30), MONTH.start - timedelta(1)))
    check_headlines(tiles_of(body), counts(now), counts(before))
    check_days(table_under(body, "visits"), now)
    check_companies(table_under(body, "companies"), now, world)
    assert table_under(body, "landing") == shares(now, lambda visit: visit["landing_page_path"])
    named = shares(
        now, lambda visit: f"{visit['source']} / {visit['medium']}" if visit["source"] else "Direct or unknown"
    )
    assert sorted(table_under(body, "sources")) == sorted(named)
    countries = {company_id: company_row(world, company_id)["country"] for company_id in world.company_ids()}
    where = shares(now, lambda visit: countries.get(visit["company_id"], "Unknown"))
    assert sorted(table_under(body, "countries")) == sorted(where)
    untimed = sum(visit["started_at"] is None for visit in visits)
    assert f"Not counted: {untimed} visits without a time." in text_of(body)


def check_headlines(tiles: dict[str, list[str]], now: dict[str, float | None], before: dict[str, float | None]) -> None:
    names = {
        "Visits": "visits",
        "Companies": "companies",
        "New companies": "new",
        "Re-engaged companies": "reengaged_companies",
    }
    for shown, name in names.items():
        value, old = now[name], before[name]
        assert value is not None
        assert old
        change = 100 * (value - old) / old
        assert tiles[shown][0] == f"{value:,}"
        arrow = "▲ up" if change > 0 else "▼ down"
        assert tiles[shown][1] == (
            f"{arrow} {abs(change):,.1f} % from {old:,}" if abs(change) >= 0.05 else f"as before, {old:,}"
        )
    assert tiles["Minutes per visit"][0] == f"{(now['visit_length'] or 0) / 60:.1f}"
    assert tiles["Pages per visit"][0] == f"{now['page_depth']:.1f}"


def check_days(rows: list[list[str]], now: Sequence[tuple[Row, str]]) -> None:
    by_day = Counter((began(visit).date(), standing) for visit, standing in now)
    assert len(rows) == 30
    for place, row in enumerate(rows):
        day = MONTH.start + timedelta(place)
        kinds = [by_day[day, kind] for kind in ("returning", "reengaged", "new", "unidentified")]
        assert row == [f"{day.day} {day:%b} {day.year}", *(f"{number:,}" for number in (sum(kinds), *kinds))]


def check_companies(rows: list[list[str]], now: Sequence[tuple[Row, str]], world: World) -> None:
    own = defaultdict[str, list[Row]](list)
    for visit, _ in now:
        if visit["company_id"]:
            own[visit["company_id"]].append(visit)

    def seconds(company: str) -> float:
        return sum(visit["visit_length"] or 0 for visit in own[company])

    order = sorted(own, key=lambda company: (-len(own[company]), -seconds(company), company))[:25]
    assert len(rows) == 25
    for row, company in zip(rows, order, strict=True):
        facts = company_row(world, company)
        assert row[0].startswith(facts["name"])
        assert ("Do not contact" in row[0]) == facts["do_not_contact"]
        assert row[1:4] == [
            f"{len(own[company]):,}",
            f"{seconds(company) / 60:,.1f}",
            f"{sum(visit['page_depth'] or 0 for visit in own[company]):,}",
        ]
        assert row[4] == f"{facts['intent_score']:.1f} {facts['intent_tier']}"
        assert row[5] == facts["country"]
        last = max(map(began, own[company]))
        assert row[6] == f"{last.day} {last:%b}"


FIRST = datetime(2026, 7, 1, tzinfo=UTC)
moments = st.integers(0, 147 * 86_400 - 1).map(lambda seconds: FIRST + timedelta(seconds=seconds))
on_the_edge = st.sampled_from(range(5)).map(lambda months: FIRST + timedelta(0.5 + 30 * months))
companies = st.none() | st.sampled_from("abc")
lengths = st.none() | st.integers(0, 5_000)
visit_rows = st.lists(st.tuples(companies, moments | on_the_edge, lengths, st.none() | st.integers(0, 20)), max_size=30)


@given(visit_rows, st.integers(1, 70))
@settings(max_examples=40)
def test_figures_are_those_counted_by_hand(rows: list[tuple[Any, ...]], days: int) -> None:
    """Any visits, on any instants, fall into the right days and standings; 30 days to the second are a re-engagement."""
    visits = [
        {
            "id": f"{number:02}",
            "company_id": who,
            "started_at": when.isoformat(),
            "visit_length": length,
            "page_depth": depth,
        }
        for number, (who, when, length, depth) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = make_database(Path(folder) / "a.duckdb", visits=visits, sync_state=state(date(2026, 7, 1), END))
        report = read_report(path, since=f"{days}d")
    now = inside(standings(visits), report.window)
    expected = counts(now)
    for name, value in expected.items():
        assert getattr(report.totals, name) == (pytest.approx(value) if isinstance(value, float) else value), name
    assert report.totals_before is not None or report.before.start < date(2026, 7, 1)
    by_day = Counter((began(visit).date(), standing) for visit, standing in now)
    assert [span.day for span in report.spans] == [report.window.start + timedelta(place) for place in range(days)]
    for span in report.spans:
        assert span.categories == tuple(
            by_day[span.day, kind] for kind in ("returning", "reengaged", "new", "unidentified")
        )


def one_visit(**more: Any) -> Row:
    return {"id": "1", "company_id": "7", "started_at": "2026-11-24T10:00:00Z", **more}


def page_of(tmp_path: Path, name: str = "a.duckdb", title: str | None = None, **tables: Iterable[Row]) -> str:
    """Return the page of a database with these rows, which must be sound."""
    page = render(read_report(make_database(tmp_path / name, **tables), title=title))
    body_of(page)
    return page


def test_nothing_in_the_data_becomes_markup(tmp_path: Path) -> None:
    """Names, paths, tags, sources, endpoints and the title are shown as they are, never as HTML."""
    evil = "</td><script>alert('1')</script><img src=x onerror=alert(2)>\" & \x00$title"
    company = {
        "id": "7",
        "name": evil,
        "industry": evil,
        "country": evil,
        "intent_tier": evil,
        "tag_ids": ["t"],
        "employee_range": evil,
    }
    page = page_of(
        tmp_path,
        title=evil,
        visits=[one_visit(source=evil, medium=evil, landing_page_path=evil)],
        companies=[company],
        tags=[{"id": "t", "name": evil}],
        usage=[{"month": evil, "method": evil, "endpoint": evil, "requests": 1}],
        sync_state=state(END, END),
    )
    assert page.count("<script>") == page.count("</script>") == 1
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(&#x27;1&#x27;)") >= 12
    assert "\x00" not in page


def test_the_page_asks_for_nothing(tmp_path: Path) -> None:
    """It names no other resource, and its policy allows its own style and script by hash and nothing else."""
    page = render(
        read_report(
            world_database(tmp_path / "a.duckdb", World(seed=1, companies=400, visits=12_345, days=90, end_date=END))
        )
    )
    assert not re.search(r"(?i)\b(src|href|action|srcset|poster)=|url\(|@import|https?:", page)
    assert not re.search(r'\sstyle="|\son\w+="', page)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy

    def hash_of(name: str) -> str:
        inside = re.search(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert inside
        return b64encode(sha256(inside[1].encode()).digest()).decode()

    allowed = f"style-src 'sha256-{hash_of('style')}'; script-src 'sha256-{hash_of('script')}'"
    assert policy[1] == f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    assert len(page.encode()) < 100_000


def test_empty_database(tmp_path: Path) -> None:
    """A database without a row gives a page that says so."""
    text = text_of(body_of(page_of(tmp_path)))
    assert "The database holds no visits yet." in text
    assert "No visits in these days." in text
    assert text.count("No data:") == 2


def test_synced_database_without_a_visit(tmp_path: Path) -> None:
    """A synced month without a visit is a page of zeros that are compared with zeros."""
    page = page_of(tmp_path, sync_state=state(date(2026, 9, 1), END, finished_at="2026-11-25T01:00:00Z"))
    assert tiles_of(body_of(page))["Visits"] == ["0", "as before, 0"]
    assert "holds no visits yet" not in page


def test_one_day_with_gaps(tmp_path: Path) -> None:
    """One visit that knows nothing but its time is shown, its gaps as dashes."""
    body = body_of(page_of(tmp_path, visits=[one_visit()], sync_state=state(END, END)))
    assert table_under(body, "companies") == [
        ["Company 7 New", "1", PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, PLACEHOLDER, "24 Nov", PLACEHOLDER]
    ]
    assert table_under(body, "landing") == [["Unknown", "1 100.0 %", "1"]]
    assert table_under(body, "sources") == [["Direct or unknown", "1 100.0 %", "1"]]
    assert table_under(body, "countries") == [["Unknown", "1 100.0 %", "1"]]
    assert "Asked for was 26 Oct to 24 Nov 2026; the database holds the whole of 24 Nov 2026 only." in text_of(body)
    assert "The first sync is not through" in text_of(body)


@pytest.mark.parametrize(("finished_at", "noted"), [("2026-11-24T23:59:59Z", True), ("2026-11-25T00:00:00Z", False)])
def test_a_day_under_way(finished_at: str, noted: bool, tmp_path: Path) -> None:
    """A last day that was not over when it was synced is shown with a warning."""
    page = page_of(tmp_path, visits=[one_visit()], sync_state=state(END, END, finished_at=finished_at))
    assert ("24 Nov 2026 was not over when it was synced, at 23:59" in page) == noted


def test_the_day_under_way_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    """Without a last day, the report ends with the last one that was over when it was synced."""
    held = state(date(2026, 9, 1), END, finished_at="2026-11-24T12:00:00Z")
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=held)
    report = read_report(path, since="7d")
    assert report.window == DateWindow(date(2026, 11, 17), date(2026, 11, 23))
    assert report.totals.visits == 0
    assert "not over when it was synced" not in render(report)
    assert read_report(path, since="7d", until=END).totals.visits == 1


def test_figures_that_are_not_numbers(tmp_path: Path) -> None:
    """A length or a score that is no number at all counts as unknown."""
    path = make_database(
        tmp_path / "a.duckdb", visits=[one_visit()], companies=[{"id": "7"}], sync_state=state(END, END)
    )
    with duckdb.connect(path) as database:
        database.execute("UPDATE visits SET visit_length = 'nan'; UPDATE companies SET intent_score = '-inf'")
    assert table_under(body_of(render(read_report(path))), "companies")[0][2:5] == [
        PLACEHOLDER,
        PLACEHOLDER,
        PLACEHOLDER,
    ]


def test_the_page_stays_small_and_whole(tmp_path: Path) -> None:
    """A huge name, a hundred tags and 200 countries are cut visibly, and what is cut is counted."""
    visits = [one_visit(id=str(number), location_id=str(number)) for number in range(200)]
    places = [{"id": str(number), "country": f"Country {number}"} for number in range(200)]
    company = {"id": "7", "name": "Ä" * 50_000, "tag_ids": [f"tag-{number}" for number in range(100)]}
    page = page_of(tmp_path, visits=visits, locations=places, companies=[company], sync_state=state(END, END))
    body = body_of(page)
    assert len(page.encode()) < 60_000
    assert table_under(body, "companies")[0][0] == "Ä" * 159 + "… New"
    assert table_under(body, "companies")[0][7].endswith(f"and {100 - MOST_TAGS} more")
    countries = table_under(body, "countries")
    assert (len(countries), countries[-1]) == (13, ["188 more", "188 94.0 %", ""])
    assert "200 countries, by visits" in text_of(body)


def test_re_engaged_from_the_day_on_that_counts(tmp_path: Path) -> None:
    """A silence of 30 days to the second is a re-engagement, one second less is a return."""
    times = {
        "a": ("2026-10-20T10:00:00Z", "2026-11-19T10:00:00Z"),
        "b": ("2026-10-20T10:00:00Z", "2026-11-19T09:59:59Z"),
    }
    visits = [
        {"id": f"{company}{place}", "company_id": company, "started_at": when}
        for company, pair in times.items()
        for place, when in enumerate(pair)
    ]
    path = make_database(tmp_path / "a.duckdb", visits=visits, sync_state=state(date(2026, 9, 1), END))
    totals = read_report(path, since="7d").totals
    assert (totals.reengaged, totals.returning, totals.new) == (1, 1, 0)


@pytest.mark.parametrize(
    ("options", "window", "compared"),
    [
        ({}, DateWindow(date(2026, 10, 26), END), True),
        ({"since": "7d"}, DateWindow(date(2026, 11, 18), END), True),
        ({"since": "2026-11-01", "until": "2026-11-10"}, DateWindow(date(2026, 11, 1), date(2026, 11, 10)), True),
        ({"since": "2026-09-20"}, DateWindow(date(2026, 9, 20), END), False),
        ({"since": "300d"}, DateWindow(date(2026, 9, 1), END), False),
        ({"since": date(2026, 11, 1), "until": date(2027, 1, 1)}, DateWindow(date(2026, 11, 1), END), True),
    ],
)
def test_days_of_the_report(options: dict[str, Any], window: DateWindow, compared: bool, tmp_path: Path) -> None:
    """Days count back from the last whole one; what the database does not hold is neither shown nor compared with."""
    later = one_visit(id="2", started_at="2026-11-25T01:00:00Z")
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit(), later], sync_state=state(date(2026, 9, 1), END))
    report = read_report(path, **options)
    assert report.window == window
    assert (report.totals_before is not None) == compared
    assert report.totals.visits == (window.end == END)


@pytest.mark.parametrize("days", [1, 92, 93, 400, 731, 732, 3_660])
def test_long_reports_have_broader_bars(days: int, tmp_path: Path) -> None:
    """Whatever the period, there are at most about a hundred bars, they cover each day once, and lose no visit."""
    start = END - timedelta(days - 1)
    visits = [
        one_visit(id=str(number), started_at=f"{start + timedelta(number % days)}T23:30:00-02:00")
        for number in range(50)
    ]
    path = make_database(tmp_path / "a.duckdb", visits=visits, sync_state=state(start, END))
    report = read_report(path, since=f"{days}d")
    assert report.step == step_for(days)
    assert len(report.spans) <= 125
    assert (report.spans[0].day, report.spans[-1].last_day) == (start, END)
    assert all(one.last_day + timedelta(1) == two.day for one, two in zip(report.spans, report.spans[1:], strict=False))
    assert sum(span.visits for span in report.spans) == report.totals.visits
    body_of(render(report))


@given(st.integers(0, 10**12))
def test_axis_is_round(largest: int) -> None:
    """An axis holds the largest value with two to six ticks, and wastes less than one of them."""
    top, ticks = scale(largest)
    assert ticks[0] == 0
    assert ticks[-1] == top >= largest
    assert 2 <= len(ticks) <= 6
    assert largest == 0 or ticks[-2] < largest


def credit(seen_at: str, used: int, reset: str | None = "2026-12-01") -> Row:
    return {"seen_at": seen_at, "available": 1_000, "used": used, "remaining": 1_000 - used, "next_reset_on": reset}


@pytest.mark.parametrize(
    ("readings", "says"),
    [
        ([credit("2026-11-20T00:00:00Z", 100)], "The next reset is on 1 Dec 2026. How fast they go is known after"),
        (
            [credit("2026-11-10T00:00:00Z", 100), credit("2026-11-20T00:00:00Z", 400)],
            "30.0 a day were used. At this pace the rest lasts 20 days, beyond the reset",
        ),
        (
            [credit("2026-11-18T00:00:00Z", 500), credit("2026-11-20T00:00:00Z", 900)],
            "200.0 a day were used. At this pace the rest lasts 0 days, short of the reset",
        ),
        (
            [credit("2026-10-30T00:00:00Z", 900, "2026-11-01"), credit("2026-11-20T00:00:00Z", 10)],
            "How fast they go is known after",
        ),
        (
            [credit("2026-11-10T00:00:00Z", 5, None), credit("2026-11-20T00:00:00Z", 5, None)],
            "0.0 a day were used. The next reset is not known.",
        ),
        (
            [credit("2026-10-30T00:00:00Z", 10, "2026-11-01"), credit("2026-11-20T00:00:00Z", 400)],
            "How fast they go is known after",
        ),
        ([{"seen_at": "2026-11-20T00:00:00Z"}], "The next reset is not known."),
    ],
)
def test_how_long_credits_last(readings: list[Row], says: str, tmp_path: Path) -> None:
    """The pace is taken within one credit period, and set against the next reset."""
    page = page_of(tmp_path, credits=readings, sync_state=state(date(2026, 9, 1), END))
    assert says in text_of(body_of(page))


def test_pace_of_a_balance_that_shrank() -> None:
    """Fewer credits used than before are no pace."""
    seen = datetime(2026, 11, 20, tzinfo=UTC)
    assert Balance(seen_at=seen, since=seen - timedelta(5), used_since=-3).per_day is None


def test_requests_of_each_month(tmp_path: Path) -> None:
    """Requests and credits are summed by month, the last month by endpoint, and set against the published quota."""
    usage = [
        {"month": month, "method": "GET", "endpoint": endpoint, "requests": requests, "credits_charged": charged}
        for month, endpoint, requests, charged in (
            ("2026-10", "/v1/tags", 400, 0),
            ("2026-11", "/v1/tags", 1_000, None),
            ("2026-11", "/v1/ip", 1_500, 70),
        )
    ]
    body = body_of(page_of(tmp_path, usage=usage, sync_state=state(date(2026, 9, 1), END)))
    assert table_under(body, "use") == [["2026-11", "2,500", "70"], ["2026-10", "400", "0"]]
    assert table_under(body, "use", 1) == [["GET /v1/ip", "1,500", "70"], ["GET /v1/tags", "1,000", PLACEHOLDER]]
    assert "2,500 requests in 2026-11, 2.5 % of the 100,000 a month" in text_of(body)


def test_accounts_stay_apart(tmp_path: Path) -> None:
    """One of several accounts has to be chosen, and nothing of another gets into its numbers."""
    second = {"account_id": "2", "version": 1, "first_day": END, "last_day": END}
    visits = [one_visit(), one_visit(account_id="2", id="1"), one_visit(account_id="2", id="2")]
    names = [{"id": "7", "name": "Ours"}, {"account_id": "2", "id": "7", "name": "Theirs"}]
    path = make_database(tmp_path / "a.duckdb", visits=visits, companies=names, sync_state=[*state(END, END), second])
    with pytest.raises(ConfigurationError, match="holds 2 accounts: 2, 310042") as caught:
        read_report(path)
    assert "--account-id" in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"does not hold account '3'.*It holds 2, 310042"):
        read_report(path, account_id="3")
    theirs = read_report(path, account_id="2")
    assert (theirs.totals.visits, theirs.visitors[0].name) == (2, "Theirs")
    assert read_report(path, account_id="310042").totals.visits == 1


def test_what_is_no_synced_database(tmp_path: Path) -> None:
    """A file that is missing, no database, without the tables or of another version is named with what to do."""
    (tmp_path / "text.duckdb").write_text("not a database " * 500)
    with duckdb.connect(tmp_path / "other.duckdb") as database:
        database.execute("CREATE TABLE visits (id VARCHAR)")
    make_database(tmp_path / "new.duckdb", sync_state=[{**state(END, END)[0], "version": 99}])
    said = {
        "missing.duckdb": "There is no database at",
        ".": "There is no database at",
        "text.duckdb": "not a valid DuckDB database",
        "other.duckdb": "is not a synced database: it has no companies",
        "new.duckdb": "has schema version 99, and this package reads 1",
    }
    for name, words in said.items():
        with pytest.raises(DatabaseError, match=words) as caught:
            read_report(tmp_path / name)
        assert caught.value.hint
        assert exit_code(caught.value) == 2


def test_a_column_of_another_kind(tmp_path: Path) -> None:
    """A database whose column has another type is refused, not misread."""
    with duckdb.connect(make_database(tmp_path / "a.duckdb")) as database:
        database.execute("ALTER TABLE visits ALTER page_depth TYPE VARCHAR")
    with pytest.raises(DatabaseError, match=r"it has no visits\.page_depth INTEGER"):
        read_report(tmp_path / "a.duckdb")


@contextmanager
def opened_elsewhere(path: Path, *, read_only: bool) -> Iterator[None]:
    """Let another process have a database open."""
    code = (
        f"import duckdb, sys; kept = duckdb.connect({str(path)!r}, read_only={read_only}); "
        "print('open', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"open\n"
        try:
            yield
        finally:
            other.stdin.close()


def test_database_in_use(tmp_path: Path) -> None:
    """A database that another process writes, or this one has open, is named as locked, not as broken."""
    path = make_database(tmp_path / "a.duckdb")
    with opened_elsewhere(path, read_only=False):
        with pytest.raises(DatabaseLockedError, match="Something is writing to") as caught:
            read_report(path)
        assert exit_code(caught.value) == 5
    with duckdb.connect(path), pytest.raises(DatabaseLockedError, match="open already"):
        read_report(path)
    assert read_report(path).totals.visits == 0


def test_without_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says how to get it."""
    monkeypatch.setattr("leadfeeder_async.report.report_database.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'leadfeeder-async\[duckdb\]'"):
        write_report(tmp_path / "a.duckdb", tmp_path / "report.html")


@pytest.mark.parametrize("since", ["soon", "0d", "2027-01-01"])
def test_days_that_cannot_be(since: str, tmp_path: Path) -> None:
    """A first day that is none, or lies after the last, is refused."""
    path = make_database(tmp_path / "a.duckdb", sync_state=state(date(2026, 9, 1), END))
    with pytest.raises(ConfigurationError):
        read_report(path, since=since)
    with pytest.raises(ConfigurationError, match="holds none of the days"):
        read_report(path, since="2026-01-01", until="2026-01-31")


def test_the_database_is_only_read(tmp_path: Path) -> None:
    """Not a byte of the database changes, nothing is left beside it, and others may read it meanwhile."""
    path = world_database(tmp_path / "a.duckdb", World(seed=1, companies=20, visits=300, days=40, end_date=END))
    before = path.read_bytes()
    with opened_elsewhere(path, read_only=True):
        read_report(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.duckdb"]


def test_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """A page that exists is kept unless it may be replaced; one that cannot be written leaves nothing."""
    path, out = make_database(tmp_path / "a.duckdb"), tmp_path / "new" / "report.html"
    write_report(str(path), str(out), title="Weekly")
    assert "<title>Weekly</title>" in out.read_text()
    with pytest.raises(CheckpointError, match="exists"):
        write_report(path, out)
    write_report(path, out, title="Again", overwrite=True)
    assert "<h1>Again</h1>" in out.read_text()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_report(path, path / "report.html")
    assert [one.name for one in out.parent.iterdir()] == ["report.html"]


def test_the_command(tmp_path: Path) -> None:
    """The command writes the page, says what is in it, and leaves stdout alone; wrong use ends with 2."""
    path = world_database(tmp_path / "a.duckdb", World(seed=1, companies=20, visits=300, days=40, end_date=END))
    words = ("--db", str(path), "--out", str(tmp_path / "report.html"), "--since", "7d", "--title", "Mine")
    command = [sys.executable, "-c", "from leadfeeder_async.cli import main; main()", "report", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = read_report(path, since="7d")
    assert (done.returncode, done.stdout) == (0, "")
    said = f"{report.totals.visits} visits of {report.totals.companies} companies, 2026-11-18 to 2026-11-24, "
    assert done.stderr.startswith(said)
    assert "<h1>Mine</h1>" in (tmp_path / "report.html").read_text()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "exists" in again.stderr
    assert "--overwrite" in again.stderr


def test_the_command_warns_of_a_sync_that_is_not_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not only the page says so: numbers that will grow are not taken for the whole."""
    path = make_database(tmp_path / "a.duckdb", visits=[one_visit()], sync_state=state(END, END))
    report_command(db=path, out=tmp_path / "report.html")
    assert "The first sync is not through" in capsys.readouterr().err
