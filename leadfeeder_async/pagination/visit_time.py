"""Read the time of a visit from a row of a list."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.models.records import WebVisit


class _Attributes(msgspec.Struct, frozen=True, gc=False):
    started_at: datetime | None = None


class _Row(msgspec.Struct, frozen=True, gc=False):
    attributes: _Attributes | None = None


_ROW = msgspec.json.Decoder(_Row, strict=False)


def started_at(row: object) -> datetime | None:
    """Return the time of a visit, as a model or undecoded, or None if it has no valid time."""
    started = None
    if isinstance(row, WebVisit):
        started = row.started_at
    elif isinstance(row, msgspec.Raw):
        try:
            attributes = _ROW.decode(row).attributes
        except UNREADABLE:
            return None
        started = attributes.started_at if attributes else None
    return started.replace(tzinfo=UTC) if started is not None and started.tzinfo is None else started


def utc_time(time: datetime | None) -> datetime | None:
    """Return a time in UTC, or None if it is None or outside the years that a datetime can have there."""
    if time is None:
        return None
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return None
