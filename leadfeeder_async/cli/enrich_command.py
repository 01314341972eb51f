"""``leadfeeder enrich``: a file of keys in, a line for each row out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from leadfeeder_async.cli import INCOMPLETE, SPENT, terminal
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs.enrich.enrichment import Enrichment
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, Outcome
from leadfeeder_async.jobs.progress import ProgressTracker
from leadfeeder_async.jobs.resumable_file import checkpoint_path, partial_path
from leadfeeder_async.jobs.tabular import is_table
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.records import Company

Flag = Parameter(negative=())


async def enrich(
    source: Annotated[
        Path, Parameter(help="The input: .csv with a header, .ndjson or .jsonl, or .txt with one key a line.")
    ],
    *,
    by: Annotated[Literal["domain", "name", "ip", "vat"], Parameter(help="What the rows are looked up by.")],
    out: Annotated[
        Path | None, Parameter(help="The file to write: .ndjson, .csv or .parquet; without it, stdout.")
    ] = None,
    column: Annotated[str | None, Parameter(help="The column of the key; guessed where it has a usual name.")] = None,
    max_credits: Annotated[int | None, Parameter(help="Never be charged more than this, over all runs.")] = None,
    limit: Annotated[int | None, Parameter(help="Only the first rows of the input.")] = None,
    min_score: Annotated[float, Parameter(help="Take no match that scores less, 0 to 1.")] = 0.8,
    dry_run: Annotated[bool, Flag, Parameter(help="Match for free, and say what the job would cost at most.")] = False,
    resume: Annotated[bool, Flag, Parameter(help="Go on where an unfinished run of the same job stopped.")] = False,
    overwrite: Annotated[bool, Flag, Parameter(help="Replace the file if it exists.")] = False,
    retry_failed: Annotated[
        bool, Flag, Parameter(help="Ask again for the rows of a finished file that failed or were skipped.")
    ] = False,
    encoding: Annotated[str | None, Parameter(help="The input's encoding, where it is not UTF-8.")] = None,
    account_id: Annotated[str | None, Parameter(help="The account; needed where the key has several.")] = None,
) -> int:
    """Find a company for each row of a file; 1 credit for each that was not unlocked in the last 12 months.

    Matching is free. Each row gets one line, in order: matched, ambiguous, not_found, failed, skipped_by_budget or
    unusable; with the line of the input where it begins, and its columns as input. Exits with 4 if rows were skipped
    by the budget, with 5 if some failed.
    """
    check_argument(
        not (dry_run and (resume or retry_failed)), "--dry-run goes with neither --resume nor --retry-failed."
    )
    goes_on = resume or retry_failed
    check_argument(
        out is not None or not goes_on, "--resume and --retry-failed need a file to go on with.", "Add --out."
    )
    if out is not None:
        _keep(source, out)
    rows = InputFile(source, by, column, encoding)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        job: Enrichment[Company] | Enrichment[EnrichedIp]
        if by == "ip":
            job = lf.enrich.ips(rows, column=column, max_credits=max_credits, limit=limit)
        else:
            job = lf.enrich.companies(
                rows, by=by, column=column, max_credits=max_credits, limit=limit, min_score=min_score
            )
        if dry_run:
            return await _estimate(job)
        if out is None:
            return await _print(job, ProgressTracker(lf.stats, limit), len(rows))
        return await _write(job, out, resume=resume, overwrite=overwrite, retry_failed=retry_failed)


def _keep(source: Path, out: Path) -> None:
    """Refuse to write over the input."""
    for path in (out, partial_path(out), checkpoint_path(out)):
        same = path.resolve() == source.resolve() or (path.exists() and source.exists() and path.samefile(source))
        check_argument(not same, f"{path} is the input, and would be written over.", "Choose another name for --out.")


async def _estimate(job: Enrichment[Company] | Enrichment[EnrichedIp]) -> int:
    found = await job.estimate()
    counts = {outcome.value: found.outcomes[outcome] for outcome in Outcome}
    costs = {"max_credits": found.max_credits, "requests": found.requests}
    terminal.print_out(
        msgspec.json.encode({"rows": found.rows, "distinct": found.distinct, **counts, **costs}).decode()
    )
    terminal.print_note(
        f"{found.rows:,} rows, {found.distinct:,} distinct: {_outcomes(counts)}. Nothing was charged. The job would "
        f"send about {found.requests:,} requests and charge at most {found.max_credits:,} credits."
    )
    return 0


async def _print(job: Enrichment[Company] | Enrichment[EnrichedIp], meter: ProgressTracker, total: int) -> int:
    with terminal.progress_bar("rows") as on_progress:
        async with aclosing(job.raw_lines()) as groups:
            async for lines in groups:
                await terminal.to_stdout(lines)
                on_progress(meter.count(lines.count(b"\n"), total))
    return _report(job.summary, None)


async def _write(
    job: Enrichment[Company] | Enrichment[EnrichedIp], out: Path, *, resume: bool, overwrite: bool, retry_failed: bool
) -> int:
    with terminal.progress_bar("rows") as on_progress:
        watch = terminal.ResumeHint(on_progress)
        try:
            tally = await job.to_file(
                out, resume=resume, overwrite=overwrite, retry_failed=retry_failed, on_progress=watch
            )
        except BaseException as error:
            watch.print_resume_hint(out, error)
            raise
    return _report(tally, out)


def _report(tally: EnrichmentSummary, out: Path | None) -> int:
    counts = {outcome.value: tally.outcomes[outcome] for outcome in Outcome}
    lost = f", and up to {tally.credits_possibly_charged:,} by lost answers" if tally.credits_possibly_charged else ""
    lost += f", and up to {tally.credits_of_previous_runs:,} by earlier runs" if tally.credits_of_previous_runs else ""
    terminal.print_note(
        f"{tally.rows:,} rows: {_outcomes(counts)}; {tally.credits:,} credits charged{lost}"
        + (f" -> {out}" if out else "")
    )
    skipped, failed = tally.outcomes[Outcome.SKIPPED_BY_BUDGET], tally.outcomes[Outcome.FAILED]
    if (skipped or failed) and out is not None and not is_table(out):
        terminal.print_note(
            f"To ask for the {skipped + failed:,} others again:\n  {terminal.rebuild_command('--retry-failed')}"
        )
    if skipped:
        return SPENT
    return INCOMPLETE if failed else 0


def _outcomes(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"
