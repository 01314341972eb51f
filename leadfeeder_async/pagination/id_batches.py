"""Lists by id: batches of at most 100 ids, with the records in the order of their ids.

Each record may be charged. An error of one batch is therefore raised after the records of all batches in flight were
yielded, and no batch is requested for more rows than are still wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest, Billing
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import PRICE_MARGIN
from leadfeeder_async.errors import BudgetExceededError, NotFoundError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.batch_queue import BatchQueue, NotSentError
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions

T = TypeVar("T")

MAX_IDS_PER_REQUEST = 100
"""The most ids that the API accepts in one request."""

_SHOWN_PRICE_MARGIN = 4
"""The fewest credits that must be left for each id of a request, if only responses have shown its price."""

MAX_UNKNOWN_IDS = 8
"""The most ids without a record that are requested alone before any request was successful."""


class LookupState(msgspec.Struct):
    """The ids of one iteration that were missing or merged so far."""

    missing: list[str] = msgspec.field(default_factory=list[str])
    """Ids that the server did not return under any id so far."""
    not_found: set[str] = msgspec.field(default_factory=set[str])
    """Ids for which the server responded 404 when they were requested alone."""
    merged: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Ids that were merged, and their current ids."""
    unresolved: list[str] = msgspec.field(default_factory=list[str])
    """Ids of which it is not known whether they are missing or were merged."""
    returned: set[str] = msgspec.field(default_factory=set[str])
    """The ids of the records that were returned."""

    @property
    def without_record(self) -> tuple[str, ...]:
        """The ids whose record is not known so far."""
        return (*self.missing, *self.unresolved)


class LatestLookup(msgspec.Struct):
    """The ids of the latest iteration. Copies of a list share them, because ``to_file`` and ``first`` read a copy."""

    state: LookupState = msgspec.field(default_factory=LookupState)


class IdBatchSource(msgspec.Struct, frozen=True):
    """Requests records by their ids, and prefetches several batches."""

    executor: RequestExecutor
    request: ApiRequest[bytes]
    ids: tuple[str, ...]
    resolve_merged: bool
    """Request the current id of each merged id."""
    latest: LatestLookup

    def describe(self) -> str:
        """Return the number of ids."""
        return f"{len(self.ids):,} ids"

    def count_request(self, options: PagerOptions) -> None:  # noqa: ARG002 - as the other sources
        """Return None, because only requesting the records, which may charge, tells how many there are."""
        return

    def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order, and record missing and merged ids as those of the latest iteration."""
        self.latest.state = LookupState()
        return self._resolved_pages(decoder, options, self.latest.state)

    async def _resolved_pages(
        self, decoder: PageDecoder[T], options: PagerOptions, state: LookupState
    ) -> AsyncGenerator[Page[T], None]:
        """Yield pages with the records in the order of their ids, each once, and record missing and merged ids.

        Records that belong to no requested id are appended, because they may have been charged. After an error,
        nothing more is requested. The batches in flight are yielded, and then the first error is raised.
        """
        state.returned.update(options.exclude_ids)
        plan, queue = _BatchPlan(self.ids, options), BatchQueue(self.executor)
        total: int | None = None
        was_charged = False
        try:
            while queue or self._start_batches(plan, queue, 1, options):
                async with aclosing(self._receive(plan, queue, decoder, state, options)) as parts:
                    async for ids, page in parts:
                        self._start_batches(plan, queue, options.prefetch, options)
                        was_charged |= bool(page.meta.charged)
                        lookup = _BatchLookup(ids, page.items, decoder.row_ids(page.items))
                        may_request = plan.failure is None and not options.is_stopped
                        plan.fail(await self._resolve(lookup, decoder, state, may_request=may_request))
                        items = lookup.ordered(state)
                        plan.mark_received(ids, len(items))
                        self._start_batches(plan, queue, options.prefetch, options)
                        total = page.meta.total_count if total is None else total
                        yield replace(page, items=items, total=total, position=plan.position(state.without_record))
                        del page, lookup, items  # so that the next page can use their memory
            if plan.error is not None:
                raise plan.error
        finally:
            queue.close()
            plan.failure = plan.rejection = None  # their tracebacks reference this frame
        has_found_more = was_charged or bool(state.returned)
        # The server may return only some records of each request.
        while state.missing and has_found_more and not options.is_stopped:
            before, has_found_more = len(state.missing), False
            async for last in self._request_missing_again(decoder, state):
                has_found_more |= len(last.items) > 0 and len(state.missing) < before
                yield last

    def _most_ids(self) -> int:
        """Return the most ids of a request. A budget limits them if the price of an id is not published.

        A response shows only the average, because ids that were charged before are free.
        """
        left, price = self.executor.credits_left(), self.executor.price(self.request.endpoint)
        if left is None or price.is_published:
            return MAX_IDS_PER_REQUEST
        margin = max(_SHOWN_PRICE_MARGIN, price.highest) if price.is_known else PRICE_MARGIN
        return max(1, min(MAX_IDS_PER_REQUEST, left // margin))

    def _start_batches(self, plan: _BatchPlan, queue: BatchQueue, prefetch: int, options: PagerOptions) -> bool:
        """Request batches until ``prefetch`` are in flight or waiting. Return True if there are any."""
        if plan.failure is None and not options.is_stopped:
            while len(queue) < prefetch and not queue.has_failed and (batch := plan.take(self._most_ids())):
                queue.start(self.request_for(batch))
        return len(queue) > 0

    async def _receive(
        self, plan: _BatchPlan, queue: BatchQueue, decoder: PageDecoder[T], state: LookupState, options: PagerOptions
    ) -> AsyncGenerator[tuple[tuple[str, ...], Page[T]], None]:
        """Yield the ids of the next batch, and its page.

        Some servers respond 404 to a batch if one of its ids has no record. Its halves are then requested, down to
        single ids. An id without a record has an empty page. If no request was successful yet, only a few ids are
        tried, and then the 404 is the error of the list, because the path or the account may be wrong.
        """
        parts = [plan.pop_oldest()]
        result = await _page_or_error(queue.next(), decoder)
        while True:
            ids = parts.pop()
            if isinstance(result, Page):
                plan.has_succeeded = True
                yield ids, result
            elif not isinstance(result, NotFoundError) or result.context.charged or plan.failure is not None:
                plan.mark_failed(ids)
                plan.fail(result)
            elif len(ids) > 1:
                parts += [ids[len(ids) // 2 :], ids[: len(ids) // 2]]
            else:
                state.not_found.update(ids)
                plan.record_not_found(result)
                yield ids, Page((), Meta())
            if not parts or plan.failure is not None or options.is_stopped:
                break
            result = await _page_or_error(self.executor.execute(self.request_for(parts[-1])), decoder)
        for ids in reversed(parts):
            plan.mark_failed(ids)

    def request_for(self, batch: tuple[str, ...], most_new: int | None = None) -> ApiRequest[bytes]:
        """Return the request for some ids.

        Args:
            batch: The ids.
            most_new: The most records that may be charged, if fewer than the ids. Other records were just charged.
        """
        request = self.request.with_params({"ids": batch})
        if most_new is None or not request.endpoint.is_billed:
            return request
        endpoint = replace(request.endpoint, billing=Billing.PER_REQUEST)
        return replace(request, endpoint=endpoint, billable_records=min(most_new, len(batch)))

    async def _resolve(
        self, lookup: _BatchLookup[T], decoder: PageDecoder[T], state: LookupState, *, may_request: bool = True
    ) -> Exception | None:
        """Find the records of ids that were not returned under their own id, and return the error that prevents it."""
        failure: Exception | None = None
        is_resolved = True
        if len(lookup.unmatched) == len(lookup.unrequested) == 1:
            lookup.pair(lookup.unmatched[0], lookup.unrequested[0])
        elif lookup.unmatched and lookup.unrequested:
            is_resolved = self.resolve_merged and may_request
            if is_resolved:
                try:
                    await self._resolve_by_groups(lookup, decoder)
                except Exception as error:  # noqa: BLE001 - raised after the records of this batch
                    failure, is_resolved = error, False
        state.merged.update(lookup.merged)
        others = state.missing if is_resolved else state.unresolved
        others.extend(lookup.without_record())
        return failure

    async def _request_missing_again(
        self, decoder: PageDecoder[T], state: LookupState
    ) -> AsyncGenerator[Page[T], None]:
        """Find out which missing ids were merged into records that were requested too.

        Their records were returned under their current ids, so no earlier response shows the merge. This takes one
        request for each 100 missing ids. An id that was not found alone was not merged. If the budget does not cover a
        request, the ids stay unresolved, because an error here would hide that all batches were received.
        """
        candidates = [value for value in state.missing if value not in state.not_found]
        checked = [value for value in state.missing if value in state.not_found]
        order = {value: index for index, value in enumerate(self.ids)}
        end = 0
        while end < len(candidates):
            start, end = end, end + self._most_ids()
            try:
                page = await self._fetch_ids(candidates[start:end], decoder)
            except BudgetExceededError:
                state.unresolved.extend(candidates[start:])
                state.missing = checked
                return
            lookup = _BatchLookup(candidates[start:end], page.items, decoder.row_ids(page.items))
            state.missing = checked
            failure = await self._resolve(lookup, decoder, state)
            checked = state.missing
            state.missing = sorted((*checked, *candidates[end:]), key=order.__getitem__)
            items = lookup.ordered(state)
            if items:
                position = ResumePosition(ids=len(self.ids), missing_ids=state.without_record)
                yield replace(page, items=items, position=position)
            if failure is not None and not isinstance(failure, BudgetExceededError):
                raise failure

    async def _resolve_by_groups(self, lookup: _BatchLookup[T], decoder: PageDecoder[T]) -> None:
        """Find which id became which record with few requests.

        The ids are numbered. For each bit of the number, the ids with that bit are requested together, and those
        without it. A record belongs to the id whose bits tell in which groups it was returned. If it was returned in
        both groups of a bit, or in none, it belongs to several ids, or the server left it out. The remaining ids are
        then requested one by one.
        """
        ids = lookup.unmatched
        ones, zeros = dict[str, int](), dict[str, int]()
        bits = range(max(1, (len(ids) - 1).bit_length()))
        for bit in bits:
            for groups, value in ((ones, 1), (zeros, 0)):
                group = [requested for number, requested in enumerate(ids) if (number >> bit) & 1 == value]
                for record_id in await self._fetch_group(group, decoder, lookup) if group else ():
                    groups[record_id] = groups.get(record_id, 0) | 1 << bit
        for record_id in {*ones, *zeros}.difference(ids):
            number, others = ones.get(record_id, 0), zeros.get(record_id, 0)
            if number ^ others == (1 << len(bits)) - 1 and number < len(ids):
                lookup.pair(ids[number], record_id)
        if not {*ones, *zeros, *lookup.unrequested}.difference(ids) <= set(lookup.merged.values()):
            for requested in lookup.without_record():
                found = await self._fetch_group([requested], decoder, lookup)
                if len(found) == 1:
                    lookup.pair(requested, next(iter(found)))

    async def _fetch_group(self, ids: Sequence[str], decoder: PageDecoder[T], lookup: _BatchLookup[T]) -> set[str]:
        """Request some ids of a batch again, and return the ids of the records that were returned."""
        page = await self._fetch_ids(ids, decoder, lookup.most_new)
        return lookup.add(page.items, decoder.row_ids(page.items))

    async def _fetch_ids(self, ids: Sequence[str], decoder: PageDecoder[T], most_new: int | None = None) -> Page[T]:
        """Request some ids, and return an empty page if the server responds that none exists."""
        try:
            return await decoder.decode(await self.executor.execute(self.request_for(tuple(ids), most_new)))
        except NotFoundError:
            return Page((), Meta())


async def _page_or_error(body: Awaitable[bytes], decoder: PageDecoder[T]) -> Page[T] | Exception:
    """Return the page of a response body, or the error that prevents it."""
    try:
        return await decoder.decode(await body)
    except Exception as error:  # noqa: BLE001 - raised after the batches in flight
        return error


class _BatchPlan:
    """Decides which ids are requested next, and which are done.

    With a limit, no more ids are in flight than rows are still wanted, because each id may be charged.

    Args:
        ids: The ids of the list.
        options: The options of the pager.
    """

    def __init__(self, ids: tuple[str, ...], options: PagerOptions) -> None:
        done = options.position.ids
        before = set(ids[:done]) if options.position.missing_ids else set[str]()
        self._again = tuple(requested for requested in options.position.missing_ids if requested in before)
        self._ids = (*self._again, *ids[done:])
        self._done = done
        self._limit = options.limit
        self._rows = 0
        self._in_flight = deque[tuple[str, ...]]()
        self._requested = 0
        self._received = 0
        self._failed = list[str]()
        self.failure: Exception | None = None
        """The first error. After it, nothing more is requested."""
        self.rejection: NotFoundError | None = None
        self._not_found = 0
        self.has_succeeded = done > len(options.position.missing_ids)
        """True if a request was successful, or if an id before the position had a record."""

    @property
    def error(self) -> Exception | None:
        """The error of the list. If no request was successful, this is the first 404 if there is no other error."""
        return self.failure if self.has_succeeded else self.failure or self.rejection

    def record_not_found(self, error: NotFoundError) -> None:
        """Record that the server responded 404 to an id that was requested alone."""
        self.rejection = self.rejection or error
        self._not_found += 1
        if not self.has_succeeded and self._not_found == MAX_UNKNOWN_IDS:
            self.fail(error)

    def fail(self, error: Exception | None) -> None:
        """Record an error, unless there is one already."""
        if self.failure is None and not isinstance(error, NotSentError):
            self.failure = error

    def take(self, most: int) -> tuple[str, ...]:
        """Return the ids of the next request, or none if all were requested or the batch must wait.

        A batch that the limit or a budget makes smaller waits for the batches in flight. If these lack records, the
        limit then allows more ids, which takes fewer requests.

        Args:
            most: The most ids of the request.
        """
        size, pending = most, self._requested - self._received
        if pending and most < MAX_IDS_PER_REQUEST:
            return ()
        if self._limit is not None:
            size = max(0, min(size, self._limit - self._rows - pending))
            if pending and size < MAX_IDS_PER_REQUEST:
                return ()
        batch = self._ids[self._requested : self._requested + size]
        if batch:
            self._requested += len(batch)
            self._in_flight.append(batch)
        return batch

    def pop_oldest(self) -> tuple[str, ...]:
        """Remove and return the ids of the oldest batch in flight."""
        return self._in_flight.popleft()

    def mark_received(self, batch: tuple[str, ...], rows: int) -> None:
        """Record a batch and the number of its new rows."""
        self._received += len(batch)
        self._rows += rows

    def mark_failed(self, batch: tuple[str, ...]) -> None:
        """Record a batch whose records did not arrive."""
        self._received += len(batch)
        self._failed.extend(batch)

    def position(self, missing: Sequence[str]) -> ResumePosition:
        """Return the position after the batches so far. Ids before it without a record are requested again."""
        again = len(self._again)
        missing_ids = (*self._failed, *missing, *self._again[self._received :])
        return ResumePosition(ids=self._done + max(0, self._received - again), missing_ids=missing_ids)


class _BatchLookup(Generic[T]):
    """The records of one batch, and the ids that they belong to.

    Args:
        batch: The requested ids.
        rows: The records that were returned.
        ids: The ids of the records.
    """

    def __init__(self, batch: Sequence[str], rows: Sequence[T], ids: Sequence[str | None]) -> None:
        self._batch = batch
        self._records = dict[str, T]()
        self._unidentified = [row for row, row_id in zip(rows, ids, strict=True) if row_id is None]
        self.add(rows, ids)
        requested = set(batch)
        self.unmatched = [value for value in batch if value not in self._records]
        self.unrequested = [record_id for record_id in self._records if record_id not in requested]
        self.merged = dict[str, str]()

    @property
    def most_new(self) -> int:
        """The most records that requesting the unmatched ids again can add. All others were just charged."""
        found = len(self._records) - (len(set(self._batch)) - len(self.unmatched))
        return max(0, len(self.unmatched) - found)

    def add(self, rows: Sequence[T], ids: Sequence[str | None]) -> set[str]:
        """Add records, and return their ids."""
        found = {row_id: row for row, row_id in zip(rows, ids, strict=True) if row_id is not None}
        for record_id, row in found.items():
            self._records.setdefault(record_id, row)
        return set(found)

    def without_record(self) -> list[str]:
        """Return the requested ids that no record is known for, neither under this id nor under another."""
        return [value for value in self.unmatched if value not in self._records and value not in self.merged]

    def pair(self, requested: str, record_id: str) -> None:
        """Record the id of the record that an id belongs to. It was merged if they differ."""
        if requested != record_id:
            self.merged[requested] = record_id

    def ordered(self, state: LookupState) -> tuple[T, ...]:
        """Return the records in the order of their ids, each once."""
        order = [self.merged.get(record_id, record_id) for record_id in self._batch]
        requested = set(order)
        unrequested = [record_id for record_id in self._records if record_id not in requested]
        rows = list[T]()
        for record_id in (*order, *unrequested):
            if record_id in self._records and record_id not in state.returned:
                state.returned.add(record_id)
                rows.append(self._records[record_id])
        return (*rows, *self._unidentified)
