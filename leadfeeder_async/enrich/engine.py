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

from leadfeeder_async._http.session import Session
from leadfeeder_async.budget import Budget
from leadfeeder_async.enrich.asking import KEYS_PER_MATCH, Asking, Fetched
from leadfeeder_async.enrich.keys import Row
from leadfeeder_async.enrich.memory import Memory, of_id, of_key
from leadfeeder_async.enrich.outcomes import Line, Outcome, Problem, Tally, failure
from leadfeeder_async.enrich.reading import Reader
from leadfeeder_async.enrich.rows import Arrival, Intake, Outlet, Past, Plan
from leadfeeder_async.enrich.under_way import (
    FETCHES,
    MATCHES,
    PATIENCE,
    TRIES,
    Ask,
    Batch,
    Purse,
    Stage,
    Verdict,
    Waiting,
    judge,
    outcome_of,
)
from leadfeeder_async.errors import CheckpointError, ConfigurationError, DecodeError, LeadfeederError

T = TypeVar("T")

ROOM = 16 * KEYS_PER_MATCH
"""Rows that may be read ahead of those handed out."""


class Engine:
    """Does one job once."""

    def __init__(
        self, session: Session, asking: Asking[object], plan: Plan, *, budget: Budget, past: Past, purse: Purse
    ) -> None:
        self.tally = Tally()
        self.distinct = 0
        """Keys, each counted once."""
        self.companies = 0
        """Ids that a dry run found, each counted once."""
        self._free, self._bounded, self._budget = session, session.under(budget), budget
        self._at_stake = 0
        """Credits that the requests under way may charge to the budget."""
        self._asking, self._plan, self._past, self._purse = asking, plan, past, purse
        self._memory = Memory()
        self._reader = Reader(plan.rows)
        self._intake = Intake(plan, past)
        self._outlet = Outlet(self.tally, ordered=plan.ordered)
        self._matches = Stage[Ask](KEYS_PER_MATCH, MATCHES)
        self._fetches = Stage[str](asking.per_fetch, FETCHES)
        self._in_order = plan.ordered or self._bounded.credits_left() is not None
        """The first rows are to be done first: to be handed out, or to have the credits, as far as they go."""
        self._line_up = deque[Ask]()
        """The keys whose matches were not looked at yet, in the order of the rows."""
        self._asks = dict[bytes, Ask]()
        """The keys that are being asked for."""
        self._wanted = dict[str, list[Ask]]()
        """The ids that are being asked for, and for whom."""
        self._tasks = set[asyncio.Task[Callable[[], None]]]()
        self._reading: asyncio.Task[Callable[[], None]] | None = None
        self._end: LeadfeederError | None = None

    async def groups(self) -> AsyncGenerator[list[Line], None]:
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
            if self._end is not None:
                raise self._end
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
        if self._end is None:
            self._read()
        if self._end is not None:
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
        task = asyncio.create_task(outcome_of(work, then, failed))
        self._tasks.add(task)
        return task

    @property
    def _ended(self) -> bool:
        return self._reader.ended or self._intake.left == 0

    def _read(self) -> None:
        """Read ahead, while there is room for what a whole request asks."""
        while self._reading is None and self._end is None and len(self._matches.waiting) < 2 * KEYS_PER_MATCH:
            if self._ended:
                self._end = self._intake.problem_at_end()
                return
            if len(self._outlet) > ROOM - KEYS_PER_MATCH:
                return
            left = self._intake.left
            most = KEYS_PER_MATCH if left is None else min(left, KEYS_PER_MATCH)
            piece = self._reader.take_now(most)
            if piece is None:
                self._reading = self._start(partial(self._reader.take, most), self._read_some, self._read_failed)
            else:
                self._arrive(piece)

    def _read_some(self, rows: list[Row]) -> None:
        self._reading = None
        self._arrive(rows)

    def _read_failed(self, error: LeadfeederError) -> None:
        self._reading, self._end = None, error

    def _arrive(self, rows: Sequence[Row]) -> None:
        try:
            for row in rows:
                one = self._intake.arrive(row)
                if one.line is not None:
                    self._learn(one, one.line)
                if not one.done:
                    self._take_in(one)
        except CheckpointError as error:  # what is under way may cost, and is written before this is raised
            self._end = self._end or error

    def _learn(self, one: Arrival, line: Line) -> None:
        """Remember what an earlier run found out."""
        if one.done:
            self.tally.outcomes[line.outcome] += 1
        if one.key.problem or line.outcome is Outcome.SKIPPED_BY_BUDGET:
            return
        free = replace(line, charged=0, line=UNSET, input=UNSET)
        company_id = self._asking.id_of(line)
        self._matches.answered |= line.error is None
        self._fetches.answered |= line.error is None and company_id is not None
        if company_id is None:
            self._memory.learn(of_key(one.key.identity), free)
        else:
            found = Line(outcome=Outcome.MATCHED, id=company_id, score=line.score)
            self._memory.learn(of_key(one.key.identity), found)
            self._memory.learn(of_id(company_id), free)

    def _take_in(self, one: Arrival) -> None:
        """Let a row wait for its answer, and ask for it unless someone does already."""
        if one.line is not None or one.key.problem:
            problem = Problem.of(ConfigurationError(f"Row {one.number:,} cannot be used: {one.key.problem}."))
            line = one.line or Line(outcome=Outcome.UNUSABLE, error=problem)
            self._outlet.add(Waiting(one.number, Ask(one.key, line=line), True, one.origin))
            return
        identity = one.key.identity
        asked = self._asks.get(identity)
        ask = self._asks[identity] = asked or Ask(one.key)
        self._outlet.add(Waiting(one.number, ask, asked is None, one.origin))
        if asked is None:
            self._begin(ask, identity)

    def _begin(self, ask: Ask, identity: bytes) -> None:
        if self._in_order:
            self._line_up.append(ask)
        known = self._memory.recall(of_key(identity))
        if known is not None:
            self._answer(ask, known)
            return
        self.distinct += 1
        if self._asking.matches:
            self._matches.waiting.append(ask)
        else:
            self._answer(ask, Line(outcome=Outcome.MATCHED, id=ask.key.text))

    def _answer(self, ask: Ask, line: Line) -> None:
        """Look at a match: at once, or when all rows before it have theirs, so that those have the first credits."""
        ask.match = line
        if not self._in_order:
            self._take_match(ask, line)
        while self._line_up and (match := self._line_up[0].match) is not None:
            self._take_match(self._line_up.popleft(), match)

    def _take_match(self, ask: Ask, line: Line) -> None:
        if line.outcome is not Outcome.SKIPPED_BY_BUDGET:
            self._memory.learn(of_key(ask.key.identity), line)
        if line.outcome is not Outcome.MATCHED or line.id is None:
            self._resolve(ask, line)
            return
        ask.score = line.score
        known = self._memory.recall(of_id(line.id))
        if known is not None:
            self._resolve(ask, known)
        elif self._plan.dry:
            self.companies += 1
            self._memory.learn(of_id(line.id), line)
            self._resolve(ask, line)
        elif line.id in self._wanted:
            self._wanted[line.id].append(ask)
        else:
            self._wanted[line.id] = [ask]
            queue = self._fetches.paid if line.id in self._past.paid else self._fetches.waiting
            queue.append(line.id)

    @property
    def _no_more(self) -> bool:
        """Whether it would be in vain to wait for more rows to fill a request."""
        idle = not (self._matches.under_way or self._fetches.under_way)
        return self._ended or self._reader.slow or idle

    def _next_match(self) -> Batch[Ask] | None:
        if not self._matches.may_send:
            return None
        return self._matches.next_batch(self._matches.size, partly=self._no_more)

    def _matched(self, batch: Batch[Ask], lines: list[Line]) -> None:
        self._matches.under_way -= 1
        if len(lines) == len(batch.items):
            self._matches.answered_well()
            for ask, line in zip(batch.items, lines, strict=True):
                self._answer(ask, line)
        else:
            said = f"The answer holds {len(lines)} places for {len(batch.items)} keys."
            self._give_up_matches(batch, Verdict.SPLIT, DecodeError(said))

    def _match_failed(self, batch: Batch[Ask], error: LeadfeederError) -> None:
        self._matches.under_way -= 1
        self._give_up_matches(batch, self._count_setback(self._matches, batch, error, free=True), error)

    def _give_up_matches(self, batch: Batch[Ask], verdict: Verdict, error: LeadfeederError) -> None:
        """Put a batch back as the verdict says, or let its keys fail."""
        if self._matches.put_back(batch, verdict) or verdict is Verdict.ENDS:
            return
        if verdict is Verdict.SPLIT and self._matches.refuse():
            self._end = self._end or error
        outcome = Outcome.SKIPPED_BY_BUDGET if verdict is Verdict.SKIP else Outcome.FAILED
        for ask in batch.items:
            self._answer(ask, failure(error, outcome))

    def _count_setback(self, stage: Stage[T], batch: Batch[T], error: LeadfeederError, *, free: bool) -> Verdict:
        """Judge what failed: what nothing can follow ends the job, and so does one failure after the other."""
        verdict = judge(error, free=free)
        if verdict in {Verdict.AGAIN, Verdict.LOST}:
            stage.setbacks += 1
            batch.tries += 1
        if verdict is Verdict.ENDS or stage.setbacks >= PATIENCE:
            self._end = self._end or error
        if verdict is Verdict.AGAIN and batch.tries >= TRIES and stage.setbacks < TRIES:
            batch.tries = 0
            return Verdict.SPLIT
        return verdict

    def _next_fetch(self) -> Batch[str] | None:
        """Take the next ids that the budgets cover; those they do not are skipped once nothing can free any credits."""
        size = 1 if self._fetches.setbacks else self._fetches.size
        # A long run of refused rows may end the job: those before it are not to wait for rows that fill a request.
        partly = self._matches.refused >= PATIENCE or (self._matches.empty and self._no_more)
        while self._fetches.may_send:
            batch = self._fetches.next_batch(size, partly=partly)
            if batch is None:
                return None
            covered = min(len(batch.items), self._affordable(batch))
            if covered == len(batch.items):
                return batch
            if self._fetches.under_way:  # which may give back some of what it reserved
                self._fetches.ask_again(batch)
                return None
            if covered > 0:
                first, rest = batch.cut(covered)
                self._fetches.ask_again(rest)
                return first
            self._skip(batch.items, None)
        return None

    def _affordable(self, batch: Batch[str]) -> int:
        """Return how many ids the budgets cover; a request that was just begun has not reserved its credits yet."""
        left = (self._free if batch.paid else self._bounded).credits_left()
        if left is None:
            return len(batch.items)
        return (left - (self._at_stake - self._budget.reserved)) // self._asking.price

    def _fetch(self, batch: Batch[str]) -> None:
        most = len(batch.items) * self._asking.price
        if not batch.paid:
            self._at_stake += most
            self._purse.spending(batch.items, most)
        self._fetches.under_way += 1
        session = self._free if batch.paid else self._bounded
        work = partial(self._asking.fetch, session, batch.items)
        self._start(work, partial(self._fetched, batch, most), partial(self._fetch_failed, batch, most))

    def _fetched(self, batch: Batch[str], most: int, found: Fetched) -> None:
        self._fetches.under_way -= 1
        self._fetches.answered_well()
        self._account(batch, most, charged=found.charged)
        for one, line in found.lines.items():
            self._take_record(one, line)
        for one in found.alone:
            self._fetches.ask_again(Batch([one], batch.place, paid=batch.paid))

    def _fetch_failed(self, batch: Batch[str], most: int, error: LeadfeederError) -> None:
        self._fetches.under_way -= 1
        verdict = self._count_setback(self._fetches, batch, error, free=False)
        lost = verdict is Verdict.LOST
        if lost or batch.paid:
            self._account(batch, most, charged=None if lost else 0)
        else:
            self._at_stake -= most
            self._purse.given_back(batch.items, most)
        if self._fetches.put_back(batch, verdict) or verdict is Verdict.ENDS:
            return
        if verdict is Verdict.SKIP:
            if self._affordable(batch) < len(batch.items):  # another process has spent what seemed to be left
                self._fetches.ask_again(batch)
            else:
                self._skip(batch.items, error)
            return
        gone = error.status == 404 and not lost
        if verdict is Verdict.SPLIT and self._fetches.refuse(gone=gone):
            self._end = self._end or error
        outcome = Outcome.NOT_FOUND if gone else Outcome.FAILED
        for one in batch.items:
            self._take_record(one, failure(error, outcome, one, charged=None if lost else 0))

    def _account(self, batch: Batch[str], most: int, *, charged: int | None) -> None:
        """Book what a request charged; None where that is not known."""
        self.tally.credits += charged or 0
        self.tally.unknown += most if charged is None else 0
        if not batch.paid:
            self._at_stake -= most
            self._purse.spent(most, most if charged is None else charged)

    def _take_record(self, one: str, line: Line) -> None:
        free = replace(line, charged=0)
        self._memory.learn(of_id(one), free)
        for place, ask in enumerate(self._wanted.pop(one, ())):
            self._resolve(ask, free if place else line)

    def _skip(self, ids: Sequence[str], error: LeadfeederError | None) -> None:
        for one in ids:
            for ask in self._wanted.pop(one, ()):
                self._resolve(ask, failure(error, Outcome.SKIPPED_BY_BUDGET, one))

    def _resolve(self, ask: Ask, line: Line) -> None:
        ask.line = line if ask.score is None else replace(line, score=ask.score)
        self._asks.pop(ask.key.identity, None)
