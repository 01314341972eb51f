"""Settings, lifetime and options of the client, and what never leaks out of it."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest

from leadfeeder_async import (
    AsyncLeadfeeder,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    LeadfeederError,
    MissingKeyError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    WrongLoopError,
)
from leadfeeder_async._core import executor
from leadfeeder_async._core.monthly_quota import MonthlyQuota
from leadfeeder_async.errors import ErrorContext
from leadfeeder_async.models.accounts import User
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import KEY, client_for, client_of
from tests.support.servers import http, raw_server


@pytest.mark.parametrize("key", ["", "   ", "k3y\r\nb", "schlüssel", "k3y\x00b", "k3y\tb", "k3y\x7f"])
def test_unusable_key_is_refused_without_being_shown(key: str) -> None:
    """A key no header can carry raises when the client is made, and the message does not hold it."""
    with pytest.raises(ConfigurationError, match=r"API key|api_key") as caught:
        AsyncLeadfeeder(key)
    assert "k3y" not in str(caught.value)
    assert "schl" not in str(caught.value)


def test_missing_key_says_what_to_do() -> None:
    """Without a key the error names the variable and the argument."""
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
def test_unusable_base_url_is_refused(url: str) -> None:
    """An address without scheme or host, with a query or with the /v1 of every call, or that would send the key in clear, is refused."""
    with pytest.raises(ConfigurationError, match="base_url"):
        AsyncLeadfeeder(KEY, base_url=url)


@pytest.mark.parametrize(
    ("option", "value"),
    [("max_concurrency", 0), ("rate", 0), ("rate", -1), ("burst", 0), ("max_body_bytes", 0), ("timeout", float("inf"))],
)
def test_settings_out_of_bounds_are_refused(option: str, value: float) -> None:
    """A setting that would hang, divide by zero or refuse every answer is named at once."""
    with pytest.raises(ConfigurationError, match=option):
        AsyncLeadfeeder(KEY, **{option: value})


def test_failed_constructor_shows_no_key() -> None:
    """A traceback with locals of a refused key holds the key in the caller's own frames only."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncLeadfeeder(f"{KEY}\nX")
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
    ours = [frame for frame in frames if frame.filename.endswith("settings.py")]
    assert ours
    assert KEY not in repr([frame.locals for frame in ours])
    assert repr(object.__new__(AsyncLeadfeeder)) == "<AsyncLeadfeeder without settings>"


@pytest.mark.parametrize(("option", "value"), [("timeout", 0.0), ("retries", -1), ("deadline", 0.0)])
def test_options_out_of_bounds_are_refused(option: str, value: float) -> None:
    """Bounds are checked in the constructor and in with_options alike."""
    with pytest.raises((ConfigurationError, TypeError), match=option):
        AsyncLeadfeeder(KEY, **{option: value})
    with pytest.raises(ConfigurationError, match=option):
        AsyncLeadfeeder(KEY).with_options(**{option: value})


async def test_environment_is_read_and_arguments_win(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, account and address come from the environment; an argument overrides its variable."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    async with AsyncLeadfeeder() as lf:
        assert (await lf.accounts.get()).data.id == sandbox.account_id
    async with AsyncLeadfeeder("another-key") as lf:
        with pytest.raises(AuthenticationError):
            await lf.accounts.list()


async def test_only_account_is_found_once(sandbox: Sandbox) -> None:
    """Without an account id, the key's single account is looked up, once for all concurrent calls."""
    async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, rate=1e6, burst=1000) as lf:
        await asyncio.gather(*(lf.companies.get("159000001") for _ in range(10)))
    assert sandbox.ledger.count("list_accounts") == 1


async def test_an_account_that_is_not_there() -> None:
    """An empty answer is NotFoundError, and says that the request was sent and how the server names it."""
    nobody = http(b'{"data":[],"meta":{"request_id":"r-1"}}')
    async with raw_server(nobody) as server, client_of(server.url) as lf:
        with pytest.raises(NotFoundError, match="no such account") as caught:
            await lf.accounts.get("310042")
    assert (caught.value.sent, caught.value.status, caught.value.request_id) == ("yes", 200, "r-1")


async def test_several_accounts_and_none_chosen() -> None:
    """With several accounts the error lists them, and one named per client or per call is used."""
    async with Sandbox(accounts=2) as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url) as lf:
            with pytest.raises(ConfigurationError, match=r"310042 \(Seller 1\), 310077 \(Seller 2\)"):
                await lf.companies.get("159000001")
            assert (await lf.accounts.get("310077")).data.name == "Seller 2"
            assert (await lf.with_options(account_id="310077").accounts.get()).data.name == "Seller 2"


async def test_with_options_shares_everything_else(sandbox: Sandbox) -> None:
    """A copy has its own options, and the original's connections, limit, counts and end."""
    lf = client_for(sandbox, timeout=5)
    hasty = lf.with_options(timeout=0.5, retries=0)
    assert (lf._executor.options.timeout, hasty._executor.options.timeout) == (5, 0.5)
    assert hasty.with_options(retries=1)._executor.options.timeout == 0.5
    await hasty.users.me()
    assert lf.stats.requests == 1
    await lf.aclose()
    with pytest.raises(ClientClosedError):
        await hasty.users.me()


async def test_use_after_close_is_named(sandbox: Sandbox) -> None:
    """A closed client says so, in every kind of call; closing twice is fine."""
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


def test_use_from_another_loop_is_named() -> None:
    """A client that was opened on one event loop refuses another instead of hanging."""
    with asyncio.Runner() as first, asyncio.Runner() as second:
        lf = first.run(_opened())
        with pytest.raises(WrongLoopError, match="event loop"):
            second.run(lf.aclose_and_call())
        first.run(lf.client.aclose())


class _Opened:
    def __init__(self, client: AsyncLeadfeeder) -> None:
        self.client = client

    async def aclose_and_call(self) -> None:
        await self.client.users.me()


async def _opened() -> _Opened:
    return _Opened(await client_of("http://127.0.0.1:9").__aenter__())


async def test_request_uses_the_same_road(lf: AsyncLeadfeeder) -> None:
    """An unknown route decodes into what is asked for, and fails with the same errors."""
    assert (await lf.request("GET", "/v1/users/me", returns=Response[User])).data.email == "ada@seller.test"
    assert (await lf.request("get", "/v1/users/me"))["data"]
    with pytest.raises(NotFoundError, match="No such route"):
        await lf.request("GET", "/v1/nothing")
    assert lf.stats.requests == 3


@pytest.mark.parametrize("path", ["v1/x", "//evil.test/x", "/v1/x?a=1", "/v1/x#f", "/v1/{id}", "\\x", "/v1/\tx"])
async def test_request_takes_a_path_only(lf: AsyncLeadfeeder, path: str) -> None:
    """A path that could change the host or the query is refused unsent."""
    with pytest.raises(ConfigurationError, match="path"):
        await lf.request("GET", path)
    assert lf.stats.requests == 0


async def test_paths_move_an_operation() -> None:
    """An operation whose path the contract has wrong can be moved by its name."""
    answer = http(b'{"data":{"id":"1"}}')
    async with raw_server(answer) as server, client_of(server.url, paths={"get_company": "/v2/firms/{id}"}) as lf:
        await lf.companies.get("7")
    assert server.requests[0].startswith(b"GET /v2/firms/7?account_id=1 ")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("get_compny", "Unknown operation 'get_compny'. Did you mean 'get_company'"),
        ("request", "Unknown operation 'request'"),
        ("", "''"),
    ],
)
def test_paths_of_no_operation_are_refused(name: str, said: str) -> None:
    """A misspelt name would move nothing, and nobody would notice."""
    with pytest.raises(ConfigurationError, match=said):
        AsyncLeadfeeder(KEY, paths={name: "/v2/firms/{id}"})


async def test_default_pace_meets_no_429() -> None:
    """Forty calls at the default pace stay below the sandbox's limit."""
    async with Sandbox() as sandbox:
        async with AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url) as lf:
            await asyncio.gather(*(lf.users.me() for _ in range(40)))
        assert (len(sandbox.ledger.requests), sandbox.ledger.rate_limited) == (40, 0)


async def test_key_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """The key is in no repr, error, log line, traceback with locals, copy or pickle."""
    caplog.set_level(logging.DEBUG)
    lf = client_of("http://127.0.0.1:9", retries=0)
    with pytest.raises(ConnectError) as caught:
        await lf.users.me()
    error = caught.value
    await lf.aclose()
    text = traceback.TracebackException.from_exception(error, capture_locals=True, compact=False)
    shown = [
        repr(lf), repr(lf._state.settings), repr(error), str(error), repr(error.args), repr(error.__context__),
        repr(vars(error)), "".join(text.format()), caplog.text, repr(copy.copy(error)), repr(pickle.dumps(error)),
    ]  # fmt: skip
    assert [one for one in shown if KEY in one] == []
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(lf._state.settings)


async def test_errors_survive_pickling(lf: AsyncLeadfeeder) -> None:
    """A worker process can hand an error back whole."""
    with pytest.raises(NotFoundError) as caught:
        await lf.companies.get("nope")
    back = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(back, NotFoundError)
    assert (str(back), back.context) == (str(caught.value), caught.value.context)


async def test_error_tells_a_tired_person_everything(lf: AsyncLeadfeeder) -> None:
    """The text holds what happened, which call, the request id, the attempt and what to do."""
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


async def test_log_line_holds_the_template_only(lf: AsyncLeadfeeder, caplog: pytest.LogCaptureFixture) -> None:
    """One line per attempt: method, path template, outcome, attempt and time."""
    caplog.set_level(logging.DEBUG, "leadfeeder_async")
    await lf.companies.get("159000001")
    (record,) = caplog.records
    assert record.getMessage().startswith("GET /v1/companies/{id} -> 200, attempt 1, ")


async def test_used_up_quota_stops_all_traffic() -> None:
    """After ``quota_exceeded`` nothing is sent until the month is over, and the error says when that is."""
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
        lf._state.quota.blocked_until = datetime(2020, 1, 1, tzinfo=UTC)
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        assert len(server.requests) == 2


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def judged(quota: MonthlyQuota, now: datetime) -> QuotaExceededError:
    failure = quota.classify(QuotaExceededError("x"), now)
    assert isinstance(failure, QuotaExceededError)
    return failure


@pytest.mark.parametrize(
    ("now", "counted", "ends"),
    [
        (at(1, 31, 23, 59), 0, at(2, 1)),
        (at(11, 3), 0, at(12, 1)),
        (at(12, 31), 0, datetime(2027, 1, 1, tzinfo=UTC)),
        (at(12, 1), 95, datetime(2027, 1, 1, tzinfo=UTC)),
        (at(12, 1), 94, at(12, 1, 1)),
        (at(11, 2, 23, 59), 0, at(11, 3, 0, 59)),
    ],
)
def test_month_after_a_used_up_quota(now: datetime, counted: int, ends: datetime) -> None:
    """The quota comes back on the first of the next month; in a new one that hardly began, an answer is asked for again."""
    quota = MonthlyQuota(100)
    quota.record_usage(counted, now)
    hint = judged(quota, now).hint
    with pytest.raises(QuotaExceededError) as caught:
        quota.check(ends - timedelta(seconds=1), ErrorContext())
    assert caught.value.retry_at == ends
    quota.check(ends, ErrorContext())
    soon = ends - now <= timedelta(hours=1) and ends.month == now.month
    assert ("Try again in an hour" in hint) is soon
    assert ("Stop until the month ends" in hint) is not soon


def test_a_new_month_that_stays_used_up_ends_all_traffic() -> None:
    """Each hour of the first two days one answer is asked for; after them none is, until the month is over."""
    quota, now, asked = MonthlyQuota(100_000), at(12, 1, 0, 1), 0
    while now.month == 12:
        quota.record_request(now)
        judged(quota, now)
        asked += 1
        assert quota.blocked_until is not None
        now = quota.blocked_until
    assert (asked, now) == (49, datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("wrong", [datetime(2031, 5, 9, tzinfo=UTC), datetime(2031, 5, 1, tzinfo=UTC), at(11, 28, 12)])
def test_quota_is_requested_again_after_the_clock_was_set_back(wrong: datetime) -> None:
    """A quota that was used up while the clock was ahead does not block requests once the clock is right."""
    quota = MonthlyQuota(100)
    judged(quota, wrong)
    with pytest.raises(QuotaExceededError):
        quota.check(wrong, ErrorContext())
    quota.check(at(11, 28), ErrorContext())
    assert quota.blocked_until is None
    judged(quota, at(11, 28))
    with pytest.raises(QuotaExceededError):
        quota.check(at(11, 28) - timedelta(seconds=20), ErrorContext())


def test_other_processes_are_told_of_a_whole_month_only() -> None:
    """What one holds back for an hour, since it may be the last month, must not end the new one for all of them."""
    shared = _OthersUsed(99_999)  # as last heard, on a clock that may be in the last month still
    quota = MonthlyQuota(100_000, shared)
    judged(quota, at(12, 1))
    assert (quota.blocked_until, shared.over) == (at(12, 1, 1), False)
    judged(quota, at(12, 3))
    assert (quota.blocked_until, shared.over) == (datetime(2027, 1, 1, tzinfo=UTC), True)


async def test_last_month_s_end_does_not_take_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that is fast, the last month's answer comes in the new one: an hour later the client goes on."""

    class Fast(datetime):
        shown = at(12, 1, 0, 0)

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return cls.shown

    monkeypatch.setattr(executor, "datetime", Fast)
    used_up = http(b'{"code":"quota_exceeded","message":"month used up"}', "429 Too Many")
    async with raw_server(used_up, http(b'{"data":{"id":"1"}}')) as server, client_of(server.url) as lf:
        with pytest.raises(QuotaExceededError, match="the server may have meant the previous one"):
            await lf.users.me()
        Fast.shown = at(12, 1, 0, 59)
        with pytest.raises(QuotaExceededError, match=r"Nothing was sent.*Try again in an hour") as caught:
            await lf.users.me()
        assert (caught.value.retry_at, len(server.requests)) == (at(12, 1, 1), 1)
        Fast.shown = at(12, 1, 1)
        await lf.users.me()


@pytest.mark.parametrize(("used", "kind"), [(94, RateLimitedError), (95, QuotaExceededError)])
async def test_429_near_the_end_of_the_month_s_requests_is_that_end(used: int, kind: type[LeadfeederError]) -> None:
    """The guide gives both 429s one code: with 95 % used, waiting a second would not help, and all traffic stops."""
    limit = http(b'{"code":"too_many_requests","message":"x"}', "429 Too Many")
    usage = {"data": [{"id": "u", "attributes": {"period": f"{datetime.now(UTC):%Y-%m}", "requests": used - 2}}]}
    async with (
        raw_server(http(json.dumps(usage).encode()), limit) as server,
        client_of(server.url, monthly_quota=100, retries=0) as lf,
    ):
        await lf.usage.get(start_period="2026-01", end_period="2026-12")
        for error in (RateLimitedError, kind):  # request 2 of `used` brings the count there
            with pytest.raises(error):
                await lf.users.me()
        sent = len(server.requests)
        with pytest.raises(QuotaExceededError):
            await lf.users.me()
        assert (len(server.requests) == sent) is (kind is QuotaExceededError)


def test_month_s_count_begins_anew() -> None:
    """What was used in one month does not count in the next."""
    quota, error = MonthlyQuota(10), RateLimitedError("x")
    quota.record_usage(10, at(1, 31))
    assert quota.classify(error, at(2, 1)) is error
    assert isinstance(quota.classify(error, at(1, 31)), QuotaExceededError)


class _OthersUsed:
    """A month of which other processes used some requests."""

    def __init__(self, used: int) -> None:
        self.used = used
        self.over = False

    def record_usage(self, requests: int) -> None:
        self.used = max(self.used, requests)

    def mark_exhausted(self) -> None:
        self.over = True


@pytest.mark.parametrize(("used", "over"), [(9, False), (10, True)])
def test_what_other_processes_used_counts_too(used: int, over: bool) -> None:
    """A 429 is the month's end for this process where all of them together used the requests, and all are told."""
    shared = _OthersUsed(used)
    failure = MonthlyQuota(10, shared).classify(RateLimitedError("x"), at(1, 31))
    assert (isinstance(failure, QuotaExceededError), shared.over) == (over, over)


def test_429_taken_for_the_month_s_end_says_what_the_server_said() -> None:
    """The error names the server's words, the count that decided, and the request's own facts."""
    quota = MonthlyQuota(1_000)
    quota.record_usage(990, at(1, 31))
    facts = ErrorContext(operation="get_me", status=429, request_id="r1", sent="yes")
    failure = quota.classify(RateLimitedError("Slow down.", facts), at(1, 31))
    assert isinstance(failure, QuotaExceededError)
    assert failure.message == "Slow down. About 990 of 1,000 requests of this month are used."
    assert failure.context == facts


def test_call_without_asyncio() -> None:
    """On trio, or without any event loop, the error names asyncio."""
    lf = client_of("http://127.0.0.1:9")
    for call in (lf.users.me(), lf.__aenter__()):
        with pytest.raises(WrongLoopError, match="trio"):
            call.send(None)


@pytest.mark.parametrize("setup", ["", "import logging; logging.basicConfig()\n"])
def test_log_level_of_the_environment(setup: str) -> None:
    """``LEADFEEDER_LOG=debug`` shows a line per attempt on stderr, once, without the key, also beside basicConfig."""
    code = (
        f"{setup}import asyncio\nfrom leadfeeder_async import *\n"
        "async def main():\n    for _ in range(2):\n        async with AsyncLeadfeeder(retries=0) as lf:\n"
        "            try: await lf.users.me()\n            except ConnectError: pass\nasyncio.run(main())"
    )
    names = {"LEADFEEDER_API_KEY": KEY, "LEADFEEDER_BASE_URL": "http://127.0.0.1:9", "LEADFEEDER_LOG": "debug"}
    got = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **names}, capture_output=True, text=True, check=True
    )
    lines = got.stderr.splitlines()
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
        [sys.executable, "-c", code], env={**os.environ, **names}, capture_output=True, text=True, check=True
    )
    attempt, failure = [json.loads(line) for line in got.stderr.splitlines()]
    assert datetime.fromisoformat(attempt["time"]) <= datetime.now(UTC)
    assert (attempt["level"], attempt["logger"]) == ("DEBUG", "leadfeeder_async")
    assert attempt["message"].startswith("GET /v1/users/me -> ConnectError")
    fields = ("operation", "method", "path", "status", "error", "attempt", "sent", "request_id", "credits_charged")
    expected = ("get_current_user", "GET", "/v1/users/me", None, "ConnectError", 1, "no", None, None)
    assert tuple(attempt[name] for name in fields) == expected
    assert attempt["elapsed"] == pytest.approx(sum(attempt["phases"].values()), abs=1e-5)
    assert (failure["level"], failure["message"]) == ("ERROR", "on_attempt failed")
    assert "ValueError: broken hook" in failure["exception"]
    assert KEY not in got.stderr


def test_synchronous_with_shows_the_correction() -> None:
    """``with`` instead of ``async with`` raises TypeError with the statement to write."""
    lf: Any = client_of("http://127.0.0.1:9")
    with pytest.raises(TypeError, match="Use `async with`"), lf:
        pass
