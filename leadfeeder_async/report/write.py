"""The report in a file."""

from __future__ import annotations

from pathlib import Path

from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.atomic_file import replace_atomically
from leadfeeder_async.jobs.resumable_file import partial_path, validate_target
from leadfeeder_async.pagination.date_range import DateLike
from leadfeeder_async.report.load import read_report
from leadfeeder_async.report.render import render
from leadfeeder_async.report.report_data import Report


def write_report(
    database: str | Path,
    out: str | Path,
    *,
    since: DateLike = "30d",
    until: DateLike | None = None,
    title: str | None = None,
    account_id: str | None = None,
    overwrite: bool = False,
) -> Report:
    """Write one self-contained HTML page on the visits of some days; return the figures it shows.

    ``write_report("leadfeeder.duckdb", "report.html", since="30d")`` reads a database that ``leadfeeder sync`` made;
    it sends nothing and charges nothing. ``since`` is a day or ``30d`` for the last 30 days up to ``until``, which is
    the last whole day of the database unless given; only days that the database holds whole are counted. Durations of
    the figures are seconds, times UTC. The file appears whole or not at all. It blocks: from a coroutine, call it with
    ``asyncio.to_thread``.

    Needs the extra ``duckdb``. Raises ConfigurationError where that is missing, a day is wrong, or the account is not
    clear; DatabaseError where the database is missing, broken or of another schema; DatabaseLockedError where something
    writes to it; CheckpointError where ``out`` exists without ``overwrite`` or cannot be written.
    """
    path = Path(out)
    validate_target(path, overwrite=overwrite)
    report = read_report(database, since=since, until=until, title=title, account_id=account_id)
    _write(path, render(report).encode())
    return report


def _write(path: Path, data: bytes) -> None:
    part = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        replace_atomically(part, path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}.", hint="Choose another place.") from error
