"""Lists by id: batches of at most 100 ids, with the records in the order of their ids."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import NotFoundError
from leadfeeder_async.models.envelope import Meta
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition
from leadfeeder_async.pagination.source import PagerOptions, PrefetchQueue

T = TypeVar("T")

MAX_IDS_PER_REQUEST = 100
"""The most ids that the API accepts in one request."""


class LookupState(msgspec.Struct):
    """The ids of one iteration that were missing or merged so far."""

    missing: list[str] = msgspec.field(default_factory=list[str])
    """Ids that the server did not return under any id so far."""
    merged: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """Ids that were merged, and their current ids."""
    unresolved: list[str] = msgspec.field(default_factory=list[str])
    """Ids that are missing, or were merged into one of several records."""
    returned: set[str] = msgspec.field(default_factory=set[str])
    """The ids of the records that were returned."""


class IdBatchSource(msgspec.Struct, frozen=True):
    """Requests records by their ids, and prefetches several batches."""

    executor: RequestExecutor
    request: ApiRequest[bytes]
    ids: tuple[str, ...]
    resolve_merged: bool = False
    """Request the current id of each merged id."""

    def describe(self) -> str:
        """Return the number of ids."""
        return f"{len(self.ids):,} ids"

    def count_request(self, options: PagerOptions) -> ApiRequest[bytes]:
        """Return the request for the first batch."""
        return self.request_for(next(iter(self.batches(options)), ()))

    def batches(self, options: PagerOptions) -> list[tuple[str, ...]]:
        """Return the ids of each request, after the position of ``options``."""
        size, done = batch_size(options.limit), options.position.ids
        return [self.ids[start : start + size] for start in range(done, len(self.ids), size)]

    def pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        """Yield the pages in order."""
        return self.resolved_pages(decoder, options, LookupState())

    async def resolved_pages(
        self, decoder: PageDecoder[T], options: PagerOptions, state: LookupState
    ) -> AsyncGenerator[Page[T], None]:
        """Yield pages with the records in the order of their ids, each once, and record missing and merged ids.

        Records that belong to no requested id are appended, because they may have been charged.
        """
        state.returned.update(options.exclude_ids)
        batches = iter(self.batches(options))
        async with aclosing(self._received_pages(decoder, options)) as pages:
            async for page in pages:
                lookup = _BatchLookup(next(batches), page.items, decoder.row_ids(page.items))
                if lookup.unmatched:
                    await self._resolve(lookup, decoder, state)
                yield replace(page, items=lookup.ordered(state))
                del page, lookup
        if state.missing and state.returned and (last := await self._request_missing_again(decoder, state)):
            yield last

    async def _received_pages(self, decoder: PageDecoder[T], options: PagerOptions) -> AsyncGenerator[Page[T], None]:
        batches, queue = self.batches(options), PrefetchQueue(self.executor)
        wanted = min(len(batches), options.pages_wanted or len(batches))
        completed, requested, total = options.position.ids, 0, None
        try:
            for number, batch in enumerate(batches, start=1):
                body = await queue.next() if queue else await self.executor.execute(self.request_for(batch))
                requested = max(requested, number)
                page = await decoder.decode(body)
                completed += len(batch)
                total = page.meta.total_count if total is None else total
                while requested < wanted and len(queue) < options.prefetch:
                    queue.start(self.request_for(batches[requested]))
                    requested += 1
                yield replace(page, total=total, position=ResumePosition(ids=completed))
                del page, body  # so that the next page can use their memory
        finally:
            queue.close()

    def request_for(self, batch: tuple[str, ...]) -> ApiRequest[bytes]:
        """Return the request for some ids."""
        return self.request.with_params({"ids": batch})

    async def _resolve(self, lookup: _BatchLookup[T], decoder: PageDecoder[T], state: LookupState) -> None:
        """Find the records of ids that were not returned under their own id."""
        if len(lookup.unmatched) == len(lookup.unrequested) == 1:
            lookup.pair(lookup.unmatched[0], lookup.unrequested[0])
        elif lookup.unrequested and self.resolve_merged:
            await self._resolve_by_groups(lookup, decoder)
        elif lookup.unrequested:
            state.unresolved.extend(lookup.unmatched)
            return
        state.merged.update(lookup.merged)
        state.missing.extend(requested for requested in lookup.unmatched if requested not in lookup.merged)

    async def _request_missing_again(self, decoder: PageDecoder[T], state: LookupState) -> Page[T] | None:
        """Find out which missing ids were merged into records that were requested too.

        Their records were returned under their current ids, so no earlier response shows the merge. This takes one
        request for 100 missing ids.
        """
        candidates, state.missing = state.missing, []
        rows = list[T]()
        for start in range(0, len(candidates), MAX_IDS_PER_REQUEST):
            ids = candidates[start : start + MAX_IDS_PER_REQUEST]
            lookup = _BatchLookup[T](ids, (), ())
            found = await self._fetch_ids(ids, decoder, lookup)
            lookup.unrequested.extend(found)
            await self._resolve(lookup, decoder, state)
            rows.extend(lookup.ordered(state))
        return Page(tuple(rows), Meta(), position=ResumePosition(ids=len(self.ids))) if rows else None

    async def _resolve_by_groups(self, lookup: _BatchLookup[T], decoder: PageDecoder[T]) -> None:
        """Find which id became which record with few requests.

        The ids are numbered. For each bit of the number, the ids with that bit are requested together, and those
        without it. A record belongs to the id whose bits tell in which groups it was returned. If it was returned in
        both groups of a bit, it belongs to several ids, which are then requested one by one.
        """
        ids = lookup.unmatched
        ones, zeros = dict[str, int](), dict[str, int]()
        bits = range(max(1, (len(ids) - 1).bit_length()))
        for bit in bits:
            for groups, value in ((ones, 1), (zeros, 0)):
                group = [requested for number, requested in enumerate(ids) if (number >> bit) & 1 == value]
                for record_id in await self._fetch_ids(group, decoder, lookup) if group else ():
                    groups[record_id] = groups.get(record_id, 0) | 1 << bit
        shared = [record_id for record_id in {*ones, *zeros} if ones.get(record_id, 0) & zeros.get(record_id, 0)]
        for record_id in {*ones, *zeros}.difference(shared):
            number = ones.get(record_id, 0)
            if number < len(ids):
                lookup.pair(ids[number], record_id)
        if shared:
            for requested in ids:
                if requested not in lookup.merged:
                    found = await self._fetch_ids([requested], decoder, lookup)
                    if len(found) == 1:
                        lookup.pair(requested, next(iter(found)))

    async def _fetch_ids(self, ids: Iterable[str], decoder: PageDecoder[T], lookup: _BatchLookup[T]) -> set[str]:
        """Request some ids, and return the ids of the records that were returned."""
        try:
            page = await decoder.decode(await self.executor.execute(self.request_for(tuple(ids))))
        except NotFoundError:
            return set()
        return lookup.add(page.items, decoder.row_ids(page.items))


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

    def add(self, rows: Sequence[T], ids: Sequence[str | None]) -> set[str]:
        """Add records, and return their ids."""
        found = {row_id: row for row, row_id in zip(rows, ids, strict=True) if row_id is not None}
        for record_id, row in found.items():
            self._records.setdefault(record_id, row)
        return set(found)

    def pair(self, requested: str, record_id: str) -> None:
        """Record that an id was merged into a record."""
        self.merged[requested] = record_id

    def ordered(self, state: LookupState) -> tuple[T, ...]:
        """Return the records in the order of their ids, each once."""
        order = [self.merged.get(requested, requested) for requested in self._batch]
        unrequested = [record_id for record_id in self._records if record_id not in set(order)]
        rows = list[T]()
        for record_id in (*order, *unrequested):
            if record_id in self._records and record_id not in state.returned:
                state.returned.add(record_id)
                rows.append(self._records[record_id])
        return (*rows, *self._unidentified)


def batch_size(limit: int | None) -> int:
    """Return the number of ids per request. It is at most the limit, because each id may be charged."""
    if not limit:
        return MAX_IDS_PER_REQUEST
    requests = -(-limit // MAX_IDS_PER_REQUEST)
    return -(-limit // requests)
