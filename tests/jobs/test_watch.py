"""Watches: which visits are delivered, at which cost, and what survives a restart. On a virtual clock."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    BadRequestError,
    Budget,
    BudgetExceededError,
    CheckpointError,
    ConfigurationError,
    ErrorContext,
    LeadfeederError,
    QuotaExceededError,
    ServerError,
    WatchReading,
    WatchStatus,
)
from leadfeeder_async.jobs.watch.watch_plan import (
    CountedDays,
    by_server_clock,
    choose_reading,
    divide_days,
    interval_within_quota,
    next_floor,
    outage_delay,
    pages_of_new_rows,
    window_to_watch,
)
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.sandbox import Sandbox
from tests.jobs.helpers import FOREIGN_FILES, make_foreign_file, names_in, small_disk
from tests.support.clients import client_for, client_of
from tests.support.clock import VirtualLoop
from tests.support.requirements import needs_permissions
from tests.support.servers import handler_server
from tests.support.visit_server import EPOCH, MemoryStore, VisitServer, ids

NOTHING, TAIL, COMPLETE = WatchReading.NOTHING, WatchReading.TAIL, WatchReading.COMPLETE


@pytest.fixture
def server(virtual: VirtualLoop) -> VisitServer:
    return VisitServer(virtual)


@pytest.fixture
def run(virtual: VirtualLoop) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return virtual.run_until_complete


async def watch_for(visits: Any, seconds: float, delivered: list[str] | None = None) -> list[str]:
    """Consume a watch for some seconds, stop it, and return the ids."""
    delivered = [] if delivered is None else delivered

    async def consume() -> None:
        async with aclosing(visits):
            async for visit in visits:
                delivered.append(visit.id)

    task = asyncio.ensure_future(consume())
    await asyncio.wait([task], timeout=seconds)
    if task.done():
        task.result()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return delivered


# The decisions


@given(st.integers(1, 12_000), st.data())
def test_pages_contain_all_new_rows(count: int, data: st.DataObject) -> None:
    """The chosen pages contain the newest rows, and are at most one more than needed."""
    new = data.draw(st.integers(1, count))
    pages = pages_of_new_rows(count, new, newest_first=False)
    assert (pages.first - 1) * pages.size <= count - new
    assert pages.last * pages.size >= count > (pages.last - 1) * pages.size
    assert -(-new // 100) <= pages.pages <= -(-new // 100) + 1
    assert pages_of_new_rows(count, new, newest_first=True).pages == -(-new // 100)


def test_few_new_rows_need_one_page() -> None:
    """Up to half a page of new rows falls on a single page, whatever the count is."""
    for count in range(50, 5_000, 7):
        assert all(pages_of_new_rows(count, new, newest_first=False).pages == 1 for new in range(1, 51))


def test_reading_after_a_count() -> None:
    """The counts of a poll decide which pages are read."""
    part = CountedDays(DateWindow(date(2026, 3, 1), date(2026, 3, 4)), 100)
    cases: list[tuple[int | None, WatchReading]] = [
        (100, NOTHING), (101, TAIL), (99, COMPLETE), (None, COMPLETE), (10_000, COMPLETE), (10_001, COMPLETE), (9_999, TAIL),
    ]  # fmt: skip
    for count, expected in cases:
        assert choose_reading(part, count, 10_000) is expected, count
    assert choose_reading(CountedDays(part.window, 12_000), 12_000, 10_000) is NOTHING


def test_days_that_are_watched() -> None:
    """The first day never moves back, and follows the newest visit and not the clock alone."""
    first, today = date(2026, 3, 1), date(2026, 3, 20)
    assert next_floor(first, None, today, 3) == first
    assert next_floor(first, date(2026, 3, 10), today, 3) == date(2026, 3, 6)
    assert next_floor(first, date(2099, 1, 1), today, 3) == date(2026, 3, 16)
    assert next_floor(today, date(2026, 3, 10), today, 3) == today
    assert window_to_watch(first, None, today) == DateWindow(first, date(2026, 3, 21))
    assert window_to_watch(first, date(2026, 4, 1), today).end == date(2026, 4, 2)


def test_days_are_divided_below_the_row_limit() -> None:
    """Days are divided into parts that the API returns completely."""
    days = {date(2026, 3, day): rows for day, rows in enumerate([3_000, 4_000, 4_500, 12_000, 10], 1)}
    parts = divide_days(DateWindow(date(2026, 3, 1), date(2026, 3, 6)), days, 10_000)
    assert [(part.start.day, part.end.day) for part in parts] == [(1, 2), (3, 3), (4, 4), (5, 6)]


def test_delays() -> None:
    """Failures lengthen the delay before the next poll."""
    assert [outage_delay(300, failures) for failures in (1, 2, 3, 9)] == [300, 600, 1_200, 3_600]
    assert outage_delay(7_200, 5) == 7_200
    now = datetime(2026, 3, 21, tzinfo=UTC)
    assert interval_within_quota(300, 79_999, 100_000, now, 1) == 300
    half_of_rest = 11 * 86_400 / 500
    assert interval_within_quota(300, 99_000, 100_000, now, 1) == pytest.approx(half_of_rest)
    assert interval_within_quota(300, 100_000, 100_000, now, 1) == 11 * 86_400


# Visits and their cost


def test_new_visits_once(server: VisitServer, run: Any) -> None:
    """Visits before the start are not delivered. Later ones are, in order of time."""
    for number in range(150):
        server.add(f"old{number}", EPOCH - timedelta(minutes=number + 1))
    for number in range(20):
        start = EPOCH + timedelta(minutes=number)
        server.at(start, lambda number=number, start=start: server.add(f"new{number}", start))
    assert run(watch_for(server.watch(), 3_600)) == [f"new{number}" for number in range(20)]


@pytest.mark.parametrize("minutes", [6, 11, 21])
def test_visit_that_is_counted_before_it_is_returned(server: VisitServer, run: Any, minutes: int) -> None:
    """Polls read the days again until the server returns as many visits as it counts."""
    server.add("old", EPOCH - timedelta(hours=1))
    start = EPOCH + timedelta(minutes=7)
    server.at(start, lambda: setattr(server, "hidden", 1))

    def appear() -> None:
        server.hidden = 0
        server.add("late", start)

    server.at(start + timedelta(minutes=minutes), appear)
    assert run(watch_for(server.watch(), 3_600)) == ["late"]


def test_count_that_stays_too_high_costs_few_requests(server: VisitServer, run: Any) -> None:
    """If the server always counts more visits than it returns, most polls only count."""
    for number in range(300):
        server.add(f"old{number}", EPOCH - timedelta(seconds=number + 1))
    server.hidden = 1
    assert run(watch_for(server.watch(), 12 * 3_600)) == []
    assert server.requests < 300


def test_quiet_month_costs_at_most_9000_requests(server: VisitServer, run: Any) -> None:
    """Five-minute polls of a quiet account stay below 9,000 requests in 31 days."""
    for hour in range(0, 744, 30):
        server.at(EPOCH + timedelta(hours=hour), lambda hour=hour: server.add(f"v{hour}"))
    assert len(run(watch_for(server.watch(), 31 * 86_400))) == 25
    assert server.requests <= 9_000


def test_cost_of_a_poll_with_news(server: VisitServer, run: Any) -> None:
    """A poll with new visits is a count, and one request per started hundred."""
    statuses = list[tuple[WatchReading | None, int, int]]()
    before = 0

    def record(status: WatchStatus) -> None:
        nonlocal before
        statuses.append((status.reading, status.delivered, server.requests - before))
        before = server.requests

    for number in range(195):
        server.add(f"old{number}", EPOCH - timedelta(seconds=number + 1))
    for minute, new in ((2, 10), (7, 45), (12, 230)):
        for one in range(new):
            server.at(EPOCH + timedelta(minutes=minute), lambda name=f"v{minute}-{one}": server.add(name))
    run(watch_for(server.watch(on_status=record), 1_000))
    assert statuses == [(COMPLETE, 0, 3), (TAIL, 10, 2), (TAIL, 45, 2), (TAIL, 230, 4)]


def test_servers_that_return_the_newest_first(server: VisitServer, run: Any) -> None:
    """The order of the list is learned from the first reading."""
    server.newest_first = True
    for number in range(250):
        server.add(f"old{number}", EPOCH - timedelta(minutes=number + 1))
    server.at(EPOCH + timedelta(minutes=1), lambda: server.add("new"))
    readings = list[WatchReading | None]()
    watch = server.watch(on_status=lambda status: readings.append(status.reading))
    assert run(watch_for(watch, 700)) == ["new"]
    assert readings == [COMPLETE, TAIL, NOTHING]


def test_visits_without_an_id_are_reported(server: VisitServer, run: Any) -> None:
    """Visits without an id are never delivered twice and never dropped in silence: each poll that reads them reports them."""
    for name in ("", "", "new"):
        server.at(EPOCH + timedelta(minutes=2), lambda name=name: server.add(name))
    problems = list[str]()
    watch = server.watch(on_status=lambda status: problems.extend(problem.message for problem in status.problems))
    assert run(watch_for(watch, 400)) == ["new"]
    assert problems == ["A visit has no id, so it is not known if it was delivered before."] * 2


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_time_without_utc_does_not_end_the_watch(server: VisitServer, run: Any, time: str) -> None:
    """A visit whose time is out of range in UTC is delivered once, and so are those after it."""
    server.times["odd"] = time
    server.at(EPOCH + timedelta(minutes=2), lambda: server.add("odd"))
    server.at(EPOCH + timedelta(minutes=8), lambda: server.add("new"))
    assert run(watch_for(server.watch(), 1_500)) == ["odd", "new"]


@pytest.mark.parametrize("hours", [-12, -8, 0, 9, 14])
@pytest.mark.parametrize("lookback_days", [0, 1, 3])
def test_days_of_another_time_zone(server: VisitServer, run: Any, hours: int, lookback_days: int) -> None:
    """Visits of the lookback in UTC are delivered, in whichever day of the account they are."""
    server.zone = timedelta(hours=hours)
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    server.at(midnight + timedelta(hours=9), lambda: server.add("newest"))
    names = ["newest"]
    for days_ago in range(lookback_days + 1):
        for hour in (0, 5, 20):
            start, name = midnight + timedelta(hours=hour) - timedelta(days_ago), f"{days_ago} days ago at {hour}"
            server.at(midnight + timedelta(hours=25), lambda name=name, start=start: server.add(name, start))
            names.append(name)
    assert sorted(run(watch_for(server.watch(lookback_days=lookback_days), 5 * 86_400))) == sorted(names)


def test_late_visits_and_deletions(server: VisitServer, run: Any) -> None:
    """A late visit does not add up at the end of the list, so all days are read. A deletion alone delivers nothing."""
    for number in range(250):
        server.add(f"old{number}", EPOCH - timedelta(minutes=number + 1))
    gone = server.days[EPOCH.date()][3]
    server.at(EPOCH + timedelta(minutes=2), lambda: server.add("late", EPOCH - timedelta(days=2)))
    server.at(EPOCH + timedelta(minutes=7), lambda: server.remove(gone))
    server.at(EPOCH + timedelta(minutes=12), lambda: server.add("new"))
    readings = list[WatchReading | None]()
    watch = server.watch(on_status=lambda status: readings.append(status.reading))
    assert run(watch_for(watch, 1_250)) == ["late", "new"]
    assert readings == [COMPLETE, COMPLETE, COMPLETE, TAIL, NOTHING]


def test_deletion_that_hides_a_visit_until_midnight(server: VisitServer, run: Any) -> None:
    """If one visit comes and another one goes between two polls, the count is unchanged. The daily reading finds it."""
    server.add("old", EPOCH - timedelta(minutes=1))
    gone = server.days[EPOCH.date()][0]
    server.at(EPOCH + timedelta(minutes=2), lambda: server.remove(gone))
    server.at(EPOCH + timedelta(minutes=2), lambda: server.add("new"))
    assert run(watch_for(server.watch(state=None), 86_400)) == ["new"]


def test_visits_at_midnight(server: VisitServer, run: Any) -> None:
    """Visits around midnight and on the next day of the account's own time zone are delivered once."""
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    for number, seconds in enumerate((-301, -1, 0, 1, 299, 600)):
        server.at(midnight + timedelta(seconds=seconds), lambda number=number: server.add(f"v{number}"))
    server.at(EPOCH + timedelta(minutes=3), lambda: server.add("ahead", midnight + timedelta(hours=1)))
    delivered = run(watch_for(server.watch(), 86_400))
    assert sorted(delivered) == ["ahead", *(f"v{number}" for number in range(6))]


@pytest.mark.parametrize("days", [-400, -2, 2, 400, 30_000])
def test_clock_that_jumps(server: VisitServer, run: Any, days: int) -> None:
    """A wrong clock hides no visit and delivers none twice, while it is wrong and after it was corrected."""
    for hour in range(100):
        server.at(EPOCH + timedelta(hours=hour), lambda hour=hour: server.add(f"v{hour}"))
    server.events.insert(
        20, (EPOCH + timedelta(hours=19, minutes=30), lambda: setattr(server, "offset", timedelta(days)))
    )
    server.events.insert(60, (EPOCH + timedelta(hours=58, minutes=30), lambda: setattr(server, "offset", timedelta(0))))
    assert run(watch_for(server.watch(every=600), 100 * 3_600)) == [f"v{hour}" for hour in range(100)]


def test_days_past_the_row_limit(server: VisitServer, run: Any) -> None:
    """If the days have more rows than the API returns, each part of them is counted."""
    server.row_limit = 300
    for day in range(4):
        for number in range(120):
            server.add(f"d{day}-{number}", EPOCH - timedelta(days=day, minutes=number + 1))
    for hour in range(6):
        server.at(EPOCH + timedelta(hours=hour, minutes=1), lambda hour=hour: server.add(f"new{hour}"))
    readings = list[WatchReading | None]()
    watch = server.watch(every=3_600, on_status=lambda status: readings.append(status.reading))
    assert run(watch_for(watch, 7 * 3_600)) == [f"new{hour}" for hour in range(6)]
    assert readings[2:6] == [TAIL] * 4


def test_server_that_counts_no_further_than_its_limit(server: VisitServer, run: Any) -> None:
    """Days whose count is capped are read at each poll, as far as the API returns them."""
    server.row_limit, server.caps_count = 200, True
    for number in range(199):
        server.add(f"old{number}", EPOCH - timedelta(seconds=number + 1))
    server.at(EPOCH + timedelta(minutes=1), lambda: server.add("new"))
    assert run(watch_for(server.watch(), 1_000)) == ["new"]


def test_custom_feed(server: VisitServer, run: Any) -> None:
    """Only visits of companies in the feed are delivered. The feed is requested only with new visits."""
    server.feed = {"c1", "c3"}
    for number in range(5):
        server.at(EPOCH + timedelta(minutes=1), lambda number=number: server.add(f"v{number}", tie=number))
    assert run(watch_for(server.watch(feed=True), 1_000)) == ["v1", "v3"]
    assert server.requests == 1 + 1 + 3 + 2  # the first one is for the time of the server


def test_custom_feed_of_days_in_parts(server: VisitServer, run: Any) -> None:
    """The companies of the feed are requested for each part of the days that has new visits."""
    server.row_limit, server.feed_by_days = 200, True
    server.feed = {"c1", "c2", "c3"}
    for number in range(260):
        server.add(f"old{number}", EPOCH - timedelta(days=2 * (number % 2)) - timedelta(seconds=number), tie=4)

    def add() -> None:
        server.add("late", EPOCH - timedelta(days=2), tie=1)
        server.add("new", tie=2)

    server.at(EPOCH + timedelta(minutes=1), add)
    assert run(watch_for(server.watch(feed=True), 1_000)) == ["late", "new"]


def test_custom_feed_that_grows_while_visits_are_read(server: VisitServer, run: Any) -> None:
    """A company that visits after the feed was requested is not taken for one outside of the feed."""
    server.feed = {"c1"}
    for number in range(1_950):
        server.add(f"v{number}", EPOCH - timedelta(seconds=2_000 - number), tie=1 if number == 3 else 4)
    delivered = list[str]()

    async def consume() -> None:
        async with aclosing(server.watch(feed=True, since=EPOCH - timedelta(days=1))) as visits:
            async for visit in visits:
                delivered.append(visit.id)
                if len(delivered) == 1:
                    server.feed.add("c2")
                    server.add("new", EPOCH + timedelta(hours=1), tie=2)

    async def limited() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(consume(), 1_000)

    run(limited())
    assert delivered == ["v3", "new"]


def test_custom_feed_with_an_unreadable_company(server: VisitServer, run: Any) -> None:
    """A visit of a company that could not be read is delivered when the company can be read."""
    server.feed, server.bad_companies = {"c1"}, 1
    server.at(EPOCH + timedelta(minutes=1), lambda: server.add("new", tie=1))
    statuses = list[WatchStatus]()
    assert run(watch_for(server.watch(feed=True, on_status=statuses.append), 1_000)) == ["new"]
    assert sum(len(status.problems) for status in statuses) == 1


def test_custom_feed_with_a_company_that_is_unreadable_twice(server: VisitServer, run: Any) -> None:
    """A reading of all pages that cannot decide about a visit is repeated by the next polls."""
    server.feed, server.bad_companies = {"c1"}, 2
    server.add("old", EPOCH - timedelta(hours=1), tie=1)
    watch = server.watch(feed=True, since=EPOCH - timedelta(days=1))
    assert run(watch_for(watch, 1_000)) == ["old"]


def test_custom_feed_that_is_unreadable_for_a_while(server: VisitServer, run: Any) -> None:
    """Visits of unknown companies are counted once, although each poll reads them, so the watch goes on."""
    server.feed, server.bad_companies = {"c1"}, 9
    for number in range(5):
        server.add(f"old{number}", EPOCH - timedelta(hours=1 + number), tie=1)
    server.at(EPOCH + timedelta(minutes=30), lambda: server.add("new", tie=1))
    watch = server.watch(feed=True, since=EPOCH - timedelta(days=1))
    assert set(run(watch_for(watch, 200_000))) >= {"new"}


def test_custom_feed_that_is_unreadable_for_long(server: VisitServer, run: Any) -> None:
    """After several polls, only the companies are requested again, until the waiting visits can be delivered."""
    statuses = list[WatchStatus]()
    server.feed, server.bad_companies = {"c0", "c1"}, 1_000
    server.add("old", EPOCH - timedelta(hours=2), tie=1)
    for number in range(150):
        server.add(f"v{number}", EPOCH - timedelta(hours=1) + timedelta(seconds=number))
    server.at(EPOCH + timedelta(hours=2), lambda: setattr(server, "bad_companies", 0))
    server.at(EPOCH + timedelta(hours=2), lambda: setattr(server, "failing_searches", 1))
    watch = server.watch(feed=True, since=EPOCH - timedelta(days=1), on_status=statuses.append)
    assert run(watch_for(watch, 3 * 3_600)) == [*(f"v{number}" for number in range(150)), "old"]
    readings = [status.reading for status in statuses]
    assert readings[10:24] == [WatchReading.NOTHING] * 14
    assert all(status.problems for status in statuses[:24])
    assert not statuses[-1].problems


def test_custom_feed_that_is_unreadable_before_a_restart(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """A new process delivers the visits that waited for the companies of the feed."""
    server.feed, server.bad_companies = {"c0", "c1"}, 1_000
    server.add("old", EPOCH - timedelta(hours=2), tie=1)
    for number in range(150):
        server.add(f"v{number}", EPOCH - timedelta(hours=1) + timedelta(seconds=number))
    options = {"feed": True, "since": EPOCH - timedelta(days=1), "state": tmp_path / "state"}
    assert len(run(watch_for(server.watch(**options), 2 * 3_600))) == 150
    server.bad_companies = 0
    assert run(watch_for(server.watch(**options), 1_000)) == ["old"]


@pytest.mark.parametrize("hours_ahead", [-8, 0, 9])
def test_server_that_rejects_days_after_today(server: VisitServer, run: Any, tmp_path: Path, hours_ahead: int) -> None:
    """If the API rejects days that have not begun, the watch leaves them out, also with an earlier state."""
    state = tmp_path / "state"
    assert run(watch_for(server.watch(state=state), 100)) == []
    server.rejects_future = timedelta(hours=hours_ahead)
    for hours in (1, 13, 30):
        server.at(EPOCH + timedelta(hours=hours), lambda hours=hours: server.add(f"v{hours}"))
    assert run(watch_for(server.watch(state=state), 40 * 3_600)) == ["v1", "v13", "v30"]
    server.error = BadRequestError("bad filter", ErrorContext(status=400))
    with pytest.raises(BadRequestError, match="bad filter"):
        run(watch_for(server.watch(state=state), 1_000))


@pytest.mark.parametrize("hours_ahead", [-8, 9])
def test_rejected_day_is_tried_again_each_hour(server: VisitServer, run: Any, hours_ahead: int) -> None:
    """A day that the API rejects until it has begun is read at most an hour later."""
    server.rejects_future, delivered = timedelta(hours=hours_ahead), list[str]()
    begin = EPOCH.replace(hour=0) + timedelta(days=1 if hours_ahead < 0 else 0, hours=-hours_ahead % 24)
    local_day = (begin + timedelta(hours=hours_ahead)).date()
    server.at(begin, lambda: server.add("first", datetime.combine(local_day, datetime.min.time(), UTC)))
    run(watch_for(server.watch(), (begin - EPOCH).total_seconds() + 4_000, delivered))
    assert delivered == ["first"]


def test_since(server: VisitServer, run: Any) -> None:
    """With ``since``, earlier visits are delivered first."""
    for day in range(10):
        server.add(f"d{day}", EPOCH - timedelta(days=day))
    assert run(watch_for(server.watch(since=EPOCH - timedelta(days=5)), 10)) == [f"d{day}" for day in range(5, -1, -1)]


# Trouble


def test_outage(server: VisitServer, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """During an outage, polls become rarer. After it, nothing is missing."""
    statuses = list[WatchStatus]()
    down = ServerError("down", ErrorContext(status=503))
    server.at(EPOCH + timedelta(minutes=1), lambda: setattr(server, "error", down))
    server.at(EPOCH + timedelta(minutes=2), lambda: server.add("missed"))
    server.at(EPOCH + timedelta(minutes=40), lambda: setattr(server, "error", None))
    assert run(watch_for(server.watch(on_status=statuses.append), 3_600)) == ["missed"]
    assert [status.next_poll_in for status in statuses if status.error] == [300, 600, 1_200]
    assert [status.failures for status in statuses][:5] == [0, 1, 2, 3, 0]
    assert "A poll of account 1 failed (3 in a row)" in caplog.text


@pytest.mark.parametrize("error", [AuthenticationError("no", ErrorContext(status=401)), BudgetExceededError("no")])
def test_errors_that_cannot_pass_end_the_watch(server: VisitServer, run: Any, error: LeadfeederError) -> None:
    """A watch ends at an error that no later poll can resolve."""
    server.at(EPOCH + timedelta(minutes=1), lambda: setattr(server, "error", error))
    with pytest.raises(type(error)):
        run(watch_for(server.watch(), 3_600))
    assert server.now() - EPOCH < timedelta(minutes=6)


def test_used_up_quota(server: VisitServer, run: Any) -> None:
    """A used-up quota is waited for, with a status each hour."""
    until = EPOCH + timedelta(hours=5)
    statuses = list[WatchStatus]()
    used_up = QuotaExceededError("used up", ErrorContext(status=429, retry_at=until))
    server.at(EPOCH + timedelta(minutes=1), lambda: setattr(server, "error", used_up))
    server.at(until, lambda: setattr(server, "error", None))
    server.at(until, lambda: server.add("new"))
    assert run(watch_for(server.watch(on_status=statuses.append), 6 * 3_600)) == ["new"]
    assert 5 <= len([status for status in statuses if status.error]) <= 6


def test_quota_near_its_end(server: VisitServer, run: Any) -> None:
    """Near the end of the quota, polls are stretched over the rest of the month."""
    server.used = 99_900
    run(watch_for(server.watch(every=60), 86_400))
    assert server.requests < 5


def test_cost_warning(server: VisitServer, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An interval that would use more than a tenth of the monthly quota is logged as a warning."""
    run(watch_for(server.watch(every=300), 10))
    assert caplog.text == ""
    with caplog.at_level(logging.WARNING):
        run(watch_for(server.watch(every=60), 10))
    assert "A poll every 60 s sends at least 44,640 requests a month" in caplog.text


def test_slow_consumer_pauses_polls(server: VisitServer, run: Any) -> None:
    """While a visit is processed, nothing is sent. The next poll follows at once, and only one."""

    async def consume() -> list[str]:
        server.add("first")
        delivered = list[str]()
        async with aclosing(server.watch(since=EPOCH - timedelta(hours=1))) as visits:
            async for visit in visits:
                delivered.append(visit.id)
                if visit.id == "first":
                    before = server.requests
                    await asyncio.sleep(3_000)
                    assert server.requests == before
                    server.add("second")
                else:
                    assert server.now() - EPOCH < timedelta(seconds=3_001)
                    return delivered
        return []

    assert run(consume()) == ["first", "second"]


def test_broken_hook_does_not_end_the_watch(server: VisitServer, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the status function is logged, and the watch continues."""
    server.at(EPOCH + timedelta(minutes=1), lambda: server.add("new"))

    def broken(status: WatchStatus) -> None:
        raise RuntimeError("hook")

    assert run(watch_for(server.watch(on_status=broken), 1_000)) == ["new"]
    assert "on_status failed" in caplog.text


# The state


@pytest.mark.parametrize("kind", ["file", "store"])
def test_state_survives_restarts(server: VisitServer, run: Any, tmp_path: Path, kind: str) -> None:
    """A visit is recorded when the next one is requested, so a crash repeats one visit and a stop repeats none."""
    state: Any = tmp_path / "visits.state" if kind == "file" else MemoryStore()
    for number in range(4):
        server.at(EPOCH + timedelta(minutes=number), lambda number=number: server.add(f"v{number}"))
    assert run(watch_for(server.watch(state=state), 150)) == ["v0"]
    server.advance()

    async def crash() -> list[str]:
        visits = server.watch(state=state)
        got = [await anext(visits), await anext(visits)]
        await visits.aclose()
        return ids(got)

    assert run(crash()) == ["v1", "v2"]
    assert run(watch_for(server.watch(state=state), 2_000)) == ["v2", "v3"]
    assert run(watch_for(server.watch(state=state), 2_000)) == []


def test_state_that_is_deleted_is_saved_again(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """If the file of a running watch is deleted, the next delivered visit saves the complete state again."""
    state = tmp_path / "visits.state"
    server.at(EPOCH + timedelta(minutes=1), lambda: [server.add(f"v{number}") for number in range(3)])

    async def delete() -> list[str]:
        async with aclosing(server.watch(state=state, every=60)) as visits:
            got = [await anext(visits)]
            state.unlink()
            got.append(await anext(visits))
            return ids(got)

    assert run(delete()) == ["v0", "v1"]
    assert run(watch_for(server.watch(state=state, every=60), 1_000)) == ["v1", "v2"]


async def test_canceled_future_in_on_status(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """A hook that reads a canceled future does not end the watch."""
    canceled, calls = asyncio.get_running_loop().create_future(), 0
    canceled.cancel()

    def on_status(_: WatchStatus) -> None:
        nonlocal calls
        calls += 1
        canceled.result()

    async with client_for(sandbox) as lf:
        task = asyncio.create_task(watch_for(lf.web_visits.watch(every=1, on_status=on_status), 60))
        while calls < 2:
            assert not task.done()
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert "on_status failed" in caplog.text


class CanceledStore(MemoryStore):
    """A store whose connection task was canceled."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self._method = method

    async def load(self) -> bytes | None:
        if self._method == "load":
            raise asyncio.CancelledError
        return await super().load()

    async def save(self, data: bytes) -> None:
        if self._method == "save":
            raise asyncio.CancelledError
        await super().save(data)


@pytest.mark.parametrize("method", ["load", "save"])
def test_store_that_raises_cancelled_error(server: VisitServer, run: Any, method: str) -> None:
    """It ends the watch with an error that names the store, and not in silence."""
    with pytest.raises(CheckpointError, match=r"store was not (loaded|saved), because the store raised CancelledError"):
        run(watch_for(server.watch(state=CanceledStore(method)), 1_000))


def test_store_that_returns_text(server: VisitServer, run: Any) -> None:
    """A store that returns another type, such as a Redis client that decodes, is named in the error."""

    class TextStore(MemoryStore):
        async def load(self) -> Any:
            return "{}"

    with pytest.raises(CheckpointError, match="load\\(\\) returned str instead of bytes") as caught:
        run(watch_for(server.watch(state=TextStore()), 1_000))
    assert "decode_responses=False" in caught.value.hint


def test_visits_of_a_long_pause(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """A watch that was stopped for longer than the lookback delivers the visits of the pause."""
    state = tmp_path / "visits.state"
    server.add("old", EPOCH - timedelta(hours=1))
    run(watch_for(server.watch(state=state), 10))
    for day in range(20):
        server.add(f"d{day}", EPOCH + timedelta(days=day))
    run(asyncio.sleep(20 * 86_400))
    assert run(watch_for(server.watch(state=state), 10)) == [f"d{day}" for day in range(20)]


@needs_permissions
def test_state_file_is_private_bounded_and_locked(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """The state file has private permissions, a bounded size and a lock."""
    state = tmp_path / "visits.state"
    for hour in range(24 * 40):
        server.at(EPOCH + timedelta(hours=hour), lambda hour=hour: server.add(f"v{hour}"))
    assert len(run(watch_for(server.watch(state=state, every=3_600), 40 * 86_400))) == 24 * 40
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert state.stat().st_size < 4_000
    assert [path.name for path in tmp_path.iterdir()] == ["visits.state"]

    async def second() -> None:
        first = server.watch(state=state)
        task = asyncio.ensure_future(anext(first))
        await asyncio.sleep(1)
        try:
            with pytest.raises(CheckpointError, match="Another watch is using"):
                await anext(server.watch(state=state))
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(second())


@pytest.mark.parametrize("kind", ["pipe", "link", "socket"])
def test_state_that_is_replaced_before_the_start(server: VisitServer, run: Any, tmp_path: Path, kind: str) -> None:
    """A pipe or a link that replaces the state file before the watch starts is neither waited for nor followed."""
    state = tmp_path / "visits.state"
    visits = server.watch(state=state)
    make_foreign_file(state, kind, tmp_path / "target")
    with pytest.raises(CheckpointError, match="a link, a device or a pipe"):
        run(watch_for(visits, 10))
    assert kind != "link" or (tmp_path / "target").read_bytes() == b""


@pytest.mark.parametrize("kind", FOREIGN_FILES)
def test_lock_of_others_stops_a_watch(server: VisitServer, run: Any, tmp_path: Path, kind: str) -> None:
    """A file that is not the lock of a watch is an error, and stays as it is."""
    lock = tmp_path / "visits.state.lock"
    make_foreign_file(lock, kind, tmp_path / "target")
    before, names = lock.lstat(), names_in(tmp_path)
    with pytest.raises(CheckpointError):
        run(watch_for(server.watch(state=tmp_path / "visits.state"), 10))
    assert (names_in(tmp_path), lock.lstat().st_ino) == (names, before.st_ino)


def test_state_of_another_watch(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """A state of other filters, another version, or a file that is none, is refused and left alone."""
    state = tmp_path / "visits.state"
    run(watch_for(server.watch(state=state), 10))
    with pytest.raises(CheckpointError, match="belongs to another watch: visits of account 1"):
        run(watch_for(server.watch(state=state, company_id="159"), 10))
    with pytest.raises(CheckpointError, match="belongs to another watch"):
        run(watch_for(server.watch(state=state, feed=True), 10))
    for text, message in (
        ("notes\n", "not the state"),
        (state.read_text(encoding="utf-8").replace('"version":1', '"version":9'), "format 9"),
    ):
        state.write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            run(watch_for(server.watch(state=state), 10))
        assert state.read_text(encoding="utf-8") == text


def test_torn_line(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """A line that a power failure cut is ignored, so its visit is delivered again."""
    state = tmp_path / "visits.state"
    run(watch_for(server.watch(state=state), 10))
    server.add("a")
    server.add("b")

    async def crash() -> None:
        visits = server.watch(state=state)
        for _ in range(2):
            await anext(visits)
        await visits.aclose()

    run(crash())
    state.write_bytes(state.read_bytes()[:-3])
    assert run(watch_for(server.watch(state=state), 400)) == ["a", "b"]


def test_full_disk(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """A line that does not fit on the disk is not left in the state, so that the next one does not continue it."""
    state, delivered = tmp_path / "visits.state", list[str]()
    run(watch_for(server.watch(state=state), 10))
    for number in range(10):
        server.add(f"v{number}")

    async def fill(limit: Callable[[int], None]) -> None:
        async with aclosing(server.watch(state=state)) as visits:
            async for visit in visits:
                delivered.append(visit.id)
                if len(delivered) == 3:
                    limit(state.stat().st_size + 40)

    with small_disk() as limit, pytest.raises(CheckpointError, match="cannot be written"):
        run(fill(limit))
    assert state.read_bytes().endswith(b"]\n")
    rest = run(watch_for(server.watch(state=state), 400))
    assert rest == [f"v{number}" for number in range(len(delivered) - 1, 10)]


# With a client and the sandbox


async def test_watch_of_the_sandbox(sandbox: Sandbox, lf: AsyncLeadfeeder, tmp_path: Path) -> None:
    """A watch with ``include`` delivers visits with their companies, late ones too."""
    before = sandbox.world.visit_ids()[-1]
    sandbox.world.update_visit(before, started_at=None)
    delivered = list[str]()
    watch = lf.web_visits.watch(every=1, include=["company"], state=tmp_path / "state", since="now")
    async with aclosing(watch) as visits:
        task = asyncio.ensure_future(anext(visits))
        while not sandbox.ledger.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        new = [*sandbox.world.add_visits(3), *sandbox.world.add_visits(2, day=sandbox.end_date - timedelta(1))]
        visit = await task
        assert visit.company is not None
        assert visit.company.name
        delivered.append(visit.id)
        while len(delivered) < 5:
            delivered.append((await anext(visits)).id)
    assert sorted(delivered) == sorted(new)


@pytest.mark.parametrize("failures", [0, 1])
async def test_clock_ahead_at_the_start_of_a_watch(tmp_path: Path, failures: int) -> None:
    """A watch that begins with a wrong clock delivers the visits that start after it by the clock of the server."""
    now, rows = datetime.now(UTC) - timedelta(days=9), list[dict[str, Any]]()

    async def respond(request: web.Request) -> web.Response:
        nonlocal failures
        if failures:
            failures -= 1
            assert request.transport is not None
            request.transport.abort()
        body = await request.json()
        found = [row for row in rows if body["start_date"] <= row["attributes"]["started_at"][:10] <= body["end_date"]]
        if not rows:
            started_at = (now + timedelta(minutes=1)).isoformat()
            rows.append({"id": "new", "type": "web_visit", "attributes": {"started_at": started_at}})
        meta = {"pagination": {"page_count": 1, "total_count": len(found)}}
        return web.json_response({"data": found, "meta": meta}, headers={"Date": format_datetime(now, usegmt=True)})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        async with aclosing(lf.web_visits.watch(every=1, state=tmp_path / "state")) as visits:
            assert (await asyncio.wait_for(anext(visits), 10)).id == "new"


async def test_new_watch_that_is_restarted_before_a_response(tmp_path: Path) -> None:
    """The start of a new watch is kept if no request succeeds before it is stopped."""
    rows, is_down = list[dict[str, Any]](), True

    async def respond(_: web.Request) -> web.Response:
        meta = {"pagination": {"page_count": 1, "total_count": len(rows)}}
        return web.json_response({"data": rows, "meta": meta}, status=503 if is_down else 200)

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        for _ in range(2):
            statuses = list[WatchStatus]()
            visits = lf.web_visits.watch(every=1, state=tmp_path / "state", on_status=statuses.append)
            task = asyncio.ensure_future(anext(visits))
            while is_down and not statuses:
                await asyncio.sleep(0.01)
            if is_down:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await visits.aclose()
                await asyncio.sleep(0.01)
                rows.append({"id": "between", "attributes": {"started_at": datetime.now(UTC).isoformat()}})
                is_down = False
                await asyncio.sleep(1.1)  # the Date header has whole seconds
                continue
            assert (await asyncio.wait_for(task, 10)).id == "between"
            await visits.aclose()


@pytest.mark.parametrize("server_offset", [timedelta(days=-2), timedelta(days=3)])
async def test_start_before_a_restart_by_the_clock_of_the_server(tmp_path: Path, server_offset: timedelta) -> None:
    """If no request succeeds before a new watch is stopped, the next run computes its start by the server's clock."""
    state, rows, is_down = tmp_path / "state", list[dict[str, Any]](), True

    async def respond(request: web.Request) -> web.Response:
        if is_down:
            return web.Response(status=503)
        body = await request.json()
        found = [row for row in rows if body["start_date"] <= str(row["attributes"])[16:26] <= body["end_date"]]
        meta = {"pagination": {"page_count": 1, "total_count": len(found)}}
        now = format_datetime(datetime.now(UTC) + server_offset, usegmt=True)
        return web.json_response({"data": found, "meta": meta}, headers={"Date": now})

    async def deliver(polls: int) -> list[str]:
        statuses, delivered = list[WatchStatus](), list[str]()
        async with aclosing(lf.web_visits.watch(every=1, state=state, on_status=statuses.append)) as visits:
            task = asyncio.ensure_future(anext(visits))
            while len(statuses) < polls and not task.done():
                await asyncio.sleep(0.01)
            if task.done():
                delivered.append(task.result().id)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return delivered

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        assert await deliver(1) == []
        now, is_down = datetime.now(UTC) + server_offset, False
        for name, minutes in {"before": -10, "between": 0}.items():
            rows.append({"id": name, "attributes": {"started_at": (now + timedelta(minutes=minutes)).isoformat()}})
        await asyncio.sleep(1.1)  # the Date header has whole seconds
        assert await deliver(1) == ["between"]


def test_start_by_the_clock_of_the_server() -> None:
    """The start of an earlier run is moved by the difference of the clocks, and is not in the future."""
    now, opened = EPOCH + timedelta(hours=1), EPOCH
    assert by_server_clock(opened, now, now) == opened
    assert by_server_clock(opened, now, now - timedelta(days=2)) == opened - timedelta(days=2)
    assert by_server_clock(opened + timedelta(days=9), now, now) == now
    assert by_server_clock(datetime(1970, 1, 1, tzinfo=UTC), now, now) == now


@pytest.mark.parametrize("is_error", [True, False])
@pytest.mark.parametrize("days", [-400, -3, -2])
async def test_gateway_with_another_clock(days: int, *, is_error: bool) -> None:
    """The clock of a gateway does not make a new watch deliver older visits, if it was right at the start."""
    now, responses = datetime.now(UTC), 0
    rows = [{"id": "old", "attributes": {"started_at": (now - timedelta(minutes=2)).isoformat()}}]
    wrong = format_datetime(now + timedelta(days=days), usegmt=True)
    statuses, delivered = list[WatchStatus](), list[str]()

    async def respond(request: web.Request) -> web.Response:
        nonlocal responses
        responses += 1
        if responses == 2 or (is_error and responses == 3):
            return web.Response(status=502, headers={"Date": wrong} if is_error else {})
        body = await request.json()
        found = [row for row in rows if body["start_date"] <= str(row["attributes"])[16:26] <= body["end_date"]]
        meta = {"pagination": {"page_count": 1, "total_count": len(found)}}
        return web.json_response(
            {"data": found, "meta": meta}, headers={"Date": wrong} if responses in {3, 4} and not is_error else {}
        )

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        watch = lf.web_visits.watch(every=1, on_status=statuses.append)
        task = asyncio.create_task(watch_for(watch, 60, delivered))
        while len(statuses) < 4:
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert delivered == []


@pytest.mark.parametrize("days", [-400, -2])
def test_clock_behind_at_the_first_reading(server: VisitServer, run: Any, days: int) -> None:
    """If the clock is set back after the start, the first reading does not contain it and does not end the start."""
    server.add("old", EPOCH - timedelta(hours=1))
    server.failing_searches = 1
    watch = server.watch(every=600)

    async def deliver() -> list[str]:
        task = asyncio.ensure_future(watch_for(watch, 3_000))
        await asyncio.sleep(300)
        server.offset = timedelta(days)
        await asyncio.sleep(600)
        server.offset = timedelta(0)
        return await task

    assert run(deliver()) == []


async def test_clock_ahead_until_the_first_reading(tmp_path: Path) -> None:
    """A start by the wrong clock of a response is corrected as long as no reading is complete, also by the next run."""
    state, now, requests, is_down = tmp_path / "state", datetime.now(UTC), 0, True
    rows = [{"id": "old", "attributes": {"started_at": (now - timedelta(hours=1)).isoformat()}}]

    async def respond(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        if is_down and requests > 1:
            return web.Response(status=503)
        body = await request.json()
        found = [row for row in rows if body["start_date"] <= str(row["attributes"])[16:26] <= body["end_date"]]
        date = format_datetime(datetime.now(UTC) + timedelta(days=10 * is_down), usegmt=True)
        meta = {"pagination": {"page_count": 1, "total_count": len(found)}}
        return web.json_response({"data": found, "meta": meta}, headers={"Date": date})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        async with aclosing(lf.web_visits.watch(every=1, state=state)) as visits:
            task = asyncio.ensure_future(anext(visits))
            while requests < 4:
                await asyncio.sleep(0.01)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        is_down = False
        await asyncio.sleep(1.1)  # the Date header has whole seconds
        rows.append({"id": "new", "attributes": {"started_at": datetime.now(UTC).isoformat()}})
        async with aclosing(lf.web_visits.watch(every=1, state=state)) as visits:
            assert (await asyncio.wait_for(anext(visits), 10)).id == "new"


def test_clock_ahead_during_the_first_reading(server: VisitServer, run: Any, tmp_path: Path) -> None:
    """Visits are delivered once, also after a restart, if the clock was ahead when the days were first read."""
    state, server.offset = tmp_path / "visits.state", timedelta(days=10)
    server.at(EPOCH + timedelta(minutes=1), lambda: setattr(server, "offset", timedelta(0)))
    delivered = list[str]()
    for number in range(3):
        for minutes in (20, 40):
            name = f"v{number}-{minutes}"
            server.at(server.now() + timedelta(minutes=minutes), lambda name=name: server.add(name))
        run(watch_for(server.watch(state=state, every=60), 3_600, delivered))
    assert delivered == [f"v{number}-{minutes}" for number in range(3) for minutes in (20, 40)]


async def deliver_after(dates: list[datetime], header: str, since: str, polls: int) -> list[str]:
    """Return the ids that a watch delivers in some polls of a server that sends a ``Date`` header."""
    rows = [{"id": f"{date:%m-%d}", "attributes": {"started_at": date.isoformat()}} for date in dates]
    statuses, delivered = list[WatchStatus](), list[str]()

    async def respond(request: web.Request) -> web.Response:
        body = await request.json()
        found = [row for row in rows if body["start_date"] <= str(row["attributes"])[16:26] <= body["end_date"]]
        meta = {"pagination": {"page_count": 1, "total_count": len(found)}}
        return web.json_response({"data": found, "meta": meta}, headers={"Date": header})

    async def read(lf: AsyncLeadfeeder) -> None:
        async with aclosing(lf.web_visits.watch(every=1, since=since, on_status=statuses.append)) as visits:
            async for visit in visits:
                delivered.append(visit.id)

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        task = asyncio.create_task(read(lf))
        while len(statuses) < polls and not task.done():
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return delivered


@pytest.mark.parametrize("header", ["Thu, 01 Jan 1970 00:00:05 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "soon"])
async def test_server_without_a_clock(header: str) -> None:
    """A time of the server that cannot be right is not used."""
    now = datetime.now(UTC)
    assert await deliver_after([now], header, f"{now - timedelta(days=1):%Y-%m-%d}", 1) == [f"{now:%m-%d}"]


async def test_clock_behind_with_a_given_start() -> None:
    """No visit before ``since`` is delivered if the clock of this machine is behind that of the server."""
    now = datetime.now(UTC) + timedelta(days=9)
    dates = [now - timedelta(days=days) for days in (7, 5, 1)]
    header = format_datetime(now, usegmt=True)
    assert await deliver_after(dates, header, f"{dates[2]:%Y-%m-%d}", 2) == [f"{dates[2]:%m-%d}"]


async def test_budget_and_arguments(sandbox: Sandbox, tmp_path: Path) -> None:
    """A budget of requests ends the watch, and arguments are checked when it is created."""
    async with client_for(sandbox) as lf:
        limited = lf.with_options(budget=Budget(max_requests=8))
        with pytest.raises(BudgetExceededError):
            async with aclosing(limited.web_visits.watch(every=1, since="2026-01-01")) as visits:
                async for _ in visits:
                    pass
        assert lf.web_visits.watch(every=60, since="2026-11-30T10:00:00+01:00")
        for wrong in ({"every": 0}, {"lookback_days": 91}, {"since": "tomorrow"}, {"since": "2026-11-31T00"}):
            with pytest.raises(ConfigurationError):
                lf.web_visits.watch(**wrong)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            lf.web_visits.watch(filters={"location_country_codes": 1})
        with pytest.raises(CheckpointError, match="not the name of a file"):
            lf.web_visits.watch(state=tmp_path)


@pytest.mark.parametrize("has_failure", [True, False])
def test_first_reading_that_is_interrupted(server: VisitServer, run: Any, tmp_path: Path, has_failure: bool) -> None:
    """If a list with the newest visits first fails or is left at its second page, older visits are not left out."""
    server.newest_first = True
    for number in range(280):
        server.add(f"v{number}", EPOCH - timedelta(hours=number / 2))
    options = {"since": EPOCH - timedelta(days=7), "state": tmp_path / "state"}
    delivered = list[str]()
    if has_failure:
        server.at(EPOCH, lambda: setattr(server, "fails_at_page", 2))
        server.at(EPOCH + timedelta(minutes=1), lambda: setattr(server, "fails_at_page", 0))
        run(watch_for(server.watch(**options), 3_600, delivered))
    else:
        for _ in range(2):
            run(take(server.watch(**options), 150, delivered))
    assert sorted(set(delivered)) == sorted(f"v{number}" for number in range(280))


async def take(visits: Any, count: int, delivered: list[str]) -> None:
    """Read some visits, and leave the loop at the last one, which is then not acknowledged."""
    async for visit in visits:
        delivered.append(visit.id)
        if len(delivered) % count == 0 or len(set(delivered)) == 280:
            break
    await visits.aclose()
