"""One run of a bulk change: read ids > send > emit results.

Each stage is a coroutine in one task group. At most ``max_pending`` ids are pending: they were read, and the caller has
not taken their results. This limits the memory, and the requests while the caller does not take results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import aclosing

import anyio
import msgspec
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from leadfeeder_async._argument_checks import check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.error_mapping import partial_errors
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import CheckpointError, InvalidIdError, LeadfeederError
from leadfeeder_async.jobs.background import StagedJob, batches_from_task
from leadfeeder_async.jobs.bulk.change_queue import ChangeDecision, ChangeQueue, QueuedChange
from leadfeeder_async.jobs.bulk.change_results import BulkOutcome, BulkSummary, ChangeLine
from leadfeeder_async.jobs.row_reader import RowReader
from leadfeeder_async.jobs.serialized_error import SerializedError, escape_surrogates
from leadfeeder_async.models.envelope import Response

_INPUT_CHANGED_HINT = "Give the same ids again, or pass overwrite=True without resume=True to start over."


class Change(msgspec.Struct, frozen=True):
    """The change to make to each record."""

    endpoint: Endpoint[Response[None]]
    body: bytes
    account_id: str | None

    def request(self, record_id: str) -> ApiRequest[Response[None]]:
        """Return the request for one record."""
        return ApiRequest(self.endpoint, (record_id,), body=self.body, account_id=self.account_id)

    def describe(self, account: str) -> str:
        """Return the change in words, for errors."""
        return f"{self.endpoint.operation}, account {account}"


class PendingChange(msgspec.Struct, eq=False):
    """A row that was read and whose result was not emitted yet."""

    row: int
    id: str
    line: ChangeLine | None = None


class ChangeRun(StagedJob):
    """One run of a bulk change. It can be used once.

    Args:
        executor: Sends the requests.
        change: The change.
        ids: The ids of the records.
        ordered: Emit results in the order of the ids.
        max_pending: The most ids that were read and whose results the caller has not taken.
        previous_lines: The results of the previous runs.
        previous_rows: The number of these results.

    """

    def __init__(
        self,
        executor: RequestExecutor,
        change: Change,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        ordered: bool,
        max_pending: int,
        previous_lines: Iterator[ChangeLine],
        previous_rows: int,
    ) -> None:
        super().__init__()
        self.summary = BulkSummary()
        self._executor = executor
        self._change = change
        self._ids = ids
        self._ordered = ordered
        self._max_pending = max_pending
        self._previous_lines = previous_lines
        self._previous_rows = previous_rows
        self._queue = ChangeQueue()
        self._rows = deque[PendingChange]()
        """The rows that were not emitted yet, if results are ordered. Otherwise, only those of them with a result."""
        self._rows_by_id = dict[str, list[PendingChange]]()
        """The rows that wait for each id in the queue. Equal ids share one request."""
        self._rows_read = self._pending = 0
        self._has_input_ended = False
        self._is_sending_done = False

    async def result_batches(self) -> AsyncGenerator[list[ChangeLine], None]:
        """Yield results as they get ready. An error that stops the job is raised after them."""
        async with aclosing(batches_from_task(self._run, "leadfeeder-bulk")) as batches:
            async for lines in batches:
                self.summary.outcomes.update([line.outcome for line in lines])
                yield lines
                self._pending -= len(lines)
                self._changed.notify()

    async def _run(self, output: MemoryObjectSendStream[list[ChangeLine]]) -> None:
        """Run all stages, and raise the first error that stopped them."""
        try:
            with RowReader(self._ids) as reader:
                async with anyio.create_task_group() as group:
                    group.start_soon(reader.pump)
                    group.start_soon(self._read_ids, reader)
                    group.start_soon(self._send, group)
                    group.start_soon(self._emit, output)
        except ExceptionGroup as group:
            for error in group.exceptions:
                self._abort(error)
        finally:
            output.close()
        self._raise_error()

    async def _read_ids(self, reader: RowReader[str]) -> None:
        while self._error is None and not reader.has_ended:
            with anyio.CancelScope() as self._reading:
                while self._pending >= self._max_pending:
                    await self._changed.wait()
                try:
                    for value in await reader.read(self._max_pending - self._pending):
                        self._accept(value)
                except CheckpointError as error:
                    self._abort(error)
                self._changed.notify()
        reader.stop()
        if reader.error is not None:
            self._abort(reader.error)
        elif self._error is None and self._rows_read < self._previous_rows:
            self._abort(_shorter_input_error(self._rows_read, self._previous_rows))
        self._has_input_ended = True
        self._changed.notify()

    def _accept(self, value: object) -> None:
        """Add a row, unless a previous run has its result."""
        self._rows_read += 1
        record_id = escape_surrogates(str(value))
        line = next(self._previous_lines, None)
        if line is not None and line.id != record_id:
            raise CheckpointError(
                f"Row {self._rows_read:,} of the input is {record_id!r}, but it was {line.id!r} in a previous run.",
                hint=_INPUT_CHANGED_HINT,
                reason="input_changed",
            )
        if line is not None:
            self.summary.outcomes[line.outcome] += 1
            self._queue.succeeded_before |= line.outcome is BulkOutcome.CHANGED
            return
        self._pending += 1
        row = PendingChange(self._rows_read, record_id)
        if self._ordered:
            self._rows.append(row)
        try:
            check_id("id", value)
        except InvalidIdError as error:
            self._finish([row], BulkOutcome.FAILED, error)
            return
        if record_id not in self._rows_by_id:
            self._rows_by_id[record_id] = []
            self._queue.add(record_id)
        self._rows_by_id[record_id].append(row)

    async def _send(self, group: TaskGroup) -> None:
        while not self._is_sending_done:
            while self._error is None and (queued := self._queue.next()) is not None:
                self._queue.in_flight += 1
                group.start_soon(self._change_record, queued)
            is_done = self._error is not None or (self._has_input_ended and self._queue.is_empty)
            if is_done and not self._queue.in_flight:
                self._is_sending_done = True
                self._changed.notify()
            else:
                await self._changed.wait()

    async def _change_record(self, queued: QueuedChange) -> None:
        try:
            response = await self._executor.execute(self._change.request(queued.id))
        except LeadfeederError as error:
            self._apply_decision(self._queue.record_failure(queued, error), queued, error)
        else:
            context, redactor = self._change.endpoint.error_context(), self._executor.redactor
            reported = partial_errors(response, context, redactor, "The response reports an error")
            if reported:
                decision = self._queue.record_failure(queued, reported[0], is_partial=True)
                self._apply_decision(decision, queued, reported[0])
                return
            self._queue.record_success()
            self._finish(self._rows_by_id.pop(queued.id), BulkOutcome.CHANGED, None)
        finally:
            self._queue.in_flight -= 1
            self._changed.notify()

    def _apply_decision(self, decision: ChangeDecision, queued: QueuedChange, error: LeadfeederError) -> None:
        """Record the outcome of an id, or stop the job. A change to retry is in the queue again."""
        if decision in {ChangeDecision.FAILED, ChangeDecision.UNKNOWN}:
            self._finish(self._rows_by_id.pop(queued.id), decision.outcome, error)
        elif decision is ChangeDecision.ABORT:
            self._abort(error)

    def _finish(self, rows: list[PendingChange], outcome: BulkOutcome, error: LeadfeederError | None) -> None:
        serialized = None if error is None else SerializedError.from_error(error)
        for row in rows:
            row.line = ChangeLine(row=row.row, id=row.id, outcome=outcome, error=serialized)
            if not self._ordered:
                self._rows.append(row)

    async def _emit(self, output: MemoryObjectSendStream[list[ChangeLine]]) -> None:
        while True:
            is_last = self._is_sending_done and (self._has_input_ended or self._error is not None)
            lines = self._ready_lines(is_last=is_last)
            if lines:
                await output.send(lines)
            elif is_last:
                break
            else:
                await self._changed.wait()
        self._is_complete = self._error is None

    def _ready_lines(self, *, is_last: bool) -> list[ChangeLine]:
        """Remove the rows that are ready, and return their results.

        After the last request of a job that stopped, rows behind one without a result are ready too.
        """
        lines = list[ChangeLine]()
        while self._rows and (self._rows[0].line is not None or is_last):
            line = self._rows.popleft().line
            if line is not None:
                lines.append(line)
        return lines


def _shorter_input_error(read: int, previous: int) -> CheckpointError:
    return CheckpointError(
        f"The input has {read:,} ids, but previous runs have finished {previous:,}.",
        hint=_INPUT_CHANGED_HINT,
        reason="input_changed",
    )
