"""Visits of the days of a time zone."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import AsyncLeadfeeder, BadRequestError, CheckpointError, ConfigurationError, Progress, WebVisit
from leadfeeder_async._core.server_clock import ServerClock
from leadfeeder_async.pagination.date_range import DateWindow, parse_time_zone
from leadfeeder_async.pagination.local_days import local_days
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import leadfeeder
from tests.jobs.helpers import read_ids
from tests.support.clients import client_of
from tests.support.servers import handler_server

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Pago_Pago")


def visits_of(visits: list[WebVisit], first: date, last: date, zone: str) -> set[str]:
    """Return the ids of visits by the calendar of a time zone."""
    return {
        visit.id
        for visit in visits
        if visit.started_at and first <= visit.started_at.astimezone(parse_time_zone(zone)).date() <= last
    }


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_days_of_a_zone(sandbox: Sandbox, lf: AsyncLeadfeeder, zone: str, order: str) -> None:
    """The visits are those of the days of the zone, whatever the order."""
    day = sandbox.end_date - timedelta(5)
    everything = await lf.web_visits.search(start_date=day - timedelta(6), end_date=day + timedelta(6)).collect()
    days = (day - timedelta(2), day)
    found = await lf.web_visits.search(start_date=days[0], end_date=days[1], tz=zone, order=order).collect()  # type: ignore[arg-type]
    assert len(found) == len({visit.id for visit in found})
    assert {visit.id for visit in found} == visits_of(everything, *days, zone)


async def test_days_of_a_zone_are_not_days_in_utc(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """A list of local days has other visits than one in UTC, has no count and can be limited."""
    days = {"start_date": sandbox.end_date - timedelta(20), "end_date": sandbox.end_date - timedelta(1)}
    utc, local = lf.web_visits.search(**days, tz="UTC"), lf.web_visits.search(**days, tz="Pacific/Kiritimati")
    first, second = [visit.id for visit in await utc.collect()], [visit.id for visit in await local.collect()]
    assert set(first) != set(second)
    assert (await utc.count(), await local.count()) == (len(first), None)
    limited = lf.web_visits.search(**days, tz="Pacific/Kiritimati", limit=3)
    assert [visit.id for visit in await limited.collect()] == second[:3]


async def test_resume_needs_the_same_zone(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """The time zone is part of the description of a list. The rest of an export has each visit once."""
    out, day = tmp_path / "visits.ndjson", sandbox.end_date - timedelta(3)
    days = {"start_date": day - timedelta(9), "end_date": day}

    def stop(progress: Progress) -> None:
        if progress.done:
            raise InterruptedError

    berlin = lf.web_visits.search(**days, tz="Europe/Berlin", page_size=10)
    with pytest.raises(InterruptedError):
        await berlin.to_file(out, on_progress=stop)
    for zone in ("UTC", "Europe/Madrid"):
        with pytest.raises(CheckpointError, match=r"days of Europe/Berlin"):
            await lf.web_visits.search(**days, tz=zone, page_size=10).to_file(out, resume=True)
    await berlin.to_file(out, resume=True)
    assert read_ids(out) == [visit.id async for visit in berlin]


@given(
    day=st.dates(date(1975, 1, 1), date(2040, 12, 31)),
    length=st.integers(0, 400),
    zone=st.sampled_from((*ZONES, "America/Sao_Paulo", "Africa/Casablanca", "Asia/Gaza", "Australia/Lord_Howe")),
    offset=st.integers(-100_000, 100_000),
)
def test_every_instant_belongs_to_its_days(day: date, length: int, zone: str, offset: int) -> None:
    """An instant near the ends is kept if its local date is in the range, and its day in any zone is requested."""
    window = DateWindow(day, day + timedelta(length))
    found = local_days(window, zone)
    tz = parse_time_zone(zone)
    for edge in (window.start, window.end + timedelta(1)):
        instant = datetime.combine(edge, time(), UTC) + timedelta(seconds=offset)
        belongs = window.start <= instant.astimezone(tz).date() <= window.end
        if found is None:
            assert belongs == (window.start <= instant.date() <= window.end)
        else:
            assert belongs == (found.start <= instant < found.end)
            for hours in (-12, 0, 14):
                day = (instant + timedelta(hours=hours)).date()
                assert not belongs or found.requested_days.start <= day <= found.requested_days.end


async def test_rejected_days_in_the_past_are_an_error() -> None:
    """A range that the API rejects for another reason is not shortened."""

    async def respond(request: web.Request) -> web.Response:
        body = await request.json()
        days = (date.fromisoformat(body["end_date"]) - date.fromisoformat(body["start_date"])).days + 1
        status = 400 if days > 31 else 200
        return web.json_response({"data": [], "errors": [{"code": "range_too_long"}] * (days > 31)}, status=status)

    async with handler_server(respond) as url, client_of(url) as lf:
        with pytest.raises(BadRequestError, match="range_too_long"):
            await lf.web_visits.search(
                start_date="2026-03-10", end_date="2026-04-08", tz="America/Los_Angeles"
            ).collect()


@pytest.mark.parametrize("options", [{"tz": "Europe/Berlin"}, {"order": "newest", "limit": 2}])
async def test_exports_read_times_as_loops_do(options: dict[str, Any], tmp_path: Path) -> None:
    """Times that are numbers select and order the same visits in an export as in a loop."""
    starts = [datetime(2026, 11, day, hour, tzinfo=UTC) for day in (1, 2) for hour in (1, 12, 23)]

    async def respond(request: web.Request) -> web.Response:
        body = await request.json()
        asked = [time for time in starts if body["start_date"] <= f"{time:%Y-%m-%d}" <= body["end_date"]]
        data = [{"id": f"{time:%d-%H}", "attributes": {"started_at": time.timestamp()}} for time in asked]
        return web.json_response({"data": data, "meta": {"pagination": {"total_count": len(data), "page_count": 1}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        visits = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-01", **options)
        expected = [visit.id for visit in await visits.collect()]
        await visits.to_file(tmp_path / "visits.ndjson")
    assert read_ids(tmp_path / "visits.ndjson") == expected != []


@pytest.mark.parametrize("feed", [None, "1"])
@pytest.mark.parametrize("order", ["oldest", "newest"])
@pytest.mark.parametrize(("zone", "now"), [("Europe/Berlin", "2026-11-05T12:00"), ("Asia/Tokyo", "2026-11-04T16:00")])
async def test_server_that_rejects_days_after_today(
    zone: str, now: str, order: Literal["oldest", "newest"], feed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days that the caller did not name are left out if the API rejects them because they have not begun."""
    today = now[:10]
    monkeypatch.setattr(ServerClock, "now", lambda _: datetime.fromisoformat(f"{now}+00:00"))
    visits = {"before": "2026-11-02T10:00:00Z", "early": "2026-11-04T15:30:00Z", "late": f"{now[:11]}11:00:00Z"}

    async def respond(request: web.Request) -> web.Response:
        body = {**request.query, **json.loads(await request.read() or b"{}")}
        if body["end_date"] > today:
            return web.json_response({"errors": [{"code": "invalid_date"}]}, status=400)
        if request.method == "GET":
            return web.json_response({"data": [{"id": "c-1", "relationships": {"company": {"id": "c"}}}]})
        rows = [
            {
                "id": visit,
                "type": "web_visit",
                "attributes": {"started_at": time},
                "relationships": {"company": {"id": "c"}},
            }
            for visit, time in visits.items()
            if body["start_date"] <= time[:10] <= body["end_date"]
        ]
        return web.json_response({"data": rows, "meta": {"pagination": {"total_count": len(rows)}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        found = lf.web_visits.search(
            start_date="2026-11-04", end_date="2026-11-05", tz=zone, order=order, custom_feed_id=feed
        )
        expected = {visit for visit, time in visits.items() if time > "2026-11-04"}
        assert {visit.id async for visit in found} == expected
        with pytest.raises(BadRequestError):
            await lf.web_visits.search(start_date="2027-11-04", end_date="2027-11-05", tz=zone).collect()


@pytest.mark.parametrize(
    ("zone", "day", "message"),
    [
        ("Europe/Berln", "2026-11-01", r"tz='Europe/Berln' is not a time zone. Did you mean 'Europe/Berlin'"),
        (5, "2026-11-01", "tz=5 must be a string"),
        ("Europe/Berlin", "0001-01-01", "has no start or end in Europe/Berlin"),
        ("America/New_York", "9999-12-31", "has no start or end in America/New_York"),
    ],
)
async def test_invalid_zones_and_days(lf: AsyncLeadfeeder, zone: str, day: str, message: str) -> None:
    """An unknown zone, or a day without a start, is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=message):
        lf.web_visits.search(start_date=day, end_date=day, tz=zone)
    assert lf.stats.requests == 0


def test_zones_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer without time zones, such as Windows, still knows UTC, and the error names the package to install."""
    monkeypatch.setattr("leadfeeder_async.pagination.date_range.available_timezones", set[str])

    def no_zone(name: str) -> ZoneInfo:
        raise ZoneInfoNotFoundError(name)

    monkeypatch.setattr("leadfeeder_async.pagination.date_range.ZoneInfo", no_zone)
    assert parse_time_zone("UTC") is UTC
    with pytest.raises(ConfigurationError, match="Run `pip install tzdata`"):
        parse_time_zone("Europe/Berlin")


async def test_command(sandbox: Sandbox, lf: AsyncLeadfeeder) -> None:
    """``export visits --tz`` has the days of the zone and names it. Visiting companies have days in UTC only."""
    day = sandbox.end_date - timedelta(3)
    options = ("--since", f"{day - timedelta(6)}", "--until", f"{day}")
    expected = [v async for v in lf.web_visits.search(start_date=day - timedelta(6), end_date=day, tz="Asia/Kolkata")]
    code, out, err = await leadfeeder(sandbox, "export", "visits", *options, "--tz", "Asia/Kolkata")
    assert (code, len(out.splitlines())) == (0, len(expected))
    assert f"visits of {day - timedelta(6)} to {day} Asia/Kolkata in" in err
    code, _, err = await leadfeeder(sandbox, "export", "visitor-companies", *options)
    assert (code, f" of {day - timedelta(6)} to {day} UTC in" in err) == (0, True)
    code, out, err = await leadfeeder(sandbox, "export", "visitor-companies", *options, "--tz", "Asia/Kolkata")
    assert (code, out, "leadfeeder export visits --tz" in " ".join(err.split())) == (2, "", True)
