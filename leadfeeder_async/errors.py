"""All errors of this package, and the context that each one carries.

::

    LeadfeederError
    ├── APIStatusError                the server rejected the request
    │   ├── BadRequestError           400, 422: the request is invalid
    │   ├── AuthenticationError       401, or 403 with a code such as invalid_api_key
    │   ├── PermissionDeniedError     403: the key lacks permission
    │   ├── InsufficientCreditsError  402, or insufficient_credits: no credits left
    │   ├── NotFoundError             404
    │   ├── OffsetExceededError       416: past the API's row limit of 10,000
    │   ├── RateLimitedError          429: too many requests per second
    │   ├── QuotaExceededError        429 quota_exceeded: the monthly quota is used up
    │   ├── ServerError               5xx
    │   └── UnexpectedStatusError     a status that the contract does not list
    ├── NetworkError                  no complete response arrived
    │   ├── ConnectError              no connection, so nothing was sent
    │   ├── TLSError                  the server's certificate was rejected, so nothing was sent
    │   ├── DisconnectedError         the connection was lost
    │   ├── AttemptTimeoutError       one attempt took too long
    │   └── DeadlineExceededError     the whole call took too long
    ├── ResponseError                 the response cannot be used
    │   ├── DecodeError               not the JSON that the contract describes
    │   ├── ResponseTooLargeError     larger than `max_body_bytes`
    │   ├── RedirectError             redirects are never followed
    │   └── ProtocolError             not valid HTTP, or an encoding that cannot be decoded
    ├── OutcomeUnknownError           possibly charged or created, so not retried
    ├── BudgetExceededError           a budget does not allow the next request
    ├── PaginationError               a list cannot be completed
    │   ├── CursorLoopError           the cursors repeat
    │   ├── CursorExpiredError        the server rejected a cursor that it had issued
    │   ├── IncompleteWindowError     one day has more rows than the API returns
    │   └── IncompleteListError       some rows could not be read
    ├── CheckpointError               a saved position or an output file cannot be used
    ├── DatabaseError                 a synced database cannot be used
    │   └── DatabaseLockedError       another process has it open
    ├── CredentialError               a new key or token could not be obtained
    ├── RateLimiterUnavailableError   the shared rate limiter does not respond, so nothing was sent
    └── UsageError                    the call itself is invalid, so nothing was sent
        ├── ClientClosedError         the client is closed
        ├── WrongLoopError            the client belongs to another event loop or process
        ├── InvalidIdError            an id that cannot be part of a URL
        └── ConfigurationError        a setting or argument is missing or out of range
            └── MissingKeyError       no API key was given

Errors never contain API keys or access tokens, and never wrap exceptions of aiohttp, because those do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar, Literal, Self, TypeAlias

import msgspec

SentState: TypeAlias = Literal["no", "maybe", "yes"]
"""The sending state of a request: ``yes`` if a response arrived, ``no`` if it was certainly not sent, otherwise
``maybe``."""

RequestPhase: TypeAlias = Literal[
    "account", "budget", "slot", "credential", "limiter", "connect", "tls", "headers", "body", "decode", "backoff"
]
"""The phase of a call in which an error occurred.

``account`` requests the only account of the key, ``budget`` waits for credits, ``slot`` for one of the
``max_concurrency`` slots or for another ``get_or_create`` of the same record, ``credential`` for a key or token, and
``limiter`` for the rate limit. ``connect`` and ``tls`` open the connection, ``headers`` and ``body`` wait for the
response, ``decode`` decodes it, and ``backoff`` waits before a retry.
"""


def may_concern_one_account(error: LeadfeederError) -> bool:
    """Return True for a denied access that may concern only one account or one permission, and not the credential."""
    return error.code == "access_denied" and error.status == HTTPStatus.FORBIDDEN


_SENT_STATES: tuple[SentState, ...] = ("no", "maybe", "yes")


def merge_sent(first: SentState, second: SentState) -> SentState:
    """Return the stronger of two states: ``yes`` over ``maybe`` over ``no``."""
    return first if _SENT_STATES.index(first) >= _SENT_STATES.index(second) else second


_CONTROL_CHARACTERS = (
    r"\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff"
)
"""Control characters of ASCII and of C1, invisible characters, and characters that change the direction of text."""

_ANY_CONTROL = re.compile(f"[{_CONTROL_CHARACTERS}]")

_CONTROL_IN_LINES = re.compile(rf"(?![\n\t])[{_CONTROL_CHARACTERS}]")


def escape_control_characters(text: str, *, keep_lines: bool = False) -> str:
    """Return ``text`` with characters that could control a terminal as JSON escapes.

    Args:
        text: Text that may come from a server or a file.
        keep_lines: Keep line breaks and tabs.

    """
    return (_CONTROL_IN_LINES if keep_lines else _ANY_CONTROL).sub(_json_escape, text)


def _json_escape(character: re.Match[str]) -> str:
    units = character[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[start : start + 2].hex()}" for start in range(0, len(units), 2))


class ErrorContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Facts about the call that failed."""

    operation: str | None = None
    """The ``operationId`` of the contract, such as ``get_company``."""
    method: str | None = None
    path: str | None = None
    """The path template, without ids."""
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    attempts: int = 0
    """Attempts to send the request."""
    sent: SentState = "no"
    sent_before: SentState = "no"
    """Whether an earlier attempt of the call was sent and may have had an effect. Attempts that the server rejected,
    such as with a 429, do not count."""
    phase: RequestPhase | None = None
    retry_after: float | None = None
    """Seconds until the server accepts the next request."""
    retry_at: datetime | None = None
    """The time at which the server accepts the next request."""
    charged: int = 0
    """The credits that the server charged although it rejected the request."""

    def __str__(self) -> str:
        call = " ".join(part for part in (self.operation, self.method, self.path) if part)
        if not call:
            return ""
        parts = [call]
        if self.request_id:
            parts.append(f"request id {self.request_id}")
        if self.phase:
            parts.append(f"phase {self.phase}")
        if self.attempts:
            parts.append(f"attempt {self.attempts}, sent: {self.sent}")
        if self.retry_at:
            parts.append(f"retry at {self.retry_at.isoformat(timespec='seconds')}")
        return f"[{'; '.join(parts)}]"


class LeadfeederError(Exception):
    """Base class of all errors of this package.

    Errors are immutable. :meth:`with_context` returns a changed copy.

    Args:
        message: The problem, with the value that caused it.
        context: Facts about the call.
        hint: One sentence on how to proceed. Defaults to the hint of the class.

    """

    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, context: ErrorContext | None = None, *, hint: str | None = None) -> None:
        super().__init__(message)
        self._context = ErrorContext() if context is None else context
        self._hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        text = " ".join(part for part in (str(self.args[0]), str(self._context), self._hint) if part)
        return escape_control_characters(text)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.message, vars(self).copy())

    def with_context(self, context: ErrorContext, *, message: str | None = None, hint: str | None = None) -> Self:
        """Return a copy of this error with another context, and with another message or hint if one is given."""
        other = copy(self)
        other._context = context  # noqa: SLF001 - a copy of its own
        if message is not None:
            other.args = (message,)
        if hint is not None:
            other._hint = hint  # noqa: SLF001 - a copy of its own
        return other

    @property
    def message(self) -> str:
        """The problem, without the context and the hint. Control characters are escaped."""
        return escape_control_characters(str(self.args[0]))

    @property
    def context(self) -> ErrorContext:
        """Facts about the call that failed."""
        return self._context

    @property
    def hint(self) -> str:
        """One sentence on how to proceed, or an empty string."""
        return self._hint

    @property
    def status(self) -> int | None:
        """The HTTP status, or None if no response arrived."""
        return self._context.status

    @property
    def code(self) -> str | None:
        """The error code of the API, such as ``rate_limit_exceeded``."""
        return self._context.code

    @property
    def request_id(self) -> str | None:
        """The request id to quote to Leadfeeder's support."""
        return self._context.request_id

    @property
    def attempts(self) -> int:
        """The number of attempts, including the failed one."""
        return self._context.attempts

    @property
    def sent(self) -> SentState:
        """Whether any attempt of the call was sent.

        Earlier attempts that the server rejected, such as with a 429, do not count.
        """
        return self._context.sent

    @property
    def phase(self) -> RequestPhase | None:
        """The phase in which the last attempt failed."""
        return self._context.phase

    @property
    def retry_at(self) -> datetime | None:
        """The time, in UTC, at which the server allows the next request."""
        return self._context.retry_at


def _restore(kind: type[LeadfeederError], message: str, state: dict[str, object]) -> LeadfeederError:
    """Rebuild an error from a pickle or a copy."""
    error = kind.__new__(kind, message)
    error.args = (message,)  # TimeoutError, an OSError, leaves this to its __init__
    vars(error).update(state)
    return error


class APIStatusError(LeadfeederError):
    """The server rejected the request."""


class BadRequestError(APIStatusError):
    """The request is invalid (400 or 422)."""

    default_hint = "Correct the arguments. The same request will fail again."


class AuthenticationError(APIStatusError):
    """The API key is missing, invalid or revoked (401, or 403 with a code such as ``invalid_api_key``)."""

    default_hint = "Check LEADFEEDER_API_KEY, or create a new key in Leadfeeder under Settings > API keys."


class PermissionDeniedError(APIStatusError):
    """The key is valid but lacks permission for this call (403)."""

    default_hint = "Check the account_id, then ask an admin of the account for the scope or plan that this call needs."


class InsufficientCreditsError(APIStatusError):
    """The account has no credits left for this call."""

    default_hint = "Buy credits or wait for the reset. `lf.accounts.get()` returns the balance and the reset date."


class NotFoundError(APIStatusError):
    """The record does not exist, or not in this account (404)."""

    default_hint = "Check the id and the account_id."


class OffsetExceededError(APIStatusError):
    """The page is past the API's row limit of 10,000 (416)."""

    default_hint = "Narrow the dates or the filters. Searches of web visits split their date range automatically."


class RateLimitedError(APIStatusError):
    """The key sends too many requests per second (429)."""

    default_hint = "Wait, or lower `rate`. Another program may be using this key."


class QuotaExceededError(APIStatusError):
    """The monthly quota of the key is used up (429 ``quota_exceeded``)."""

    default_hint = "Stop until the month ends. Further requests cannot succeed."


class ServerError(APIStatusError):
    """The server failed (5xx)."""

    default_hint = "Try again later. If it persists, quote the request id to Leadfeeder's support."


class UnexpectedStatusError(APIStatusError):
    """The server responded with a status that the contract does not list."""


class NetworkError(LeadfeederError):
    """No complete response arrived."""


class ConnectError(NetworkError):
    """No connection could be established, so nothing was sent."""

    default_hint = "Check the network, the proxy and LEADFEEDER_BASE_URL."


class TLSError(NetworkError):
    """The server's certificate was rejected, so nothing was sent. A failed handshake is a `ConnectError`."""

    default_hint = "Check the clock, the proxy and the CA bundle. Verification is never turned off."


class DisconnectedError(NetworkError):
    """The connection was lost before a complete response arrived."""

    default_hint = (
        "Try again. If it persists, a proxy or firewall may be closing connections, or the server requires a client "
        "certificate."
    )


class AttemptTimeoutError(NetworkError, TimeoutError):
    """One attempt took longer than ``timeout``."""

    default_hint = "Try again, or raise `timeout` (seconds per attempt)."


class DeadlineExceededError(NetworkError, TimeoutError):
    """The whole call, including its waits, took longer than its deadline, or the next attempt would begin after it."""

    default_hint = "Raise the deadline, or send fewer calls at once."


class ResponseError(LeadfeederError):
    """The response cannot be used."""


class DecodeError(ResponseError):
    """The response is not the JSON that the contract describes."""

    default_hint = (
        "Check LEADFEEDER_BASE_URL and any proxy. If both are right, please report this with the request id "
        "and the report that `leadfeeder doctor` can write."
    )


class ResponseTooLargeError(ResponseError):
    """The response is larger than ``max_body_bytes``. Reading stopped there."""

    default_hint = "Lower `page_size`, request fewer includes, or raise `max_body_bytes`."


class RedirectError(ResponseError):
    """The server redirected. Redirects are never followed, because the API key would be sent along."""

    default_hint = "Set LEADFEEDER_BASE_URL to the final address if you trust it."


class ProtocolError(ResponseError):
    """The response is not valid HTTP, arrived before the request, or has an encoding that cannot be decoded."""

    default_hint = "Check LEADFEEDER_BASE_URL and any proxy in between."


class OutcomeUnknownError(LeadfeederError):
    """The request may have been charged or carried out, so it was not retried.

    ``__cause__`` is the error that left the outcome unknown.
    """

    default_hint = "Check whether it took effect before you send it again."


class BudgetExceededError(LeadfeederError):
    """A budget does not allow the next request, so it was not sent."""


class PaginationError(LeadfeederError):
    """A list cannot be completed."""


class CursorLoopError(PaginationError):
    """Cursor pagination loops: a cursor was returned twice, or too many consecutive pages had no new rows.

    50 pages are too many, or 3 if they charge, or if the list is read again and has more pages than before.
    """

    default_hint = "The rows so far are valid. Try again later, or narrow the search."


class CursorExpiredError(PaginationError):
    """The server rejected a cursor that it had issued.

    The list was not restarted because that could be charged, because a previous restart made no progress, or because
    rows without an id would be returned twice.
    """

    default_hint = "The rows so far are valid. Read the list again if repeated rows or charges are acceptable."


class IncompleteWindowError(PaginationError):
    """One day has more rows than the API returns, so the list is not complete.

    Args:
        message: The problem, with the value that caused it.
        context: Facts about the call.
        hint: One sentence on how to proceed.
        problems: One error for each such day, if there are several.

    """

    default_hint = "Read such a day in parts: visits with company_id, visitor companies with custom_feed_id."

    def __init__(
        self,
        message: str,
        context: ErrorContext | None = None,
        *,
        hint: str | None = None,
        problems: Sequence[IncompleteWindowError] = (),
    ) -> None:
        super().__init__(message, context, hint=hint)
        self.problems: tuple[IncompleteWindowError, ...] = tuple(problems)


class IncompleteListError(PaginationError):
    """Some rows of a list could not be read, or the server left some out. All other rows were returned.

    Args:
        message: The problem, with the value that caused it.
        context: Facts about the call.
        hint: One sentence on how to proceed.
        problems: One error for each missing row or part.
        run_completed: True if a job ran to its end and saved everything else, so that there is nothing to resume.

    """

    default_hint = "See `problems` for details, or iterate over `pager.pages()` to handle them per page."

    def __init__(
        self,
        message: str,
        context: ErrorContext | None = None,
        *,
        hint: str | None = None,
        problems: Sequence[LeadfeederError] = (),
        run_completed: bool = False,
    ) -> None:
        super().__init__(message, context, hint=hint)
        self.problems: tuple[LeadfeederError, ...] = tuple(problems)
        self.run_completed = run_completed


CheckpointReason: TypeAlias = Literal[
    "exists",
    "finished",
    "replaces_unfinished",
    "unfinished",
    "not_finished",
    "locked",
    "other_job",
    "other_version",
    "input_changed",
    "damaged",
    "not_ours",
    "not_a_file",
    "not_writable",
    "unusable",
]
"""The reason why an output file cannot be used.

- ``exists``: the file exists.
- ``finished``: the file of an enrichment is complete, so there is nothing to resume.
- ``replaces_unfinished``: the file exists, and so does an unfinished file that would replace it.
- ``unfinished``: an unfinished file exists.
- ``not_finished``: the job needs a finished file.
- ``locked``: another job is writing it.
- ``other_job``: the unfinished file belongs to another job.
- ``other_version``: another version of this package wrote its checkpoint.
- ``input_changed``: the rows of the input differ from those of the previous run.
- ``damaged``: the file or its checkpoint is damaged.
- ``not_ours``: a file has the name of a working file, but no job wrote it.
- ``not_a_file``: the path is not the name of a regular file.
- ``not_writable``: the operating system refused to write.
- ``unusable``: any other cause.
"""


class CheckpointError(LeadfeederError):
    """A saved position or an output file cannot be used.

    Args:
        message: The problem, with the value that caused it.
        context: Facts about the call.
        hint: One sentence on how to proceed.
        reason: Why the file cannot be used.
    """

    def __init__(
        self,
        message: str,
        context: ErrorContext | None = None,
        *,
        hint: str | None = None,
        reason: CheckpointReason = "unusable",
    ) -> None:
        super().__init__(message, context, hint=hint)
        self.reason: CheckpointReason = reason


DatabaseReason: TypeAlias = Literal[
    "missing", "not_a_database", "not_synced", "newer_version", "locked", "no_space", "unusable"
]
"""The reason why a database cannot be used.

- ``missing``: the file does not exist.
- ``not_a_database``: the file is not a DuckDB database.
- ``not_synced``: the tables are missing, or have other columns.
- ``newer_version``: a newer version of this package or of DuckDB wrote it.
- ``locked``: it is open elsewhere.
- ``no_space``: the disk is full, or the file may not grow.
- ``unusable``: any other cause.
"""


class DatabaseError(LeadfeederError):
    """A synced database is missing, damaged, or has another schema.

    Args:
        message: The problem, with the value that caused it.
        context: Facts about the call.
        hint: One sentence on how to proceed.
        reason: Why the database cannot be used.
    """

    def __init__(
        self,
        message: str,
        context: ErrorContext | None = None,
        *,
        hint: str | None = None,
        reason: DatabaseReason = "unusable",
    ) -> None:
        super().__init__(message, context, hint=hint)
        self.reason: DatabaseReason = reason


class DatabaseLockedError(DatabaseError):
    """Another process has a synced database open for writing."""

    default_hint = "Wait until the other process is done, then try again."


class CredentialError(LeadfeederError):
    """The callable of ``api_key`` or ``access_token`` failed, or a file or keyring has no key when it is read again.

    If the callable raised an exception, this error contains only its class, because its message may contain secrets.
    """

    default_hint = "Call your function for api_key or access_token by itself to see its error."


class RateLimiterUnavailableError(LeadfeederError):
    """The shared rate limiter does not respond. Nothing was sent, because the limit could not be guaranteed."""

    default_hint = "Check the Redis server and its address. With `fallback_share`, each process continues alone."


class UsageError(LeadfeederError):
    """The call itself is invalid. Nothing was sent."""


class ClientClosedError(UsageError):
    """The client is closed, or was closed while the call waited. ``sent`` tells if an earlier attempt was sent."""

    default_hint = "Keep the calls inside `async with AsyncLeadfeeder() as lf:`."


class WrongLoopError(UsageError):
    """The client belongs to another event loop or process."""

    default_hint = "Create one AsyncLeadfeeder per event loop. With asyncio.run, create it inside the coroutine."


class ConfigurationError(UsageError, ValueError):
    """A setting or an argument is missing or out of range.

    Args:
        message: The problem, with the value that caused it.
        context: Facts about the call.
        hint: One sentence on how to proceed.
        argument: The name of the argument, if the error is about one.
    """

    def __init__(
        self,
        message: str,
        context: ErrorContext | None = None,
        *,
        hint: str | None = None,
        argument: str | None = None,
    ) -> None:
        super().__init__(message, context, hint=hint)
        self.argument: str | None = argument


class InvalidIdError(ConfigurationError):
    """An argument is not the id of a record. Sending it could call another route."""


class MissingKeyError(ConfigurationError):
    """No API key or access token was given, or the file of LEADFEEDER_API_KEY_FILE cannot be read."""

    default_hint = "Set LEADFEEDER_API_KEY, or pass api_key=. To try the package without a key, use its sandbox."


def check_argument(condition: object, message: str, hint: str | None = None, *, argument: str | None = None) -> None:
    """Raise :class:`ConfigurationError` unless ``condition`` is true."""
    if not condition:
        raise ConfigurationError(message, hint=hint, argument=argument)
