"""Enrichment into a file: one line a row, in the order of the rows, so that how far it is, is one number.

What the job may have cost is put on the disk before each request that charges, together with the ids it is for. So even
after a kill a job goes on within its ``max_credits``: those ids are asked for again outside of what is left, since they
are counted already, and whatever was charged for them is free for twelve months.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from hashlib import file_digest, sha256
from itertools import chain, islice
from pathlib import Path

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import CheckpointError, check_argument
from leadfeeder_async.jobs.checkpoint import lines_from
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.lookup import Lookup
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, ResultLine, encode_lines
from leadfeeder_async.jobs.enrich.row_stream import EnrichmentOptions, PreviousRun, of_other_length
from leadfeeder_async.jobs.enrich.scheduler import MAX_PENDING_ROWS, Scheduler
from leadfeeder_async.jobs.enrich.work_queue import CostJournal
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker, notify
from leadfeeder_async.jobs.resumable_file import JobIdentity, ResumableFile, open_resumable
from leadfeeder_async.jobs.tabular import Column, check_table, columns_of, is_table

_DECODER = msgspec.json.Decoder(ResultLine)


class EnrichmentJob(msgspec.Struct, frozen=True):
    """One enrichment, whatever it is written to."""

    executor: RequestExecutor
    lookup: Lookup[object]
    options: EnrichmentOptions
    max_credits: int | None
    identity: JobIdentity
    record: type[object]
    """What a record is, for the columns of a table."""

    def engine(self, past: PreviousRun | None = None, purse: CostJournal | None = None, *, spent: int = 0) -> Scheduler:
        """Make what does it, after earlier runs that may have spent some credits."""
        left = None if self.max_credits is None else max(0, self.max_credits - spent)
        budget = Budget(max_credits=0 if self.options.dry_run else left)
        return Scheduler(
            self.executor,
            self.lookup,
            self.options,
            budget=budget,
            past=past or PreviousRun(),
            purse=purse or CostJournal(),
        )


class CheckpointCostJournal(CostJournal):
    """Writes down what the job may cost before it costs it."""

    def __init__(self, part: ResumableFile, *, ahead: bool) -> None:
        self._part = part
        self._ahead = ahead
        self._settled = part.checkpoint.credits
        self._under_way = 0
        self._asked = dict.fromkeys(part.checkpoint.paid_ids)
        self._written = list[str]()

    def reserve(self, ids: Iterable[str], most: int) -> None:
        """Count what is about to be spent."""
        self._under_way += most
        self._asked.update(dict.fromkeys(ids))
        if self._ahead:
            self._part.record_reserved_credits(self._settled + self._under_way, tuple(self._asked))

    def settle(self, most: int, charged: int) -> None:
        """Replace it by what was charged."""
        self._under_way -= most
        self._settled += charged

    def release(self, ids: Iterable[str], most: int) -> None:
        """Give back what was not spent."""
        self._under_way -= most
        for one in ids:
            self._asked.pop(one, None)

    def write(self, lines: Sequence[ResultLine], of: Lookup[object]) -> None:
        """Write some lines; once they are safe, the ids of their records need no second asking."""
        self._state()
        ids = [of.id_of(line) for line in lines]
        self._written.extend(one for one in ids if one is not None)
        if self._part.append(encode_lines(lines), len(lines)):
            for one in self._written:
                self._asked.pop(one, None)
            self._written.clear()
            for one in list(islice(self._asked, max(0, len(self._asked) - 2 * MAX_PENDING_ROWS))):
                del self._asked[one]  # its row is written under the current id of a merged company

    def close(self) -> None:
        """Let the last checkpoint say what the job may have cost, requests that were given up included."""
        self._state()

    def _state(self) -> None:
        """Let the next checkpoint say what the job may have cost, and for which ids: one without the other lies."""
        credits = self._settled + self._under_way  # noqa: A001 - the API's word
        self._part.checkpoint = replace(self._part.checkpoint, credits=credits, paid_ids=tuple(self._asked))


async def enrich_file(
    job: EnrichmentJob,
    path: Path,
    meter: ProgressTracker,
    total: int | None,
    on_progress: OnProgress | None,
    *,
    resume: bool,
    overwrite: bool,
    retry: bool,
) -> EnrichmentSummary:
    """Write a line for each row to ``path``, which is called ``….part`` until the last one is safe."""
    check_table(path)
    subject = _retried(job, path, total) if retry else job.identity
    with open_resumable(path, subject, resume=resume, overwrite=overwrite, replaces=retry) as part:
        saved = part.checkpoint
        meter.start_from(saved.rows)
        book = CheckpointCostJournal(part, ahead=job.max_credits is not None)
        past = PreviousRun(_lines_before(part, path if retry else None), saved.rows, frozenset(saved.paid_ids))
        engine = job.engine(past, book, spent=saved.credits)
        engine.tally.credits_of_previous_runs = saved.credits
        try:
            async with aclosing(engine.result_batches()) as groups:
                async for lines in groups:
                    book.write(lines, job.lookup)
                    notify(meter.count(len(lines), total), on_progress)
        finally:
            book.close()
        part.finish(lambda: (*columns_for(job.record), *_columns_of_input(job.options.rows)))
    return engine.tally


def _lines_before(part: ResumableFile, finished: Path | None) -> Iterator[ResultLine]:
    """Read what earlier runs wrote: into this working file, and after that into the file that is retried."""
    done = part.checkpoint.rows
    written = _lines_in(part.path, part.checkpoint.size)
    if finished is None:
        return written
    return chain(written, islice(_lines_in(finished, finished.stat().st_size), done, None))


def _lines_in(path: Path, size: int) -> Iterator[ResultLine]:
    """Read lines; raise CheckpointError at one that no enrichment wrote, or that was damaged since."""
    for number, line in enumerate(lines_from(path, 0, size), 1):
        try:
            yield _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise CheckpointError(
                f"{path}, line {number:,}: this is no line of an enrichment, or is damaged.",
                hint="Name the file that this enrichment wrote, or start over with overwrite=True (--overwrite).",
            ) from None


def _retried(job: EnrichmentJob, path: Path, total: int | None) -> JobIdentity:
    """Return what a second try is about: the same job, and the very file that it improves, with a line for each row."""
    check_argument(not is_table(path), "A table cannot be retried.", "Write .ndjson, and retry that.")
    try:
        with path.open("rb") as file:
            digest = file_digest(file, sha256).hexdigest()
            file.seek(0)
            lines = sum(1 for _ in file)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be retried: {error.strerror}.", hint="First finish it, with resume=True (--resume)."
        ) from None
    wanted = lines if total is None else total if job.options.limit is None else min(total, job.options.limit)
    if lines != wanted:
        raise of_other_length(lines)
    fingerprint = sha256(f"{job.identity.fingerprint} {digest}".encode()).hexdigest()
    return JobIdentity(fingerprint, f"{job.identity.query}, a retry of {path.name}")


def columns_for(record: type[object]) -> tuple[Column, ...]:
    """Return the columns of a table of lines: the row's own, then those of its record."""
    own = (("row", int), ("key", str), ("outcome", str), ("id", str), ("score", float), ("charged", int))
    known = [Column(name, ("record", *way), holds) for name, way, holds in _parts(record) if name != "id"]
    error = Column("error", ("error", "message"), str)
    return (*(Column(name, (name,), holds) for name, holds in own), error, *known)


def _columns_of_input(rows: object) -> Iterator[Column]:
    """Name the columns of the input file, or hold its rows as texts where they have none that all share."""
    if isinstance(rows, InputFile):
        yield Column("line", ("line",), int)
        yield from (Column(f"input.{name}", ("input", name), str) for name in rows.columns)
        if not rows.columns:
            yield Column("input", ("input",), str)


def _parts(record: type[object]) -> Iterator[tuple[str, tuple[str, ...], type[object]]]:
    for column in columns_of(record):
        yield column.name, column.path, column.type
        if column.name == "company.id":
            for name in ("name", "url"):
                yield f"company.{name}", ("relationships", "company", "attributes", name), str
