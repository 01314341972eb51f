"""URLs, queries, bodies and answers: pure functions, so plain values in and out."""

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
ROW = Endpoint("get_company", "GET", "/v1/companies/{id}/x", Response[dict[str, int]])


@given(
    st.text(min_size=1).filter(
        lambda text: text not in {".", ".."} and text.isprintable() and not set(text) & set(" /\\")
    )
)
@example("a?b#c%41")
@example("@evil.test")
@example("%2F%2Fevil.test")
def test_id_is_encoded_once_and_stays_in_its_place(value: str) -> None:
    """Whatever an id holds, the route stays the same and the server reads the id back unchanged."""
    url = codec.build_request(ApiRequest(ROW, (value,)), "https://api.test", ROW.path, None).url
    parts = urlsplit(url)
    assert parts.netloc == "api.test"
    segments = parts.path.split("/")
    assert segments[:3] == ["", "v1", "companies"]
    assert segments[4:] == ["x"]
    assert unquote(segments[3]) == value


@pytest.mark.parametrize(
    "value", ["", ".", "..", "a\r\nb", "a\nX-Evil: 1", "\x00", "a\x7f", "a/b", "a\\b", "//evil.test/", " a"]
)
def test_id_that_cannot_stand_in_a_url_is_refused(value: str) -> None:
    """Dot paths, empty ids and control characters raise before anything is sent, and say so."""
    with pytest.raises(InvalidIdError, match=r"^id=") as caught:
        codec.encode_id(value)
    assert caught.value.sent == "no"


@given(
    st.dictionaries(
        st.sampled_from(["page[num]", "page[cursor]", "filter[scope]", "include", "ip"]),
        st.one_of(st.text(), st.integers()),
    )
)
@example({"page[cursor]": "a+b/c==&d%20e"})
def test_query_comes_back_as_it_went(params: dict[str, str | int]) -> None:
    """Names with brackets and values of any text survive encoding and a standard decoder."""
    decoded = parse_qsl(codec.encode_query(params), keep_blank_values=True, strict_parsing=bool(params))
    assert decoded == [(name, str(value)) for name, value in params.items()]


def test_query_of_each_kind_of_value() -> None:
    """None is left out, lists join with literal commas, booleans are lower case, brackets are encoded."""
    query = codec.encode_query({"a": None, "include": ("tags", "x,y"), "filter[b]": True, "page[num]": 2})
    assert query == "include=tags,x%2Cy&filter%5Bb%5D=true&page%5Bnum%5D=2"


def test_account_id_comes_first_and_yields_to_an_explicit_one() -> None:
    """The account is added to the query, also of a POST, unless the call names its own."""
    call = ApiRequest(Endpoint("x", "POST", "/v1/x", Response[None]), params={"page[num]": 1})
    assert (
        codec.build_request(call, "https://a.test", "/v1/x", "7").url
        == "https://a.test/v1/x?account_id=7&page%5Bnum%5D=1"
    )
    named = call.with_params({"account_id": "8"})
    assert codec.build_request(named, "https://a.test", "/v1/x", "7").url.count("account_id=8") == 1


def test_body_leaves_out_none_only() -> None:
    """None means left out; false, zero and empty are values."""
    assert codec.encode_body({"a": None, "b": False, "c": 0, "d": []}) == b'{"b":false,"c":0,"d":[]}'


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
def test_error_example_of_the_contract(status: int, name: str, kind: type[LeadfeederError], code: str | None) -> None:
    """Each error body of the contract becomes its class, with code and request id, whatever its shape."""
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
def test_error_without_a_usable_body(status: int, body: bytes, kind: type[LeadfeederError]) -> None:
    """An empty, foreign or broken error body still gives the class of its status, never a parser's error."""
    assert (
        type(error_mapping.error_from_response(HttpResponse(status, {}, body), ErrorContext(), REDACTOR, NOW)) is kind
    )


@given(st.integers(300, 599), st.binary(max_size=300))
def test_any_error_answer_gives_an_error(status: int, body: bytes) -> None:
    """No status or body makes the judge fail or call a refusal good."""
    error = error_mapping.error_from_response(HttpResponse(status, {}, body), ErrorContext(), REDACTOR, NOW)
    assert isinstance(error, LeadfeederError)
    assert str(error)


@pytest.mark.parametrize(
    "body", [b"<html>login</html>", b'{"data":[1,2', b'{"data":1} trailing', b"[]", b"\xef\xbb\xbf{}"]
)
def test_good_status_with_an_unusable_body(body: bytes) -> None:
    """HTML under 200, a cut body and foreign JSON are named by their first and last bytes, with a snippet."""
    with pytest.raises(DecodeError, match="not a complete JSON object") as caught:
        codec.decode_response(ROW, HttpResponse(200, {}, body), ROW.error_context(), REDACTOR)
    assert caught.value.sent == "yes"


@pytest.mark.parametrize("value", [datetime(2026, 11, 1, tzinfo=UTC), 1.5e30, b"a&b", ["a", "b&c"]])
def test_query_values_of_other_types_are_encoded_too(value: Any) -> None:
    """Nothing that a caller passes by mistake becomes a second parameter or a broken request line."""
    assert parse_qsl(codec.encode_query({"since": value}), strict_parsing=True) == [("since", str(value))]


@pytest.mark.parametrize("body", [b"", b"{}", b' \n{"data":1}\r\n', b" " * 99 + b'{"data":1}' + b"\n" * 99])
def test_good_answer_passes(body: bytes) -> None:
    """An object passes, with white space around it; so does an empty body, which writes may have."""
    row = ROW.undecoded
    assert codec.decode_response(row, HttpResponse(200, {}, body), row.error_context(), REDACTOR) == (body or b"{}")


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
def test_body_that_does_not_fit_is_a_decode_error(body: bytes) -> None:
    """Wrong types, bad UTF-8, absurd nesting, NaN and nothing all become DecodeError, never the parser's own."""
    with pytest.raises(DecodeError, match="get_company"):
        codec.decode(ROW, body, ROW.error_context(), REDACTOR)


@given(st.text())
def test_retry_after_never_fails(header: str) -> None:
    """Any text gives None or a wait that a date can be computed from."""
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or (seconds > 0 and NOW + timedelta(seconds=seconds) > NOW)


@given(st.integers(1, 3_000_000))
def test_retry_after_date_is_the_distance(seconds: int) -> None:
    """A date gives the seconds between it and now."""
    then = (NOW + timedelta(seconds=seconds)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert parse_retry_after(then, NOW) == seconds


def test_retry_after_reaches_the_error() -> None:
    """A 429 tells when to come back."""
    answer = HttpResponse(429, {"Retry-After": "120"}, b"")
    error = error_mapping.error_from_response(answer, ErrorContext(), REDACTOR, NOW)
    assert error is not None
    assert error.retry_at == NOW + timedelta(seconds=120)
