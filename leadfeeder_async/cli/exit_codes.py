"""The exit codes of the command, and the errors that they report."""

from __future__ import annotations

import errno
from enum import IntEnum

from leadfeeder_async.errors import (
    APIStatusError,
    AuthenticationError,
    BudgetExceededError,
    CheckpointError,
    CredentialError,
    DatabaseError,
    DatabaseLockedError,
    InsufficientCreditsError,
    LeadfeederError,
    MissingKeyError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    UsageError,
)


class ExitCode(IntEnum):
    """An exit code of the command."""

    SUCCESS = 0
    REJECTED = 1
    """The server rejected the request, or a contract command found a missing path or a difference that breaks calls.

    A bug of this package ends with this code too.
    """
    USAGE = 2
    """The usage is invalid, or a file cannot be used."""
    ACCESS = 3
    """The key is missing or rejected, or it lacks a permission."""
    EXHAUSTED = 4
    """The monthly quota, the credits or the budget are used up."""
    INCOMPLETE = 5
    """The network, the server or the disk failed, the user declined, or the job finished with gaps or failed rows.

    A job with an output file keeps its progress.
    """
    INTERRUPTED = 130
    """The command was interrupted with Ctrl-C."""
    PIPE_CLOSED = 141
    """The reader of a pipe closed it."""
    TERMINATED = 143
    """The command was terminated with SIGTERM."""


def exit_code(error: LeadfeederError) -> ExitCode:
    """Return the exit code for an error."""
    match error:
        case AuthenticationError() | PermissionDeniedError() | CredentialError() | MissingKeyError():
            return ExitCode.ACCESS
        case QuotaExceededError() | InsufficientCreditsError() | BudgetExceededError():
            return ExitCode.EXHAUSTED
        case (
            DatabaseLockedError()
            | DatabaseError(reason="no_space")
            | CheckpointError(__cause__=OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG | errno.EIO))
        ):
            return ExitCode.INCOMPLETE
        case UsageError() | CheckpointError() | DatabaseError():
            return ExitCode.USAGE
        case APIStatusError() if not isinstance(error, ServerError | RateLimitedError):
            return ExitCode.REJECTED
        case _:
            return ExitCode.INCOMPLETE
