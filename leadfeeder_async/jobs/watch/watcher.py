"""A watch: polls for new visits, delivers each, and records which were delivered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from functools import partial
from typing import TypeAlias

import anyio
import msgspec

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import (
    APIStatusError,
    BadRequestError,
    BudgetExceededError,
    CheckpointError,
    DecodeError,
    LeadfeederError,
    NotFoundError,
    OffsetExceededError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    ServerError,
    TLSError,
    UsageError,
)
from leadfeeder_async.jobs.watch.state_store import StateJournal
from leadfeeder_async.jobs.watch.visit_reader import RowCounter, VisitReader, WatchQuery
from leadfeeder_async.jobs.watch.watch_plan import (
    MAX_FILL,
    MAX_QUOTA_DELAY,
    ONE_DAY,
    WARNING_SHARE,
    CountedDays,
    PageRange,
    WatchReading,
    by_server_clock,
    choose_reading,
    count_in,
    divide_days,
    first_day_of_lookback,
    interval_within_quota,
    next_floor,
    outage_delay,
    pages_of_new_rows,
    polls_per_month,
    window_to_watch,
)
from leadfeeder_async.jobs.watch.watch_state import Acknowledged, WatchState, apply_acknowledged, decode_state
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.problems import ProblemLog
from leadfeeder_async.pagination.source import DEFAULT_PREFETCH
from leadfeeder_async.pagination.visit_time import utc_time

logger = logging.getLogger("leadfeeder_async")

MAX_TAIL_ROUNDS = 3
"""The most readings of the newest pages in one poll. If the count then differs from the visits, all pages are read."""

MAX_LAGGING_READS = 5
"""The consecutive polls that read all pages again because the server counts more rows than it returns."""

MIN_DAYS_AHEAD = -1
"""The lowest ``_days_ahead``. The time zone of the API may be behind UTC, so that today has not begun there."""

NOT_COUNTED = -1
"""The part of visits that were found while all pages were read. The end of that reading sets the count of its part."""


class WatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A poll that has ended, as passed to ``on_status``."""

    account_id: str
    """The account that was polled."""
    at: datetime
    """The time at which the poll began, in UTC."""
    reading: WatchReading | None
    """The pages that were read: none but the count, those with the new visits, or all pages of some days.

    If the poll failed, it may not have read them. None if it failed before it chose them.
    """
    delivered: int
    """The number of new visits that were delivered."""
    next_poll_in: float | None
    """Seconds until the next poll. None if ``error`` ended the watch of this account."""
    failures: int = 0
    """The number of failed polls in a row, including this one unless its error ended the watch."""
    error: LeadfeederError | None = None
    """The error that ended this poll."""
    problems: tuple[LeadfeederError, ...] = ()
    """Visits that could not be read, such as rows that cannot be decoded. At most the first 1,000."""


OnStatus: TypeAlias = Callable[[WatchStatus], None]
"""Receives the status of each poll, on the event loop. It must not block."""


class WatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """When to poll, and how far back to look."""

    every: float
    """Seconds between the starts of two polls."""
    since: datetime | None
    """The earliest start of a visit to deliver, or None for the time at which the watch begins."""
    lookback_days: int
    on_status: OnStatus | None = None
    accounts: int = 1
    """The accounts that are watched together. They share prefetched pages and the rest of the monthly quota."""


class Delivery:
    """A new visit of a watch, which the caller has to acknowledge.

    Args:
        visit: The visit.
        acknowledge: Records it as delivered.

    """

    def __init__(self, visit: WebVisit, acknowledge: Callable[[], Awaitable[None]]) -> None:
        self.visit = visit
        self._acknowledge = acknowledge
        self._is_acknowledged = anyio.Event()

    async def acknowledge(self) -> None:
        """Record the visit as delivered."""
        await self._acknowledge()
        self._is_acknowledged.set()

    async def wait(self) -> None:
        """Wait until the visit is recorded."""
        await self._is_acknowledged.wait()


class Decision(Enum):
    """The next step for a visit that was not known before."""

    DELIVER = "deliver it"
    IGNORE = "never deliver it, because it is older than the watch or not in the custom feed"
    WAIT = "wait for the companies of the custom feed"


class VisitWatcher:
    """Polls for new visits. It can be used once.

    Args:
        executor: Sends the requests.
        query: The visits to watch.
        options: When to poll, and how far back to look.
        journal: Keeps the state.
        now: Returns the current time in UTC.

    """

    def __init__(
        self,
        executor: RequestExecutor,
        query: WatchQuery,
        options: WatchOptions,
        journal: StateJournal,
        now: Callable[[], datetime],
    ) -> None:
        self._executor = executor
        self._query = query
        self._reader = VisitReader(executor, query, max(1, DEFAULT_PREFETCH // options.accounts))
        self._options = options
        self._journal = journal
        self._now = now
        self._account_id = ""
        self._opened_at: float | None = None
        """The time of the event loop at which a new watch was opened."""
        self._known = set[str]()
        self._failures = 0
        self._days_ahead = 1
        """The days after today that the API accepts, as far as known."""
        self._ahead_since: datetime | None = None
        """The hour in which ``_days_ahead`` was last reset."""
        self._lagging_reads = 0
        """The consecutive readings of all pages that returned fewer rows than the server counts."""
        self._undecided = dict[str, date]()
        """The days of the visits that may belong to the custom feed, by visit id. Their companies are not known yet."""
        self._still_undecided = dict[str, date]()
        """The same for the current reading."""
        # Of the current poll:
        self._reading: WatchReading | None = None
        self._delivered = 0
        self._problems = ProblemLog()
        self._companies, self._other_companies = set[str](), set[str]()
        """The companies of the custom feed so far, and companies that are not in it."""

    async def visits(self) -> AsyncGenerator[WebVisit, None]:
        """Yield new visits until the caller stops. Each one is recorded when the next one is requested."""
        warn_about_cost(self._options.every, 1, self._executor.monthly_usage()[1])
        async with self.open() as state, aclosing(self.deliveries(state)) as deliveries:
            async for delivery in deliveries:
                yield delivery.visit
                await delivery.acknowledge()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[WatchState]:
        """Lock the state for this watch, and load it."""
        async with self._journal.open():
            yield await self._load_state()

    async def deliveries(self, state: WatchState) -> AsyncGenerator[Delivery, None]:
        """Yield new visits until the caller stops. The caller acknowledges each one before it requests the next."""
        while True:
            started_at, started = self._now(), anyio.current_time()
            self._reading, self._delivered = None, 0
            self._companies, self._other_companies = set[str](), set[str]()
            self._problems.clear()
            error: LeadfeederError | None = None
            try:
                async with aclosing(self._poll(state)) as new:
                    async for visit, part in new:
                        yield Delivery(visit, partial(self._acknowledge, state, visit, part))
            except LeadfeederError as failure:
                if isinstance(failure, BadRequestError) and self._days_ahead > MIN_DAYS_AHEAD:
                    self._days_ahead -= 1  # the API may reject later days
                    continue
                if not _is_temporary(failure):
                    self._report(started_at, None, failure)
                    raise
                error = failure
            delay = self._delay(state, anyio.current_time() - started, error)
            self._report(started_at, delay, error)
            await anyio.sleep(delay)

    async def _load_state(self) -> WatchState:
        self._account_id = self._query.visits.account_id or await self._executor.resolve_account_id()
        fingerprint, description = self._query.identify(self._executor.base_url, self._account_id)
        state = decode_state(await self._journal.load(), self._journal.name, fingerprint, description)
        if state is None:
            now, self._opened_at = datetime.now(UTC), anyio.current_time()
            since = self._options.since or now
            state = WatchState(
                fingerprint=fingerprint,
                description=description,
                since=since,
                opened_on=now,
                starts_when_opened=self._options.since is None,
                floor=self._first_floor(since),
            )
        self._known = {visit_id for ids in state.known.values() for visit_id in ids}
        await self._journal.save(state)
        return state

    async def _start_by_server_clock(self, state: WatchState, local_start: datetime) -> None:
        """Set the start of a new watch by the clock of the server, which the response to a request shows.

        If the clock of this machine is wrong, its time would leave out visits, or deliver older ones. The clock of a
        response may be wrong too. Of the times in the polls until the first complete reading, the one that is closest
        to that of this machine counts.
        """
        yesterday = self._now().date() - ONE_DAY  # today may not have begun in the time zone of the API
        await self._reader.page(DateWindow(yesterday, yesterday), 1, 1)
        now = self._now()
        if self._opened_at is None:
            start = by_server_clock(local_start, datetime.now(UTC), now)
        else:
            start = now - timedelta(seconds=anyio.current_time() - self._opened_at)
        is_closest = state.since == local_start or abs(start - local_start) < abs(state.since - local_start)
        if state.starts_when_opened and is_closest:
            state.since, state.floor = start, self._first_floor(start)
        await self._journal.save(state)

    def _first_floor(self, since: datetime) -> date:
        """Return the first day to count."""
        return first_day_of_lookback(since.date(), self._options.lookback_days)

    # A poll

    async def _poll(self, state: WatchState) -> AsyncGenerator[tuple[WebVisit, int], None]:
        """Yield the new visits, each with the position of the part whose count includes it, or ``NOT_COUNTED``."""
        if state.opened_on is not None:
            await self._start_by_server_clock(state, state.opened_on)
        now = self._now()
        today, hour = now.date(), now.replace(minute=0, second=0, microsecond=0)
        if self._ahead_since != hour:  # a rejected day may have begun meanwhile, so it is tried again each hour
            self._ahead_since, self._days_ahead = hour, 1
        window = window_to_watch(state.floor, state.newest, today, self._days_ahead)
        has_other_end = len(state.parts) > 0 and state.parts[-1].window.end != window.end
        if state.read_on != today or has_other_end or await self._reread_feed_companies(state):
            async with aclosing(self._read_all(state, today)) as visits:
                async for visit in visits:
                    yield visit, NOT_COUNTED
            return
        self._reading = WatchReading.NOTHING
        for index in range(len(state.parts)):
            async with aclosing(self._read_part(state, index)) as rows:
                async for row in rows:
                    yield row
        state.complete_until = state.newest
        if self._reading is not WatchReading.NOTHING:
            self._divide(state)
            await self._journal.save(state)

    async def _read_all(self, state: WatchState, today: date) -> AsyncGenerator[WebVisit, None]:
        """Read all days. This is done at least once a day, so that counts hide a new visit for a day at most."""
        self._reading = WatchReading.COMPLETE
        self._still_undecided = {}
        state.floor = next_floor(state.floor, state.complete_until, today, self._options.lookback_days)
        window = window_to_watch(state.floor, state.newest, today, self._days_ahead)
        counted = RowCounter(window, self._reader.max_search_rows)
        async with aclosing(self._read_all_pages(state, counted, window)) as visits:
            async for visit in visits:
                yield visit
        state.forget_before(window.start)  # it is before the floor if the clock was ahead
        self._known = {visit_id for ids in state.known.values() for visit_id in ids}
        state.parts = [self._known_part(counted, window)]
        if state.read_on is not None or first_day_of_lookback(today, self._options.lookback_days) >= state.floor:
            state.read_on, state.opened_on = today, None
        # Otherwise, the days before the start were read, because a clock was behind.
        state.complete_until = state.newest
        self._divide(state)
        await self._journal.save(state)

    async def _read_part(self, state: WatchState, index: int) -> AsyncGenerator[tuple[WebVisit, int], None]:
        """Count the rows of some days, and read the pages that may contain new visits."""
        part = state.parts[index]
        if self._lagging_reads > MAX_LAGGING_READS:  # these visits wait for the companies of the custom feed
            part = CountedDays(part.window, part.count + self._count_undecided(part.window))
        count = (await self._reader.page(part.window, 1, 1)).meta.total_count
        reading = choose_reading(part, count, self._reader.max_search_rows)
        if reading is WatchReading.NOTHING:
            return
        new = None if reading is WatchReading.COMPLETE or count is None else await self._read_tail(state, part, count)
        if new is not None:
            self._reading = WatchReading.TAIL if self._reading is WatchReading.NOTHING else self._reading
            for visit in await self._select(state, new, part.window, index):
                yield visit, index
            return
        self._reading = WatchReading.COMPLETE
        self._still_undecided = {}
        counted = RowCounter(part.window, self._reader.max_search_rows)
        async with aclosing(self._read_all_pages(state, counted, part.window)) as visits:
            async for visit in visits:
                yield visit, NOT_COUNTED
        state.parts[index] = self._known_part(counted, part.window)

    def _known_part(self, counted: RowCounter, window: DateWindow) -> CountedDays:
        """Return the part for some days whose pages were all read.

        Missing rows may follow soon, so the next polls read the days again. If they stay missing, the count is wrong.
        """
        others = {visit: day for visit, day in self._undecided.items() if not window.start <= day <= window.end}
        self._undecided = others | self._still_undecided
        undecided = self._count_undecided(window)
        missing = counted.missing + undecided
        self._lagging_reads = self._lagging_reads + 1 if missing else 0
        is_lagging = 0 < self._lagging_reads <= MAX_LAGGING_READS
        return CountedDays(window, max(0, counted.count - (missing if is_lagging else undecided)))

    def _count_undecided(self, window: DateWindow) -> int:
        return sum(window.start <= day <= window.end for day in self._undecided.values())

    async def _read_tail(self, state: WatchState, part: CountedDays, count: int) -> list[WebVisit] | None:
        """Return the new visits on the newest pages, or None if the count has not grown by their number."""
        found = dict[str, WebVisit]()
        for _ in range(MAX_TAIL_ROUNDS):
            pages = pages_of_new_rows(count, count - part.count, newest_first=state.newest_first)
            latest = await self._read_pages(part.window, pages, found)
            if latest is None or latest == count:
                break
            count = latest
            if choose_reading(part, count, self._reader.max_search_rows) is not WatchReading.TAIL:
                return None
        return list(found.values()) if len(found) == count - part.count else None

    async def _read_pages(self, window: DateWindow, pages: PageRange, found: dict[str, WebVisit]) -> int | None:
        """Add the unknown visits of some pages to ``found``, and return the latest count of the server."""
        latest: int | None = None
        for number in range(pages.first, pages.last + 1):
            try:
                page = await self._reader.page(window, pages.size, number)
            except (OffsetExceededError, NotFoundError):  # the count may be ahead of the rows
                return None
            found.update({visit.id: visit for visit in page.items if visit.id and visit.id not in self._known})
            latest = page.meta.total_count if page.meta.total_count is not None else latest
        return latest

    async def _read_all_pages(
        self, state: WatchState, counted: RowCounter, window: DateWindow
    ) -> AsyncGenerator[WebVisit, None]:
        """Read all pages of some days, and yield the new visits."""
        async with aclosing(self._reader.pager(window).pages()) as pages:
            async for page in pages:
                counted.add(page)
                self._problems.add(page)
                without_id = sum(not visit.id for visit in page.items)
                self._problems.extend([_NO_ID] * without_id, without_id)
                new = [visit for visit in page.items if visit.id and visit.id not in self._known]
                for visit in await self._select(state, new, window, NOT_COUNTED) if new else ():
                    yield visit
        state.newest_first = state.newest_first if counted.newest_first is None else counted.newest_first

    async def _select(
        self, state: WatchState, new: Iterable[WebVisit], window: DateWindow, part: int
    ) -> list[WebVisit]:
        """Return the visits to deliver, in order of time. Those that will not be delivered are recorded as known."""
        visits, wanted = sorted(new, key=_started_at), list[WebVisit]()
        if self._reader.has_feed:
            await self._find_companies(visits, window)
        for visit in visits:
            decision = self._decide(state, visit)
            if decision is Decision.DELIVER:
                wanted.append(visit)
            elif decision is Decision.IGNORE:
                self._record(state, visit, part)
            else:
                self._undecided[visit.id] = self._still_undecided[visit.id] = _started_at(visit).date()
        return wanted

    async def _reread_feed_companies(self, state: WatchState) -> bool:
        """Request the companies of the custom feed if visits wait for them. Return True if all were read.

        The first polls read all visits again instead. Later ones request the companies first, which costs less.
        """
        if not self._undecided or self._lagging_reads <= MAX_LAGGING_READS:
            return False
        window = DateWindow(state.parts[0].window.start, state.parts[-1].window.end)
        companies, problems = await self._reader.companies(window)
        self._companies |= companies
        self._problems.extend(problems.problems, problems.count)
        return not problems.count

    async def _find_companies(self, visits: Sequence[WebVisit], window: DateWindow) -> None:
        """Request the companies of the custom feed, unless all visits are from companies that were checked already.

        The feed lists the visitors of some days up to now, so it may change while other days or pages are read.
        """
        unknown = {visit.company.id for visit in visits if visit.company is not None}
        unknown -= self._companies | self._other_companies
        if unknown:
            companies, problems = await self._reader.companies(window)
            self._companies |= companies
            if not problems.count:  # otherwise the next poll requests them again
                self._other_companies |= unknown - companies
            self._problems.extend(problems.problems, problems.count)

    def _decide(self, state: WatchState, visit: WebVisit) -> Decision:
        if state.read_on is None and _started_at(visit) < state.since:
            return Decision.IGNORE
        if not self._reader.has_feed:
            return Decision.DELIVER
        if visit.company is not None and visit.company.id in self._companies:
            return Decision.DELIVER
        is_in_no_feed = visit.company is None or visit.company.id in self._other_companies
        return Decision.IGNORE if is_in_no_feed else Decision.WAIT

    def _divide(self, state: WatchState) -> None:
        """Divide the days if one count would reach the row limit of the API."""
        if not any(
            part.window.days > 1 and part.count > MAX_FILL * self._reader.max_search_rows for part in state.parts
        ):
            return
        window = DateWindow(state.parts[0].window.start, state.parts[-1].window.end)
        rows = state.rows_per_day
        known = {part.window: part for part in state.parts}
        state.parts = [
            known.get(part) or CountedDays(part, count_in(part, rows))
            for part in divide_days(window, rows, self._reader.max_search_rows)
        ]

    # The state

    async def _acknowledge(self, state: WatchState, visit: WebVisit, part: int) -> None:
        self._delivered += 1
        await self._journal.acknowledge(state, self._record(state, visit, part))

    def _record(self, state: WatchState, visit: WebVisit, part: int) -> Acknowledged:
        today = self._now().date()
        started = utc_time(visit.started_at)
        day = today if started is None else started.date()
        latest = window_to_watch(state.floor, state.newest, today).end
        acknowledged = Acknowledged(min(max(day, state.floor - ONE_DAY), latest), visit.id, part)
        apply_acknowledged(state, acknowledged)
        self._known.add(visit.id)
        return acknowledged

    # The interval

    def _delay(self, state: WatchState, elapsed: float, error: LeadfeederError | None) -> float:
        """Return the seconds until the next poll."""
        if error is None:
            self._failures = 0
            used, quota = self._executor.monthly_usage()
            requests = max(1, len(state.parts)) * self._options.accounts
            interval = interval_within_quota(self._options.every, used, quota, self._now(), requests)
            return max(0.0, interval - elapsed)
        self._failures += 1
        if isinstance(error, QuotaExceededError):
            until = MAX_QUOTA_DELAY if error.retry_at is None else (error.retry_at - self._now()).total_seconds()
            return max(1.0, min(MAX_QUOTA_DELAY, until))
        return outage_delay(self._options.every, self._failures)

    def _report(self, started_at: datetime, delay: float | None, error: LeadfeederError | None) -> None:
        status = WatchStatus(
            account_id=self._account_id,
            at=started_at,
            reading=self._reading,
            delivered=self._delivered,
            next_poll_in=delay,
            failures=self._failures,
            error=error,
            problems=tuple(self._problems.problems),
        )
        if error is not None and delay is not None:
            text = "A poll of account %s failed (%d in a row). The next one is in %.0f s. %s"
            logger.warning(text, self._account_id, self._failures, delay, error)
        if status.problems:
            text = "Account %s: %d visits or parts could not be read. %s"
            logger.warning(text, self._account_id, self._problems.count, status.problems[0])
        if self._options.on_status is not None:
            try:
                self._options.on_status(status)
            except (Exception, asyncio.CancelledError):  # a canceled future of the user must not end the watch
                logger.exception("on_status failed")


def warn_about_cost(every: float, accounts: int, quota: int) -> None:
    """Log a warning if the polls of all accounts need a large part of the monthly quota."""
    requests = accounts * polls_per_month(every)
    if requests > WARNING_SHARE * quota:
        logger.warning(
            "A poll every %.0f s%s sends at least %s requests a month, which is %.0f %% of the quota of %s.",
            every,
            "" if accounts == 1 else f" for each of {accounts:,} accounts",
            f"{requests:,}",
            100 * requests / quota,
            f"{quota:,}",
        )


_NO_ID = DecodeError("A visit has no id, so it is not known if it was delivered before.")


def _started_at(visit: WebVisit) -> datetime:
    """Return the start of a visit. Visits without one count as old."""
    return visit.started_at or datetime.min.replace(tzinfo=UTC)


def _is_temporary(error: LeadfeederError) -> bool:
    """Return True if a later poll may succeed without any change by the user."""
    if isinstance(error, APIStatusError):
        return isinstance(error, QuotaExceededError | RateLimitedError | ServerError)
    return not isinstance(error, UsageError | CheckpointError | BudgetExceededError | RedirectError | TLSError)
