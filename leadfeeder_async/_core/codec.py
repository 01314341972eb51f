"""Between arguments and bytes: pure functions that build requests and read answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from leadfeeder_async._core import normalize
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, QueryValue, ResponseShape
from leadfeeder_async._core.retry_after import parse_retry_after
from leadfeeder_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DecodeError,
    ErrorContext,
    InsufficientCreditsError,
    InvalidIdError,
    LeadfeederError,
    NotFoundError,
    OffsetExceededError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    RedirectError,
    ServerError,
    UnexpectedStatusError,
    check_argument,
)
from leadfeeder_async.models.envelope import ErrorObject, Meta, Response

T = TypeVar("T")
U = TypeVar("U")

EXCERPT_CHARS = 200
"""How much of an unreadable answer an error shows, in characters."""


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """What goes out: everything but the headers, which hold the key."""

    method: str
    url: str
    body: bytes | None = None


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """What came back, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header as a text that can be printed, whatever bytes it holds."""
        value = self.headers.get(name)
        return None if value is None else value.encode("utf-8", "replace").decode()


def build_request(call: ApiRequest[T], base_url: str, path: str, account_id: str | None) -> HttpRequest:
    """Build the request of ``call``; ``path`` is its row's, or the override."""
    params = dict(call.params) if account_id is None else {"account_id": account_id, **call.params}
    query = encode_query(params)
    url = base_url + expand_path(path, call.path_params)
    return HttpRequest(call.endpoint.method, f"{url}?{query}" if query else url, call.body)


def expand_path(template: str, ids: tuple[str, ...]) -> str:
    """Put each id, percent-encoded once, in its place of the path template."""
    if "{" not in template:
        return template
    places, values = len(_PATH_PARAM.findall(template)), iter(ids)
    check_argument(places == len(ids), f"The path {template} has {places} places for ids, and not {len(ids)}.")
    return _PATH_PARAM.sub(lambda found: encode_id(next(values), found[1]), template)


_PATH_PARAM = re.compile(r"\{(\w+)\}")


def encode_id(value: object, name: str = "id") -> str:
    """Percent-encode an id, and refuse one that would lead to another route."""
    return quote(check_id(value, name), safe="")


def check_id(value: object, name: str = "id") -> str:
    """Return an id, or refuse what cannot be one."""
    if not isinstance(value, str):
        raise InvalidIdError(f"{value!r} cannot be an {name}: ids are texts.", hint=f"Pass {str(value)!r}.")
    if value in {"", ".", ".."} or _INVALID_ID_CHARS.search(value):
        raise InvalidIdError(
            f"{value!r} cannot be an {name}: it is empty, a dot path or holds characters that no text has.",
            hint=f"Pass the {name} as the API gave it.",
        )
    return value


_INVALID_ID_CHARS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters that UTF-8 cannot encode."""


def encode_query(params: Mapping[str, QueryValue]) -> str:
    """Encode query parameters: None is left out, tuples become comma lists."""
    return "&".join(
        [
            f"{_percent_encode_cached(name)}={_format_query_value(value)}"
            for name, value in params.items()
            if value is not None
        ]
    )


def _percent_encode(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{text!r} holds half a character, which cannot be sent.") from None


_percent_encode_cached = lru_cache(maxsize=256)(_percent_encode)


def _format_query_value(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return ",".join([part if part.isalnum() and part.isascii() else _percent_encode(part) for part in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _percent_encode_cached(str(value))


def encode_body(body: Mapping[str, object]) -> bytes:
    """Encode a request body as JSON, without the keys whose value is None."""
    return encode_json({key: value for key, value in body.items() if value is not None})


def encode_json(value: object) -> bytes:
    """Encode any JSON value as it is."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{error.object!r} holds half a character, which cannot be sent.") from None


def decode(row: Endpoint[T], body: bytes, context: ErrorContext) -> T:
    """Decode a good answer, in the contract's shape or one near it, or raise DecodeError naming the place."""
    problem = ""
    body = body or b"{}"
    if row.shape is ResponseShape.EMPTY:
        _raise_embedded_error(body, context)
    try:
        answer = _decode_repairing_surrogates(row.decoder.decode, body)
        return answer if getattr(answer, "included", UNSET) is UNSET else _decode_normalized(row, body)
    except _UNREADABLE as error:
        problem = str(error) or type(error).__name__
    _raise_embedded_error(body, context)
    try:
        return _decode_normalized(row, body)
    except _UNREADABLE:
        text = f"The answer does not fit {row.operation}: {problem}."
    raise DecodeError(text, replace(context, sent="yes", phase="decode"))


def decode_rows(
    row: Endpoint[Response[tuple[U, ...]]], body: bytes, context: ErrorContext
) -> tuple[Response[tuple[U, ...]], tuple[DecodeError, ...]]:
    """Decode a page; where it does not fit as a whole, each row by itself, with an error for each that does not."""
    try:
        return decode(row, body, context), ()
    except DecodeError as error:
        problem = error
    try:
        page = decode(row.with_response_type(Response[tuple[msgspec.Raw, ...]]), body, context)
    except DecodeError:
        raise problem from None
    good, bad = list[U](), list[DecodeError]()
    included = _json_object(body).get("included") or []
    for place, raw in enumerate(page.data):
        alone = msgspec.json.encode({"data": [raw], "included": included})
        try:
            good.extend(decode(row, alone, context).data)
        except DecodeError as error:
            said = f"Row {place} of a page cannot be read: {error.message} It is {body_excerpt(bytes(raw))!r}."
            bad.append(DecodeError(said, error.context))
    return Response(data=tuple(good), meta=page.meta, errors=page.errors), tuple(bad)


def partial_errors(answer: Response[U], context: ErrorContext) -> tuple[APIStatusError, ...]:
    """Return what a good answer says went wrong beside its data."""
    context = replace(context, status=200, sent="yes", request_id=answer.meta.request_id)
    return tuple(_partial_error(error, replace(context, code=error.code)) for error in answer.errors)


def _partial_error(error: ErrorObject, context: ErrorContext) -> APIStatusError:
    said = f"The answer lacks a part: {_error_text(error) or error.code or 'no explanation'}."
    return _error_class(200, error.code)(said, context)


def _raise_embedded_error(body: bytes, context: ErrorContext) -> None:
    """Raise the error that a good status may carry in place of data."""
    said = _json_object(body)
    if said.get("errors") and said.get("data") is None:
        raise _status_error(
            HttpResponse(200, {}, body),
            replace(context, status=200, sent="yes", phase="decode"),
            datetime.now(UTC),
        )


def _decode_normalized(row: Endpoint[T], body: bytes) -> T:
    value = _decode_repairing_surrogates(_JSON.decode, body)
    if row.shape is not ResponseShape.RAW:
        value = normalize.normalize_response(
            value, wants_list=row.shape is ResponseShape.LIST, wants_nothing=row.shape is ResponseShape.EMPTY
        )
    return msgspec.json.decode(msgspec.json.encode(value), type=row.response_type, strict=False)


def _decode_repairing_surrogates(decode: Callable[[bytes], T], body: bytes) -> T:
    """Decode a body; where that fails for halves of characters, once more without them."""
    try:
        return decode(body)
    except _UNREADABLE:
        mended = normalize.replace_lone_surrogates(body)
        if mended == body:
            raise
    return decode(mended)


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_JSON: msgspec.json.Decoder[normalize.Json] = msgspec.json.Decoder()


class _MetaOnly(msgspec.Struct, frozen=True, gc=False):
    meta: Meta = Meta()


_RAW_DECODER = msgspec.json.Decoder(msgspec.Raw)
"""Reads any JSON without building anything from it."""

_META = msgspec.json.Decoder(_MetaOnly)


def decode_meta(body: bytes) -> Meta:
    """Read the facts beside an answer's data without decoding the data; none where they cannot be read."""
    try:
        return _decode_repairing_surrogates(_META.decode, body).meta
    except _UNREADABLE:
        return Meta()


def credits_charged_in(body: bytes) -> int | None:
    """Read what an answer charged; None where it does not say."""
    spent = decode_meta(body).credits
    return spent.charged if spent else None


def is_success(answer: HttpResponse, *, scan: bool = False, any_json: bool = False) -> bool:
    """Judge an answer by its status and look.

    ``scan`` looks through the whole body for broken JSON, which takes a quarter of the time of decoding it: worth it
    where an unusable answer leaves open what was charged or made. ``any_json`` takes what is not an object, too.
    """
    return 200 <= answer.status < 300 and _looks_complete(answer, scan=scan, any_json=any_json)


def error_from_response(answer: HttpResponse, context: ErrorContext, now: datetime) -> LeadfeederError:
    """Find what is wrong with an answer that is not good, by its status and code."""
    context = replace(context, status=answer.status, sent="yes", request_id=answer.header("X-Request-Id"))
    if 200 <= answer.status < 300:
        text = f"The answer is no JSON object, or is cut short: {body_excerpt(answer.body)!r}"
        return DecodeError(text, replace(context, phase="body"))
    if 300 <= answer.status < 400:
        return RedirectError(f"The server redirects ({answer.status}) to {_host_of(answer)}.", context)
    return _status_error(answer, context, now)


def _host_of(redirect: HttpResponse) -> str:
    try:
        return urlsplit(redirect.header("Location") or "").hostname or "itself"
    except ValueError:
        return "an address that is none"


def _looks_complete(answer: HttpResponse, *, scan: bool, any_json: bool) -> bool:
    """Tell an answer from one cut short or no JSON: by its first and last bytes alone, if its end is proven."""
    body = answer.body.strip()
    scan = scan or any_json or not ("Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers)
    looks_whole = any_json or (body.startswith(b"{") and body.endswith(b"}"))
    return not body or (looks_whole and not (scan and _is_invalid_json(body)))


def _is_invalid_json(body: bytes) -> bool:
    try:
        _decode_repairing_surrogates(_RAW_DECODER.decode, body)
        body.decode()
    except _UNREADABLE:
        return True
    return False


def _status_error(answer: HttpResponse, context: ErrorContext, now: datetime) -> APIStatusError:
    said = _json_object(answer.body)
    first = _primary_error(said)
    retry_after = parse_retry_after(answer.header("Retry-After"), now)
    context = replace(
        context,
        code=first.code,
        request_id=_string_field(said.get("meta"), "request_id") or context.request_id,
        retry_after=retry_after,
        retry_at=None if retry_after is None else now + timedelta(seconds=retry_after),
    )
    return _error_class(answer.status, first.code)(_error_message(answer, first), context)


def _json_object(body: bytes) -> dict[str, normalize.Json]:
    try:
        found = _decode_repairing_surrogates(_JSON.decode, body)
    except _UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _primary_error(said: dict[str, normalize.Json]) -> ErrorObject:
    """Find the error that matters in any of the three shapes, whatever else is odd about them."""
    errors = said.get("errors")
    candidates = [*(errors if isinstance(errors, list) else ()), said.get("error"), said]
    names = ("code", "title", "detail", "message")
    shown = ({name: text for name in names if (text := _string_field(one, name))} for one in candidates)
    return next((ErrorObject(**texts) for texts in shown if texts), ErrorObject())


def _string_field(value: normalize.Json, name: str) -> str | None:
    text = value.get(name) if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def _error_message(answer: HttpResponse, error: ErrorObject) -> str:
    said = _error_text(error) or body_excerpt(answer.body) or "no explanation"
    return f"{answer.status} {error.code or ''}".strip() + f": {said}."


def _error_text(error: ErrorObject) -> str:
    return ": ".join(part for part in (error.title or error.message, error.detail) if part)


def body_excerpt(body: bytes) -> str:
    """Return the beginning of an answer as printable text."""
    text = body[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
    return " ".join(text.split())[:EXCERPT_CHARS]


_AUTH_CODES = frozenset({"missing_token", "invalid_token", "invalid_api_key", "access_denied", "unauthorized"})

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
    """Choose by the code where it settles the matter, then by the status."""
    by_code = _BY_CODE.get(code or "")
    if by_code is not None and status < 500:
        return by_code
    return ServerError if status >= 500 else _BY_STATUS.get(status, UnexpectedStatusError)
