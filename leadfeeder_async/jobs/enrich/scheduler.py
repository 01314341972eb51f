"""The work itself: rows in, lines out, with matches and fetches under way in between.

One coroutine owns all state: it reads while there is room, sends what fills a request, and waits for the answers.
A row that asks what another one asks shares its answer; what was asked before is recalled. Rows that were read and not
handed out are at most ``ROOM``, so memory does not depend on the number of rows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from typing import TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import CheckpointError, ConfigurationError, DecodeError, LeadfeederError
from leadfeeder_async.jobs.enrich.keys import Row
from leadfeeder_async.jobs.enrich.lookup import KEYS_PER_MATCH, FetchResult, Lookup
from leadfeeder_async.jobs.enrich.result_cache import ResultCache, key_cache_id, record_cache_id
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, Outcome, ResultLine, SerializedError, failed_line
from leadfeeder_async.jobs.enrich.row_reader import RowReader
from leadfeeder_async.jobs.enrich.row_stream import (
    EnrichmentOptions,
    IncomingRow,
    PreviousRun,
    ResultOrderer,
    RowIntake,
)
from leadfeeder_async.jobs.enrich.work_queue import (
    FETCHES,
    MATCHES,
    MAX_ATTEMPTS,
    MAX_CONSECUTIVE_FAILURES,
    Batch,
    CostJournal,
    FailureAction,
    PendingKey,
    PendingRow,
    RequestQueue,
    classify_failure,
    run_then,
)

T = TypeVar("T")

MAX_PENDING_ROWS = 16 * KEYS_PER_MATCH
"""Rows that may be read ahead of those handed out."""


class Scheduler:
    """Does one job once."""

    def __init__(
        self,
        executor: RequestExecutor,
        asking: Lookup[object],
        plan: EnrichmentOptions,
        *,
        budget: Budget,
        past: PreviousRun,
        purse: CostJournal,
    ) -> None:
        self.tally = EnrichmentSummary()
        self.distinct = 0
        """Keys, each counted once."""
        self.companies = 0
        """Ids that a dry run found, each counted once."""
        self._free, self._bounded, self._budget = executor, executor.with_budget(budget), budget
        self._credits_in_flight = 0
        """Credits that the requests under way may charge to the budget."""
        self._asking, self._plan, self._past, self._purse = asking, plan, past, purse
        self._memory = ResultCache()
        self._reader = RowReader(plan.rows)
        self._intake = RowIntake(plan, past)
        self._outlet = ResultOrderer(self.tally, ordered=plan.ordered)
        self._matches = RequestQueue[PendingKey](KEYS_PER_MATCH, MATCHES)
        self._fetches = RequestQueue[str](asking.per_fetch, FETCHES)
        self._preserve_order = plan.ordered or self._bounded.credits_left() is not None
        """The first rows are to be done first: to be handed out, or to have the credits, as far as they go."""
        self._keys_in_row_order = deque[PendingKey]()
        """The keys whose matches were not looked at yet, in the order of the rows."""
        self._pending_keys = dict[bytes, PendingKey]()
        """The keys that are being asked for."""
        self._keys_by_company = dict[str, list[PendingKey]]()
        """The ids that are being asked for, and for whom."""
        self._tasks = set[asyncio.Task[Callable[[], None]]]()
        self._reading: asyncio.Task[Callable[[], None]] | None = None
        self._fatal_error: LeadfeederError | None = None

    async def result_batches(self) -> AsyncGenerator[list[ResultLine], None]:
        """Yield the lines of the rows as they are ready; what ends the job early is raised after all that is done."""
        try:
            while True:
                self._launch()
                ready = self._outlet.ready()
                if ready:
                    yield ready
                elif not self._tasks:
                    break
                else:
                    await self._step()
            if self._fatal_error is not None:
                raise self._fatal_error
        finally:
            await self._stop()

    async def _step(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._tasks -= done
        for task in done:
            if not task.cancelled():
                task.result()()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for task in self._tasks:
            _ = task.cancelled() or task.exception()
        await self._reader.aclose()
        self._memory.close()

    def _launch(self) -> None:
        if self._fatal_error is None:
            self._read()
        if self._fatal_error is not None:
            if self._reading is not None:
                self._reading.cancel()
            return
        while (batch := self._next_match()) is not None:
            self._matches.under_way += 1
            work = partial(self._asking.match, self._free, [ask.key for ask in batch.items])
            self._start(work, partial(self._matched, batch), partial(self._match_failed, batch))
        while (wanted := self._next_fetch()) is not None:
            self._fetch(wanted)

    def _start(
        self,
        work: Callable[[], Coroutine[object, object, T]],
        then: Callable[[T], None],
        failed: Callable[[LeadfeederError], None],
    ) -> asyncio.Task[Callable[[], None]]:
        task = asyncio.create_task(run_then(work, then, failed))
        self._tasks.add(task)
        return task

    @property
    def _ended(self) -> bool:
        return self._reader.ended or self._intake.left == 0

    def _read(self) -> None:
        """Read ahead, while there is room for what a whole request asks."""
        while self._reading is None and self._fatal_error is None and len(self._matches.waiting) < 2 * KEYS_PER_MATCH:
            if self._ended:
                self._fatal_error = self._intake.problem_at_end()
                return
            if len(self._outlet) > MAX_PENDING_ROWS - KEYS_PER_MATCH:
                return
            left = self._intake.left
            most = KEYS_PER_MATCH if left is None else min(left, KEYS_PER_MATCH)
            piece = self._reader.read_available(most)
            if piece is None:
                self._reading = self._start(partial(self._reader.read, most), self._read_some, self._read_failed)
            else:
                self._arrive(piece)

    def _read_some(self, rows: list[Row]) -> None:
        self._reading = None
        self._arrive(rows)

    def _read_failed(self, error: LeadfeederError) -> None:
        self._reading, self._fatal_error = None, error

    def _arrive(self, rows: Sequence[Row]) -> None:
        try:
            for row in rows:
                one = self._intake.arrive(row)
                if one.line is not None:
                    self._learn(one, one.line)
                if not one.done:
                    self._take_in(one)
        except CheckpointError as error:  # what is under way may cost, and is written before this is raised
            self._fatal_error = self._fatal_error or error

    def _learn(self, one: IncomingRow, line: ResultLine) -> None:
        """Remember what an earlier run found out."""
        if one.done:
            self.tally.outcomes[line.outcome] += 1
        if one.key.problem or line.outcome is Outcome.SKIPPED_BY_BUDGET:
            return
        free = replace(line, charged=0, line=UNSET, input=UNSET)
        company_id = self._asking.id_of(line)
        self._matches.has_succeeded |= line.error is None
        self._fetches.has_succeeded |= line.error is None and company_id is not None
        if company_id is None:
            self._memory.put(key_cache_id(one.key.identity), free)
        else:
            found = ResultLine(outcome=Outcome.MATCHED, id=company_id, score=line.score)
            self._memory.put(key_cache_id(one.key.identity), found)
            self._memory.put(record_cache_id(company_id), free)

    def _take_in(self, one: IncomingRow) -> None:
        """Let a row wait for its answer, and ask for it unless someone does already."""
        if one.line is not None or one.key.problem:
            problem = SerializedError.of(ConfigurationError(f"Row {one.number:,} cannot be used: {one.key.problem}."))
            line = one.line or ResultLine(outcome=Outcome.UNUSABLE, error=problem)
            self._outlet.add(PendingRow(one.number, PendingKey(one.key, line=line), True, one.origin))
            return
        identity = one.key.identity
        asked = self._pending_keys.get(identity)
        ask = self._pending_keys[identity] = asked or PendingKey(one.key)
        self._outlet.add(PendingRow(one.number, ask, asked is None, one.origin))
        if asked is None:
            self._begin(ask, identity)

    def _begin(self, ask: PendingKey, identity: bytes) -> None:
        if self._preserve_order:
            self._keys_in_row_order.append(ask)
        known = self._memory.get(key_cache_id(identity))
        if known is not None:
            self._answer(ask, known)
            return
        self.distinct += 1
        if self._asking.matches:
            self._matches.waiting.append(ask)
        else:
            self._answer(ask, ResultLine(outcome=Outcome.MATCHED, id=ask.key.value))

    def _answer(self, ask: PendingKey, line: ResultLine) -> None:
        """Look at a match: at once, or when all rows before it have theirs, so that those have the first credits."""
        ask.match = line
        if not self._preserve_order:
            self._take_match(ask, line)
        while self._keys_in_row_order and (match := self._keys_in_row_order[0].match) is not None:
            self._take_match(self._keys_in_row_order.popleft(), match)

    def _take_match(self, ask: PendingKey, line: ResultLine) -> None:
        if line.outcome is not Outcome.SKIPPED_BY_BUDGET:
            self._memory.put(key_cache_id(ask.key.identity), line)
        if line.outcome is not Outcome.MATCHED or line.id is None:
            self._resolve(ask, line)
            return
        ask.score = line.score
        known = self._memory.get(record_cache_id(line.id))
        if known is not None:
            self._resolve(ask, known)
        elif self._plan.dry_run:
            self.companies += 1
            self._memory.put(record_cache_id(line.id), line)
            self._resolve(ask, line)
        elif line.id in self._keys_by_company:
            self._keys_by_company[line.id].append(ask)
        else:
            self._keys_by_company[line.id] = [ask]
            queue = self._fetches.paid if line.id in self._past.paid_ids else self._fetches.waiting
            queue.append(line.id)

    @property
    def _no_more(self) -> bool:
        """Whether it would be in vain to wait for more rows to fill a request."""
        idle = not (self._matches.under_way or self._fetches.under_way)
        return self._ended or self._reader.is_starved or idle

    def _next_match(self) -> Batch[PendingKey] | None:
        if not self._matches.may_send:
            return None
        return self._matches.next_batch(self._matches.size, partly=self._no_more)

    def _matched(self, batch: Batch[PendingKey], lines: list[ResultLine]) -> None:
        self._matches.under_way -= 1
        if len(lines) == len(batch.items):
            self._matches.record_success()
            for ask, line in zip(batch.items, lines, strict=True):
                self._answer(ask, line)
        else:
            said = f"The answer holds {len(lines)} places for {len(batch.items)} keys."
            self._give_up_matches(batch, FailureAction.SPLIT, DecodeError(said))

    def _match_failed(self, batch: Batch[PendingKey], error: LeadfeederError) -> None:
        self._matches.under_way -= 1
        self._give_up_matches(batch, self._count_setback(self._matches, batch, error, free=True), error)

    def _give_up_matches(self, batch: Batch[PendingKey], verdict: FailureAction, error: LeadfeederError) -> None:
        """Put a batch back as the verdict says, or let its keys fail."""
        if self._matches.requeue(batch, verdict) or verdict is FailureAction.ABORT:
            return
        if verdict is FailureAction.SPLIT and self._matches.record_rejection():
            self._fatal_error = self._fatal_error or error
        outcome = Outcome.SKIPPED_BY_BUDGET if verdict is FailureAction.SKIP else Outcome.FAILED
        for ask in batch.items:
            self._answer(ask, failed_line(error, outcome))

    def _count_setback(
        self, stage: RequestQueue[T], batch: Batch[T], error: LeadfeederError, *, free: bool
    ) -> FailureAction:
        """Judge what failed: what nothing can follow ends the job, and so does one failure after the other."""
        verdict = classify_failure(error, free=free)
        if verdict in {FailureAction.RETRY, FailureAction.OUTCOME_UNKNOWN}:
            stage.consecutive_failures += 1
            batch.attempts += 1
        if verdict is FailureAction.ABORT or stage.consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
            self._fatal_error = self._fatal_error or error
        if (
            verdict is FailureAction.RETRY
            and batch.attempts >= MAX_ATTEMPTS
            and stage.consecutive_failures < MAX_ATTEMPTS
        ):
            batch.attempts = 0
            return FailureAction.SPLIT
        return verdict

    def _next_fetch(self) -> Batch[str] | None:
        """Take the next ids that the budgets cover; those they do not are skipped once nothing can free any credits."""
        size = 1 if self._fetches.consecutive_failures else self._fetches.size
        # A long run of refused rows may end the job: those before it are not to wait for rows that fill a request.
        partly = self._matches.consecutive_rejections >= MAX_CONSECUTIVE_FAILURES or (
            self._matches.empty and self._no_more
        )
        while self._fetches.may_send:
            batch = self._fetches.next_batch(size, partly=partly)
            if batch is None:
                return None
            covered = min(len(batch.items), self._affordable(batch))
            if covered == len(batch.items):
                return batch
            if self._fetches.under_way:  # which may give back some of what it reserved
                self._fetches.push_retry(batch)
                return None
            if covered > 0:
                first, rest = batch.cut(covered)
                self._fetches.push_retry(rest)
                return first
            self._skip(batch.items, None)
        return None

    def _affordable(self, batch: Batch[str]) -> int:
        """Return how many ids the budgets cover; a request that was just begun has not reserved its credits yet."""
        left = (self._free if batch.prepaid else self._bounded).credits_left()
        if left is None:
            return len(batch.items)
        return (left - (self._credits_in_flight - self._budget.reserved)) // self._asking.price

    def _fetch(self, batch: Batch[str]) -> None:
        most = len(batch.items) * self._asking.price
        if not batch.prepaid:
            self._credits_in_flight += most
            self._purse.reserve(batch.items, most)
        self._fetches.under_way += 1
        executor = self._free if batch.prepaid else self._bounded
        work = partial(self._asking.fetch, executor, batch.items)
        self._start(work, partial(self._fetched, batch, most), partial(self._fetch_failed, batch, most))

    def _fetched(self, batch: Batch[str], most: int, found: FetchResult) -> None:
        self._fetches.under_way -= 1
        self._fetches.record_success()
        self._account(batch, most, charged=found.charged)
        for one, line in found.lines.items():
            self._take_record(one, line)
        for one in found.fetch_individually:
            self._fetches.push_retry(Batch([one], batch.order, prepaid=batch.prepaid))

    def _fetch_failed(self, batch: Batch[str], most: int, error: LeadfeederError) -> None:
        self._fetches.under_way -= 1
        verdict = self._count_setback(self._fetches, batch, error, free=False)
        lost = verdict is FailureAction.OUTCOME_UNKNOWN
        if lost or batch.prepaid:
            self._account(batch, most, charged=None if lost else 0)
        else:
            self._credits_in_flight -= most
            self._purse.release(batch.items, most)
        if self._fetches.requeue(batch, verdict) or verdict is FailureAction.ABORT:
            return
        if verdict is FailureAction.SKIP:
            if self._affordable(batch) < len(batch.items):  # another process has spent what seemed to be left
                self._fetches.push_retry(batch)
            else:
                self._skip(batch.items, error)
            return
        gone = error.status == 404 and not lost
        if verdict is FailureAction.SPLIT and self._fetches.record_rejection(gone=gone):
            self._fatal_error = self._fatal_error or error
        outcome = Outcome.NOT_FOUND if gone else Outcome.FAILED
        for one in batch.items:
            self._take_record(one, failed_line(error, outcome, one, charged=None if lost else 0))

    def _account(self, batch: Batch[str], most: int, *, charged: int | None) -> None:
        """Book what a request charged; None where that is not known."""
        self.tally.credits += charged or 0
        self.tally.credits_possibly_charged += most if charged is None else 0
        if not batch.prepaid:
            self._credits_in_flight -= most
            self._purse.settle(most, most if charged is None else charged)

    def _take_record(self, one: str, line: ResultLine) -> None:
        free = replace(line, charged=0)
        self._memory.put(record_cache_id(one), free)
        for place, ask in enumerate(self._keys_by_company.pop(one, ())):
            self._resolve(ask, free if place else line)

    def _skip(self, ids: Sequence[str], error: LeadfeederError | None) -> None:
        for one in ids:
            for ask in self._keys_by_company.pop(one, ()):
                self._resolve(ask, failed_line(error, Outcome.SKIPPED_BY_BUDGET, one))

    def _resolve(self, ask: PendingKey, line: ResultLine) -> None:
        ask.line = line if ask.score is None else replace(line, score=ask.score)
        self._pending_keys.pop(ask.key.identity, None)
