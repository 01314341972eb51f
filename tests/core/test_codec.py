"""Encoding of URLs, queries and bodies, and decoding of responses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leadfeeder_async import (
    AuthenticationError,
    BadRequestError,
    DecodeError,
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
)
from leadfeeder_async._core import codec, error_mapping
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.messages import HttpResponse
from leadfeeder_async._core.retry import parse_retry_after
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.envelope import Response
from tests.support.clients import REDACTOR
from tests.support.paths import EXAMPLES

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ENDPOINT = Endpoint("get_company", "GET", "/v1/companies/{id}/x", Response[dict[str, int]])


@given(
    st.text(min_size=1).filter(
        lambda value: value not in {".", ".."} and value.isprintable() and not set(value) & set(" /\\")
    )
)
@example("a?b#c%41")
@example("@evil.test")
@example("%2F%2Fevil.test")
def test_id_is_encoded_once(value: str) -> None:
    """An id with any characters stays one path segment and decodes to the same value."""
    url = codec.build_request(ApiRequest(ENDPOINT, (value,)), "https://api.test", ENDPOINT.path, None).url
    parts = urlsplit(url)
    assert parts.netloc == "api.test"
    segments = parts.path.split("/")
    assert segments[:3] == ["", "v1", "companies"]
    assert segments[4:] == ["x"]
    assert unquote(segments[3]) == value


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "is empty"),
        (".", "is a dot path"),
        ("..", "is a dot path"),
        ("a\r\nb", "contains white space"),
        ("a\nX-Evil: 1", "contains white space"),
        (" a", "contains white space"),
        ("\x00", "contains a control character"),
        ("a\x7f", "contains a control character"),
        ("a\ud800", "contains a control character or an unpaired surrogate"),
        ("a/b", "contains a slash"),
        ("a\\b", "contains a slash"),
        ("//evil.test/", "contains a slash"),
    ],
)
def test_invalid_id(value: str, problem: str) -> None:
    """Dot segments, empty ids and control characters raise InvalidIdError before anything is sent."""
    with pytest.raises(InvalidIdError, match=rf"^id=.* is not an id: it {problem}") as caught:
        codec.encode_id(value)
    assert caught.value.sent == "no"


@given(
    st.dictionaries(
        st.sampled_from(["page[num]", "page[cursor]", "filter[scope]", "include", "ip"]),
        st.one_of(st.text(), st.integers()),
    )
)
@example({"page[cursor]": "a+b/c==&d%20e"})
def test_query_round_trip(params: dict[str, str | int]) -> None:
    """A standard decoder returns the encoded names and values unchanged."""
    decoded = parse_qsl(codec.encode_query(params), keep_blank_values=True, strict_parsing=bool(params))
    assert decoded == [(name, str(value)) for name, value in params.items()]


def test_query_value_types() -> None:
    """None is left out, lists are joined with commas, booleans are lower case and brackets are encoded."""
    query = codec.encode_query({"a": None, "include": ("tags", "x,y"), "filter[b]": True, "page[num]": 2})
    assert query == "include=tags,x%2Cy&filter%5Bb%5D=true&page%5Bnum%5D=2"


def test_account_id_in_query() -> None:
    """The account ID is added to the query, unless the call has its own."""
    call = ApiRequest(Endpoint("x", "POST", "/v1/x", Response[None]), params={"page[num]": 1})
    assert (
        codec.build_request(call, "https://a.test", "/v1/x", "7").url
        == "https://a.test/v1/x?account_id=7&page%5Bnum%5D=1"
    )
    explicit = call.with_params({"account_id": "8"})
    assert codec.build_request(explicit, "https://a.test", "/v1/x", "7").url.count("account_id=8") == 1


CASES: list[tuple[int, str, type[LeadfeederError], str | None]] = [
    (400, "error-400.json", BadRequestError, "invalid_request"),
    (401, "error-401-invalid-api-key.json", AuthenticationError, "invalid_api_key"),
    (401, "error-401-missing-token.json", AuthenticationError, "missing_token"),
    (403, "error-403-flat-guide-form.json", AuthenticationError, "invalid_api_key"),
    (403, "error-403-insufficient-scope.json", PermissionDeniedError, "insufficient_scope"),
    (404, "error-404.json", NotFoundError, "entity_not_found"),
    (416, "error-416.json", OffsetExceededError, "offset_exceeded"),
    (429, "error-429-flat-guide-form.json", RateLimitedError, "too_many_requests"),
    (429, "error-429-rate.json", RateLimitedError, "rate_limit_exceeded"),
    (429, "error-429-quota.json", QuotaExceededError, "quota_exceeded"),
    (500, "error-500.json", ServerError, "internal_server_error"),
    (504, "error-504.json", ServerError, "gateway_timeout"),
]


@pytest.mark.parametrize(("status", "name", "kind", "code"), CASES)
def test_error_examples(status: int, name: str, kind: type[LeadfeederError], code: str | None) -> None:
    """Each error example of the contract becomes its error class, with code and request ID."""
    body = (EXAMPLES / name).read_bytes()
    error = error_mapping.error_from_response(
        HttpResponse(status, {}, body), ErrorContext(operation="x", method="GET", path="/x"), REDACTOR, NOW
    )
    assert type(error) is kind
    assert (error.code, error.status, error.sent) == (code, status, "yes")
    expected_id = msgspec.json.decode(body).get("meta", {}).get("request_id")
    assert error.request_id == expected_id


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (402, b"", InsufficientCreditsError),
        (403, b"", PermissionDeniedError),
        (418, b"{}", UnexpectedStatusError),
        (451, b"null", UnexpectedStatusError),
        (422, b'{"errors":[]}', BadRequestError),
        (429, b"<html>slow down", RateLimitedError),
        (502, b"<html>Bad gateway", ServerError),
        (503, b'{"code":"offset_exceeded"}', ServerError),
        (429, b'{"error":"quota","code":"quota_exceeded"}', QuotaExceededError),
        (429, b'{"errors":[{"code":"quota_exceeded","detail":{"a":1}}],"meta":[]}', QuotaExceededError),
        (429, b'{"errors":[null,{"code":7},{"code":"quota_exceeded"}]}', QuotaExceededError),
        (302, b"", RedirectError),
        (308, b"{}", RedirectError),
    ],
)
def test_error_status_without_usable_body(status: int, body: bytes, kind: type[LeadfeederError]) -> None:
    """The class of an error follows from the status if the body is empty or invalid."""
    assert (
        type(error_mapping.error_from_response(HttpResponse(status, {}, body), ErrorContext(), REDACTOR, NOW)) is kind
    )


@given(st.integers(300, 599), st.binary(max_size=300))
def test_any_error_status_gives_an_error(status: int, body: bytes) -> None:
    """Every status from 300 to 599 gives an error for any body."""
    error = error_mapping.error_from_response(HttpResponse(status, {}, body), ErrorContext(), REDACTOR, NOW)
    assert isinstance(error, LeadfeederError)
    assert str(error)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        (None, "a 304 redirect without a Location header"),
        ("/v1/x", "redirects (304) to itself"),
        ("https://a.test/x", "redirects (304) to a.test"),
        ("http://[", "a 304 redirect with an invalid Location header"),
    ],
)
def test_messages_of_redirects(location: str | None, message: str) -> None:
    """The message contains the host that the server names, or says that it names none."""
    headers = {} if location is None else {"Location": location}
    error = error_mapping.error_from_response(HttpResponse(304, headers, b""), ErrorContext(), REDACTOR, NOW)
    assert message in str(error)


@pytest.mark.parametrize(
    "body", [b"<html>login</html>", b'{"data":[1,2', b'{"data":1} trailing', b"[]", b"\xef\xbb\xbf{}"]
)
def test_success_status_with_invalid_body(body: bytes) -> None:
    """A body that is not a complete JSON object raises DecodeError although the status is 200."""
    with pytest.raises(DecodeError, match="not a complete JSON object") as caught:
        codec.decode_response(ENDPOINT, HttpResponse(200, {}, body), ENDPOINT.error_context(), REDACTOR)
    assert caught.value.sent == "yes"


@pytest.mark.parametrize("value", [datetime(2026, 11, 1, tzinfo=UTC), 1.5e30, b"a&b", ["a", "b&c"]])
def test_query_values_of_other_types(value: Any) -> None:
    """A value of another type stays one query parameter."""
    assert parse_qsl(codec.encode_query({"since": value}), strict_parsing=True) == [("since", str(value))]


@pytest.mark.parametrize("body", [b"", b"{}", b' \n{"data":1}\r\n', b" " * 99 + b'{"data":1}' + b"\n" * 99])
def test_valid_bodies(body: bytes) -> None:
    """An object is accepted with white space around it, and so is an empty body."""
    endpoint = ENDPOINT.undecoded
    assert codec.decode_response(endpoint, HttpResponse(200, {}, body), endpoint.error_context(), REDACTOR) == (
        body or b"{}"
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"a":"x"}}',
        b'{"data":{"\xff":1}}',
        b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"data":NaN}',
        b"",
    ],
)
def test_undecodable_body(body: bytes) -> None:
    """Wrong types, invalid UTF-8, deep nesting, NaN and an empty body raise DecodeError."""
    with pytest.raises(DecodeError, match="get_company"):
        codec.decode(ENDPOINT, body, ENDPOINT.error_context(), REDACTOR)


@given(st.text())
def test_retry_after_any_string(header: str) -> None:
    """Any string gives None or a positive number of seconds."""
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or (seconds > 0 and NOW + timedelta(seconds=seconds) > NOW)


@given(st.integers(1, 3_000_000))
def test_retry_after_date_header(seconds: int) -> None:
    """A date gives the number of seconds until then."""
    then = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert parse_retry_after(then, NOW) == seconds


def test_retry_at_of_429() -> None:
    """The error of a 429 has the time of its Retry-After header."""
    response = HttpResponse(429, {"Retry-After": "120"}, b"")
    error = error_mapping.error_from_response(response, ErrorContext(), REDACTOR, NOW)
    assert error is not None
    assert error.retry_at == NOW + timedelta(seconds=120)
