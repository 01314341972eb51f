"""The input of an enrichment: numbered rows, their keys, and the results of previous runs."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Iterator
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.enrich.key_normalization import FileRow, Key, KeyFinder, Row
from leadfeeder_async.jobs.enrich.results import ResultLine

Rows: TypeAlias = Iterable[Row] | AsyncIterable[Row]
"""The input: a list, a file, a query, or any other iterable."""

START_OVER_HINT = "To start over, pass overwrite=True without resume or retry_failed."

_INPUT_CHANGED_HINT = f"Give the same input with the same columns and keys (`by`). {START_OVER_HINT}"


class EnrichmentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The input and the options of a job."""

    rows: Rows
    keys: KeyFinder
    limit: int | None = None
    ordered: bool = True
    """Return results in the order of the rows. Otherwise, return them as soon as they are ready."""
    dry_run: bool = False
    """Send nothing that may charge."""
    retry_failed: bool = False
    """Request the rows again that failed or were skipped in a previous run."""


class PreviousResults(msgspec.Struct, frozen=True):
    """The results of the previous runs of a job, and the ids that these may have paid."""

    lines: Iterator[ResultLine] = msgspec.field(default_factory=lambda: iter(()))
    """Their results, from the first row."""
    rows: int = 0
    """The rows that are done and must not be returned again."""
    paid_ids: frozenset[str] = frozenset()
    """Ids whose credits were reserved and whose records were not written."""
    uncertain_ids: frozenset[str] = frozenset()
    """Ids of responses that charged some of their records, which were not written."""


class IncomingRow(msgspec.Struct, frozen=True):
    """A row that was just read."""

    number: int
    """The number of the row, from 1."""
    key: Key
    source: FileRow | None
    """The row itself, if it came from a file."""
    line: ResultLine | None
    """The result of a previous run, unless the row is requested again."""
    is_done: bool
    """True if the result must not be returned again."""


class RowIntake:
    """Numbers rows, determines their keys, and compares them with the results of the previous runs.

    Args:
        options: The options of the job.
        previous_results: The results of the previous runs.

    """

    def __init__(self, options: EnrichmentOptions, previous_results: PreviousResults) -> None:
        self._options = options
        self._keys = options.keys.restart()
        self._previous = previous_results
        self.count = 0
        """The number of rows so far."""

    @property
    def remaining(self) -> int | None:
        """The number of rows that may still be read, or None if there is no limit."""
        return None if self._options.limit is None else self._options.limit - self.count

    def accept(self, row: Row) -> IncomingRow:
        """Assign the next number to a row, and return it with its key and its previous result.

        Raises:
            CheckpointError: A previous run had another key at this position, or the file to retry has fewer lines than
                the input has rows.

        """
        self.count += 1
        key = self._keys.find(row)
        is_done = self.count <= self._previous.rows
        line = next(self._previous.lines, None)
        if line is None and self._options.retry_failed:
            raise row_count_error(self.count - 1)
        if line is not None and line.key != key.value:
            raise CheckpointError(
                f"The key of row {self.count:,} is {key.value!r}, but it was {line.key!r} in a previous run.",
                hint=_INPUT_CHANGED_HINT,
                reason="input_changed",
            )
        if line is not None and self._options.retry_failed and not is_done and not line.outcome.is_final:
            line = None
        return IncomingRow(self.count, key, row if isinstance(row, FileRow) else None, line, is_done)

    def error_at_end(self) -> CheckpointError | None:
        """Return an error if the previous runs had more rows than the input."""
        if self.count < self._previous.rows:
            return CheckpointError(
                f"The input has {self.count:,} rows, but previous runs have finished {self._previous.rows:,}.",
                hint=_INPUT_CHANGED_HINT,
                reason="input_changed",
            )
        extra_lines = sum(1 for _ in self._previous.lines) if self._options.retry_failed else 0
        return row_count_error(self.count + extra_lines) if extra_lines else None


def row_count_error(lines: int) -> CheckpointError:
    """Return the error for a file to retry that does not have one line for each row of the input."""
    return CheckpointError(
        f"The file to retry has {lines:,} lines, but the input has a different number of rows.",
        hint="Retry a complete file with the input and the limit of its job. Enrich new rows into another file.",
        reason="input_changed",
    )
