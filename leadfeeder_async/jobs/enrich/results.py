"""What came of each row, and of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async import errors
from leadfeeder_async.errors import ErrorContext, LeadfeederError, RequestPhase, SentState
from leadfeeder_async.jobs.enrich.keys import escape_surrogates
from leadfeeder_async.models.companies import CompanyMatch

T = TypeVar("T")

NO_RECORD = msgspec.Raw(b"null")


class Outcome(StrEnum):
    """What came of a row."""

    MATCHED = "matched"
    """There is a record."""
    AMBIGUOUS = "ambiguous"
    """Several companies fit, or none well enough: nothing was fetched, and ``candidates`` names them."""
    NOT_FOUND = "not_found"
    """No company fits, or the one that fits is gone."""
    FAILED = "failed"
    """``error`` says why; where the answer was lost, it may have been charged."""
    SKIPPED_BY_BUDGET = "skipped_by_budget"
    """The budget did not cover it; ``id`` is the company that would be fetched."""
    UNUSABLE = "unusable"
    """The row has no key that could be asked for: nothing was sent."""

    @property
    def is_final(self) -> bool:
        """Whether asking again would bring the same."""
        return self not in {Outcome.FAILED, Outcome.SKIPPED_BY_BUDGET}


class SerializedError(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it stands in a file."""

    type: str
    message: str
    code: str | None = None
    status: int | None = None
    request_id: str | None = None
    operation: str | None = None
    sent: SentState = "no"
    phase: RequestPhase | None = None
    attempts: int = 0

    @classmethod
    def of(cls, error: LeadfeederError) -> SerializedError:
        """Write an error down; it may quote a text of the row that no file can hold."""
        context = error.context
        return cls(
            type=type(error).__name__,
            message=escape_surrogates(error.message),
            code=context.code,
            status=context.status,
            request_id=context.request_id,
            operation=context.operation,
            sent=context.sent,
            phase=context.phase,
            attempts=context.attempts,
        )

    def error(self) -> LeadfeederError:
        """Make the error from what was written down."""
        context = ErrorContext(
            operation=self.operation,
            status=self.status,
            code=self.code,
            request_id=self.request_id,
            attempts=self.attempts,
            sent=self.sent,
            phase=self.phase,
        )
        kind: object = getattr(errors, self.type, None)
        if isinstance(kind, type) and issubclass(kind, LeadfeederError):
            return kind(self.message, context)
        return LeadfeederError(self.message, context)


class ResultLine(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one row, as it stands in a file."""

    row: int = 0
    """The number of the row, from 1."""
    key: str = ""
    """What it was looked up by."""
    outcome: Outcome
    id: str | None = None
    """The company."""
    score: float | None = None
    """How well the company matches, 0 to 1."""
    charged: int | None = 0
    """Credits for this row; null where one answer charged for some of several companies."""
    error: SerializedError | None = None
    candidates: tuple[msgspec.Raw, ...] = ()
    """The companies it may mean, the likeliest first."""
    record: msgspec.Raw = NO_RECORD
    """The record as the API sent it; null where there is none."""
    line: int | UnsetType = UNSET
    """The line of the input file where the row begins, from 1."""
    input: msgspec.Raw | UnsetType = UNSET
    """The row of the input file as it came."""


def failed_line(
    error: LeadfeederError | None,
    outcome: Outcome = Outcome.FAILED,
    company_id: str | None = None,
    *,
    charged: int | None = 0,
) -> ResultLine:
    """Tell what came of a row that has no record, and why."""
    return ResultLine(
        outcome=outcome, id=company_id, charged=charged, error=None if error is None else SerializedError.of(error)
    )


def encode_lines(lines: Iterable[ResultLine]) -> bytes:
    """Write some lines as JSON."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


class EnrichmentResult(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What came of one row."""

    row: int
    """The number of the row, from 1."""
    key: str
    """What it was looked up by, in its one form; as it came where it is unusable."""
    outcome: Outcome
    record: T | None = None
    """The company, or what is known of the address."""
    id: str | None = None
    """The company's current id."""
    score: float | None = None
    """How well the company matches, 0 to 1."""
    candidates: tuple[CompanyMatch, ...] = ()
    """The companies that an ambiguous row may mean, the likeliest first."""
    error: LeadfeederError | None = None
    """Why it failed, or why it is unusable."""
    charged: int | None = 0
    """Credits for this row; None where one answer charged for some of several companies and did not say which."""


class EnrichmentEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a job would do, found out for free."""

    rows: int
    distinct: int
    """Keys that differ."""
    outcomes: Counter[Outcome]
    """What would come of the rows; a matched row still has to be fetched."""
    max_credits: int
    """The most that the job can charge: one for each company, less for those unlocked in the last 12 months."""
    requests: int
    """The requests that the job would send, if none has to be sent again."""


class EnrichmentSummary(msgspec.Struct):
    """A job's account, kept while it runs."""

    outcomes: Counter[Outcome] = msgspec.field(default_factory=Counter[Outcome])
    """Rows by outcome."""
    credits: int = 0
    """Credits that the answers charged."""
    credits_possibly_charged: int = 0
    """Credits that lost answers may have charged."""
    credits_of_previous_runs: int = 0
    """Credits that earlier runs of the same job may have cost, requests that were killed included."""

    @property
    def rows(self) -> int:
        """Rows done."""
        return self.outcomes.total()
