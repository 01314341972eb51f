"""Errors of unsuccessful responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.json_text import replace_lone_surrogates
from leadfeeder_async._core.messages import HttpResponse
from leadfeeder_async._core.normalize import UNREADABLE, Json, has_unlisted_error, outline
from leadfeeder_async._core.redaction import MAX_ERROR_BODY, Redactor
from leadfeeder_async._core.retry import parse_retry_after
from leadfeeder_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    ErrorContext,
    InsufficientCreditsError,
    LeadfeederError,
    NotFoundError,
    OffsetExceededError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    ServerError,
    UnexpectedStatusError,
)
from leadfeeder_async.models.envelope import ErrorObject, Response

MAX_PARTIAL_ERRORS = 100
"""Errors beside the data of one response that are reported."""

T = TypeVar("T")

_JSON: msgspec.json.Decoder[Json] = msgspec.json.Decoder()


def error_from_response(
    response: HttpResponse, context: ErrorContext, redactor: Redactor, now: datetime
) -> LeadfeederError:
    """Return the error for a response that is not successful, chosen by its code and status."""
    response = redactor.response(response)
    request_id = response.header("X-Request-Id")
    context = replace(context, status=response.status, sent="yes", sent_before=context.sent, request_id=request_id)
    if 300 <= response.status < 400:
        return RedirectError(_redirect_message(response), context)
    return _status_error(response, context, redactor, now)


def embedded_error(body: bytes, context: ErrorContext, redactor: Redactor, now: datetime) -> APIStatusError | None:
    """Return the error that a response with status 200 contains in place of data, if it does."""
    value = json_object(body) if len(body) <= MAX_ERROR_BODY else outline(body)
    code, message, success = (value.get(name) for name in ("code", "message", "success"))
    is_error = bool(value.get("errors")) or has_unlisted_error(value.get("error"), code, message, success)
    if is_error and value.get("data") is None:
        response = redactor.response(HttpResponse(200, {}, body))
        context = replace(context, status=200, sent="yes", sent_before=context.sent, phase="decode")
        return _status_error(response, context, redactor, now)
    return None


def partial_errors(
    response: Response[T],
    context: ErrorContext,
    redactor: Redactor,
    problem: str = "Part of the response is missing",
) -> tuple[APIStatusError, ...]:
    """Return the first errors that a successful response reports beside its data.

    Args:
        response: The response.
        context: The call.
        redactor: Removes credentials from the texts of the server.
        problem: The beginning of each message.

    """
    request_id = response.meta.request_id
    request_id = None if request_id is None else redactor.text(request_id)
    context = replace(context, status=200, sent="yes", request_id=request_id)
    return tuple(_partial_error(error, context, redactor, problem) for error in response.errors[:MAX_PARTIAL_ERRORS])


def _partial_error(error: ErrorObject, context: ErrorContext, redactor: Redactor, problem: str) -> APIStatusError:
    code = None if error.code is None else redactor.text(error.code)
    message = redactor.text(_error_text(error)) or code or "no explanation"
    return _error_class(200, code)(f"{problem}: {message}.", replace(context, code=code))


def decode_error(message: str, context: ErrorContext, redactor: Redactor) -> DecodeError:
    """Return the error for a body that cannot be decoded."""
    return DecodeError(redactor.text(message), replace(context, sent="yes", phase="decode"))


def incomplete_body_error(
    response: HttpResponse, context: ErrorContext, redactor: Redactor, *, must_be_object: bool
) -> DecodeError:
    """Return the error for a body that is not complete JSON, or not a JSON object."""
    context = replace(
        context, status=response.status, sent="yes", phase="body", request_id=_request_id(response, redactor)
    )
    expected = "a complete JSON object" if must_be_object else "complete JSON"
    return DecodeError(f"The response is not {expected}: {redactor.excerpt(response.body)!r}.", context)


def json_object(body: bytes) -> dict[str, Json]:
    """Return a body as a JSON object, or an empty dict if it is another value."""
    try:
        value = _JSON.decode(body)
    except UNREADABLE:
        try:
            value = _JSON.decode(replace_lone_surrogates(body))
        except UNREADABLE:
            return {}
    return value if isinstance(value, dict) else {}


def _request_id(response: HttpResponse, redactor: Redactor) -> str | None:
    value = response.header("X-Request-Id")
    return None if value is None else redactor.text(value)


def _redirect_message(response: HttpResponse) -> str:
    location = response.header("Location")
    try:
        host = urlsplit(location or "").hostname
    except ValueError:
        return f"The server returned a {response.status} redirect with an invalid Location header."
    if location is None:
        return f"The server returned a {response.status} redirect without a Location header."
    return f"The server redirects ({response.status}) to {host or 'itself'}."


def _status_error(response: HttpResponse, context: ErrorContext, redactor: Redactor, now: datetime) -> APIStatusError:
    value = json_object(response.body)
    primary = _primary_error(value, redactor)
    retry_after = parse_retry_after(response.header("Retry-After"), now)
    request_id = _string_field(value.get("meta"), "request_id", redactor)
    context = replace(
        context,
        code=primary.code,
        request_id=request_id or context.request_id,
        retry_after=retry_after,
        retry_at=None if retry_after is None else now + timedelta(seconds=retry_after),
    )
    message = _error_text(primary) or redactor.excerpt(response.body) or "no explanation"
    prefix = f"{response.status} {primary.code or ''}".strip()
    return _error_class(response.status, primary.code)(f"{prefix}: {message}.", context)


def _primary_error(value: dict[str, Json], redactor: Redactor) -> ErrorObject:
    """Return the first error with a code or a text, in any of the API's three error shapes."""
    errors = value.get("errors")
    candidates = [*(errors[:20] if isinstance(errors, list) else ()), value.get("error"), value]
    names = ("code", "title", "detail", "message")
    for candidate in candidates:
        fields = {name: text for name in names if (text := _string_field(candidate, name, redactor))}
        if fields:
            return ErrorObject(**fields)
    return ErrorObject()


def _string_field(value: Json, name: str, redactor: Redactor) -> str | None:
    text = value.get(name) if isinstance(value, dict) else None
    return redactor.text(text) if isinstance(text, str) else None


def _error_text(error: ErrorObject) -> str:
    return ": ".join(part for part in (error.title or error.message, error.detail) if part)


CREDENTIAL_CODES = frozenset(
    {
        *("missing_token", "invalid_token", "token_expired", "token_revoked", "invalid_api_key", "api_key_expired"),
        *("access_denied", "unauthorized"),
    }
)
"""Codes of responses that reject a credential, so that another one can help."""

_BY_CODE: Mapping[str, type[APIStatusError]] = {
    **dict.fromkeys((*CREDENTIAL_CODES, "oauth_app_inactive", "oauth_app_not_found"), AuthenticationError),
    "offset_exceeded": OffsetExceededError,
    "quota_exceeded": QuotaExceededError,
    "insufficient_credits": InsufficientCreditsError,
    "insufficient_scope": PermissionDeniedError,
    "insufficient_entitlements": PermissionDeniedError,
}

_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    416: OffsetExceededError,
    422: BadRequestError,
    429: RateLimitedError,
}


def _error_class(status: int, code: str | None) -> type[APIStatusError]:
    """Choose the class by the code if it is known, otherwise by the status."""
    by_code = _BY_CODE.get(code or "")
    if by_code is not None and status < 500:
        return by_code
    return ServerError if status >= 500 else _BY_STATUS.get(status, UnexpectedStatusError)
