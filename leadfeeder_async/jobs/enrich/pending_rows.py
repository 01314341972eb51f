"""Rows that were read and wait for their results, and the order in which these are returned."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leadfeeder_async.jobs.enrich.key_normalization import FileRow, Key
from leadfeeder_async.jobs.enrich.results import ResultLine

MAX_PART_BYTES = 1_048_576
"""Results are passed on in parts of about this size, because encoding and writing them blocks the event loop."""


class PendingKey(msgspec.Struct, eq=False):
    """A key that is being looked up. Rows with the same key share it."""

    key: Key
    identity: bytes = b""
    digest: bytes = b""
    score: float | None = None
    """The score of its match."""
    match: ResultLine | None = None
    """Its match, until all keys before it are matched."""
    line: ResultLine | None = None
    """Its result."""
    rows: list[PendingRow] = msgspec.field(default_factory=list["PendingRow"])
    """The rows that wait for it, if results are not ordered."""


class PendingRow(msgspec.Struct, eq=False):
    """A row that was read and whose result was not returned yet."""

    number: int
    key: PendingKey
    by: str | None
    """The kind of key that was used. Rows with the same key can have found it in different columns."""
    shows_charge: bool
    """True for the first row of a key."""
    source: FileRow | None = None
    """The row itself, if it came from a file."""

    def result(self, line: ResultLine) -> ResultLine:
        """Return the result of this row, given the result of its key."""
        charged = line.charged if self.shows_charge else 0
        line = replace(line, row=self.number, key=self.key.key.value, by=self.by, charged=charged)
        return line if self.source is None else replace(line, line=self.source.line, input=self.source.as_json)


KeyResults: TypeAlias = list[tuple[PendingKey, ResultLine]]


class PendingRows:
    """Rows that wait for their results.

    Args:
        ordered: Return results in the order of the rows. Otherwise, return them as soon as they are ready.

    """

    def __init__(self, *, ordered: bool) -> None:
        self._ordered = ordered
        self._rows = deque[PendingRow]()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: PendingRow) -> None:
        """Append a row."""
        self._count += 1
        (self._rows if self._ordered or row.key.line is not None else row.key.rows).append(row)

    def finish(self, results: KeyResults) -> list[ResultLine]:
        """Record the results of some keys. Remove the rows that are ready, and return their results."""
        for key, result in results:
            key.line = result if key.score is None else replace(result, score=key.score)
            if key.rows:
                self._rows.extend(key.rows)
                key.rows.clear()
        ready = list[ResultLine]()
        while self._rows and (line := self._rows[0].key.line) is not None:
            ready.append(self._rows.popleft().result(line))
        self._count -= len(ready)
        return ready

    def count_finished(self) -> int:
        """Return the number of rows with a result that wait for a row without one."""
        return sum(row.key.line is not None for row in self._rows)

    def take_finished(self) -> list[ResultLine]:
        """Remove the rows that wait for rows without a result, and return their results."""
        ready = [row.result(line) for row in self._rows if (line := row.key.line) is not None]
        self._rows.clear()
        self._count -= len(ready)
        return ready


def split_results(lines: Sequence[ResultLine]) -> Iterator[list[ResultLine]]:
    """Split some results into parts of a limited size. Many rows may have the same large record."""
    part, size = list[ResultLine](), 0
    for line in lines:
        part.append(line)
        size += sum(memoryview(raw).nbytes for raw in (line.record, *line.candidates))
        if size >= MAX_PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
