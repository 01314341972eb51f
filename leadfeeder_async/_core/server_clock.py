"""The time by the clock of the server, because the clock of this machine may be wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime

PLAUSIBLE_YEARS = range(2024, 2100)
"""The years of valid times. Computers and proxies without a clock begin in 1970 or 2000."""


class ServerClock:
    """The time by the ``Date`` header of the latest response that had one."""

    def __init__(self) -> None:
        self._header: str | None = None
        self._received = 0.0

    def record(self, header: str | None) -> None:
        """Record the ``Date`` header of a response that has just arrived."""
        if header is not None:
            self._header, self._received = header, time.monotonic()

    def now(self) -> datetime:
        """Return the time of the server, or of this machine if no response had a ``Date``, or the latest is invalid."""
        local = datetime.now(UTC)
        if self._header is None:
            return local
        try:
            date = parse_http_date(self._header)
            elapsed = max(0.0, time.monotonic() - self._received)
            now = datetime.fromtimestamp(date.timestamp() + elapsed, UTC)
        except (ValueError, TypeError, IndexError, OverflowError, OSError):  # not a date, or one that no calendar has
            return local
        return now if now.year in PLAUSIBLE_YEARS else local


def parse_http_date(value: str) -> datetime:
    """Return the date of a header. UTC is assumed if it names no time zone.

    Raises:
        ValueError, TypeError, IndexError, OverflowError: It is not a date, or one that no calendar has.
    """
    from email.utils import parsedate_to_datetime  # few callers need the time, and the import takes a while

    date = parsedate_to_datetime(value)
    return date.replace(tzinfo=date.tzinfo or UTC)
