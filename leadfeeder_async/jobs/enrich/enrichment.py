"""``lf.enrich``: what to ask for, and the job that it makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sized
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import DecodeError, check_argument
from leadfeeder_async.jobs.enrich.keys import Row
from leadfeeder_async.jobs.enrich.lookup import KEYS_PER_MATCH, CompanyLookup, IpLookup, Lookup, MatchPolicy
from leadfeeder_async.jobs.enrich.output import EnrichmentJob, enrich_file
from leadfeeder_async.jobs.enrich.results import (
    NO_RECORD,
    EnrichmentEstimate,
    EnrichmentResult,
    EnrichmentSummary,
    Outcome,
    ResultLine,
    encode_lines,
)
from leadfeeder_async.jobs.enrich.row_stream import EnrichmentOptions
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker
from leadfeeder_async.jobs.resumable_file import JobIdentity
from leadfeeder_async.models.companies import CompanyMatch
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.records import Company
from leadfeeder_async.resources.arguments import csv_param

__all__ = ["Enrichments"]

T = TypeVar("T")


class Enrichment(Generic[T]):
    """Rows to enrich; nothing is sent before it is iterated over, written to a file or estimated.

    ``async for one in enrichment`` gives an :class:`EnrichmentResult` for each row: no row is left out, and one that
    fails does not end the job. What does end it (key, credits, quota, a server that refuses whatever is asked, a
    network that stays down) is raised after all that was done was handed out. The rows are read as they are needed, and
    read anew by each use: what can be read only once can be used only once. In memory are the 3,200 rows that are under
    way at most; answers that later rows may need again are in a temporary file, about as large as the output.
    """

    def __init__(self, job: EnrichmentJob, asking: Lookup[T]) -> None:
        self._job = job
        self._asking = asking
        self.tally = EnrichmentSummary()
        """The account of the latest use: rows by outcome, credits charged, credits of lost answers."""

    def __repr__(self) -> str:
        return f"<Enrichment {self._job.identity.query}>"

    def __aiter__(self) -> AsyncGenerator[EnrichmentResult[T], None]:  # noqa: PYI058 - its aclose is part of the promise
        """Iterate over what came of the rows."""
        return self._items()

    async def _items(self) -> AsyncGenerator[EnrichmentResult[T], None]:
        async with aclosing(self._groups()) as groups:
            async for lines in groups:
                for line in lines:
                    yield self._enriched(line)

    async def raw_lines(self) -> AsyncGenerator[bytes, None]:
        """Yield what :meth:`to_file` would write as JSON lines, some whole lines at a time."""
        async with aclosing(self._groups()) as groups:
            async for lines in groups:
                yield encode_lines(lines)

    async def _groups(self) -> AsyncGenerator[list[ResultLine], None]:
        engine = self._job.engine()
        self.tally = engine.tally
        async with aclosing(engine.result_batches()) as groups:
            async for lines in groups:
                yield lines

    async def estimate(self) -> EnrichmentEstimate:
        """Match the rows for free, and tell what the whole job would charge at most; nothing that may charge is sent.

        One match request for each 200 keys is sent, none for addresses. Raises what a match raises.
        """
        engine = replace(self._job, options=replace(self._job.options, dry_run=True)).engine()
        async with aclosing(engine.result_batches()) as groups:
            async for _ in groups:
                pass
        bound = self._job.max_credits
        matches = -(-engine.distinct // KEYS_PER_MATCH) if self._asking.matches else 0
        return EnrichmentEstimate(
            rows=engine.tally.rows,
            distinct=engine.distinct,
            outcomes=Counter(engine.tally.outcomes),
            max_credits=engine.companies if bound is None else min(bound, engine.companies),
            requests=matches + -(-engine.companies // self._asking.per_fetch),
        )

    async def to_file(
        self,
        path: Path | str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        retry_failed: bool = False,
        on_progress: OnProgress | None = None,
    ) -> EnrichmentSummary:
        """Write one JSON line a row, in the order of the rows; or a table where it ends in .csv or .parquet.

        Until the last row is safe the file is called ``….part``. With ``resume`` the same job goes on where it stopped,
        after any interruption: rows that were written are neither sent nor charged again, ``max_credits`` counts over
        all runs, and the input must begin with the same rows. ``retry_failed`` takes a finished file and asks again for
        the rows that failed or were skipped by the budget, with a ``max_credits`` of its own; where a lost answer was
        charged, that is free for 12 months, else it costs the credit it did not cost before. Raises CheckpointError,
        before anything is sent, where the file exists, is being written, or is of another job or input.
        """
        job = self._job
        meter = ProgressTracker(job.executor.stats, job.options.limit)
        plan = replace(job.options, ordered=True, retry=retry_failed)
        rows = job.options.rows
        total = len(rows) if isinstance(rows, Sized) else None
        self.tally = await enrich_file(
            replace(job, options=plan),
            Path(path),
            meter,
            total,
            on_progress,
            resume=resume,
            overwrite=overwrite,
            retry=retry_failed,
        )
        return self.tally

    def _enriched(self, line: ResultLine) -> EnrichmentResult[T]:
        error = line.error.error() if line.error else None
        record, outcome = None, line.outcome
        if line.record != NO_RECORD:
            try:
                record = self._asking.record(self._job.executor, line)
            except DecodeError as problem:
                error, outcome = problem, Outcome.FAILED
        return EnrichmentResult(
            row=line.row,
            key=line.key,
            outcome=outcome,
            record=record,
            id=line.id,
            score=line.score,
            candidates=tuple(msgspec.json.decode(one, type=CompanyMatch) for one in line.candidates),
            error=error,
            charged=line.charged,
        )


class Enrichments:
    """Many rows at once."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def companies(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        by: Literal["domain", "name", "vat"],
        column: str | None = None,
        max_credits: int | None = None,
        limit: int | None = None,
        ordered: bool = True,
        min_score: float = 0.8,
        min_lead: float = 0.1,
        include: Iterable[str] | None = None,
        account_id: str | None = None,
    ) -> Enrichment[Company]:
        """Find and fetch the company of each row; a row is its key alone, or its columns by name.

        ``async for one in lf.enrich.companies(["nordlicht.test", "Alster.test"], by="domain", max_credits=500)``. Keys
        are matched 200 a request, for free, and the companies fetched 100 a request, which charges 1 credit for each
        that was not unlocked in the last 12 months. A key, and a company, is asked for once, however often it comes.
        ``column`` names the column of the key, which is guessed otherwise; by name, columns such as ``city`` and
        ``country`` are passed on. A match below ``min_score``, or less than ``min_lead`` ahead of the next one, is
        ``ambiguous`` and not fetched. ``max_credits`` is never passed; what it does not cover is ``skipped_by_budget``.
        A request whose answer is lost may have charged: its rows are ``failed``, its credits stay counted, and it is
        not sent again. ``ordered=False`` gives rows as they are done, ``limit`` reads only the first ones. Contract:
        ``match_companies``, ``retrieve_companies``.
        """
        check_argument(by in {"domain", "name", "vat"}, f"by={by!r} must be domain, name or vat.")
        asking = CompanyLookup(MatchPolicy(min_score, min_lead), csv_param("include", include), account_id)
        plan = EnrichmentOptions(
            rows=_checked(rows), by=by, column=column, limit=_bound("limit", limit), ordered=ordered
        )
        details = (min_score, min_lead, tuple(include or ()) if not isinstance(include, str) else include)
        job = self._job(asking, plan, max_credits=max_credits, account_id=account_id, record=Company, details=details)
        return Enrichment(job, asking)

    def ips(
        self,
        ips: Iterable[Row] | AsyncIterable[Row],
        *,
        column: str | None = None,
        max_credits: int | None = None,
        limit: int | None = None,
        ordered: bool = True,
        account_id: str | None = None,
    ) -> Enrichment[EnrichedIp]:
        """Find who is behind each address; an address, or a row with a column of them.

        ``async for one in lf.enrich.ips(["203.0.113.17"], max_credits=100)``. One request for each address that
        differs; private ones are ``unusable`` and not sent. ``not_found`` means that no company is behind it; its
        place and network are in the record all the same. The price is not published: a credit is reserved for each, or
        as many as the dearest answer has charged so far. All else is as for ``companies``. Contract: ``enrich_ip``.
        """
        asking = IpLookup(account_id)
        plan = EnrichmentOptions(
            rows=_checked(ips), by="ip", column=column, limit=_bound("limit", limit), ordered=ordered
        )
        job = self._job(asking, plan, max_credits=max_credits, account_id=account_id, record=EnrichedIp, details=())
        return Enrichment(job, asking)

    def _job(
        self,
        asking: Lookup[object],
        plan: EnrichmentOptions,
        *,
        max_credits: int | None,
        account_id: str | None,
        record: type[object],
        details: tuple[object, ...],
    ) -> EnrichmentJob:
        account = account_id or self._executor.options.account_id or "of the key"
        query = f"enrichment by {plan.by}, column {plan.column or 'guessed'}, account {account}"
        asked = (self._executor.base_url, query, details)
        subject = JobIdentity(sha256(msgspec.json.encode(asked)).hexdigest(), query)
        return EnrichmentJob(self._executor, asking, plan, _bound("max_credits", max_credits), subject, record)


R = TypeVar("R")


def _checked(rows: R) -> R:
    check_argument(not isinstance(rows, str | bytes | Mapping), f"{rows!r} is no list of rows.", "Put it in a list.")
    return rows


def _bound(name: str, value: int | None) -> int | None:
    check_argument(value is None or value >= 0, f"{name}={value!r} must be 0 or more.")
    return value
