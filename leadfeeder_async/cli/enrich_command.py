"""``leadfeeder enrich``: look up a company for each row of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from leadfeeder_async.cli.confirmation import check_can_confirm, confirm
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.export_job import rebuild_command, resume_hint
from leadfeeder_async.cli.input_files import check_output_is_not_input, interruptible
from leadfeeder_async.cli.options import FLAG, AccountId, Columns, Excel, Out, Overwrite, csv_dialect, split_fields
from leadfeeder_async.cli.printing import format_charge, pluralize, print_err, print_out
from leadfeeder_async.cli.progress_bar import progress_bar
from leadfeeder_async.cli.stdout_writer import write_stdout
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.jobs.enrich.enrichment_state import ENRICHMENT
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.key_normalization import KINDS, By, Key, KeyFinder, KeyRule, parse_rules
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, Outcome
from leadfeeder_async.jobs.enrich.table_footer import is_total_word
from leadfeeder_async.jobs.progress import ProgressTracker
from leadfeeder_async.jobs.tabular import pick_columns
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.records import Company

if TYPE_CHECKING:
    from leadfeeder_async.jobs.enrich.enrichment import Enrichment  # imports anyio


async def enrich(
    source: Annotated[
        Path,
        Parameter(help="The input file: .csv with a header, .xlsx, .ndjson, .jsonl, or .txt with one key per line."),
    ],
    /,
    *,
    by: Annotated[
        str | None,
        Parameter(
            help="Required. The kind of key: domain, email, name, vat or ip. A list of kinds or common column names, "
            "such as `website,email,name+city`: each row uses its first valid key. `domain=Seite` sets the column."
        ),
    ] = None,
    out: Out = None,
    column: Annotated[str | None, Parameter(help="The column of the key. Default: detected by common names.")] = None,
    max_credits: Annotated[
        int | None,
        Parameter(help="The most credits to charge in this and resumed runs. A retry has its own limit."),
    ] = None,
    limit: Annotated[int | None, Parameter(help="Read only this many rows of the input.")] = None,
    min_score: Annotated[float, Parameter(help="The minimum score of a match, from 0 to 1.")] = 0.8,
    dry_run: Annotated[bool, FLAG, Parameter(help="Match the rows for free and print the maximum cost.")] = False,
    resume: Annotated[bool, FLAG, Parameter(help="Continue an unfinished run of the same job.")] = False,
    overwrite: Overwrite = False,
    retry_failed: Annotated[
        bool, FLAG, Parameter(help="Retry the failed and skipped rows of a finished output file.")
    ] = False,
    encoding: Annotated[
        str | None, Parameter(help="The encoding of the input file. Default: detected, or UTF-8.")
    ] = None,
    sheet: Annotated[str | None, Parameter(help="The sheet of a workbook. Default: the first visible one.")] = None,
    allow_free_mail: Annotated[
        bool,
        FLAG,
        Parameter(help="Look up domains of mail providers, social networks and the like."),
    ] = False,
    excel: Excel = False,
    fields: Columns = None,
    yes: Annotated[bool, FLAG, Parameter(help="Do not ask before spending credits without --max-credits.")] = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Look up a company for each row of a file.

    The output has one line per input row, in the same order, with an outcome: matched, ambiguous, not_found, failed,
    skipped_by_budget or unusable. Exits with 4 if the budget skipped rows, and with 5 if rows failed.

    Without --max-credits, it asks before it spends credits. If there is no terminal, it needs --max-credits or --yes.

    Credits: 1 for each matched company that was not unlocked in the last 12 months. Matching is free.
    """
    check_argument(
        not (dry_run and (resume or retry_failed)), "--dry-run cannot be combined with --resume or --retry-failed."
    )
    check_argument(
        out is not None or not (resume or retry_failed),
        "--resume and --retry-failed need an output file.",
        "Add --out.",
    )
    check_output_is_not_input(source, out)
    dialect, names = csv_dialect(out, excel=excel), split_fields(fields)
    if by is None:
        raise _missing_by_error(source, encoding, sheet)
    keys = tuple(key.strip() for key in by.split(","))
    with interruptible():
        rows = InputFile(source, keys, column, encoding, sheet)
    finder = KeyFinder(parse_rules(keys, column), allow_free_mail=allow_free_mail, columns=rows.key_columns)
    is_by_ip = any(rule.kind == "ip" for rule in finder.rules)
    from leadfeeder_async.jobs.enrich.output import input_columns, result_columns  # imports anyio

    pick_columns((*result_columns(EnrichedIp if is_by_ip else Company), *input_columns(rows)), names)
    print_err(f"{source}: {rows.description}.")
    with interruptible():
        description = _describe_rows(rows, finder, limit)
    print_err(description)
    is_free = dry_run or max_credits is not None
    check_can_confirm(
        yes=yes or is_free,
        problem="Without --max-credits, this command can charge any number of credits. There is no terminal to ask.",
        hint="Add --max-credits to limit the credits, or --yes to confirm.",
    )
    question = _cost_question(rows, limit, is_by_ip=is_by_ip)
    if not await confirm(question, yes=yes or is_free, refusal="Nothing was sent."):
        return ExitCode.INCOMPLETE
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        job: Enrichment[Company] | Enrichment[EnrichedIp]
        if is_by_ip:
            job = lf.enrich.ips(rows, column=column, max_credits=max_credits, limit=limit)
        else:
            job = lf.enrich.companies(
                rows,
                by=keys,
                column=column,
                max_credits=max_credits,
                limit=limit,
                min_score=min_score,
                allow_free_mail=allow_free_mail,
            )
        if dry_run:
            return await _estimate(job)
        if out is None:
            return await _write_to_stdout(job, ProgressTracker(lf.stats, limit), len(rows), names)
        with progress_bar("rows") as on_progress, resume_hint(out, ENRICHMENT, on_progress) as on_started:
            summary = await job.to_file(
                out,
                resume=resume,
                overwrite=overwrite,
                retry_failed=retry_failed,
                csv_dialect=dialect,
                fields=names,
                on_progress=on_started,
            )
        return _print_summary(summary, out, names)


def _missing_by_error(source: Path, encoding: str | None, sheet: str | None) -> ConfigurationError:
    """Return the error for a missing --by, with the columns of the file that probably contain keys."""
    columns = _key_columns(source, encoding, sheet)
    kinds = ", ".join(KINDS[:-1]) + f" or {KINDS[-1]}"
    if not columns:
        return ConfigurationError(
            "--by is missing, and no column has a common name.",
            hint=f"Add --by with a kind of key, {kinds}. If the file has several columns, add --column with its name.",
        )
    found = ", ".join(f"{column!r} ({kind})" for kind, column in columns.items())
    usable = [kind for kind in columns if kind != "ip" or len(columns) == 1]  # IP addresses have jobs of their own
    return ConfigurationError(
        f"--by is missing. The file has these columns of keys: {found}.",
        hint=f"Add --by {','.join(usable)}, or only some of these.",
    )


def _key_columns(source: Path, encoding: str | None, sheet: str | None) -> dict[By, str]:
    """Return the first common column of each kind of key in a file."""
    columns = dict[By, str]()
    for kind in KINDS:
        try:
            row = next(iter(InputFile(source, kind, None, encoding, sheet)), None)
        except ConfigurationError as error:
            if error.argument != "column":
                raise
            continue
        names = row.cells if row is not None and isinstance(row.cells, Mapping) else ()
        for other in KINDS:
            column = KeyRule(other).find_column(names)
            if column is not None and column not in columns.values():
                columns[other] = column
        break
    return columns


def _describe_rows(rows: InputFile, finder: KeyFinder, limit: int | None) -> str:
    """Return a sentence with the number of rows, of distinct keys and of rows without a valid key."""
    total = unusable = shared = 0
    distinct, key = set[bytes](), Key("")
    for row in islice(rows, limit):
        key = finder.find(row)
        total += 1
        unusable += bool(key.problem)
        shared += key.is_shared
        if not key.problem:
            distinct.add(key.identity)
    duplicates = total - unusable - len(distinct)
    text = (
        f"{pluralize(total, 'row')}: {pluralize(len(distinct), 'distinct key')}, {pluralize(duplicates, 'duplicate')}"
    )
    text += f", {unusable:,} unusable"
    if shared:
        text += f" ({shared:,} of mail providers, social networks and the like; --allow-free-mail uses them)"
    if key.kind == "name" and is_total_word(key.value.partition(",")[0]):
        text += f". The last row, {key.value!r}, may be a total; --limit {total - 1} leaves it out"
    return f"{text}."


def _cost_question(rows: InputFile, limit: int | None, *, is_by_ip: bool) -> str:
    """Return the question to ask before credits are spent without a limit."""
    count = pluralize(len(rows) if limit is None else min(limit, len(rows)), "row")
    if is_by_ip:
        return f"Each of {count} may charge credits, and the price is not published. Continue without --max-credits?"
    return f"Each of {count} may charge 1 credit, and --dry-run shows how many do. Continue without --max-credits?"


async def _estimate(job: Enrichment[Company] | Enrichment[EnrichedIp]) -> ExitCode:
    estimate = await job.estimate()
    outcomes = {outcome.value: estimate.outcomes[outcome] for outcome in Outcome}
    line = {
        "rows": estimate.rows,
        "distinct": estimate.distinct,
        **outcomes,
        "max_credits": estimate.max_credits,
        "requests": estimate.requests,
    }
    print_out(msgspec.json.encode(line).decode())
    cost = "an unknown number of credits, because the price of an IP lookup is not published"
    if estimate.max_credits is not None:
        cost = f"at most {pluralize(estimate.max_credits, 'credit')}"
    print_err(
        f"{pluralize(estimate.rows, 'row')}, {estimate.distinct:,} distinct keys: {_format_outcomes(outcomes)}. "
        f"{_describe_charge(job.summary)} "
        f"The job would send about {pluralize(estimate.requests, 'request')} and charge {cost}."
    )
    return ExitCode.SUCCESS


def _describe_charge(summary: EnrichmentSummary) -> str:
    charged = summary.credits + summary.credits_possibly_charged
    return f"The matches charged {pluralize(charged, 'credit')}." if charged else "Nothing was charged."


async def _write_to_stdout(
    job: Enrichment[Company] | Enrichment[EnrichedIp],
    tracker: ProgressTracker,
    total: int,
    fields: Sequence[str] | None,
) -> ExitCode:
    with progress_bar("rows", to_stdout=True) as on_progress:
        try:
            async with aclosing(job.raw_lines(fields=fields)) as batches:
                async for lines in batches:
                    await write_stdout(lines)
                    on_progress(tracker.count(lines.count(b"\n"), total))
        except BaseException:
            if job.summary.credits or job.summary.credits_possibly_charged:
                _print_summary(job.summary, None)
            raise
    return _print_summary(job.summary, None)


def _print_summary(summary: EnrichmentSummary, out: Path | None, fields: Sequence[str] | None = None) -> ExitCode:
    outcomes = {outcome.value: summary.outcomes[outcome] for outcome in Outcome}
    costs = format_charge(summary.credits)
    if summary.credits_possibly_charged:
        costs += f", up to {summary.credits_possibly_charged:,} more for responses that were lost or report no charge"
    if summary.credits_of_previous_runs:
        costs = f"this run: {costs}; previous runs: up to {summary.credits_of_previous_runs:,}"
    target = f" -> {out}" if out else ""
    print_err(f"{pluralize(summary.rows, 'row')}: {_format_outcomes(outcomes)}; {costs}{target}")
    skipped, failed = summary.outcomes[Outcome.SKIPPED_BY_BUDGET], summary.outcomes[Outcome.FAILED]
    if (skipped or failed) and out is not None:
        from leadfeeder_async.jobs.enrich.output import reason_against_retry  # imports anyio

        rows = pluralize(skipped + failed, "row")
        reason = None if fields is None else reason_against_retry(out, fields)
        if reason is None:
            print_err(f"To retry the {rows} that failed or were skipped:\n  {rebuild_command('--retry-failed')}")
        else:
            print_err(
                f"Failed or skipped: {rows}. The file cannot be retried, because {reason}. To look up all rows again, "
                "run the command without --fields and with --overwrite."
            )
    if skipped:
        return ExitCode.EXHAUSTED
    return ExitCode.INCOMPLETE if failed else ExitCode.SUCCESS


def _format_outcomes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"
