"""Every error this package raises, and the facts it carries.

::

    LeadfeederError
    ├── APIStatusError                the server answered, and said no
    │   ├── BadRequestError           400, 422: the request is wrong
    │   ├── AuthenticationError       401, or 403 with a key code: the key is wrong
    │   ├── PermissionDeniedError     403: the key may not do this
    │   ├── InsufficientCreditsError  402, or a credit code: no credits left
    │   ├── NotFoundError             404
    │   ├── OffsetExceededError       416: past the API's 10,000-row wall
    │   ├── RateLimitedError          429: too fast
    │   ├── QuotaExceededError        429 quota_exceeded: the month's requests are used up
    │   ├── ServerError               5xx
    │   └── UnexpectedStatusError     anything the contract does not list
    ├── NetworkError                  no whole answer arrived
    │   ├── ConnectError              no connection: nothing was sent
    │   ├── TLSError                  the server's certificate was refused: nothing was sent
    │   ├── DisconnectedError         the connection broke
    │   ├── AttemptTimeoutError       one attempt took too long
    │   └── DeadlineExceededError     the whole call took too long
    ├── ResponseError                 an answer arrived that cannot be used
    │   ├── DecodeError               not the JSON the contract describes
    │   ├── ResponseTooLargeError     longer than the body cap
    │   ├── RedirectError             redirects are never followed
    │   └── ProtocolError             not valid HTTP
    ├── RateLimiterUnavailableError       the limit that processes share cannot be asked: nothing was sent
    ├── OutcomeUnknownError           it may have been charged or created; not sent again
    ├── PaginationError
    │   ├── BudgetExceededError       a budget forbids the next request
    │   ├── CursorLoopError           the cursors lead in a circle
    │   ├── CursorExpiredError        the server no longer takes its own cursor
    │   ├── IncompleteWindowError     one day holds more rows than the API hands out
    │   ├── IncompleteListError       some rows cannot be read; all others were handed out
    │   └── CheckpointError           a saved position cannot be used
    ├── DatabaseError                 a synced database cannot be used
    │   └── DatabaseLockedError       something else has it open
    └── UsageError                    the call itself is wrong; nothing was sent
        ├── ClientClosedError
        ├── WrongLoopError
        ├── InvalidIdError
        └── ConfigurationError
            └── MissingKeyError       there is no API key

Errors never hold the API key, and never wrap aiohttp's exceptions, which do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

import msgspec
from msgspec.structs import replace

SentState: TypeAlias = Literal["no", "maybe", "yes"]
"""Whether a request left this machine: ``no`` is proof, ``yes`` means an answer came."""

RequestPhase: TypeAlias = Literal[
    "account", "budget", "slot", "limiter", "connect", "tls", "headers", "body", "decode", "backoff"
]
"""Where in the life of a request the error struck."""


class ErrorContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known about the call that failed."""

    operation: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    attempts: int = 0
    sent: SentState = "no"
    phase: RequestPhase | None = None
    retry_after: float | None = None
    retry_at: datetime | None = None


E = TypeVar("E", bound="LeadfeederError")


class LeadfeederError(Exception):
    """Base of every error of this package."""

    hint = ""
    """What to do next, in one sentence."""

    def __init__(self, message: str, context: ErrorContext | None = None, *, hint: str | None = None) -> None:
        self.message = message
        self.context = ErrorContext() if context is None else context
        if hint is not None:
            self.hint = hint
        super().__init__(message)

    def __str__(self) -> str:
        return " ".join(part for part in (self.message, _context(self.context), self.hint) if part)

    def __reduce__(self) -> tuple[type[LeadfeederError], tuple[str, ErrorContext], dict[str, object]]:
        return type(self), (self.message, self.context), vars(self)

    @property
    def status(self) -> int | None:
        """The HTTP status, or None where no answer arrived."""
        return self.context.status

    @property
    def code(self) -> str | None:
        """The API's own error code, such as ``rate_limit_exceeded``."""
        return self.context.code

    @property
    def request_id(self) -> str | None:
        """The id to quote to Leadfeeder's support."""
        return self.context.request_id

    @property
    def attempts(self) -> int:
        """How many attempts were made, the failed one included."""
        return self.context.attempts

    @property
    def sent(self) -> SentState:
        """Whether the call left this machine, in any of its attempts that was not refused with a 429."""
        return self.context.sent

    @property
    def phase(self) -> RequestPhase | None:
        """Where the last attempt failed."""
        return self.context.phase

    @property
    def retry_at(self) -> datetime | None:
        """When the server said to come back, in UTC."""
        return self.context.retry_at


def _context(context: ErrorContext) -> str:
    call = " ".join(part for part in (context.operation, context.method, context.path) if part)
    if not call:
        return ""
    parts = [call]
    if context.request_id:
        parts.append(f"request id {context.request_id}")
    if context.phase:
        parts.append(f"phase {context.phase}")
    if context.attempts:
        parts.append(f"attempt {context.attempts}, sent: {context.sent}")
    if context.retry_at:
        parts.append(f"retry at {context.retry_at.isoformat(timespec='seconds')}")
    return f"[{'; '.join(parts)}]"


def with_attempts(error: E, attempts: int) -> E:
    """Record on ``error`` how many attempts were made."""
    error.context = replace(error.context, attempts=attempts)
    return error


class APIStatusError(LeadfeederError):
    """The server answered, and said no."""


class BadRequestError(APIStatusError):
    """The server rejects the request itself (400 or 422)."""

    hint = "Correct the arguments; the same request will fail again."


class AuthenticationError(APIStatusError):
    """The API key is missing, wrong or revoked (401, or 403 with a key code)."""

    hint = "Check LEADFEEDER_API_KEY, or make a new key in Leadfeeder under Settings > API keys."


class PermissionDeniedError(APIStatusError):
    """The key is valid but may not do this (403)."""

    hint = "Check the account_id, then ask an admin of the account for the scope or the plan that this call needs."


class InsufficientCreditsError(APIStatusError):
    """The account has no credits left for this call."""

    hint = "Buy credits or wait for the reset; `lf.accounts.get()` shows the balance and the date."


class NotFoundError(APIStatusError):
    """There is no such record, or not in this account (404)."""

    hint = "Check the id and the account_id."


class OffsetExceededError(APIStatusError):
    """The page lies past the API's 10,000-row wall (416)."""

    hint = "Narrow the dates or the filters; visit searches of this client split their dates by themselves."


class RateLimitedError(APIStatusError):
    """The key sends too fast (429)."""

    hint = "Something else uses this key, or the server asks for a long pause: wait, or lower `rate`."


class QuotaExceededError(APIStatusError):
    """The month's requests of this key are used up (429 ``quota_exceeded``)."""

    hint = "Stop until the month ends; sending more cannot succeed."


class ServerError(APIStatusError):
    """The server failed (5xx)."""

    hint = "Try again later; quote the request id to Leadfeeder's support if it stays."


class UnexpectedStatusError(APIStatusError):
    """The server answered with a status the contract does not list."""


class NetworkError(LeadfeederError):
    """No whole answer arrived."""


class ConnectError(NetworkError):
    """No connection could be made; nothing was sent."""

    hint = "Check the network, the proxy and LEADFEEDER_BASE_URL."


class TLSError(NetworkError):
    """The server's certificate was refused, so nothing was sent; a handshake that breaks is a ConnectError."""

    hint = "Check the clock, the proxy and the CA bundle; verification is never turned off."


class DisconnectedError(NetworkError):
    """The connection broke before a whole answer arrived."""

    hint = "Try again; if it stays, a proxy or firewall may be cutting connections."


class AttemptTimeoutError(NetworkError):
    """One attempt took longer than ``timeout``."""

    hint = "Try again, or raise `timeout` (seconds per attempt)."


class DeadlineExceededError(NetworkError):
    """The whole call, waits included, took longer than its deadline."""

    hint = "Raise the deadline, or send fewer calls at once."


class ResponseError(LeadfeederError):
    """An answer arrived that cannot be used."""


class DecodeError(ResponseError):
    """The answer is not the JSON the contract describes."""

    hint = "Check LEADFEEDER_BASE_URL and any proxy; if both are right, please report this with the request id."


class ResponseTooLargeError(ResponseError):
    """The answer is longer than the body cap; reading stopped there."""

    hint = "Lower `page_size` or the includes, or raise `max_body_bytes`."


class RedirectError(ResponseError):
    """The server redirects; this client never follows, since the key would go along."""

    hint = "Set LEADFEEDER_BASE_URL to the final address if you trust it."


class ProtocolError(ResponseError):
    """The answer is not valid HTTP."""

    hint = "Check LEADFEEDER_BASE_URL and any proxy in between."


class RateLimiterUnavailableError(LeadfeederError):
    """The server that keeps a shared limit does not answer; nothing was sent, since the limit could not be kept."""

    hint = "Check the Redis server and its address; `fallback_share` lets each process go on alone meanwhile."


class OutcomeUnknownError(LeadfeederError):
    """The request may have been charged or carried out, and is not sent again.

    ``__cause__`` holds what went wrong.
    """

    hint = "Look first whether it took effect, then decide whether to send it again."


class PaginationError(LeadfeederError):
    """A walk over many calls cannot go on."""


class BudgetExceededError(PaginationError):
    """A budget forbids the next request; nothing was sent."""


class CursorLoopError(PaginationError):
    """The server's cursors lead in a circle, or through nothing but empty pages."""

    hint = "The rows so far are good; start again later or narrow the search."


class CursorExpiredError(PaginationError):
    """The server no longer takes a cursor that it gave; walking the list anew may charge, or led nowhere before."""

    hint = "The rows so far are good; start again if reading them once more is worth it."


class IncompleteWindowError(PaginationError):
    """A day holds more rows than the API hands out, so the sweep cannot be complete."""

    hint = "Sweep such a day in parts, with filters such as company_id or location_country_codes."

    problems: tuple[IncompleteWindowError, ...] = ()
    """One error for each such day, where there are several."""


class IncompleteListError(PaginationError):
    """Some rows of a list cannot be read, or the server left something out; all the others were handed out."""

    hint = "`problems` holds each; a loop over `pager.pages()` meets them as `page.problems` instead."

    problems: tuple[LeadfeederError, ...] = ()
    """What is wrong, one error for each row or part."""

    run_completed: bool = False
    """True if the job ran to its end and saved everything else, so that there is nothing to resume."""


class CheckpointError(PaginationError):
    """A saved position or an output cannot be used."""

    reason: str | None = None
    """The cause in one word, such as ``exists`` or ``unfinished``."""


class DatabaseError(LeadfeederError):
    """A synced database is missing, broken, or of another schema."""

    reason: str | None = None
    """The cause in one word, such as ``missing``."""


class DatabaseLockedError(DatabaseError):
    """A synced database is open elsewhere for writing."""

    hint = "Wait until that is done, such as a `leadfeeder sync`, and start again."


class UsageError(LeadfeederError):
    """The call itself is wrong; nothing was sent."""


class ClientClosedError(UsageError):
    """The client was closed."""

    hint = "Keep the calls inside `async with AsyncLeadfeeder() as lf:`."


class WrongLoopError(UsageError):
    """The client belongs to another event loop."""

    hint = "Make one AsyncLeadfeeder per event loop; with asyncio.run, make it inside."


class InvalidIdError(UsageError, ValueError):
    """An id cannot stand in a URL; sending it would call another route."""


class ConfigurationError(UsageError, ValueError):
    """A setting or an argument is missing or out of its bounds."""

    argument: str | None = None
    """The name of the argument, if there is one."""


class MissingKeyError(ConfigurationError):
    """There is no API key, neither as an argument nor in the environment."""

    hint = "Set LEADFEEDER_API_KEY, or in code pass api_key=; `leadfeeder sandbox` gives one to try with."


def check_argument(condition: object, message: str, hint: str | None = None) -> None:
    """Raise :class:`ConfigurationError` unless ``condition`` holds."""
    if not condition:
        raise ConfigurationError(message, hint=hint)
