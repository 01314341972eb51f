"""The results of an enrichment: of each row, and of all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.errors import LeadfeederError
from leadfeeder_async.jobs.serialized_error import SerializedError
from leadfeeder_async.models.companies import CompanyMatch

T = TypeVar("T")

NO_RECORD = msgspec.Raw(b"null")


class Outcome(StrEnum):
    """The outcome of a row."""

    MATCHED = "matched"
    """The record was found."""
    AMBIGUOUS = "ambiguous"
    """Several companies match, or none matches well enough. Nothing was fetched, and ``candidates`` lists them."""
    NOT_FOUND = "not_found"
    """No company matches, or the matching company no longer exists."""
    FAILED = "failed"
    """A request failed with ``error``. If its response was lost, it may have been charged."""
    SKIPPED_BY_BUDGET = "skipped_by_budget"
    """The budget did not cover the row. ``id`` is the company or the IP address, unless the row was not matched."""
    UNUSABLE = "unusable"
    """The row has no valid key, or is a broken row of a file. Nothing was sent."""

    @property
    def is_final(self) -> bool:
        """True if ``retry_failed`` keeps the row."""
        return self not in {Outcome.FAILED, Outcome.SKIPPED_BY_BUDGET}


class ResultLine(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one row, as one line of a file."""

    row: int = 0
    """The number of the row, from 1."""
    key: str = ""
    """The normalized key, or the beginning of the text as it was given if it is not valid."""
    by: str | None = None
    """The kind of key that was used, or null if the row has no valid key."""
    outcome: Outcome
    id: str | None = None
    """The company. A row without a record has the requested id: that of a company, or the IP address."""
    score: float | None = None
    """The score of the match, from 0 to 1."""
    charged: int | None = 0
    """The credits for this row. Null if the response was lost, or shows only the sum of several companies."""
    error: SerializedError | None = None
    candidates: tuple[msgspec.Raw, ...] = ()
    """The companies of an ambiguous row, the best match first, or the records that came for a failed row."""
    record: msgspec.Raw = NO_RECORD
    """The record as the API sent it, or null if there is none."""
    line: int | UnsetType = UNSET
    """The line of the input file at which the row begins, from 1."""
    input: msgspec.Raw | UnsetType = UNSET
    """The row of the input file."""


def line_without_record(
    error: LeadfeederError | None,
    outcome: Outcome = Outcome.FAILED,
    record_id: str | None = None,
    *,
    charged: int | None = 0,
) -> ResultLine:
    """Return the result of a row without a record.

    Args:
        error: The reason, if there is an error.
        outcome: The outcome.
        record_id: The id of the requested company, or the requested IP address.
        charged: The credits for this row, or None if they are not known.
    """
    serialized = None if error is None else SerializedError.from_error(error)
    return ResultLine(outcome=outcome, id=record_id, charged=charged, error=serialized)


def encode_lines(lines: Iterable[ResultLine]) -> bytes:
    """Return some results as JSON lines."""
    return _ENCODER.encode_lines(lines)


_ENCODER = msgspec.json.Encoder()


class EnrichmentResult(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The result of one row."""

    row: int
    """The number of the row, from 1."""
    key: str
    """The normalized key, or the beginning of the text as it was given if it is not valid."""
    by: str | None = None
    """The kind of key that was used, such as ``domain``, or None if the row has no valid key."""
    outcome: Outcome
    record: T | None = None
    """The company, or the data of the IP address."""
    id: str | None = None
    """The current id of the company. A row without a record has the requested id, or the IP address."""
    score: float | None = None
    """The score of the match, from 0 to 1."""
    candidates: tuple[CompanyMatch, ...] = ()
    """The companies of an ambiguous row, the best match first.

    If the server returned records of merged companies that cannot be assigned, they are the candidates of their rows.
    """
    error: LeadfeederError | None = None
    """The reason why a row is failed or unusable. Some other rows have one too, such as those that a 404 rejects."""
    charged: int | None = 0
    """The credits for this row. None if the response was lost, or shows only the sum of several companies."""


class EnrichmentEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """The requests and the highest cost of a job."""

    rows: int
    distinct: int
    """The number of distinct keys."""
    outcomes: Counter[Outcome]
    """Rows by outcome. A matched row still has to be fetched."""
    max_credits: int | None
    """The most credits that the job can charge, or None if the price is not published, as for IP addresses.

    Companies that were unlocked in the last 12 months are free.
    """
    requests: int
    """The number of requests if none fails and ``max_credits`` covers all records."""


class EnrichmentSummary(msgspec.Struct):
    """The totals of a job, updated while it runs."""

    outcomes: Counter[Outcome] = msgspec.field(default_factory=Counter[Outcome])
    """Rows by outcome, including those of earlier runs into the same file."""
    credits: int = 0
    """Credits that the responses of this run charged."""
    credits_possibly_charged: int = 0
    """Credits that may have been charged by requests whose responses were lost."""
    credits_of_previous_runs: int = 0
    """Credits that previous runs of the same job may have charged, including requests in flight when they stopped."""

    @property
    def rows(self) -> int:
        """The number of finished rows."""
        return self.outcomes.total()
