"""Rows on their way in and out: read, numbered and told apart on one side, handed out in order on the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.enrich.keys import By, FileRow, Key, Row, key_of
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, ResultLine
from leadfeeder_async.jobs.enrich.row_reader import Rows
from leadfeeder_async.jobs.enrich.work_queue import PendingRow

_INPUT_CHANGED_HINT = "Give the same input again, or start over with overwrite=True (--overwrite)."


class EnrichmentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a job does, and how."""

    rows: Rows
    by: By
    column: str | None = None
    limit: int | None = None
    ordered: bool = True
    """Lines come in the order of the rows, or else as they are done."""
    dry_run: bool = False
    """Send nothing that may charge."""
    retry: bool = False
    """Ask again where an earlier line says that it failed or was skipped."""


class PreviousRun(msgspec.Struct, frozen=True):
    """What earlier runs of a job have done."""

    lines: Iterator[ResultLine] = msgspec.field(default_factory=lambda: iter(()))
    """Their lines, from the first row on."""
    done: int = 0
    """How many rows need no line any more."""
    paid_ids: frozenset[str] = frozenset()
    """Ids whose price they have counted, and whose records are not in their lines."""


class IncomingRow(msgspec.Struct, frozen=True):
    """A row that was just read."""

    number: int
    key: Key
    origin: FileRow | None
    """The row itself, where it came from a file."""
    line: ResultLine | None
    """What an earlier run wrote for it, unless it is to be asked again."""
    done: bool
    """It needs no line any more."""


class RowIntake:
    """Numbers rows, finds their keys, and holds them against what earlier runs wrote."""

    def __init__(self, plan: EnrichmentOptions, past: PreviousRun) -> None:
        self._plan, self._past = plan, past
        self.number = 0
        """Rows read so far."""

    @property
    def left(self) -> int | None:
        """How many rows may still be read; None without a limit."""
        return None if self._plan.limit is None else self._plan.limit - self.number

    def arrive(self, row: Row) -> IncomingRow:
        """Take the next row; raise CheckpointError where it is not the row that an earlier run had."""
        self.number += 1
        key = key_of(row, self._plan.by, self._plan.column)
        done = self.number <= self._past.done
        line = next(self._past.lines, None)
        if line is None and self._plan.retry:
            raise of_other_length(self.number - 1)
        if line is not None and line.key != key.value:
            raise CheckpointError(
                f"Row {self.number:,} of the input is {key.value!r}, and was {line.key!r} before.",
                hint=_INPUT_CHANGED_HINT,
            )
        again = line is not None and self._plan.retry and not done and not line.outcome.is_final
        origin = row if isinstance(row, FileRow) else None
        return IncomingRow(self.number, key, origin, None if again else line, done)

    def problem_at_end(self) -> CheckpointError | None:
        """Return what is wrong where earlier runs had more rows."""
        if self.number < self._past.done:
            return CheckpointError(
                f"The input has {self.number:,} rows, and {self._past.done:,} were done before.",
                hint=_INPUT_CHANGED_HINT,
            )
        more = sum(1 for _ in self._past.lines) if self._plan.retry else 0
        return of_other_length(self.number + more) if more else None


def of_other_length(lines: int) -> CheckpointError:
    """Return what is wrong with a file that is to be retried, and has not one line for each row."""
    return CheckpointError(
        f"The file that is retried has other rows than the input: {lines:,} lines, not one for each.",
        hint="Name a finished file, with the input and limit it was made with; enrich new rows into another file.",
    )


class ResultOrderer:
    """Rows that were read and not handed out yet."""

    def __init__(self, tally: EnrichmentSummary, *, ordered: bool) -> None:
        self._tally, self._ordered = tally, ordered
        self._rows = deque[PendingRow]()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: PendingRow) -> None:
        """Let a row wait for its answer."""
        self._rows.append(row)

    def ready(self) -> list[ResultLine]:
        """Take out the rows that have their answers: in order, up to the first that has none, or all of them."""
        ready, waiting = list[ResultLine](), deque[PendingRow]()
        while self._rows:
            one = self._rows.popleft()
            if one.ask.line is not None:
                ready.append(self._finished(one, one.ask.line))
                continue
            waiting.append(one)
            if self._ordered:
                break
        self._rows.extendleft(reversed(waiting))
        return ready

    def _finished(self, one: PendingRow, line: ResultLine) -> ResultLine:
        self._tally.outcomes[line.outcome] += 1
        charged = line.charged if one.first else 0
        finished = replace(line, row=one.number, key=one.ask.key.value, charged=charged)
        return finished if one.origin is None else replace(finished, line=one.origin.line, input=one.origin.as_json)
