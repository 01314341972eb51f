"""Arguments to requests, and response bodies to values: pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from operator import attrgetter
from typing import Generic, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from leadfeeder_async._argument_checks import check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, ResponseShape
from leadfeeder_async._core.error_mapping import decode_error, embedded_error, incomplete_body_error, partial_errors
from leadfeeder_async._core.json_text import (
    LARGE_BODY,
    MIN_CHECKED_BYTES,
    check_json,
    is_too_dense,
    replace_lone_surrogates,
)
from leadfeeder_async._core.messages import HttpRequest, HttpResponse
from leadfeeder_async._core.normalize import (
    MAX_RECORD_BYTES,
    UNREADABLE,
    has_unlisted_error,
    next_link,
    normalize_meta,
    normalize_response,
)
from leadfeeder_async._core.redaction import MAX_ERROR_BODY, Redactor
from leadfeeder_async.errors import APIStatusError, ConfigurationError, DecodeError, ErrorContext
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.types import QueryValue

T = TypeVar("T")
U = TypeVar("U")


def build_request(request: ApiRequest[T], base_url: str, path: str, account_id: str | None) -> HttpRequest:
    """Return the HTTP request. ``path`` is the template of the endpoint, or its override."""
    params = request.params if account_id is None else {"account_id": account_id, **request.params}
    query = encode_query(params)
    url = base_url + expand_path(path, request.path_params)
    return HttpRequest(request.endpoint.method, f"{url}?{query}" if query else url, request.body)


def expand_path(template: str, ids: tuple[str, ...]) -> str:
    """Return the path with each id, percent-encoded, in place of its parameter."""
    if not ids and "{" not in template:
        return template
    parts = _PATH_PARAM.split(template)
    if len(parts) // 2 != len(ids):
        counts = f"parameters for {len(parts) // 2} of the {len(ids)} ids of the call"
        hint = "Write one parameter such as {id} for each id."
        raise ConfigurationError(f"The path {template} has {counts}.", hint=hint)
    for index, value in enumerate(ids):
        parts[2 * index + 1] = encode_id(value, parts[2 * index + 1])
    return "".join(parts)


_PATH_PARAM = re.compile(r"\{(\w+)\}")


def encode_id(value: object, name: str = "id") -> str:
    """Return an id percent-encoded, or raise InvalidIdError if it would change the route."""
    if isinstance(value, str) and value.isalnum() and value.isascii():
        return value
    return quote(check_id(name, value), safe="")


def encode_query(params: Mapping[str, QueryValue]) -> str:
    """Return the query string. None is left out, and tuples become comma-separated lists."""
    parts: list[str] = []
    for name, value in params.items():
        if value is not None:
            text = _percent_encode_cached(value) if type(value) is str else _format_query_value(value)
            parts.append(f"{_percent_encode_cached(name)}={text}")
    return "&".join(parts)


def _percent_encode(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ConfigurationError(f"{text!r} contains an unpaired surrogate and cannot be encoded as UTF-8.") from None


_percent_encode_cached = lru_cache(maxsize=256)(_percent_encode)


def _format_query_value(value: str | int | tuple[str, ...]) -> str:
    if isinstance(value, tuple):
        return ",".join([part if part.isalnum() and part.isascii() else _percent_encode(part) for part in value])
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _percent_encode_cached(str(value))


def encode_json(value: object) -> bytes:
    """Return a value as JSON."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        message = f"{error.object!r} contains an unpaired surrogate and cannot be encoded as UTF-8."
        raise ConfigurationError(message) from None


def decode_response(endpoint: Endpoint[T], response: HttpResponse, context: ErrorContext, redactor: Redactor) -> T:
    """Return the decoded body of a successful response, or raise DecodeError or the error that it contains."""
    must_be_object = endpoint.shape is not ResponseShape.RAW
    if response.status == HTTPStatus.NO_CONTENT and endpoint.shape is ResponseShape.UNDECODED:
        response = replace(response, body=b'{"data":[]}')
    needs_scan = endpoint.shape is ResponseShape.UNDECODED and not _has_proven_end(response)
    if not needs_scan or _is_complete(response.body, must_be_object=True):
        try:
            return decode(endpoint, response.body, context, redactor)
        except DecodeError:
            if _is_complete(response.body, must_be_object=must_be_object):
                raise
    raise incomplete_body_error(response, context, redactor, must_be_object=must_be_object)


def decode(endpoint: Endpoint[T], body: bytes, context: ErrorContext, redactor: Redactor) -> T:
    """Return a body decoded strictly or, if that fails, after normalization to the contract's shape.

    Raises:
        DecodeError: The body does not match the endpoint's response type, or has too many values or rows.
        APIStatusError: The body contains an error in place of data.

    """
    body = body or b"{}"
    if len(body) > MIN_CHECKED_BYTES and endpoint.shape is not ResponseShape.UNDECODED:
        _check_bounds(endpoint, body, context, redactor)
    if endpoint.shape is ResponseShape.EMPTY:
        _raise_embedded_error(body, context, redactor)
    try:
        return _decode_strictly(endpoint, body)
    except UNREADABLE as error:
        problem = str(error) or type(error).__name__
    _raise_embedded_error(body, context, redactor)
    try:
        if endpoint.shape is ResponseShape.UNDECODED:
            return endpoint.decoder.decode(replace_lone_surrogates(body))
        return _decode_normalized(endpoint, body)
    except UNREADABLE:
        message = f"The response does not match {endpoint.operation}: {problem}."
    raise decode_error(message, context, redactor)


def _decode_strictly(endpoint: Endpoint[T], body: bytes) -> T:
    value = endpoint.decoder.decode(body)
    if getattr(value, "_included", UNSET) is not UNSET:
        raise msgspec.ValidationError("its included records cannot be resolved")
    reported = _REPORT(value) if issubclass(type(value), Response) else _NO_REPORT
    if reported != _NO_REPORT and has_unlisted_error(*reported):
        raise msgspec.ValidationError("it reports an error")
    return value


_REPORT = attrgetter("_error", "_code", "_message", "_success")
"""Returns the fields of a response in which some servers report an error."""

_NO_REPORT = (UNSET, UNSET, UNSET, UNSET)


def _check_bounds(endpoint: Endpoint[T], body: bytes, context: ErrorContext, redactor: Redactor) -> None:
    """Raise DecodeError if decoding a large body would take many times its size in memory."""
    if is_too_dense(body):
        message = f"The response has too many values for its size of {len(body):,} bytes."
        raise decode_error(message, context, redactor)
    counted = [_count(_ERRORS, body)] if b'"errors"' in body else []
    counted += [_count(_INCLUDED, body)] if b'"included"' in body else []
    counted += [_count(_ROWS, body)] if endpoint.shape is ResponseShape.LIST else []
    per_row = MIN_BYTES_PER_ROW if len(body) <= LARGE_BODY else MIN_BYTES_PER_ROW_OF_LARGE_BODY
    if max(counted, default=0) > max(MAX_ROWS, len(body) // per_row):
        message = f"The response has {max(counted):,} records or errors in {len(body):,} bytes, which are too many."
        raise decode_error(message, context, redactor)


MAX_ROWS = 10_000
"""The most rows of one response, unless they have at least ``MIN_BYTES_PER_ROW``. A page has 100 at most."""

MIN_BYTES_PER_ROW = 160
"""Bytes per row of longer lists. A decoded row takes several hundred bytes, however short its text is."""

MIN_BYTES_PER_ROW_OF_LARGE_BODY = 400
"""The same for large bodies, whose rows may be normalized, which takes their size once more."""


class _Rows(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] = msgspec.field(default=(), name="data")


class _Included(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] = msgspec.field(default=(), name="included")


class _Errors(msgspec.Struct):
    items: tuple[msgspec.Raw, ...] = msgspec.field(default=(), name="errors")


_ROWS, _INCLUDED = msgspec.json.Decoder(_Rows), msgspec.json.Decoder(_Included)
_ERRORS = msgspec.json.Decoder(_Errors)


def _count(
    decoder: msgspec.json.Decoder[_Rows] | msgspec.json.Decoder[_Included] | msgspec.json.Decoder[_Errors], body: bytes
) -> int:
    """Return the number of items of a list in a body, or 0 if there is none."""
    try:
        return len(decoder.decode(body).items)
    except UNREADABLE:
        return 0


def _raise_embedded_error(body: bytes, context: ErrorContext, redactor: Redactor) -> None:
    if b'"error' in body or b'"message"' in body or b'"success"' in body:
        error = embedded_error(body, context, redactor, datetime.now(UTC))
        if error is not None:
            raise error


def _decode_normalized(endpoint: Endpoint[T], body: bytes) -> T:
    if endpoint.shape is ResponseShape.RAW:
        body = replace_lone_surrogates(body)
    else:
        is_list, is_empty = endpoint.shape is ResponseShape.LIST, endpoint.shape is ResponseShape.EMPTY
        body = normalize_response(body, is_list=is_list, is_empty=is_empty, has_list_rows=endpoint.has_list_rows)
    return msgspec.json.decode(body, type=endpoint.response_type, strict=False)


def _has_proven_end(response: HttpResponse) -> bool:
    return "Content-Length" in response.headers or "Transfer-Encoding" in response.headers


def _is_complete(body: bytes, *, must_be_object: bool) -> bool:
    """Return True if a body is valid JSON. An empty body counts as an empty object."""
    body = body.strip()
    if not body:
        return True
    if must_be_object and not (body.startswith(b"{") and body.endswith(b"}")):
        return False
    return _is_valid_json(body) or _is_valid_json(replace_lone_surrogates(body))


def _is_valid_json(body: bytes) -> bool:
    try:
        check_json(body)
    except UNREADABLE:
        return False
    return True


class DecodedPage(msgspec.Struct, Generic[U], frozen=True):
    """A page of a list: its items, and the errors for those that cannot be decoded."""

    items: tuple[U, ...]
    meta: Meta
    decode_errors: tuple[DecodeError, ...] = ()
    """The errors for the first items that cannot be decoded."""
    undecodable: int = 0
    """The number of items that cannot be decoded."""
    partial_errors: tuple[APIStatusError, ...] = ()
    """The first errors that the server reports beside its data."""
    further_errors: int = 0
    """The number of its other errors."""


def decode_page(
    endpoint: Endpoint[Response[tuple[U, ...]]], body: bytes, context: ErrorContext, redactor: Redactor
) -> DecodedPage[U]:
    """Return a page. If it does not decode as a whole, each item is decoded by itself."""
    try:
        return _page_of(decode(endpoint, body, context, redactor), context, redactor)
    except DecodeError as error:
        return _decode_items(endpoint, body, context, redactor, error)


def decode_page_strictly(
    endpoint: Endpoint[Response[tuple[U, ...]]], body: bytes, context: ErrorContext, redactor: Redactor
) -> DecodedPage[U] | None:
    """Return a page, or None if it does not have the contract's shape. This is fast."""
    if is_too_dense(body):
        return None
    try:
        return _page_of(_decode_strictly(endpoint, body), context, redactor)
    except UNREADABLE:
        return None


def _page_of(response: Response[tuple[U, ...]], context: ErrorContext, redactor: Redactor) -> DecodedPage[U]:
    if not response.errors:
        return DecodedPage(response.data, page_meta(response))
    partial = partial_errors(response, context, redactor)
    further = len(response.errors) - len(partial)
    return DecodedPage(response.data, page_meta(response), partial_errors=partial, further_errors=further)


def page_meta(response: Response[tuple[U, ...]]) -> Meta:
    """Return the metadata of a page. If it has no cursor, the link to the next page takes its place."""
    meta, links = response.meta, response._links  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if links is None or meta.outer_next_cursor or (meta.pagination and meta.pagination.next_cursor):
        return meta
    url = next_link(links)
    return meta if url is None else replace(meta, next_link=url)


MAX_ITEM_ERRORS = 100
"""Undecodable items of a page that get an error each. More of them are only counted."""


def _decode_items(
    endpoint: Endpoint[Response[tuple[U, ...]]],
    body: bytes,
    context: ErrorContext,
    redactor: Redactor,
    page_error: DecodeError,
) -> DecodedPage[U]:
    """Decode each item of a page by itself. Included records are resolved once, for the page."""
    page: Response[tuple[msgspec.Raw, ...]] | None = None
    with suppress(DecodeError):
        page = decode(endpoint.with_response_type(Response[tuple[msgspec.Raw, ...]]), body, context, redactor)
    if page is None:
        raise page_error  # without the other error as its context, whose frames hold the body
    items, errors, undecodable = list[U](), list[DecodeError](), 0
    for index, raw in enumerate(page.data):
        row, problem = _decode_item(endpoint, raw)
        items.extend(row)
        if problem is None:
            continue
        undecodable += 1
        if len(errors) < MAX_ITEM_ERRORS:
            excerpt = redactor.excerpt(bytes(memoryview(raw)[:MAX_ERROR_BODY]))
            reason = f"The response does not match {endpoint.operation}: {problem}."
            message = f"Row {index} of a page cannot be decoded: {reason} It is {excerpt!r}."
            errors.append(decode_error(message, context, redactor))
    read = _page_of(page, context, redactor)
    return DecodedPage(tuple(items), read.meta, tuple(errors), undecodable, read.partial_errors, read.further_errors)


def _decode_item(endpoint: Endpoint[Response[tuple[U, ...]]], raw: msgspec.Raw) -> tuple[tuple[U, ...], str | None]:
    """Return an item in a tuple, or an empty tuple and the reason if it cannot be decoded."""
    body = b"".join((b'{"data":[', raw, b"]}"))
    try:
        return _decode_strictly(endpoint, body).data, None
    except UNREADABLE as error:
        problem = str(error) or type(error).__name__
    if len(raw) > MAX_RECORD_BYTES:
        return (), problem
    try:
        return _decode_normalized(endpoint, body).data, None
    except UNREADABLE:
        return (), problem


class _MetaOnly(msgspec.Struct, frozen=True, gc=False):
    meta: Meta = Meta()


_META = msgspec.json.Decoder(_MetaOnly)


MAX_META_BYTES = 4_096
"""The last bytes of a body in which its metadata is looked for first."""


def meta_at_end(body: bytes) -> Meta | None:
    """Return the metadata of a body that ends with it, or None. The rest of the body is not read.

    If a key and all that follows it are the rest of one object, the key belongs to the outermost object of the body.
    """
    start = body.rfind(b'"meta":', max(0, len(body) - MAX_META_BYTES))
    if start >= 0:
        with suppress(*UNREADABLE):
            return _META.decode(b"{" + body[start:]).meta
    return None


def decode_meta(body: bytes) -> Meta:
    """Return the metadata of a body without decoding its data, or empty metadata if it is not readable."""
    found = meta_at_end(body)
    if found is not None:
        return found
    with suppress(*UNREADABLE):
        return _META.decode(body).meta
    with suppress(*UNREADABLE):
        return msgspec.json.decode(normalize_meta(replace_lone_surrogates(body)), type=Meta, strict=False)
    return Meta()
