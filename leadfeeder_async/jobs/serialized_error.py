"""Errors in the form that the files of jobs contain."""

from __future__ import annotations

import msgspec

from leadfeeder_async import errors
from leadfeeder_async.errors import ErrorContext, LeadfeederError, RequestPhase, SentState


class SerializedError(msgspec.Struct, frozen=True, kw_only=True):
    """An error in the form that files contain."""

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
    def from_error(cls, error: LeadfeederError) -> SerializedError:
        """Return an error in serialized form. Unpaired surrogates in its message are escaped."""
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

    def to_error(self) -> LeadfeederError:
        """Return the error again."""
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


def escape_surrogates(text: str) -> str:
    r"""Replace unpaired surrogates, which UTF-8 cannot encode, by escapes such as ``\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode()
