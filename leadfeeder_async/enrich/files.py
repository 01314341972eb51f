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

from leadfeeder_async._http.session import Session
from leadfeeder_async.budget import Budget
from leadfeeder_async.enrich.asking import Asking
from leadfeeder_async.enrich.engine import ROOM, Engine
from leadfeeder_async.enrich.inputs import InputFile
from leadfeeder_async.enrich.outcomes import Line, Tally, lines_of
from leadfeeder_async.enrich.rows import Past, Plan, of_other_length
from leadfeeder_async.enrich.under_way import Purse
from leadfeeder_async.errors import CheckpointError, require
from leadfeeder_async.export.checkpoint import lines_from
from leadfeeder_async.export.parts import Part, Subject, open_part
from leadfeeder_async.export.progress import Meter, OnProgress, tell
from leadfeeder_async.export.tables import Column, check_table, columns_of, is_table

_DECODER = msgspec.json.Decoder(Line)


class Job(msgspec.Struct, frozen=True):
    """One enrichment, whatever it is written to."""

    session: Session
    asking: Asking[object]
    plan: Plan
    max_credits: int | None
    subject: Subject
    record: type[object]
    """What a record is, for the columns of a table."""

    def engine(self, past: Past | None = None, purse: Purse | None = None, *, spent: int = 0) -> Engine:
        """Make what does it, after earlier runs that may have spent some credits."""
        left = None if self.max_credits is None else max(0, self.max_credits - spent)
        budget = Budget(max_credits=0 if self.plan.dry else left)
        return Engine(self.session, self.asking, self.plan, budget=budget, past=past or Past(), purse=purse or Purse())


class _Book(Purse):
    """Writes down what the job may cost before it costs it."""

    def __init__(self, part: Part, *, ahead: bool) -> None:
        self._part = part
        self._ahead = ahead
        self._settled = part.checkpoint.credits
        self._under_way = 0
        self._asked = dict.fromkeys(part.checkpoint.paid)
        self._written = list[str]()

    def spending(self, ids: Iterable[str], most: int) -> None:
        self._under_way += most
        self._asked.update(dict.fromkeys(ids))
        if self._ahead:
            self._part.spend(self._settled + self._under_way, tuple(self._asked))

    def spent(self, most: int, charged: int) -> None:
        self._under_way -= most
        self._settled += charged

    def given_back(self, ids: Iterable[str], most: int) -> None:
        self._under_way -= most
        for one in ids:
            self._asked.pop(one, None)

    def write(self, lines: Sequence[Line], of: Asking[object]) -> None:
        """Write some lines; once they are safe, the ids of their records need no second asking."""
        self._state()
        ids = [of.id_of(line) for line in lines]
        self._written.extend(one for one in ids if one is not None)
        if self._part.add(lines_of(lines), len(lines)):
            for one in self._written:
                self._asked.pop(one, None)
            self._written.clear()
            for one in list(islice(self._asked, max(0, len(self._asked) - 2 * ROOM))):
                del self._asked[one]  # its row is written under the current id of a merged company

    def close(self) -> None:
        """Let the last checkpoint say what the job may have cost, requests that were given up included."""
        self._state()

    def _state(self) -> None:
        """Let the next checkpoint say what the job may have cost, and for which ids: one without the other lies."""
        credits = self._settled + self._under_way  # noqa: A001 - the API's word
        self._part.checkpoint = replace(self._part.checkpoint, credits=credits, paid=tuple(self._asked))


async def enrich_file(
    job: Job,
    path: Path,
    meter: Meter,
    total: int | None,
    on_progress: OnProgress | None,
    *,
    resume: bool,
    overwrite: bool,
    retry: bool,
) -> Tally:
    """Write a line for each row to ``path``, which is called ``….part`` until the last one is safe."""
    check_table(path)
    subject = _retried(job, path, total) if retry else job.subject
    with open_part(path, subject, resume=resume, overwrite=overwrite, replaces=retry) as part:
        saved = part.checkpoint
        meter.begin_at(saved.rows)
        book = _Book(part, ahead=job.max_credits is not None)
        past = Past(_lines_before(part, path if retry else None), saved.rows, frozenset(saved.paid))
        engine = job.engine(past, book, spent=saved.credits)
        engine.tally.earlier = saved.credits
        try:
            async with aclosing(engine.groups()) as groups:
                async for lines in groups:
                    book.write(lines, job.asking)
                    tell(meter.count(len(lines), total), on_progress)
        finally:
            book.close()
        part.finish(lambda: (*columns_for(job.record), *_columns_of_input(job.plan.rows)))
    return engine.tally


def _lines_before(part: Part, finished: Path | None) -> Iterator[Line]:
    """Read what earlier runs wrote: into this working file, and after that into the file that is retried."""
    done = part.checkpoint.rows
    written = _lines_in(part.path, part.checkpoint.size)
    if finished is None:
        return written
    return chain(written, islice(_lines_in(finished, finished.stat().st_size), done, None))


def _lines_in(path: Path, size: int) -> Iterator[Line]:
    """Read lines; raise CheckpointError at one that no enrichment wrote, or that was damaged since."""
    for number, line in enumerate(lines_from(path, 0, size), 1):
        try:
            yield _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise CheckpointError(
                f"{path}, line {number:,}: this is no line of an enrichment, or is damaged.",
                advice="Name the file that this enrichment wrote, or start over with overwrite=True (--overwrite).",
            ) from None


def _retried(job: Job, path: Path, total: int | None) -> Subject:
    """Return what a second try is about: the same job, and the very file that it improves, with a line for each row."""
    require(not is_table(path), "A table cannot be retried.", "Write .ndjson, and retry that.")
    try:
        with path.open("rb") as file:
            digest = file_digest(file, sha256).hexdigest()
            file.seek(0)
            lines = sum(1 for _ in file)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be retried: {error.strerror}.", advice="First finish it, with resume=True (--resume)."
        ) from None
    wanted = lines if total is None else total if job.plan.limit is None else min(total, job.plan.limit)
    if lines != wanted:
        raise of_other_length(lines)
    fingerprint = sha256(f"{job.subject.fingerprint} {digest}".encode()).hexdigest()
    return Subject(fingerprint, f"{job.subject.query}, a retry of {path.name}")


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
        yield column.name, column.way, column.holds
        if column.name == "company.id":
            for name in ("name", "url"):
                yield f"company.{name}", ("relationships", "company", "attributes", name), str
