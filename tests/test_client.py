"""Settings, lifetime and options of the client, the monthly quota, and the secrecy of the key."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import pickle
import ssl
import subprocess
import sys
import traceback
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    AttemptTimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    LeadfeederError,
    MissingKeyError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    Stats,
    WrongLoopError,
)
from leadfeeder_async._core import executor
from leadfeeder_async._core.log_output import JsonFormatter
from leadfeeder_async._core.monthly_quota import MonthlyQuota
from leadfeeder_async._secret import Secret
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.accounts import User
from leadfeeder_async.models.companies import CompanyFinancialsAttributes
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.settings import CredentialSource, Settings
from tests.support.clients import KEY, client_for, client_of
from tests.support.servers import http, raw_server, silence


@pytest.mark.parametrize("key", ["", "   ", "k3y\r\nb", "schlüssel", "k3y\x00b", "k3y\tb", "k3y\x7f"])
def test_invalid_key(key: str) -> None:
    """A key that no header can carry raises ConfigurationError, and the message does not contain it."""
    with pytest.raises(ConfigurationError, match=r"API key|api_key") as caught:
        AsyncLeadfeeder(key)
    assert "k3y" not in str(caught.value)
    assert "schl" not in str(caught.value)


def test_missing_key() -> None:
    """Without a key, the error names the variable and the argument."""
    with pytest.raises(MissingKeyError, match="LEADFEEDER_API_KEY, or pass api_key="):
        AsyncLeadfeeder()


@pytest.mark.parametrize(
    "url",
    [
        "api.leadfeeder.com",
        "ftp://x.test",
        "https://",
        "https://x.test/?a=1",
        "http://api.leadfeeder.com",
        "https://x.test/v1/",
    ],
)
def test_invalid_base_url(url: str) -> None:
    """A URL without scheme or host, with a query or /v1, or with unencrypted HTTP is rejected."""
    with pytest.raises(ConfigurationError, match="base_url"):
        AsyncLeadfeeder(KEY, base_url=url)


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_concurrency", 0), ("rate", 0), ("rate", -1), ("burst", 0), ("max_body_bytes", 0), ("timeout", float("inf"))],
)
def test_invalid_settings(option: str, value: float) -> None:
    """A setting out of its bounds is rejected, and the error names it."""
    with pytest.raises(ConfigurationError, match=option):
        AsyncLeadfeeder(KEY, **{option: value})


def test_key_after_failed_constructor() -> None:
    """A traceback with locals contains the key only in the frames of the caller."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncLeadfeeder(f"{KEY}\nX")
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    own_frames = [frame for frame in frames if "leadfeeder_async" in frame.filename]
    assert own_frames
    assert KEY not in repr([frame.locals for frame in own_frames])
    assert repr(object.__new__(AsyncLeadfeeder)) == "<AsyncLeadfeeder without settings>"


@pytest.mark.parametrize(("option", "value"), [("timeout", 0.0), ("retries", -1), ("deadline", 0.0)])
def test_invalid_options(option: str, value: float) -> None:
    """The constructor and ``with_options`` reject the same values."""
    with pytest.raises((ConfigurationError, TypeError), match=option):
        AsyncLeadfeeder(KEY, **{option: value})
    with pytest.raises(ConfigurationError, match=option):
        AsyncLeadfeeder(KEY).with_options(**{option: value})


async def test_environment_and_arguments(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, account and URL are read from the environment, and an argument overrides its variable."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    async with AsyncLeadfeeder() as lf:
        assert (await lf.accounts.get()).data.id == sandbox.account_id
    async with AsyncLeadfeeder("another-key") as lf:
        with pytest.raises(AuthenticationError):
            await lf.accounts.list()


async def test_single_account_is_looked_up_once(sandbox: Sandbox) -> None:
    """Without an account ID, concurrent calls look up the single account of the key once."""
    async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, rate=1e6, burst=1000) as lf:
        await asyncio.gather(*(lf.companies.get("159000001") for _ in range(10)))
    assert sandbox.ledger.count("list_accounts") == 1


async def test_unknown_account() -> None:
    """An empty response raises NotFoundError with its status and request ID."""
    empty = http(b'{"data":[],"meta":{"request_id":"r-1"}}')
    async with raw_server(empty) as server, client_of(server.url) as lf:
        with pytest.raises(NotFoundError, match="no account for this id") as caught:
            await lf.accounts.get("310042")
    assert (caught.value.sent, caught.value.status, caught.value.request_id) == ("yes", 200, "r-1")


async def test_several_accounts() -> None:
    """With several accounts the error lists them, and an account of the client or the call is used."""
    async with Sandbox(accounts=2) as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url) as lf:
            with pytest.raises(ConfigurationError, match=r"310042 \(Seller 1\), 310077 \(Seller 2\)"):
                await lf.companies.get("159000001")
            assert (await lf.accounts.get("310077")).data.name == "Seller 2"
            assert (await lf.with_options(account_id="310077").accounts.get()).data.name == "Seller 2"


async def test_with_options_shares_the_rest(sandbox: Sandbox) -> None:
    """A copy shares connections, rate limit, statistics and lifetime."""
    lf = client_for(sandbox)
    copied = lf.with_options(timeout=0.5, retries=0)
    await copied.users.me()
    assert lf.stats.requests == 1
    await lf.aclose()
    with pytest.raises(ClientClosedError):
        await copied.users.me()


async def test_copy_with_own_statistics(sandbox: Sandbox) -> None:
    """Statistics of a copy count its requests and those of its copies, which the client counts too."""
    job = Stats()
    async with client_for(sandbox) as lf:
        await lf.users.me()
        copied = lf.with_options(stats=job)
        await copied.users.me()
        await copied.with_options(timeout=5.0).companies.get("159000001")
    assert (job.requests, job.credits_charged) == (2, 1)
    assert (lf.stats.requests, lf.stats.credits_charged) == (3, 1)
    with pytest.raises(ConfigurationError, match="stats"):
        lf.with_options(stats=1)  # type: ignore[arg-type]


async def test_time_of_the_server() -> None:
    """The time is that of this machine until a response has a ``Date`` header."""
    headers = "Date: Sat, 01 Nov 2025 12:00:00 GMT\r\n"
    async with raw_server(http(b'{"data":{"id":"1"}}', headers=headers)) as server, client_of(server.url) as lf:
        assert lf.base_url == server.url
        assert abs(lf.server_now() - datetime.now(UTC)) < timedelta(minutes=1)
        await lf.users.me()
        assert timedelta(0) <= lf.server_now() - datetime(2025, 11, 1, 12, tzinfo=UTC) < timedelta(minutes=1)


async def test_server_time_of_a_gateway() -> None:
    """The clock of a gateway that responds in place of the server is ignored."""
    reply = http(b"bad gateway", status="502 Bad Gateway", headers="Date: Sat, 01 Nov 2025 12:00:00 GMT\r\n")
    async with raw_server(reply) as server, client_of(server.url, retries=0) as lf:
        with pytest.raises(LeadfeederError):
            await lf.users.me()
        assert abs(lf.server_now() - datetime.now(UTC)) < timedelta(minutes=1)


async def test_options_of_copies() -> None:
    """A copy has its own options, keeps the others, and leaves the original unchanged."""
    async with raw_server(silence) as server, client_of(server.url, timeout=0.1, retries=0) as lf:
        copied = lf.with_options(timeout=0.05)
        for client, timeout, attempts in (
            (lf, "0.1 s", 1),
            (copied, "0.05 s", 1),
            (copied.with_options(retries=1), "0.05 s", 2),
        ):
            with pytest.raises(AttemptTimeoutError, match=timeout) as caught:
                await client.users.me()
            assert caught.value.attempts == attempts


async def test_copies_close_an_open_client_at_last(sandbox: Sandbox) -> None:
    """A block of a copy does not close a client whose own block is open. Without one, it closes the client."""
    async with client_for(sandbox) as lf:
        async with lf.with_options(timeout=3) as patient, patient.with_options(retries=0):
            await patient.users.me()
        await lf.users.me()
    with pytest.raises(ClientClosedError):
        await lf.users.me()
    async with client_for(sandbox).with_options(timeout=3) as patient:
        await patient.users.me()
    with pytest.raises(ClientClosedError):
        await patient.users.me()
    async with AsyncExitStack() as stack:
        async with client_for(sandbox) as lf, lf:
            patient = await stack.enter_async_context(lf.with_options(timeout=3))
        with pytest.raises(ClientClosedError):  # although the block of the copy is still open
            await patient.users.me()


async def test_hint_of_a_rejected_key(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint names the source of the key."""
    (tmp_path / "key").write_text("wrong", encoding="utf-8")

    async def hint(**options: Any) -> str:
        async with AsyncLeadfeeder(base_url=sandbox.url, **options) as lf:
            with pytest.raises(AuthenticationError) as caught:
                await lf.users.me()
        return caught.value.hint

    assert "LEADFEEDER_API_KEY," in await hint(api_key="wrong")
    assert "callable of api_key=" in await hint(api_key=lambda: "wrong")
    assert "callable for access_token=" in await hint(access_token="wrong")
    monkeypatch.setenv("LEADFEEDER_API_KEY_FILE", str(tmp_path / "key"))
    assert "LEADFEEDER_API_KEY_FILE" in await hint()


async def test_session_that_is_closed_or_has_own_certificates(sandbox: Sandbox) -> None:
    """A closed session is named as such, and certificates of a client with a session are refused."""
    async with aiohttp.ClientSession() as session:
        lf = client_for(sandbox, session=session)
        await lf.users.me()
        with pytest.raises(ConfigurationError, match="ssl_context= has no effect"):
            client_for(sandbox, session=session, ssl_context=ssl.create_default_context())
    with pytest.raises(ConnectError, match="session that the client was given is closed") as caught:
        await lf.with_options(retries=0).companies.get("1")
    assert caught.value.sent == "no"
    await lf.aclose()


async def test_use_after_close(sandbox: Sandbox) -> None:
    """Each kind of call of a closed client raises ClientClosedError, and closing twice is allowed."""
    async with client_for(sandbox) as lf:
        pass
    await lf.aclose()
    with pytest.raises(ClientClosedError, match="closed"):
        await lf.users.me()
    with pytest.raises(ClientClosedError):
        await lf.web_visits.search(start_date="2026-01-01", end_date="2026-01-02").first()
    with pytest.raises(ClientClosedError):
        async with lf:
            pass


def test_use_on_another_loop() -> None:
    """A client that was opened on one event loop raises WrongLoopError on another."""
    with asyncio.Runner() as first, asyncio.Runner() as second:
        lf = first.run(_opened())
        with pytest.raises(WrongLoopError, match="event loop"):
            second.run(lf.call())
        first.run(lf.client.aclose())


class _Opened:
    def __init__(self, client: AsyncLeadfeeder) -> None:
        self.client = client

    async def call(self) -> None:
        await self.client.users.me()


async def _opened() -> _Opened:
    return _Opened(await client_of("http://127.0.0.1:9").__aenter__())


async def test_custom_request(lf: AsyncLeadfeeder) -> None:
    """A custom request decodes into the given type and raises the usual errors."""
    assert (await lf.request("GET", "/v1/users/me", returns=Response[User])).data.email == "ada@seller.test"
    assert (await lf.request("get", "/v1/users/me"))["data"]
    with pytest.raises(NotFoundError, match="No such route"):
        await lf.request("GET", "/v1/nothing")
    assert lf.stats.requests == 3


@pytest.mark.parametrize("path", ["v1/x", "//evil.test/x", "/v1/x?a=1", "/v1/x#f", "/v1/{id}", "\\x", "/v1/\tx"])
async def test_custom_request_accepts_only_paths(lf: AsyncLeadfeeder, path: str) -> None:
    """A path that could change the host or the query is rejected before sending."""
    with pytest.raises(ConfigurationError, match="path"):
        await lf.request("GET", path)
    assert lf.stats.requests == 0


async def test_custom_operation_path() -> None:
    """The path of an operation can be replaced."""
    response = http(b'{"data":{"id":"1"}}')
    async with raw_server(response) as server, client_of(server.url, paths={"get_company": "/v2/firms/{id}"}) as lf:
        await lf.companies.get("7")
    assert server.requests[0].startswith(b"GET /v2/firms/7?account_id=1 ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("get_compny", "Unknown operation 'get_compny'. Did you mean 'get_company'"),
        ("request", "Unknown operation 'request'"),
        ("", "''"),
    ],
)
def test_custom_path_of_unknown_operation(name: str, message: str) -> None:
    """A misspelled operation name is rejected with a suggestion."""
    with pytest.raises(ConfigurationError, match=message):
        AsyncLeadfeeder(KEY, paths={name: "/v2/firms/{id}"})


async def test_default_rate_stays_below_the_limit() -> None:
    """Forty calls at the default rate get no 429."""
    async with Sandbox() as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url) as lf:
            await asyncio.gather(*(lf.users.me() for _ in range(40)))
        assert (len(sandbox.ledger.requests), sandbox.ledger.rate_limited) == (40, 0)


async def test_key_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """No repr, error, log line, traceback with locals, copy or pickle contains the key."""
    caplog.set_level(logging.DEBUG)
    lf = client_of("http://127.0.0.1:9", retries=0)
    with pytest.raises(ConnectError) as caught:
        await lf.users.me()
    error = caught.value
    await lf.aclose()
    settings = Settings(credential=CredentialSource(kind="api_key", secret=Secret(KEY)))
    text = traceback.TracebackException.from_exception(error, capture_locals=True, compact=False)
    outputs = [
        repr(lf), repr(settings), repr(error), str(error), repr(error.args), repr(error.__context__),
        repr(vars(error)), "".join(text.format()), caplog.text, repr(copy.copy(error)), repr(pickle.dumps(error)),
    ]  # fmt: skip
    assert [output for output in outputs if KEY in output] == []
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(settings)


async def test_errors_can_be_pickled(lf: AsyncLeadfeeder) -> None:
    """An error is equal after pickling."""
    with pytest.raises(NotFoundError) as caught:
        await lf.companies.get("nope")
    unpickled = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(unpickled, NotFoundError)
    assert (str(unpickled), unpickled.context) == (str(caught.value), caught.value.context)


async def test_error_message_is_complete(lf: AsyncLeadfeeder) -> None:
    """The message contains the error, the call, the request ID, the attempt and a hint."""
    with pytest.raises(LeadfeederError) as caught:
        await lf.companies.get("nope")
    for part in (
        "404",
        "entity_not_found",
        "get_company",
        "GET /v1/companies/{id}",
        "sandbox-0000",
        "attempt 1",
        "Check",
    ):
        assert part in str(caught.value)


async def test_log_line_contains_path_template(lf: AsyncLeadfeeder, caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt logs one line with method, path template, status, attempt and time."""
    caplog.set_level(logging.DEBUG, "leadfeeder_async")
    await lf.companies.get("159000001")
    (record,) = caplog.records
    assert record.getMessage().startswith("GET /v1/companies/{id} -> 200, attempt 1, ")


class SetClock(datetime):
    """The clock of a client, which a test sets."""

    current = datetime(2026, 12, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return cls.current


async def test_exhausted_quota_stops_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``quota_exceeded``, nothing is sent until the month ends, and the error has that time."""
    quota = http(b'{"errors":[{"code":"quota_exceeded","title":"Used up"}]}', "429 Too Many")
    async with raw_server(quota) as server, client_of(server.url, monthly_quota=1) as lf:
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        for _ in range(3):
            with pytest.raises(QuotaExceededError, match="Nothing was sent") as caught:
                await lf.with_options(retries=0).companies.get("1")
        assert (caught.value.sent, caught.value.code, len(server.requests)) == ("no", "quota_exceeded", 1)
        assert caught.value.retry_at is not None
        assert (caught.value.retry_at.day, caught.value.retry_at > datetime.now(UTC)) == (1, True)
        SetClock.current = caught.value.retry_at
        monkeypatch.setattr(executor, "datetime", SetClock)
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        assert len(server.requests) == 2


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def classify(quota: MonthlyQuota, now: datetime) -> QuotaExceededError:
    failure = quota.block_if_used_up(QuotaExceededError("x"), now)
    assert isinstance(failure, QuotaExceededError)
    return failure


@pytest.mark.parametrize(
    ("now", "recorded", "ends"),
    [
        (at(1, 31, 23, 59), 0, at(2, 1)),
        (at(11, 3), 0, at(12, 1)),
        (at(12, 31), 0, datetime(2027, 1, 1, tzinfo=UTC)),
        (at(12, 1), 95, datetime(2027, 1, 1, tzinfo=UTC)),
        (at(12, 1), 94, at(12, 1, 1)),
        (at(11, 2, 23, 59), 0, at(11, 3, 0, 59)),
    ],
)
def test_blocked_until_of_exhausted_quota(now: datetime, recorded: int, ends: datetime) -> None:
    """An exhausted quota is blocked until the next month, or for an hour if the month has just begun."""
    quota = MonthlyQuota(100)
    quota.record_usage(recorded, now)
    hint = classify(quota, now).hint
    with pytest.raises(QuotaExceededError) as caught:
        quota.check(ends - timedelta(seconds=1), ErrorContext())
    assert caught.value.retry_at == ends
    quota.check(ends, ErrorContext())
    soon = ends - now <= timedelta(hours=1) and ends.month == now.month
    assert ("Try again in an hour" in hint) is soon
    assert ("Stop until the month ends" in hint) is not soon


def test_exhausted_quota_in_new_month() -> None:
    """In the first two days one request per hour is allowed, then none until the month ends."""
    quota, now, requests = MonthlyQuota(100_000), at(12, 1, 0, 1), 0
    while now.month == 12:
        quota.record_request(now)
        classify(quota, now)
        requests += 1
        assert quota.blocked_until is not None
        now = quota.blocked_until
    assert (requests, now) == (49, datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "wrong_now", [datetime(2031, 5, 9, tzinfo=UTC), datetime(2031, 5, 1, tzinfo=UTC), at(11, 28, 12)]
)
def test_exhausted_quota_after_clock_was_set_back(wrong_now: datetime) -> None:
    """A quota that was used up while the clock was ahead does not block requests once the clock is right."""
    quota = MonthlyQuota(100)
    classify(quota, wrong_now)
    with pytest.raises(QuotaExceededError):
        quota.check(wrong_now, ErrorContext())
    quota.check(at(11, 28), ErrorContext())
    assert quota.blocked_until is None
    classify(quota, at(11, 28))
    with pytest.raises(QuotaExceededError):
        quota.check(at(11, 28) - timedelta(seconds=20), ErrorContext())


def test_shared_quota_receives_complete_months_only() -> None:
    """The block of one hour at the start of a month is not shared with other processes."""
    shared = _SharedQuota(99_999)  # as last reported, maybe in the previous month
    quota = MonthlyQuota(100_000, shared)
    classify(quota, at(12, 1))
    assert (quota.blocked_until, shared.is_exhausted) == (at(12, 1, 1), False)
    classify(quota, at(12, 3))
    assert (quota.blocked_until, shared.is_exhausted) == (datetime(2027, 1, 1, tzinfo=UTC), True)


async def test_quota_error_of_previous_month(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fast clock, a quota error of the previous month blocks the new one for an hour only."""
    SetClock.current = at(12, 1)
    monkeypatch.setattr(executor, "datetime", SetClock)
    exhausted = http(b'{"code":"quota_exceeded","message":"month used up"}', "429 Too Many")
    async with raw_server(exhausted, http(b'{"data":{"id":"1"}}')) as server, client_of(server.url) as lf:
        with pytest.raises(QuotaExceededError, match="the server may have meant the previous one"):
            await lf.users.me()
        SetClock.current = at(12, 1, 0, 59)
        with pytest.raises(QuotaExceededError, match=r"Nothing was sent.*Try again in an hour") as caught:
            await lf.users.me()
        assert (caught.value.retry_at, len(server.requests)) == (at(12, 1, 1), 1)
        SetClock.current = at(12, 1, 1)
        await lf.users.me()


@pytest.mark.parametrize(("used", "kind"), [(94, RateLimitedError), (95, QuotaExceededError)])
async def test_429_near_the_monthly_quota(used: int, kind: type[LeadfeederError]) -> None:
    """At 95 % of the monthly quota, a 429 counts as its end, and all requests stop."""
    limit = http(b'{"code":"too_many_requests","message":"x"}', "429 Too Many")
    usage = {"data": [{"id": "u", "attributes": {"period": f"{datetime.now(UTC):%Y-%m}", "requests": used - 2}}]}
    async with (
        raw_server(http(json.dumps(usage).encode()), limit) as server,
        client_of(server.url, monthly_quota=100, retries=0) as lf,
    ):
        await lf.usage.get(start_period="2026-01", end_period="2026-12")
        for error in (RateLimitedError, kind):  # `used` includes both requests
            with pytest.raises(error):
                await lf.users.me()
        sent = len(server.requests)
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        assert (len(server.requests) == sent) is (kind is QuotaExceededError)


def test_usage_of_previous_month() -> None:
    """The usage of one month does not count in the next."""
    quota, error = MonthlyQuota(10), RateLimitedError("x")
    quota.record_usage(10, at(1, 31))
    assert quota.block_if_used_up(error, at(2, 1)) is error
    assert isinstance(quota.block_if_used_up(error, at(1, 31)), QuotaExceededError)


class _SharedQuota:
    """The usage of a month, shared with other processes."""

    def __init__(self, used: int) -> None:
        self.used = used
        self.is_exhausted = False

    def record_usage(self, requests: int) -> None:
        self.used = max(self.used, requests)

    def mark_exhausted(self) -> None:
        self.is_exhausted = True


@pytest.mark.parametrize(("used", "is_exhausted"), [(9, False), (10, True)])
def test_shared_usage_counts(used: int, is_exhausted: bool) -> None:
    """A 429 ends the month if all processes together have used the quota, and the others receive it."""
    shared = _SharedQuota(used)
    failure = MonthlyQuota(10, shared).block_if_used_up(RateLimitedError("x"), at(1, 31))
    assert (isinstance(failure, QuotaExceededError), shared.is_exhausted) == (is_exhausted, is_exhausted)


def test_message_of_429_near_the_quota() -> None:
    """The error has the message of the server, the usage and the context of the request."""
    quota = MonthlyQuota(1_000)
    quota.record_usage(990, at(1, 31))
    context = ErrorContext(operation="get_me", status=429, request_id="r1", sent="yes")
    failure = quota.block_if_used_up(RateLimitedError("Slow down.", context), at(1, 31))
    assert isinstance(failure, QuotaExceededError)
    assert failure.message == "Slow down. About 990 of 1,000 requests of this month are used."
    assert failure.context == context


def test_call_without_asyncio() -> None:
    """On trio, or without any event loop, the error names asyncio."""
    lf = client_of("http://127.0.0.1:9")
    for call in (lf.users.me(), lf.__aenter__()):
        with pytest.raises(WrongLoopError, match="trio"):
            call.send(None)


@pytest.mark.parametrize("setup", ["", "import logging; logging.basicConfig()\n"])
def test_log_level_of_the_environment(setup: str) -> None:
    """``LEADFEEDER_LOG=debug`` logs each attempt to stderr once and without the key, also beside basicConfig."""
    code = (
        f"{setup}import asyncio\nfrom leadfeeder_async import *\n"
        "async def main():\n    for _ in range(2):\n        async with AsyncLeadfeeder(retries=0) as lf:\n"
        "            try: await lf.users.me()\n            except ConnectError: pass\nasyncio.run(main())"
    )
    names = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": "http://127.0.0.1:9", "LEADFEEDER_LOG": "debug"}
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **names}, capture_output=True, encoding="utf-8", check=True
    )
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all("GET /v1/users/me -> ConnectError, attempt 1" in line and KEY not in line for line in lines)


def test_json_logs_of_the_environment() -> None:
    """``LEADFEEDER_LOG=json`` writes one JSON object per line to stderr, with the fields of the attempt."""
    code = (
        "import asyncio, logging\nfrom leadfeeder_async import *\ndef hook(_): raise ValueError('broken hook')\n"
        "async def main():\n    async with AsyncLeadfeeder(retries=0, on_attempt=hook) as lf:\n"
        "        try: await lf.users.me()\n        except ConnectError: pass\nasyncio.run(main())"
    )
    names = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": "http://127.0.0.1:9", "LEADFEEDER_LOG": "json"}
    got = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **names}, capture_output=True, encoding="utf-8", check=True
    )
    attempt, failure = [json.loads(line) for line in got.stderr.splitlines()]
    assert datetime.fromisoformat(attempt["time"]) <= datetime.now(UTC)
    assert (attempt["level"], attempt["logger"]) == ("DEBUG", "leadfeeder_async")
    assert attempt["message"].startswith("GET /v1/users/me -> ConnectError")
    fields = ("operation", "method", "path", "status", "error", "attempt", "sent", "request_id", "credits_charged")
    expected = ("get_current_user", "GET", "/v1/users/me", None, "ConnectError", 1, "no", None, None)
    assert tuple(attempt[name] for name in fields) == expected
    assert attempt["elapsed"] == pytest.approx(sum(attempt["phase_durations"].values()), abs=1e-5)
    assert (failure["level"], failure["message"]) == ("ERROR", "on_attempt failed")
    assert "ValueError: broken hook" in failure["exception"]
    assert KEY not in got.stderr


def test_unknown_log_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelled ``LEADFEEDER_LOG`` raises an error, because it would log nothing."""
    monkeypatch.setenv("LEADFEEDER_LOG", "verbose")
    with pytest.raises(ConfigurationError, match="LEADFEEDER_LOG='verbose' is not a log level"):
        client_of("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "value", [float("nan"), {"rows": [{"x": float("inf")}]}, CompanyFinancialsAttributes(revenue=float("nan"))]
)
async def test_request_refuses_numbers_that_json_lacks(value: object) -> None:
    """A number that JSON cannot contain raises an error, because it would be sent as null."""
    async with client_of("http://127.0.0.1:9") as lf:
        with pytest.raises(ConfigurationError, match="is not a finite number") as caught:
            await lf.request("POST", "/v1/new", json=value)
    assert str(caught.value.argument).startswith("json")


def test_synchronous_with_shows_the_correction() -> None:
    """``with`` instead of ``async with`` raises TypeError with the statement to write."""
    lf: Any = client_of("http://127.0.0.1:9")
    with pytest.raises(TypeError, match="Use `async with`"), lf:
        pass


def test_log_as_json_with_unpaired_surrogate() -> None:
    """A message with an unpaired surrogate, which UTF-8 cannot encode, is logged with an escape."""
    record = logging.LogRecord("leadfeeder_async", logging.WARNING, "", 0, "id \ud800", (), None)
    assert json.loads(JsonFormatter().format(record))["message"] == "id \ud800"
