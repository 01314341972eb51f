"""The pipeline of a job: read > match > order > fetch > emit.

Each stage is a coroutine in one task group::

    read   rows -> keys; equal keys share one lookup, and cached results are reused
    match  keys -> company ids, with free requests of up to 200 keys
    order  puts matches in the order of the rows, so that the first rows get the credits
    fetch  company ids -> records, with charged requests of up to 100 ids
    emit   records -> results, in the order of the rows

A queue joins read with match, and order with fetch. Streams without a buffer join match with order, and fetch with
emit. If the caller does not take results, only as many requests are sent as can be in flight. At most
``MAX_PENDING_ROWS`` rows are pending, regardless of the input.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from enum import Enum
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import UNSET
from msgspec.structs import replace

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import CheckpointError, ConfigurationError, DecodeError, LeadfeederError
from leadfeeder_async.jobs.background import StagedJob, batches_from_task
from leadfeeder_async.jobs.enrich.batch import Batch
from leadfeeder_async.jobs.enrich.call_meter import CallMeter
from leadfeeder_async.jobs.enrich.key_normalization import Row
from leadfeeder_async.jobs.enrich.lookup import KEYS_PER_MATCH, FetchResult, Lookup
from leadfeeder_async.jobs.enrich.pending_rows import KeyResults, PendingKey, PendingRow, PendingRows
from leadfeeder_async.jobs.enrich.request_queue import (
    MAX_FETCH_REQUESTS,
    MAX_MATCH_REQUESTS,
    CostJournal,
    RequestQueue,
    split_credits,
)
from leadfeeder_async.jobs.enrich.result_cache import ResultCache, digest_of_key, digest_of_record
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, Outcome, ResultLine, line_without_record
from leadfeeder_async.jobs.enrich.row_intake import EnrichmentOptions, IncomingRow, PreviousResults, RowIntake
from leadfeeder_async.jobs.failure_action import FailureAction
from leadfeeder_async.jobs.row_reader import MAX_BLOCKING_TIME, RowReader
from leadfeeder_async.jobs.serialized_error import SerializedError

T = TypeVar("T")

MAX_PENDING_ROWS = 16 * KEYS_PER_MATCH
"""The most pending rows: rows that were read and whose results the caller has not taken."""

RESERVATION_POLL = 0.1
"""Seconds after which the credits are checked again while other calls of the budget have reserved them all."""


class InputState(Enum):
    """The state of the input."""

    READING = "reading"
    """More rows are available, or may arrive soon."""
    PAUSED = "paused"
    """The next row did not arrive in time, so the keys that wait are sent now."""
    WAITING = "waiting"
    """The next row may take any time."""
    ENDED = "ended"
    """No more rows are read."""


class Pipeline(StagedJob):
    """One run of a job. It can be used once.

    Args:
        executor: Sends the requests.
        lookup: The requests for the kind of key.
        options: The input and the options of the job.
        summary: The totals to update.
        budget: The credits of this run.
        previous_results: The results of the previous runs.
        journal: Records credits before they are spent.

    """

    def __init__(
        self,
        executor: RequestExecutor,
        lookup: Lookup[object],
        options: EnrichmentOptions,
        *,
        summary: EnrichmentSummary,
        budget: Budget,
        previous_results: PreviousResults,
        journal: CostJournal,
    ) -> None:
        super().__init__()
        self.summary = summary
        self.distinct_keys = 0
        self.distinct_records = 0
        """The number of records that the job would fetch. Only a dry run counts them."""
        self._executor = executor
        self._budgeted_executor = executor.with_budget(budget)
        self._budget = budget
        self._lookup = lookup
        self._options = options
        self._paid_ids = previous_results.paid_ids
        self._uncertain_ids: frozenset[str] = previous_results.uncertain_ids if lookup.is_repeat_free else frozenset()
        self._journal = journal
        self._cache = ResultCache()
        self._intake = RowIntake(options, previous_results)
        self._pending_rows = PendingRows(ordered=options.ordered)
        is_bounded = self._budgeted_executor.credits_left() is not None
        self._matches = RequestQueue[PendingKey](
            KEYS_PER_MATCH, probe_size=KEYS_PER_MATCH, max_in_flight=MAX_MATCH_REQUESTS, first_alone=is_bounded
        )
        self._fetches = RequestQueue[str](
            lookup.ids_per_fetch, probe_size=1, max_in_flight=MAX_FETCH_REQUESTS, may_forbid_items=True
        )
        self._credits_in_flight = 0
        """The most credits that the requests in flight can charge to the budget."""
        self._preserve_order = options.ordered or is_bounded
        self._keys_in_row_order = deque[PendingKey]()
        """The keys that the order stage has not processed, if the order is preserved."""
        self._unordered_keys = 0
        """The number of keys that the order stage has not processed."""
        self._pending_keys = dict[bytes, PendingKey]()
        """The keys that are being looked up, by identity."""
        self._keys_by_record = dict[str, list[PendingKey]]()
        """The keys that wait for each record id."""
        self._untaken_rows = 0
        """The rows that were read and whose results the caller has not taken."""
        self._max_untaken_rows = MAX_PENDING_ROWS - KEYS_PER_MATCH
        self._input = InputState.READING
        self._is_ordering_done = False

    async def result_batches(self) -> AsyncGenerator[list[ResultLine], None]:
        """Yield results as they get ready. An error that stops the job is raised after them."""
        async with aclosing(batches_from_task(self._run, "leadfeeder-enrichment")) as batches:
            async for lines in batches:
                self.summary.outcomes.update([line.outcome for line in lines])
                yield lines
                self._untaken_rows -= len(lines)
                self._changed.notify()

    async def _run(self, output: MemoryObjectSendStream[list[ResultLine]]) -> None:
        """Run all stages, and raise the first error that stopped them."""
        matched_sender, matched_receiver = anyio.create_memory_object_stream[KeyResults](0)
        resolved_sender, resolved_receiver = anyio.create_memory_object_stream[KeyResults](0)
        streams = (output, matched_sender, matched_receiver, resolved_sender, resolved_receiver)
        try:
            with RowReader(self._options.rows) as reader:
                async with anyio.create_task_group() as group:
                    group.start_soon(reader.pump)
                    group.start_soon(self._read, reader, matched_sender, resolved_sender)
                    group.start_soon(self._match, group, matched_sender)
                    group.start_soon(self._order, matched_receiver, resolved_sender)
                    group.start_soon(self._fetch, group, resolved_sender)
                    group.start_soon(self._emit, resolved_receiver, output)
        except ExceptionGroup as group:
            for error in group.exceptions:
                self._abort(error)
        finally:
            for stream in streams:
                stream.close()
            self._cache.close()
        self._raise_error()

    # read

    async def _read(
        self,
        reader: RowReader[Row],
        matched: MemoryObjectSendStream[KeyResults],
        resolved: MemoryObjectSendStream[KeyResults],
    ) -> None:
        self._max_untaken_rows -= reader.max_buffered
        while (rows := await self._next_rows(reader)) is not None:
            known, has_results = await self._accept(rows)
            self._changed.notify()
            if known:
                await matched.send(known)
            if has_results:
                await resolved.send([])
            if reader.is_starved:
                self._set_input(InputState.PAUSED)
                await checkpoint()  # lets the match stage send a partial batch
        reader.stop()
        error = reader.error or self._intake.error_at_end()
        if error is not None and self._error is None:
            self._abort(error)
        self._set_input(InputState.ENDED)

    async def _next_rows(self, reader: RowReader[Row]) -> list[Row] | None:
        """Wait until there is room, then return the next rows, or None after the last ones."""
        remaining = self._intake.remaining
        if self._error is not None or reader.has_ended or remaining == 0:
            return None
        with anyio.CancelScope() as self._reading:
            while self._is_full:
                await self._changed.wait()
            self._set_input(InputState.WAITING if reader.is_starved else InputState.READING)
            rows = await reader.read(KEYS_PER_MATCH if remaining is None else min(remaining, KEYS_PER_MATCH))
            self._input = InputState.READING
            return rows
        return None

    def _set_input(self, state: InputState) -> None:
        if self._input is not state:
            self._input = state
            self._changed.notify()

    @property
    def _is_full(self) -> bool:
        return self._untaken_rows > self._max_untaken_rows

    async def _accept(self, rows: Sequence[Row]) -> tuple[KeyResults, bool]:
        """Add some rows.

        Returns:
            The matches that are known already, and True if some rows have results already.

        """
        known, has_results = KeyResults(), False
        deadline = time.perf_counter() + MAX_BLOCKING_TIME
        try:
            for row in rows:
                if time.perf_counter() > deadline:
                    await checkpoint()
                    deadline = time.perf_counter() + MAX_BLOCKING_TIME
                incoming = self._intake.accept(row)
                if incoming.line is not None:
                    self._reuse(incoming, incoming.line)
                if incoming.is_done:
                    continue
                self._untaken_rows += 1
                if incoming.line is not None or incoming.key.problem:
                    has_results = True
                    self._add_finished(incoming)
                elif (result := self._add_unfinished(incoming)) is not None:
                    known.append(result)
        except Exception as error:  # noqa: BLE001 - the results of requests in flight are returned first
            self._abort(error)
        return known, has_results

    def _reuse(self, row: IncomingRow, line: ResultLine) -> None:
        """Count a result of a previous run, and add it to the cache for equal keys."""
        if row.is_done:
            self.summary.outcomes[line.outcome] += 1
        if row.key.problem or line.outcome is Outcome.SKIPPED_BY_BUDGET:
            return
        if not self._lookup.price.is_published:
            self._lookup.price.record_charge(line.charged or 0)
        free = replace(line, charged=0, line=UNSET, input=UNSET)
        record_id = self._lookup.record_id(line)
        self._matches.has_succeeded |= line.error is None
        self._fetches.has_succeeded |= line.error is None and record_id is not None
        digest = digest_of_key(row.key.identity)
        if record_id is None:
            self._cache.put(digest, free)
        else:
            self._cache.put(digest, ResultLine(outcome=Outcome.MATCHED, id=record_id, score=line.score))
            self._cache.put(digest_of_record(record_id), free)

    def _add_finished(self, row: IncomingRow) -> None:
        """Add a row that has a result already, or no valid key."""
        line = row.line
        if line is None:
            error = ConfigurationError(f"Row {row.number:,} cannot be used: {row.key.problem}.")
            line = ResultLine(outcome=Outcome.UNUSABLE, error=SerializedError.from_error(error))
        self._pending_rows.add(PendingRow(row.number, PendingKey(row.key, line=line), row.key.kind, True, row.source))

    def _add_unfinished(self, row: IncomingRow) -> tuple[PendingKey, ResultLine] | None:
        """Add a row and, unless its key is being looked up, the key. Return the match if it is known already."""
        identity = row.key.identity
        pending = self._pending_keys.get(identity)
        if pending is not None:
            self._pending_rows.add(PendingRow(row.number, pending, row.key.kind, False, row.source))
            return None
        pending = self._pending_keys[identity] = PendingKey(row.key, identity, digest_of_key(identity))
        self._pending_rows.add(PendingRow(row.number, pending, row.key.kind, True, row.source))
        self._unordered_keys += 1
        if self._preserve_order:
            self._keys_in_row_order.append(pending)
        line = self._cache.get(pending.digest)
        if line is not None:
            return pending, line
        self.distinct_keys += 1
        if self._lookup.needs_match:
            self._matches.add(pending)
            return None
        line = ResultLine(outcome=Outcome.MATCHED, id=row.key.value)
        self._cache.put(pending.digest, line)
        return pending, line

    # match

    async def _match(self, group: TaskGroup, matched: MemoryObjectSendStream[KeyResults]) -> None:
        while not self._is_finished(self._matches, has_input_ended=self._input is InputState.ENDED):
            batch = self._next_batch(self._matches, allow_partial=self._may_match_partial_batch)
            if batch is None:
                await self._changed.wait()
            else:
                self._matches.in_flight += 1
                group.start_soon(self._request_matches, batch, matched)
        matched.close()

    @property
    def _may_match_partial_batch(self) -> bool:
        return self._input in {InputState.PAUSED, InputState.ENDED} or self._is_stalled

    @property
    def _is_stalled(self) -> bool:
        """True if there is no room for more rows, and only a partial batch can make room."""
        return self._is_full and self._is_idle and self._untaken_rows == len(self._pending_rows)

    @property
    def _is_idle(self) -> bool:
        """True if no request is in flight or can be sent with a full batch."""
        return not (self._matches.in_flight or self._fetches.in_flight or self._fetches.has_full_batch)

    async def _request_matches(self, batch: Batch[PendingKey], matched: MemoryObjectSendStream[KeyResults]) -> None:
        meter = CallMeter()
        try:
            executor = meter.attach(self._budgeted_executor)
            try:
                lines = await self._lookup.match(executor, [pending.key for pending in batch.items])
            finally:
                self._count_free_call(meter)
        except LeadfeederError as error:
            is_charged = meter.charged > 0
            action = self._record_failure(self._matches, batch, error, is_free=not is_charged, is_charged=is_charged)
            lines = self._matches_after(action, batch, error, is_charged=is_charged)
        except Exception as error:  # noqa: BLE001 - as in _request_records
            self._abort(error)
            lines = []
        else:
            if len(lines) == len(batch.items):
                self._matches.record_success()
            else:
                message = f"The response contains {len(lines):,} entries for {len(batch.items):,} keys."
                is_charged = meter.charged > 0
                action = FailureAction.OUTCOME_UNKNOWN if is_charged else FailureAction.SPLIT
                lines = self._matches_after(action, batch, DecodeError(message), is_charged=is_charged)
        for pending, line in zip(batch.items, lines, strict=False):
            if line.outcome is not Outcome.SKIPPED_BY_BUDGET:
                self._remember(pending.digest, line)
        if lines:
            await matched.send(list(zip(batch.items, lines, strict=True)))
        self._matches.in_flight -= 1
        self._changed.notify()

    def _matches_after(
        self, action: FailureAction, batch: Batch[PendingKey], error: LeadfeederError, *, is_charged: bool
    ) -> list[ResultLine]:
        """Put a failed batch back if it is sent again. Otherwise, return the results of its keys."""
        if self._matches.requeue(batch, action) or action is FailureAction.ABORT:
            return []
        if action is FailureAction.SPLIT and self._matches.record_rejection(error):
            self._abort(error)
        outcome = Outcome.SKIPPED_BY_BUDGET if action is FailureAction.SKIP else Outcome.FAILED
        return [line_without_record(error, outcome, charged=None if is_charged else 0)] * len(batch.items)

    # order

    async def _order(
        self,
        matched: MemoryObjectReceiveStream[KeyResults],
        resolved: MemoryObjectSendStream[KeyResults],
    ) -> None:
        async for results in matched:
            finished = KeyResults()
            for pending, match in self._in_row_order(results):
                line = self._queue_record(pending, match)
                if line is not None:
                    finished.append((pending, line))
            self._changed.notify()
            if finished:
                await resolved.send(finished)
        self._is_ordering_done = True
        self._changed.notify()

    def _in_row_order(self, results: KeyResults) -> KeyResults:
        """Return the matches whose turn it is, so that the records of the first rows are requested first."""
        if self._preserve_order:
            for pending, match in results:
                pending.match = match
            results = []
            while self._keys_in_row_order and (line := self._keys_in_row_order[0].match) is not None:
                results.append((self._keys_in_row_order.popleft(), line))
        self._unordered_keys -= len(results)
        return results

    def _queue_record(self, pending: PendingKey, match: ResultLine) -> ResultLine | None:
        """Return the result of a key if no record has to be fetched for it. Otherwise, queue its record."""
        if match.outcome is not Outcome.MATCHED or match.id is None:
            return match
        pending.score = match.score
        keys = self._keys_by_record.get(match.id)
        if keys is not None:
            keys.append(pending)
            return None
        digest = digest_of_record(match.id)
        line = self._cache.get(digest)
        if line is not None:
            return line
        if self._options.dry_run:
            self.distinct_records += 1
            self._remember(digest, match)
            return match
        self._keys_by_record[match.id] = [pending]
        self._fetches.add(match.id, is_prepaid=self._lookup.is_repeat_free and match.id in self._paid_ids)
        return None

    # fetch

    async def _fetch(self, group: TaskGroup, resolved: MemoryObjectSendStream[KeyResults]) -> None:
        while not self._is_finished(self._fetches, has_input_ended=self._is_ordering_done):
            batch = self._next_batch(self._fetches, allow_partial=self._may_fetch_partial_batch)
            if batch is None:
                await self._changed.wait()
                continue
            if self._fetches.in_flight and self._must_finish_rows:
                self._fetches.push_retry(batch)
                await self._changed.wait()
                continue
            batch.is_free = batch.is_free and batch.is_certainly_charged
            left = await self._current_credits(batch)
            affordable = self._affordable_ids(batch, left)
            if affordable < len(batch.items):
                if self._fetches.in_flight:  # a request in flight may release credits
                    self._fetches.push_retry(batch)
                    await self._changed.wait()
                    continue
                if batch.is_certainly_charged:
                    batch.is_free = True
                elif affordable <= 0 and self._budgeted_executor.may_release_credits():  # other calls of the budget
                    self._fetches.push_retry(batch)
                    await anyio.sleep(RESERVATION_POLL)
                    continue
                elif affordable <= 0:
                    await resolved.send(self._skip_unpaid(batch))
                    continue
                else:
                    batch, rest = batch.split(affordable)
                    self._fetches.push_retry(rest)
            self._fetches.in_flight += 1
            self._reserve(batch, left)
            group.start_soon(self._request_records, batch, resolved)
        await self._send_unassigned_results(resolved)
        resolved.close()

    async def _send_unassigned_results(self, resolved: MemoryObjectSendStream[KeyResults]) -> None:
        for batch in self._fetches.take_retries():
            if self._error is not None and (finished := self._unassigned_results(batch, self._error)):
                await resolved.send(finished)

    @property
    def _must_finish_rows(self) -> bool:
        """True if enough results of a file wait for an earlier row. If the job ended now, they would be paid twice."""
        if self._lookup.is_repeat_free or not self._journal.is_persistent:
            return False
        return self._pending_rows.count_finished() >= MAX_FETCH_REQUESTS

    def _skip_unpaid(self, batch: Batch[str]) -> KeyResults:
        """Return the results of a batch for which no credit is left. Companies that may be paid are requested for free.

        Some companies of an earlier response were charged, and the others were free, so none should be charged again.
        """
        free = [] if batch.is_prepaid else [record_id for record_id in batch.items if record_id in self._uncertain_ids]
        if free:
            self._fetches.push_retry(Batch(free, batch.order, is_prepaid=True, unassigned=batch.unassigned))
            batch.items = [record_id for record_id in batch.items if record_id not in self._uncertain_ids]
        return self._skip(batch, None)

    def _reserve(self, batch: Batch[str], left: int | None) -> None:
        """Record the credits that a batch reserves, before it is sent."""
        items, price = 0 if batch.is_free else len(batch.items), self._lookup.price
        batch.reserved = price.most(items) if left is None else max(0, min(left, price.most(items)))
        batch.cost = min(batch.reserved, price.of_lost_response(items))
        if not batch.is_prepaid and items:
            self._credits_in_flight += batch.reserved
            self._journal.reserve(batch.items, batch.cost)

    @property
    def _may_fetch_partial_batch(self) -> bool:
        if self._matches.is_rejecting:  # the job may be aborted, so earlier rows must not wait for a full batch
            return True
        if self._unordered_keys:
            return False
        is_waiting = self._input in {InputState.PAUSED, InputState.WAITING} and self._is_idle
        return self._input is InputState.ENDED or is_waiting or self._is_stalled

    def _credits_left(self, batch: Batch[str]) -> int | None:
        """Return the credits that the budgets cover, or None if there is no limit."""
        left = (self._executor if batch.is_prepaid else self._budgeted_executor).credits_left()
        # A request that was just started has not reserved its credits in the budget yet.
        return None if left is None else left - (self._credits_in_flight - self._budget.reserved)

    async def _current_credits(self, batch: Batch[str]) -> int | None:
        """Return the credits that the budgets cover. If none are left, ask the pools of other processes again."""
        left = self._credits_left(batch)
        if left is not None and left <= 0 and not self._fetches.in_flight:
            await self._budgeted_executor.refresh_shared_credits()
            left = self._credits_left(batch)
        return left

    def _affordable_ids(self, batch: Batch[str], left: int | None) -> int:
        """Return how many records can be requested now, in addition to the requests in flight.

        If the price is unknown, the first response shows it. Until then, no other request is sent if a budget limits
        the credits, or if a file records them.
        """
        price, is_alone = self._lookup.price, not self._fetches.in_flight
        if batch.is_free:  # one at a time, because the next result may show that the others are not free
            return len(batch.items) if is_alone else 0
        if not (is_alone or price.is_known) and (left is not None or self._journal.is_persistent):
            return 0
        return len(batch.items) if left is None else left // (price.least(1) if is_alone else price.most(1))

    async def _request_records(self, batch: Batch[str], resolved: MemoryObjectSendStream[KeyResults]) -> None:
        meter = CallMeter()
        is_reserved = batch.is_reserved_by_earlier_run
        executor = meter.attach(self._executor if is_reserved else self._budgeted_executor)
        try:
            result = await self._lookup.fetch(executor, batch)
        except LeadfeederError as error:
            finished = self._fail(batch, error, meter)
        except Exception as error:  # noqa: BLE001 - the caller's rate limiter and pool of credits may raise anything
            self._record_interruption(batch, meter)
            self._abort(error)
            finished = []
        except BaseException:
            self._record_interruption(batch, meter)
            raise
        else:
            finished = self._finish(batch, result, meter)
        if finished:
            await resolved.send(finished)
        self._fetches.in_flight -= 1
        self._changed.notify()

    def _finish(self, batch: Batch[str], result: FetchResult, meter: CallMeter) -> KeyResults:
        """Record a successful request, and return the results of its keys."""
        self._fetches.record_success()
        lines = self._with_unassigned_records(batch, result.lines)
        unassigned = result.unassigned
        found = {record_id: line.charged for record_id, line in lines.items() if line.outcome is Outcome.MATCHED}
        charged = [record_id for record_id, each in found.items() if each]
        uncertain = [record_id for record_id, each in found.items() if each is None]
        if unassigned is not None and unassigned.charged != 0:
            (charged if unassigned.is_certain and unassigned.charged else uncertain).extend(result.fetch_individually)
        if meter.charged and self._uncertain_ids.issuperset(batch.items):  # their free months have ended
            self._uncertain_ids = frozenset()
        self._settle(batch, meter, lines, charged, uncertain)
        for record_id in result.fetch_individually:
            self._fetches.push_retry(
                Batch([record_id], batch.order, is_prepaid=batch.is_prepaid, unassigned=unassigned)
            )
        if result.fetch_again:
            is_repeat = not result.lines  # the response has used up what was reserved for these items
            is_prepaid = batch.is_prepaid and not is_repeat
            again = Batch(
                result.fetch_again, batch.order, is_prepaid=is_prepaid, unassigned=batch.unassigned, is_repeat=is_repeat
            )
            self._fetches.push_retry(again)
        return self._resolve_all(lines)

    def _fail(self, batch: Batch[str], error: LeadfeederError, meter: CallMeter) -> KeyResults:
        """Record a failed request, and return the results of its keys unless the batch is sent again."""
        is_charged = meter.charged > 0
        action = self._record_failure(self._fetches, batch, error, is_free=False, is_charged=is_charged)
        is_outcome_unknown = action is FailureAction.OUTCOME_UNKNOWN
        self._settle(batch, meter)
        if action is FailureAction.ABORT:
            return self._unassigned_results(batch, error)
        if self._fetches.requeue(batch, action):
            return []
        if action is FailureAction.SKIP:
            if batch.is_certainly_charged and not batch.is_free:  # another process has spent the credits
                batch.is_free = True
                self._fetches.push_retry(batch)
                return []
            left = self._credits_left(batch)
            if batch.is_free or left is None or left >= self._lookup.price.least(len(batch.items)):
                return self._skip(batch, error)
            self._fetches.push_retry(batch)  # another process has spent the credits, so fewer ids are affordable
            return []
        is_not_found = error.status == 404 and not is_outcome_unknown
        if action is FailureAction.SPLIT and self._fetches.record_rejection(error, is_not_found=is_not_found):
            self._abort(error)
        outcome = Outcome.NOT_FOUND if is_not_found else Outcome.FAILED
        is_known = not meter.possibly_charged and (not is_charged or len(batch.items) == 1)
        charged = meter.charged if is_known else None
        lines = {item: line_without_record(error, outcome, item, charged=charged) for item in batch.items}
        return self._resolve_all(self._with_unassigned_records(batch, lines))

    def _settle(
        self,
        batch: Batch[str],
        meter: CallMeter,
        resolved_ids: Iterable[str] = (),
        charged_ids: Sequence[str] = (),
        uncertain_ids: Sequence[str] = (),
    ) -> None:
        """Count the credits of a request that has ended.

        Args:
            batch: The ids of the request.
            meter: Its credits.
            resolved_ids: The ids that have a result now.
            charged_ids: The ids that were certainly charged.
            uncertain_ids: The ids of which some were charged, but it is not known which.

        """
        if batch.is_reserved_by_earlier_run:
            self._count_prepaid_call(batch, meter, resolved_ids)
            return
        self._count(meter)
        if meter.possibly_charged >= self._lookup.price.least(len(batch.items)):  # the credits of all ids stay counted
            paid = split_credits(batch.items, meter.possibly_charged)
        else:
            paid = dict.fromkeys(charged_ids, 0)
        self._credits_in_flight -= batch.reserved
        self._journal.settle(batch.items, batch.cost, meter.spent, paid, uncertain_ids)

    def _count(self, meter: CallMeter) -> None:
        self.summary.credits += meter.charged
        self.summary.credits_possibly_charged += meter.possibly_charged

    def _count_prepaid_call(self, batch: Batch[str], meter: CallMeter, resolved_ids: Iterable[str]) -> None:
        """Count the credits of a prepaid request. Only those that no earlier run has reserved count in the budget."""
        self.summary.credits += meter.charged
        self.summary.credits_possibly_charged += min(meter.possibly_charged, self._journal.reserved_for(batch.items))
        ids = dict.fromkeys((*resolved_ids, *batch.items))  # the others may be charged by the next requests
        self._budget.credits += self._journal.cover(ids, meter.charged)

    def _count_free_call(self, meter: CallMeter) -> None:
        """Count the credits of a request that should be free."""
        if meter.spent:
            self._count(meter)
            self._journal.settle((), 0, meter.spent, {})

    def _record_interruption(self, batch: Batch[str], meter: CallMeter) -> None:
        """Count the credits of a canceled request. Its reservation stays in the journal."""
        if batch.is_reserved_by_earlier_run:
            self._count_prepaid_call(batch, meter, ())
            return
        self._count(meter)
        if meter.spent > batch.cost:
            with suppress(CheckpointError):  # the last checkpoint of the job records them too
                self._journal.settle(batch.items, batch.cost, meter.spent, {})

    def _with_unassigned_records(self, batch: Batch[str], lines: dict[str, ResultLine]) -> dict[str, ResultLine]:
        """Return some results with the records of an earlier response that belong to them."""
        unassigned = batch.unassigned
        return (
            lines if unassigned is None else {record_id: unassigned.assign(line) for record_id, line in lines.items()}
        )

    def _unassigned_results(self, batch: Batch[str], error: Exception) -> KeyResults:
        """Return the records of an earlier response as candidates of failed rows, because the job ends with an error.

        A file leaves these rows out, so that the next run requests them again.
        """
        if batch.unassigned is None or self._journal.is_persistent:
            return []
        shown = error if isinstance(error, LeadfeederError) else None
        lines = {record_id: line_without_record(shown, Outcome.FAILED, record_id) for record_id in batch.items}
        return self._resolve_all(self._with_unassigned_records(batch, lines))

    def _resolve_all(self, lines: Mapping[str, ResultLine]) -> KeyResults:
        """Return the results of the keys that wait for some records."""
        finished = KeyResults()
        for record_id, line in lines.items():
            finished += self._resolve(record_id, line)
        return finished

    def _resolve(self, record_id: str, line: ResultLine) -> KeyResults:
        """Add a record to the cache, and return it as the result of the keys that wait for it.

        Only the first key shows the charge.
        """
        free = replace(line, charged=0) if line.charged != 0 else line
        self._remember(digest_of_record(record_id), free)
        keys = self._keys_by_record.pop(record_id, [])
        return [(pending, free if index else line) for index, pending in enumerate(keys)]

    def _skip(self, batch: Batch[str], error: LeadfeederError | None) -> KeyResults:
        """Return the results of keys whose records the budget does not cover."""
        skipped = {item: line_without_record(error, Outcome.SKIPPED_BY_BUDGET, item) for item in batch.items}
        lines = self._with_unassigned_records(batch, skipped).items()
        return [(pending, line) for item, line in lines for pending in self._keys_by_record.pop(item, ())]

    # emit

    async def _emit(
        self,
        resolved: MemoryObjectReceiveStream[KeyResults],
        output: MemoryObjectSendStream[list[ResultLine]],
    ) -> None:
        async for results in resolved:
            for pending, _ in results:
                self._pending_keys.pop(pending.identity, None)
            lines = self._pending_rows.finish(results)
            self._changed.notify()
            if lines:
                await output.send(lines)
        if self._error is not None and not self._journal.is_persistent:  # a file counts rows, so it has no gaps
            lines = self._pending_rows.take_finished()
            if lines:
                await output.send(lines)
        self._is_complete = True

    def _remember(self, digest: bytes, line: ResultLine) -> None:
        """Add a result to the cache. If the disk is full, end the job, but return the results of requests in flight."""
        try:
            self._cache.put(digest, line)
        except CheckpointError as error:
            self._abort(error)

    # match and fetch

    def _is_finished(self, queue: RequestQueue[T], *, has_input_ended: bool) -> bool:
        """Return True if a stage will send no more requests and has passed on all results."""
        return has_input_ended and not queue.in_flight and (self._error is not None or queue.is_empty)

    def _next_batch(self, queue: RequestQueue[T], *, allow_partial: bool) -> Batch[T] | None:
        if self._error is not None or not queue.can_send:
            return None
        return queue.next_batch(allow_partial=allow_partial)

    def _record_failure(
        self,
        queue: RequestQueue[T],
        batch: Batch[T],
        error: LeadfeederError,
        *,
        is_free: bool,
        is_charged: bool = False,
    ) -> FailureAction:
        action = queue.record_failure(batch, error, is_free=is_free, is_charged=is_charged)
        if action is FailureAction.ABORT or queue.fails_constantly:
            self._abort(error)
        return action
