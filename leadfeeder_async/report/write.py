"""Write a report to a file."""

from __future__ import annotations

import re
from datetime import datetime
from html import unescape
from importlib.util import find_spec
from pathlib import Path

from leadfeeder_async._argument_checks import check_path
from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs.atomic_file import write_atomically
from leadfeeder_async.jobs.output_lock import make_folder
from leadfeeder_async.jobs.resumable_file import is_same_file, translate_os_errors, validate_target
from leadfeeder_async.pagination.date_range import DateLike
from leadfeeder_async.report.load import read_report
from leadfeeder_async.report.report_data import PreviousReport, Report


def write_report(
    database: str | Path,
    out: str | Path,
    *,
    since: DateLike = "30d",
    until: DateLike | None = None,
    title: str | None = None,
    account_id: str | None = None,
    overwrite: bool = False,
    tz: str = "UTC",
) -> Report:
    """Write an HTML page about the visits in a synced database, and return the figures that it shows.

    ::

        write_report("leadfeeder.duckdb", "report.html", since="30d")

    The page is one file that loads nothing else. It is written completely or not at all. The function sends no requests
    and needs the extra ``report``. If it replaces an earlier report, the page lists the visits and companies that were
    synced since then. It blocks, so a coroutine calls it with ``asyncio.to_thread``.

    Args:
        database: The DuckDB file of ``leadfeeder sync`` or ``sync_account``. It is opened read-only.
        out: The HTML file to write.
        since: The first day, or ``30d`` for the last 30 days up to ``until``. Days that the database does not contain
            are omitted, and the page shows a note.
        until: The last day, included: a date, ``today``, ``yesterday`` or YYYY-MM-DD. By default, the last day that was
            over when its sync began.
        title: The heading of the page, "Website visitors" by default.
        account_id: The account of the report. Required if the database contains several accounts.
        overwrite: Replace a file that exists.
        tz: The time zone of days and of the times of visits, such as ``Europe/Berlin``.

    Returns:
        The figures of the page. Durations are in seconds, times are in UTC.

    Raises:
        ConfigurationError: The extra is not installed, a date is invalid, the database contains none of the days, or
            ``account_id`` is unknown or is required and missing.
        DatabaseError: The database does not exist, is not a DuckDB file, or has another schema.
        DatabaseLockedError: Another process is writing to the database, or this process has it open.
        CheckpointError: ``out`` exists and ``overwrite`` is false, or it cannot be written.

    Credits:
        None.

    """
    path = check_path("out", out)
    check_argument(
        not is_same_file(path, check_path("database", database)),
        f"{path} is the database and would be overwritten.",
        "Write the report to another file.",
    )
    validate_target(path, overwrite=overwrite)
    _check_extra()
    from leadfeeder_async.report.render import render  # noqa: PLC0415 - needs the extra

    report = read_report(
        database, since=since, until=until, title=title, account_id=account_id, previous=_previous_report(path), tz=tz
    )
    page = render(report).encode()
    validate_target(path, overwrite=overwrite)  # again, because the file may have been created meanwhile
    _write(path, page)
    return report


def _previous_report(path: Path) -> PreviousReport | None:
    """Return the report in an existing file, or None if there is none."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    account, synced_at = (_META[name].search(head) for name in ("account", "synced-at"))
    if synced_at is None:
        return None
    try:
        time = datetime.fromisoformat(synced_at[1].decode())
        return PreviousReport(account_id=unescape(account[1].decode()) if account else None, synced_at=time)
    except ValueError:
        return None


_META = {
    name: re.compile(rf'<meta name="leadfeeder-{name}" content="([^"]+)">'.encode())
    for name in ("account", "synced-at")
}

_HEAD_BYTES = 4_096
"""The bytes of a page that contain its meta elements."""


def _check_extra() -> None:
    packages = (("duckdb", "DuckDB"), ("jinja2", "Jinja2"))
    missing = " and ".join(name for module, name in packages if find_spec(module) is None)
    check_argument(
        not missing,
        f"A report needs {missing}, which is not installed.",
        "Run pip install duckdb jinja2, or install the extra report.",
    )


def _write(path: Path, data: bytes) -> None:
    with translate_os_errors(path, hint="Choose another path."):
        make_folder(path.parent)
        write_atomically(path, data, like=path)
