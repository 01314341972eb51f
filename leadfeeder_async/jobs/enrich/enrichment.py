"""``lf.enrich``: the jobs that look up many rows, and their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sized
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._argument_checks import (
    check_account_id,
    check_boolean,
    check_function,
    check_integer,
    check_path,
    check_stream,
    check_string,
    check_strings,
    reject,
)
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async._core.worker_thread import run_in_worker_thread
from leadfeeder_async.errors import DecodeError, check_argument
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.key_normalization import KeyFinder, Row, parse_rules
from leadfeeder_async.jobs.enrich.lookup import KEYS_PER_MATCH, CompanyId, CompanyLookup, IpLookup, Lookup, MatchPolicy
from leadfeeder_async.jobs.enrich.output import EnrichmentJob, all_columns, enrich_file
from leadfeeder_async.jobs.enrich.pending_rows import split_results
from leadfeeder_async.jobs.enrich.results import (
    NO_RECORD,
    EnrichmentEstimate,
    EnrichmentResult,
    EnrichmentSummary,
    Outcome,
    ResultLine,
    encode_lines,
)
from leadfeeder_async.jobs.enrich.row_intake import EnrichmentOptions
from leadfeeder_async.jobs.job_guard import JobGuard, forbid_second_read
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker
from leadfeeder_async.jobs.tabular import flat_lines, pick_columns
from leadfeeder_async.models.companies import CompanyMatch
from leadfeeder_async.models.includes import CompanyInclude
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.records import Company
from leadfeeder_async.resources.arguments import include_param
from leadfeeder_async.resources.companies import RETRIEVE_COMPANIES
from leadfeeder_async.resources.ip import ENRICH_IP
from leadfeeder_async.types import CsvDialect, Stats

__all__ = ["Enrichments"]

T = TypeVar("T")


class Enrichment(JobGuard, Generic[T]):
    """A job that looks up each row of an input. ``lf.enrich`` creates it.

    Nothing is sent until the job is iterated over, estimated or written to a file. Each of these uses reads the input
    from its start. If the input is an iterator, which can be read only once, a second use raises
    :class:`~leadfeeder_async.ConfigurationError`.

    ``async for result in job`` yields one :class:`EnrichmentResult` per row. Rows that fail are results too, and do not
    stop the job. An invalid API key, no credits, a used-up quota, or a server that fails or rejects constantly stops
    it. The results that are ready are yielded first, then the error is raised.

    At most 3,200 rows are pending, regardless of the input. Results that later rows may need are kept in temporary
    files, which are about as large as the output.
    """

    _method = "job.to_file(path)"

    def __init__(self, job: EnrichmentJob, lookup: Lookup[T]) -> None:
        self._job = job
        self._lookup = lookup
        self.summary = EnrichmentSummary()
        """The totals of the latest use: rows by outcome, and credits."""

    def __repr__(self) -> str:
        return f"<Enrichment {self._job.description}>"

    def __aiter__(self) -> AsyncGenerator[EnrichmentResult[T], None]:  # noqa: PYI058 - callers may rely on aclose()
        """Iterate over the results.

        Credits:
            As described at ``lf.enrich.companies`` and ``lf.enrich.ips``. If you leave the iteration early, records
            that were received or are in flight have been charged, but are not yielded. :meth:`to_file` writes them.

        """
        return self._results()

    async def _results(self) -> AsyncGenerator[EnrichmentResult[T], None]:
        async with aclosing(self._batches()) as batches:
            async for lines in batches:
                for line in lines:
                    yield self._result(line)

    async def raw_lines(self, *, fields: Iterable[str] | None = None) -> AsyncGenerator[bytes, None]:
        """Yield the results as JSON lines, as :meth:`to_file` writes them. Each value contains complete lines.

        Args:
            fields: The columns to return. None returns complete results.

        Raises:
            ConfigurationError: A field is unknown.
            LeadfeederError: An error that stopped the job. The results that are ready are yielded first.

        Credits:
            As for iterating over the job.

        """
        columns = None if fields is None else pick_columns(all_columns(self._job), fields)
        async with aclosing(self._batches()) as batches:
            async for results in batches:
                for part in split_results(results):
                    lines = encode_lines(part)
                    yield lines if columns is None else await run_in_worker_thread(partial(flat_lines, lines, columns))

    def _batches(self) -> AsyncGenerator[list[ResultLine], None]:
        self.summary = EnrichmentSummary()
        return self._job.pipeline(self.summary).result_batches()

    async def estimate(self) -> EnrichmentEstimate:
        """Match all rows, and return the highest cost of the job.

        Returns:
            The outcomes of the matches, the most credits, and the number of requests. For IP addresses, the most
            credits are None, because their price is not published.

        Raises:
            LeadfeederError: An error that would stop the job.

        Credits:
            None. One free match request is sent for each 200 keys, and none for IP addresses.

        """
        self.summary = EnrichmentSummary()
        pipeline = replace(self._job, options=replace(self._job.options, dry_run=True)).pipeline(self.summary)
        async with aclosing(pipeline.result_batches()) as batches:
            async for _ in batches:
                pass
        records, limit = pipeline.distinct_records, self._job.max_credits
        most = records if limit is None else min(limit, records)
        matches = -(-pipeline.distinct_keys // KEYS_PER_MATCH) if self._lookup.needs_match else 0
        return EnrichmentEstimate(
            rows=pipeline.summary.rows,
            distinct=pipeline.distinct_keys,
            outcomes=Counter(pipeline.summary.outcomes),
            max_credits=most if self._lookup.price.is_published else None,
            requests=matches + -(-records // self._lookup.ids_per_fetch),
        )

    async def to_file(
        self,
        path: Path | str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        retry_failed: bool = False,
        csv_dialect: CsvDialect = "plain",
        fields: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> EnrichmentSummary:
        """Write one line per row to a file, in the order of the rows.

        Until the last line is written, the file is called ``….part``.

        Args:
            path: The file. ``.csv`` and ``.parquet`` are tables, other suffixes are JSON lines.
            resume: Continue an unfinished file of the same job. Rows that were written are not requested again. The
                input must begin with the same rows. ``max_credits`` counts all runs together.
            overwrite: Replace a file that exists.
            retry_failed: Read a complete file, and request those of its rows again that are ``failed`` or
                ``skipped_by_budget``. ``max_credits`` counts the runs of this retry, but not the runs before it.
            csv_dialect: ``"excel"`` writes a .csv file that Excel opens by a double-click: with a byte order mark, the
                list separator of this computer's region, and an apostrophe before text that Excel would run as a
                formula. ``"plain"`` writes UTF-8 with commas and unchanged text.
            fields: The names of the columns to write, in this order, such as ``["key", "outcome", "name"]``. JSON lines
                then have these keys. None writes all columns, and JSON lines with complete records.
            on_progress: Called after each batch of rows.

        Returns:
            The totals of the job.

        Raises:
            BudgetExceededError: Earlier runs may have been charged more than ``max_credits``. Nothing was sent.
            CheckpointError: The file exists, is being written, cannot be written, or belongs to another job or input.
            LeadfeederError: An error that stopped the job. Results that were ready are written. Pass ``resume=True`` to
                continue.

        Credits:
            As described at ``lf.enrich.companies`` and ``lf.enrich.ips``. Retrying a company whose response was lost is
            free if the lost response was charged. Another lookup of an IP address may be charged again.

        """
        target = check_path("path", path)
        for name, value in (("resume", resume), ("overwrite", overwrite), ("retry_failed", retry_failed)):
            check_boolean(name, value)
        check_function("on_progress", on_progress)
        stats = Stats()
        job = replace(
            self._job,
            executor=self._job.executor.with_stats(stats),
            options=replace(self._job.options, ordered=True, retry_failed=retry_failed),
        )
        rows = job.options.rows
        self.summary = EnrichmentSummary()
        await enrich_file(
            job,
            target,
            ProgressTracker(stats, job.options.limit),
            len(rows) if isinstance(rows, Sized) else None,
            on_progress,
            summary=self.summary,
            resume=resume,
            overwrite=overwrite,
            csv_dialect=csv_dialect,
            fields=fields,
        )
        return self.summary

    def _result(self, line: ResultLine) -> EnrichmentResult[T]:
        record, outcome, error = None, line.outcome, line.error.to_error() if line.error else None
        if line.record != NO_RECORD:
            try:
                record = self._lookup.decode_record(self._job.executor, line)
            except DecodeError as decode_error:
                outcome, error = Outcome.FAILED, decode_error
        return EnrichmentResult(
            row=line.row,
            key=line.key,
            by=line.by,
            outcome=outcome,
            record=record,
            id=line.id,
            score=line.score,
            candidates=tuple(map(_decode_candidate, line.candidates)),
            error=error,
            charged=line.charged,
        )


class Enrichments:
    """Look up many rows."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def companies(
        self,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        by: Literal["domain", "email", "name", "vat"] | list[str] | tuple[str, ...],
        column: str | None = None,
        max_credits: int | None = None,
        limit: int | None = None,
        ordered: bool = True,
        min_score: float = 0.8,
        min_lead: float = 0.1,
        allow_free_mail: bool = False,
        include: Iterable[CompanyInclude] | None = None,
        account_id: str | None = None,
    ) -> Enrichment[Company]:
        """Find and fetch the company of each row.

        ``async for result in lf.enrich.companies(["nordlicht.test", "Alster.test"], by="domain", max_credits=500)``

        Keys are matched in requests of up to 200 keys, and companies are fetched in requests of up to 100 ids. Each key
        is matched once and each company is fetched once, regardless of how often they appear. If the server rejects a
        request, it is split until the invalid rows are alone. A request that may have been charged is never retried.
        API operations: ``match_companies``, ``retrieve_companies``.

        Args:
            rows: Any iterable or async iterable. A row is a key, or a mapping of columns. Other rows are unusable.
            by: The kind of key: ``"domain"``, ``"email"``, ``"name"`` or ``"vat"``. An email address is looked up by
                its domain. For ``"name"``, the columns ``city``, ``postal_code`` and ``country`` are used too. A list
                such as ``["website", "email", "name+city"]`` contains several kinds or common column names, and each
                row uses the first one that is valid. ``"domain=Seite"`` names the column.
            column: The column that contains the key. By default, it is detected by common names.
            max_credits: The most credits to spend, which are used for the first rows. Other rows become
                ``skipped_by_budget``. All runs of one file share the limit, but each iteration has its own. To limit
                several iterations together, use ``lf.budget``. None for no limit.
            limit: The most rows to read. None for all.
            ordered: Return results in the order of the rows. With False, they are returned as soon as they are ready.
            min_score: The lowest score of a match, from 0 to 1. If no match reaches it, the row is ``ambiguous``. A
                single match without a score is accepted.
            min_lead: The lowest difference between the best score and the next one. If it is smaller, the row is
                ``ambiguous``.
            allow_free_mail: Look up the domains of mail providers, social networks, link shorteners and website
                builders too. By default, rows with no other key are ``unusable``.
            include: Relations to include in the records, such as ``tags``.
            account_id: The account. Defaults to that of the client.

        Returns:
            The job. Nothing is sent until it is used.

        Raises:
            ConfigurationError: An argument is not valid. Errors of requests are raised when the job is used.

        Credits:
            1 for each company that was not unlocked in the last 12 months. Matches are free. If a response is lost, its
            rows fail and its credits count as spent. If you leave the iteration early, some records were charged
            without being yielded.

        """
        _check_arguments("rows", rows, column, ordered, account_id)
        _check_share("min_score", min_score)
        _check_share("min_lead", min_lead)
        check_boolean("allow_free_mail", allow_free_mail)
        rules = parse_rules(by if isinstance(by, str) else check_strings("by", by), column)
        check_argument(
            all(rule.kind != "ip" for rule in rules),
            "by='ip' is not a key of a company.",
            "Use lf.enrich.ips() for IP addresses.",
            argument="by",
        )
        fields = include_param(include, CompanyInclude)
        price = self._executor.price(RETRIEVE_COMPANIES)
        lookup = CompanyLookup(price, MatchPolicy(min_score, min_lead), fields, account_id)
        keys = KeyFinder(rules, allow_free_mail=allow_free_mail, columns=_columns_of(rows))
        options = _options(rows, keys, limit=limit, ordered=ordered)
        settings = (min_score, min_lead, fields or (), allow_free_mail)
        job = self._job(lookup, options, Company, max_credits=max_credits, account_id=account_id, settings=settings)
        return Enrichment(job, lookup)

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
        """Find the company behind each IP address.

        ``async for result in lf.enrich.ips(["198.18.0.17"], max_credits=100)``

        One request is sent for each distinct address. Addresses that are not public (private, reserved or for
        documentation) are ``unusable`` and are not sent. If no company is known, the outcome is ``not_found``, and the
        record contains the location and the network. API operation: ``enrich_ip``.

        Args:
            ips: Any iterable or async iterable. A row is an address, or a mapping of columns.
            column: The column that contains the address. By default, it is detected by common names.
            max_credits: The most credits to spend, which are used for the first rows. Other rows become
                ``skipped_by_budget``. All runs of one file share the limit, but each iteration has its own. To limit
                several iterations together, use ``lf.budget``. None for no limit.
            limit: The most rows to read. None for all.
            ordered: Return results in the order of the rows. With False, they are returned as soon as they are ready.
            account_id: The account. Defaults to that of the client.

        Returns:
            The job. Nothing is sent until it is used.

        Raises:
            ConfigurationError: An argument is not valid. Errors of requests are raised when the job is used.

        Credits:
            The price is not published. With ``max_credits`` or into a file, addresses are looked up one at a time until
            a response shows the price. Later requests reserve ten times the highest price so far, and are sent together
            only while the remaining credits cover this. A single lookup can exceed ``max_credits`` if it costs more
            than the credits that are left.

        """
        _check_arguments("ips", ips, column, ordered, account_id)
        lookup = IpLookup(self._executor.price(ENRICH_IP), account_id)
        keys = KeyFinder(parse_rules("ip", column), columns=_columns_of(ips))
        options = _options(ips, keys, limit=limit, ordered=ordered)
        job = self._job(lookup, options, EnrichedIp, max_credits=max_credits, account_id=account_id, settings=())
        return Enrichment(job, lookup)

    def _job(
        self,
        lookup: Lookup[object],
        options: EnrichmentOptions,
        record: type[object],
        *,
        max_credits: int | None,
        account_id: str | None,
        settings: tuple[object, ...],
    ) -> EnrichmentJob:
        account_id = account_id or self._executor.options.account_id
        max_credits = _check_limit("max_credits", max_credits)
        return EnrichmentJob(self._executor, lookup, options, max_credits, account_id, settings, record)


def _columns_of(rows: object) -> Iterable[str]:
    """Return the columns of an input that is known completely."""
    return rows.key_columns if isinstance(rows, InputFile) else ()


def _options(
    rows: Iterable[Row] | AsyncIterable[Row], keys: KeyFinder, *, limit: int | None, ordered: bool
) -> EnrichmentOptions:
    rows = forbid_second_read(rows)
    return EnrichmentOptions(rows=rows, keys=keys, limit=_check_limit("limit", limit), ordered=ordered)


def _decode_candidate(match: msgspec.Raw) -> CompanyMatch:
    """Return a candidate. If its company has fields of unexpected types, only its id is returned."""
    try:
        return msgspec.json.decode(match, type=CompanyMatch)
    except msgspec.ValidationError:
        return CompanyMatch(id=msgspec.json.decode(match, type=CompanyId).id)


def _check_limit(name: str, value: int | None) -> int | None:
    return None if value is None else check_integer(name, value, 0)


def _check_share(name: str, value: object) -> None:
    """Raise ConfigurationError unless a value is a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        reject(name, value, "must be a number from 0 to 1.")


def _check_arguments(rows_name: str, rows: object, column: object, ordered: object, account_id: object) -> None:
    check_stream(rows_name, rows, "row")
    check_argument(
        not (hasattr(rows, "columns") and hasattr(rows, "shape")),
        f"{rows_name} is a table, of which a loop returns the columns and not the rows.",
        "Pass the rows as mappings: table.to_dict('records') of pandas, or table.iter_rows(named=True) of Polars.",
        argument=rows_name,
    )
    if column is not None:
        check_string("column", column)
    check_boolean("ordered", ordered)
    if account_id is not None:
        check_account_id("account_id", account_id)
