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

from leadfeeder_async._http import lenient
from leadfeeder_async._http.endpoint import Call, Endpoint, QueryValue, Shape
from leadfeeder_async._http.retry_after import parse_retry_after
from leadfeeder_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DecodeError,
    Facts,
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
    StatusError,
    UnexpectedStatusError,
    require,
)
from leadfeeder_async.models.envelope import ErrorObject, Meta, Response

T = TypeVar("T")
U = TypeVar("U")

SNIPPET = 200
"""How much of an unreadable answer an error shows, in characters."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """What goes out: everything but the headers, which hold the key."""

    method: str
    url: str
    body: bytes | None = None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What came back, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header as a text that can be printed, whatever bytes it holds."""
        value = self.headers.get(name)
        return None if value is None else value.encode("utf-8", "replace").decode()


def build_request(call: Call[T], base_url: str, path: str, account_id: str | None) -> Request:
    """Build the request of ``call``; ``path`` is its row's, or the override."""
    params = dict(call.params) if account_id is None else {"account_id": account_id, **call.params}
    query = encode_query(params)
    url = base_url + fill_path(path, call.ids)
    return Request(call.row.method, f"{url}?{query}" if query else url, call.body)


def fill_path(template: str, ids: tuple[str, ...]) -> str:
    """Put each id, percent-encoded once, in its place of the path template."""
    if "{" not in template:
        return template
    places, values = len(_PLACE.findall(template)), iter(ids)
    require(places == len(ids), f"The path {template} has {places} places for ids, and not {len(ids)}.")
    return _PLACE.sub(lambda found: encode_id(next(values), found[1]), template)


_PLACE = re.compile(r"\{(\w+)\}")


def encode_id(value: object, name: str = "id") -> str:
    """Percent-encode an id, and refuse one that would lead to another route."""
    return quote(check_id(value, name), safe="")


def check_id(value: object, name: str = "id") -> str:
    """Return an id, or refuse what cannot be one."""
    if not isinstance(value, str):
        raise InvalidIdError(f"{value!r} cannot be an {name}: ids are texts.", advice=f"Pass {str(value)!r}.")
    if value in {"", ".", ".."} or _NO_ID.search(value):
        raise InvalidIdError(
            f"{value!r} cannot be an {name}: it is empty, a dot path or holds characters that no text has.",
            advice=f"Pass the {name} as the API gave it.",
        )
    return value


_NO_ID = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Control characters, and halves of characters that UTF-8 cannot encode."""


def encode_query(params: Mapping[str, QueryValue]) -> str:
    """Encode query parameters: None is left out, tuples become comma lists."""
    return "&".join([f"{_quoted(name)}={_text_of(value)}" for name, value in params.items() if value is not None])


def _percent(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{text!r} holds half a character, which cannot be sent.") from None


_quoted = lru_cache(maxsize=256)(_percent)


def _text_of(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return ",".join([part if part.isalnum() and part.isascii() else _percent(part) for part in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quoted(str(value))


def encode_body(body: Mapping[str, object]) -> bytes:
    """Encode a request body as JSON, without the keys whose value is None."""
    return encode_json({key: value for key, value in body.items() if value is not None})


def encode_json(value: object) -> bytes:
    """Encode any JSON value as it is."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{error.object!r} holds half a character, which cannot be sent.") from None


def decode(row: Endpoint[T], body: bytes, facts: Facts) -> T:
    """Decode a good answer, in the contract's shape or one near it, or raise DecodeError naming the place."""
    problem = ""
    body = body or b"{}"
    if row.shape is Shape.NOTHING:
        _raise_errors(body, facts)
    try:
        answer = _read(row.decoder.decode, body)
        return answer if getattr(answer, "included", UNSET) is UNSET else _relaxed(row, body)
    except _UNREADABLE as error:
        problem = str(error) or type(error).__name__
    _raise_errors(body, facts)
    try:
        return _relaxed(row, body)
    except _UNREADABLE:
        text = f"The answer does not fit {row.operation}: {problem}."
    raise DecodeError(text, replace(facts, sent="yes", phase="decode"))


def decode_rows(
    row: Endpoint[Response[tuple[U, ...]]], body: bytes, facts: Facts
) -> tuple[Response[tuple[U, ...]], tuple[DecodeError, ...]]:
    """Decode a page; where it does not fit as a whole, each row by itself, with an error for each that does not."""
    try:
        return decode(row, body, facts), ()
    except DecodeError as error:
        problem = error
    try:
        page = decode(row.returning(Response[tuple[msgspec.Raw, ...]]), body, facts)
    except DecodeError:
        raise problem from None
    good, bad = list[U](), list[DecodeError]()
    included = _json_object(body).get("included") or []
    for place, raw in enumerate(page.data):
        alone = msgspec.json.encode({"data": [raw], "included": included})
        try:
            good.extend(decode(row, alone, facts).data)
        except DecodeError as error:
            said = f"Row {place} of a page cannot be read: {error.message} It is {snippet(bytes(raw))!r}."
            bad.append(DecodeError(said, error.facts))
    return Response(data=tuple(good), meta=page.meta, errors=page.errors), tuple(bad)


def errors_beside(answer: Response[U], facts: Facts) -> tuple[StatusError, ...]:
    """Return what a good answer says went wrong beside its data."""
    facts = replace(facts, status=200, sent="yes", request_id=answer.meta.request_id)
    return tuple(_error_beside(error, replace(facts, code=error.code)) for error in answer.errors)


def _error_beside(error: ErrorObject, facts: Facts) -> StatusError:
    said = f"The answer lacks a part: {_said(error) or error.code or 'no explanation'}."
    return _error_class(200, error.code)(said, facts)


def _raise_errors(body: bytes, facts: Facts) -> None:
    """Raise the error that a good status may carry in place of data."""
    said = _json_object(body)
    if said.get("errors") and said.get("data") is None:
        raise _status_error(
            Answer(200, {}, body),
            replace(facts, status=200, sent="yes", phase="decode"),
            datetime.now(UTC),
        )


def _relaxed(row: Endpoint[T], body: bytes) -> T:
    value = _read(_JSON.decode, body)
    if row.shape is not Shape.OTHER:
        value = lenient.relax(value, wants_list=row.shape is Shape.MANY, wants_nothing=row.shape is Shape.NOTHING)
    return msgspec.json.decode(msgspec.json.encode(value), type=row.returns, strict=False)


def _read(decode: Callable[[bytes], T], body: bytes) -> T:
    """Decode a body; where that fails for halves of characters, once more without them."""
    try:
        return decode(body)
    except _UNREADABLE:
        mended = lenient.mended(body)
        if mended == body:
            raise
    return decode(mended)


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_JSON: msgspec.json.Decoder[lenient.Json] = msgspec.json.Decoder()


class _MetaOnly(msgspec.Struct, frozen=True, gc=False):
    meta: Meta = Meta()


_ANYTHING = msgspec.json.Decoder(msgspec.Raw)
"""Reads any JSON without building anything from it."""

_META = msgspec.json.Decoder(_MetaOnly)


def meta_of(body: bytes) -> Meta:
    """Read the facts beside an answer's data without decoding the data; none where they cannot be read."""
    try:
        return _read(_META.decode, body).meta
    except _UNREADABLE:
        return Meta()


def charged_by(body: bytes) -> int | None:
    """Read what an answer charged; None where it does not say."""
    spent = meta_of(body).credits
    return spent.charged if spent else None


def is_good(answer: Answer, *, scan: bool = False, any_json: bool = False) -> bool:
    """Judge an answer by its status and look.

    ``scan`` looks through the whole body for broken JSON, which takes a quarter of the time of decoding it: worth it
    where an unusable answer leaves open what was charged or made. ``any_json`` takes what is not an object, too.
    """
    return 200 <= answer.status < 300 and _is_readable(answer, scan=scan, any_json=any_json)


def failure_of(answer: Answer, facts: Facts, now: datetime) -> LeadfeederError:
    """Find what is wrong with an answer that is not good, by its status and code."""
    facts = replace(facts, status=answer.status, sent="yes", request_id=answer.header("X-Request-Id"))
    if 200 <= answer.status < 300:
        text = f"The answer is no JSON object, or is cut short: {snippet(answer.body)!r}"
        return DecodeError(text, replace(facts, phase="body"))
    if 300 <= answer.status < 400:
        return RedirectError(f"The server redirects ({answer.status}) to {_host_of(answer)}.", facts)
    return _status_error(answer, facts, now)


def _host_of(redirect: Answer) -> str:
    try:
        return urlsplit(redirect.header("Location") or "").hostname or "itself"
    except ValueError:
        return "an address that is none"


def _is_readable(answer: Answer, *, scan: bool, any_json: bool) -> bool:
    """Tell an answer from one cut short or no JSON: by its first and last bytes alone, if its end is proven."""
    body = answer.body.strip()
    scan = scan or any_json or not ("Content-Length" in answer.headers or "Transfer-Encoding" in answer.headers)
    looks_whole = any_json or (body.startswith(b"{") and body.endswith(b"}"))
    return not body or (looks_whole and not (scan and _is_broken(body)))


def _is_broken(body: bytes) -> bool:
    try:
        _read(_ANYTHING.decode, body)
        body.decode()
    except _UNREADABLE:
        return True
    return False


def _status_error(answer: Answer, facts: Facts, now: datetime) -> StatusError:
    said = _json_object(answer.body)
    first = _first_error(said)
    retry_after = parse_retry_after(answer.header("Retry-After"), now)
    facts = replace(
        facts,
        code=first.code,
        request_id=_text_in(said.get("meta"), "request_id") or facts.request_id,
        retry_after=retry_after,
        retry_at=None if retry_after is None else now + timedelta(seconds=retry_after),
    )
    return _error_class(answer.status, first.code)(_explain(answer, first), facts)


def _json_object(body: bytes) -> dict[str, lenient.Json]:
    try:
        found = _read(_JSON.decode, body)
    except _UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _first_error(said: dict[str, lenient.Json]) -> ErrorObject:
    """Find the error that matters in any of the three shapes, whatever else is odd about them."""
    errors = said.get("errors")
    candidates = [*(errors if isinstance(errors, list) else ()), said.get("error"), said]
    names = ("code", "title", "detail", "message")
    shown = ({name: text for name in names if (text := _text_in(one, name))} for one in candidates)
    return next((ErrorObject(**texts) for texts in shown if texts), ErrorObject())


def _text_in(value: lenient.Json, name: str) -> str | None:
    text = value.get(name) if isinstance(value, dict) else None
    return text if isinstance(text, str) else None


def _explain(answer: Answer, error: ErrorObject) -> str:
    said = _said(error) or snippet(answer.body) or "no explanation"
    return f"{answer.status} {error.code or ''}".strip() + f": {said}."


def _said(error: ErrorObject) -> str:
    return ": ".join(part for part in (error.title or error.message, error.detail) if part)


def snippet(body: bytes) -> str:
    """Return the beginning of an answer as printable text."""
    text = body[: 4 * SNIPPET].decode("utf-8", "replace")
    return " ".join(text.split())[:SNIPPET]


_KEY_CODES = frozenset({"missing_token", "invalid_token", "invalid_api_key", "access_denied", "unauthorized"})

_BY_CODE: Mapping[str, type[StatusError]] = {
    **dict.fromkeys(_KEY_CODES, AuthenticationError),
    "offset_exceeded": OffsetExceededError,
    "quota_exceeded": QuotaExceededError,
    "insufficient_credits": InsufficientCreditsError,
    "insufficient_scope": PermissionDeniedError,
    "insufficient_entitlements": PermissionDeniedError,
}

_BY_STATUS: Mapping[int, type[StatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: InsufficientCreditsError,
    403: PermissionDeniedError,
    404: NotFoundError,
    416: OffsetExceededError,
    422: BadRequestError,
    429: RateLimitedError,
}


def _error_class(status: int, code: str | None) -> type[StatusError]:
    """Choose by the code where it settles the matter, then by the status."""
    by_code = _BY_CODE.get(code or "")
    if by_code is not None and status < 500:
        return by_code
    return ServerError if status >= 500 else _BY_STATUS.get(status, UnexpectedStatusError)
