"""Errors of unsuccessful responses. The only module that redacts keys and tokens."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from html.entities import codepoint2name
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.json_text import replace_lone_surrogates
from leadfeeder_async._core.messages import HttpResponse
from leadfeeder_async._core.normalize import UNREADABLE, Json, has_unlisted_error, outline
from leadfeeder_async._core.retry import parse_retry_after
from leadfeeder_async._secret import Secret
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

EXCERPT_CHARS = 200
"""Characters of an unreadable response that an error shows."""

MAX_ERROR_BODY = 32_768
"""Bytes of an error response that are read for its message."""

MAX_TEXT_CHARS = 4_096
"""Characters of a message or an id that an error contains."""

MAX_ENCODED_CHARS = 24
"""Characters that one character of a secret takes at most in an encoding."""

MIN_ENCODED_CHARS = 8
"""Shorter strings in base64 and other encodings are too common to redact."""

MAX_PATTERN_CHARS = 64
"""The most characters of a secret that its pattern contains. The pattern of a complete JSON web token would take long
to compile."""

MAX_SECRETS = 8
"""The most keys and tokens of one client that are redacted. Older ones are not sent any more."""

MIN_PASSWORD_CHARS = 4
"""Shorter passwords are parts of too many words to redact."""

ERROR_HEADERS = ("Retry-After", "X-Request-Id", "Location")
"""Response headers that errors use."""

MAX_PARTIAL_ERRORS = 100
"""Errors beside the data of one response that are reported."""

T = TypeVar("T")

_JSON: msgspec.json.Decoder[Json] = msgspec.json.Decoder()


class Redactor:
    """Removes API keys and access tokens from what a server sent, in every encoding in which servers echo them.

    Args:
        secrets: The keys or tokens.

    """

    __slots__ = ("_margin", "_patterns", "_permanent")

    def __init__(self, *secrets: Secret) -> None:
        self._permanent: tuple[_SecretForms, ...] = ()
        self._patterns: tuple[_SecretForms, ...] = ()
        self._margin = 0
        for secret in secrets:
            self.add(secret)

    def add(self, secret: Secret) -> None:
        """Remove one more key or token from now on. Of many, the latest ones are kept."""
        pattern = self._compile(secret)
        if pattern not in self._patterns:
            self._patterns = (pattern, *self._patterns[: MAX_SECRETS - 1])

    def add_permanently(self, secret: Secret) -> None:
        """Remove one more secret, which is not replaced while the client is open."""
        self._permanent = (*self._permanent, self._compile(secret))

    def _compile(self, secret: Secret) -> _SecretForms:
        key = secret.reveal()
        self._margin = max(self._margin, MAX_ENCODED_CHARS * len(key))
        rare = frozenset(form.lower() for form in _rare_forms(key) if len(form) >= MIN_ENCODED_CHARS)
        return _SecretForms(re.compile("|".join(_patterns(key)), re.IGNORECASE), rare)

    def __repr__(self) -> str:
        return "<Redactor>"

    def text(self, text: str) -> str:
        """Return the beginning of ``text`` with each key and token replaced by stars."""
        beginning = self.replace_in(text[: MAX_TEXT_CHARS + self._margin])
        return self._without_split_secret(beginning, is_cut=len(text) > MAX_TEXT_CHARS + self._margin)[:MAX_TEXT_CHARS]

    def excerpt(self, body: bytes) -> str:
        """Return the beginning of a body as one printable line."""
        text = self._beginning(body, 16 * EXCERPT_CHARS, "replace")
        return " ".join(text.split())[:EXCERPT_CHARS]

    def response(self, response: HttpResponse) -> HttpResponse:
        """Return an unsuccessful response reduced to what errors use, without keys and tokens."""
        values = {name: response.header(name) for name in ERROR_HEADERS}
        headers = {name: self.text(value) for name, value in values.items() if value is not None}
        body = self._beginning(response.body, MAX_ERROR_BODY, "surrogateescape")
        return HttpResponse(response.status, headers, body.encode("utf-8", "surrogateescape"))

    def _beginning(self, body: bytes, size: int, errors: str) -> str:
        """Return the redacted beginning of a body, without the part of a secret that the limit splits."""
        # In UTF-16 and UTF-32, NULs would separate the characters of a secret.
        text = self.replace_in(body[: size + self._margin].replace(b"\0", b"").decode("utf-8", errors))
        return self._without_split_secret(text, is_cut=len(body) > size + self._margin)

    def replace_in(self, text: str) -> str:
        """Return a complete text with each key and token replaced by stars, which takes long for large texts."""
        lowered = text.lower()
        for forms in (*self._permanent, *self._patterns):
            text = forms.pattern.sub("***", text)
            for form in forms.rare:
                if form in lowered:  # much faster than one more alternative of the pattern
                    text = re.sub(re.escape(form) + r"[\w+/=-]*", "***", text, flags=re.IGNORECASE)
        return text

    def _without_split_secret(self, text: str, *, is_cut: bool) -> str:
        """Return a text without its end, which may be a part of a secret if the text was cut."""
        return text[: -self._margin] if is_cut and self._margin else text


class _SecretForms(msgspec.Struct, frozen=True):
    """The forms in which servers return a secret."""

    pattern: re.Pattern[str]
    rare: frozenset[str]
    """Forms without variants, in lower case."""


def _rare_forms(key: str) -> Iterator[str]:
    """Yield the key reversed, in base32, and in base64 within base64 or hex."""
    yield key[::-1]
    for offset in range(5):  # the form of a substring depends on its position
        yield base64.b32encode(b"\0" * offset + key.encode()).decode().rstrip("=")[-(-8 * offset // 5) : -1]
    for inner in _base64_parts(key.encode()):
        yield from (part.decode() for part in _base64_parts(inner))
        yield inner.hex()


def _patterns(secret: str) -> Iterator[str]:
    """Yield the patterns of a secret. A long secret is matched by its beginning and the rest of the word."""
    if len(secret) <= MAX_PATTERN_CHARS:
        yield from _encodings(secret)
        return
    for pattern in _encodings(secret[:MAX_PATTERN_CHARS]):
        yield pattern + _REST


def _encodings(key: str) -> Iterator[str]:
    """Yield patterns for the key as it is, escaped as JSON, URL, HTML or bytes, also twice, and in base64 and hex."""
    data = key.encode()
    yield f"(?:{_WRAP}|{_BREAK}| )?".join(_encodings_of(char) for char in key)
    yield r"(?:(?:0|\\{1,4})x|[\s:,;-]){0,4}".join(f"{byte:02x}" for byte in data)
    if len(data) > 1:
        yield r"[\s,;]{1,4}".join(map(str, data))
    for inner in _base64_parts(data):  # the form of a substring depends on its position
        chars = (_BASE64_FORMS.get(char, char) for char in inner.decode())
        yield f"(?:{_WRAP})?".join(chars) + r"[\w+/-]{0,2}={0,2}"


def _base64_parts(data: bytes) -> Iterator[bytes]:
    """Yield the base64 forms of data within other data, without the characters that depend on it."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).rstrip(b"=")
        inner = encoded[(0, 2, 3)[offset] : -1]
        if len(inner) >= MIN_ENCODED_CHARS:
            yield inner


def _encodings_of(char: str) -> str:
    """Return the pattern of one character. The number of repeated escapes is bounded, so that matching stays fast."""
    code, name = ord(char), _HTML_NAMES.get(char)
    forms = [
        rf"\\{{0,4}}{re.escape(char)}",
        rf"\\{{1,4}}(?:u(?:0000)?00{code:02x}|x{code:02x}|u\{{0{{0,4}}{code:x}\}}|0?{code:03o})",
        f"%(?:25){{0,2}}(?:u00)?{code:02x}",
        f"={code:02x}",
        f"&(?:amp;){{0,2}}#(?:0{{0,5}}{code}|x0{{0,5}}{code:x});",
    ]
    if name is not None:
        forms.append(f"&(?:amp;){{0,2}}{name}")
    return f"(?:{'|'.join(forms)})"


_WRAP = r"(?:=?\r?\n|=?(?:\\{1,4}r)?\\{1,4}n)[ \t]{0,8}"
"""Where servers wrap long lines, also in JSON: MIME wraps base64, and quoted-printable adds an equals sign."""

_BREAK = r"[\0\u00ad\u200b\u2060\ufeff]|\\u(?:0000|00ad|200b)|<wbr\s?/?>|&(?:shy|#0*(?:173|8203|xad|x200b));"
"""Invisible characters between those of a secret, with which pages break long words, and NULs."""

_REST = (
    r"""(?:[^\s"'<>\\]|\\+(?![\\"'rn])|"""
    rf"""{_WRAP}(?=[\w+/=%.-]{{8}})|(?:{_BREAK})(?=\S)| (?=\S(?: |$))|"""
    r"""[ :,;-]{1,2}(?=(?:0x)?[0-9a-f]{2}\b))*"""
)
"""The rest of a word, also if it continues in further lines or in further bytes in hex."""

_BASE64_FORMS = {"+": r"(?:\+|-|%2b|\\u002b)", "/": r"(?:\\{0,4}/|_|%2f|\\u002f)"}
"""Patterns of the characters of base64 that are encoded again in URLs and in JSON."""

_HTML_NAMES = {chr(code): f"(?:{name});" for code, name in codepoint2name.items() if code < 128} | {
    "+": "plus;",
    "/": "sol;",
    "=": "equals;",
    "-": "(?:hyphen|dash);",
    "_": "lowbar;",
    ".": "period;",
    ":": "colon;",
}
"""The names of ASCII characters in HTML."""


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


def partial_errors(response: Response[T], context: ErrorContext, redactor: Redactor) -> tuple[APIStatusError, ...]:
    """Return the errors that a successful response reports beside its data."""
    request_id = response.meta.request_id
    request_id = None if request_id is None else redactor.text(request_id)
    context = replace(context, status=200, sent="yes", request_id=request_id)
    return tuple(_partial_error(error, context, redactor) for error in response.errors[:MAX_PARTIAL_ERRORS])


def _partial_error(error: ErrorObject, context: ErrorContext, redactor: Redactor) -> APIStatusError:
    code = None if error.code is None else redactor.text(error.code)
    message = redactor.text(_error_text(error)) or code or "no explanation"
    return _error_class(200, code)(f"Part of the response is missing: {message}.", replace(context, code=code))


def decode_error(message: str, context: ErrorContext, redactor: Redactor) -> DecodeError:
    """Return the error for a body that cannot be decoded."""
    return DecodeError(redactor.text(message), replace(context, sent="yes", phase="decode"))


def incomplete_body_error(response: HttpResponse, context: ErrorContext, redactor: Redactor) -> DecodeError:
    """Return the error for a body that is not a complete JSON object."""
    context = replace(
        context, status=response.status, sent="yes", phase="body", request_id=_request_id(response, redactor)
    )
    return DecodeError(f"The response is not a complete JSON object: {redactor.excerpt(response.body)!r}.", context)


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
    """Return the first error with a message, in any of the API's three error shapes."""
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


_AUTH_CODES = frozenset(
    {
        *("missing_token", "invalid_token", "token_expired", "token_revoked", "invalid_api_key", "api_key_expired"),
        *("oauth_app_inactive", "oauth_app_not_found", "access_denied", "unauthorized"),
    }
)

_BY_CODE: Mapping[str, type[APIStatusError]] = {
    **dict.fromkeys(_AUTH_CODES, AuthenticationError),
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
