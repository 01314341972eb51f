"""API keys and access tokens: renewal ahead of expiry and after a rejection, once for all calls that wait."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from leadfeeder_async import (
    AccessToken,
    AsyncLeadfeeder,
    AuthenticationError,
    BudgetExceededError,
    ClientClosedError,
    ConfigurationError,
    CredentialError,
    DeadlineExceededError,
    LeadfeederError,
    MissingKeyError,
    PermissionDeniedError,
    ServerError,
)
from leadfeeder_async._core import credential
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import KEY
from tests.support.requirements import needs_fifos
from tests.support.servers import RawServer, handler_server, http, listening, port_of, raw_server


class TokenEndpoint:
    """An identity provider: issues tokens of a sandbox, and counts its calls."""

    def __init__(self, sandbox: Sandbox, *, expires_in: float | None = 3_600.0, delay: float = 0.0) -> None:
        self.sandbox, self.expires_in, self.delay = sandbox, expires_in, delay
        self.tokens = list[str]()
        self.error: BaseException | None = None

    async def __call__(self) -> AccessToken:
        self.tokens.append(self.sandbox.issue_token())
        await asyncio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return AccessToken(self.tokens[-1], self.expiry())

    def expiry(self) -> datetime | None:
        return None if self.expires_in is None else datetime.now(UTC) + timedelta(seconds=self.expires_in)


Provider = Callable[[], AccessToken | Awaitable[AccessToken]]


@asynccontextmanager
async def client(sandbox: Sandbox, token: str | Provider, **options: float) -> AsyncIterator[AsyncLeadfeeder]:
    settings = {"rate": 1e6, "burst": 100_000, **options}
    lf = AsyncLeadfeeder(access_token=token, base_url=sandbox.url, account_id=sandbox.account_id, **settings)  # type: ignore[arg-type]
    async with lf:
        yield lf


def codes(sandbox: Sandbox) -> list[int]:
    return [request.status for request in sandbox.ledger.requests]


async def test_token_is_sent_as_bearer() -> None:
    """A token replaces the header of the API key."""
    async with raw_server(http(b'{"data":{"id":"1"}}')) as server:
        async with AsyncLeadfeeder(access_token=" abc.def-1~2+3/4= ", base_url=server.url, account_id="1") as lf:
            await lf.users.me()
    head = server.requests[0].lower()
    assert b"\r\nauthorization: bearer abc.def-1~2+3/4=\r\n" in head
    assert b"x-api-key" not in head


async def test_token_wins_over_environment(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """A token as an argument is used although the environment has a key."""
    monkeypatch.setenv("LEADFEEDER_API_KEY", "wrong")
    async with client(sandbox, sandbox.issue_token()) as lf:
        assert (await lf.users.me()).data.id


async def test_token_of_the_environment(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """LEADFEEDER_ACCESS_TOKEN is used if no key is set."""
    monkeypatch.setenv("LEADFEEDER_ACCESS_TOKEN", sandbox.issue_token())
    async with AsyncLeadfeeder(base_url=sandbox.url) as lf:
        assert (await lf.users.me()).data.id
    monkeypatch.setenv("LEADFEEDER_API_KEY", "other")
    async with AsyncLeadfeeder(base_url=sandbox.url) as lf:
        with pytest.raises(AuthenticationError) as caught:
            await lf.users.me()
    assert caught.value.code == "invalid_api_key"


@pytest.mark.parametrize("value", ["", "two words", 'a"b', "a\nb", "ä", 5, AccessToken("x")])
def test_invalid_token_is_rejected(value: str) -> None:
    """A token that a header cannot carry, or that is not a string, raises before anything is sent."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncLeadfeeder(access_token=value)
    assert not isinstance(value, str) or not value or value not in str(caught.value)


def test_key_and_token_exclude_each_other() -> None:
    """A client has one credential."""
    with pytest.raises(ConfigurationError, match="cannot be combined"):
        AsyncLeadfeeder("k", access_token="t")


def test_expiry_needs_a_time_zone() -> None:
    """An expiry without a time zone is rejected, because its meaning would depend on the machine."""
    with pytest.raises(ConfigurationError, match="no time zone"):
        AccessToken("x", datetime(2026, 11, 1))  # noqa: DTZ001


async def test_a_thousand_calls_share_one_refresh(sandbox: Sandbox) -> None:
    """At the start and after an expiry on the server, 1,000 concurrent calls cause one call of the callable each."""
    endpoint = TokenEndpoint(sandbox, delay=0.01)
    async with client(sandbox, endpoint) as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(1_000)))
        assert len(endpoint.tokens) == 1
        sandbox.expire_token(endpoint.tokens[0])
        await asyncio.gather(*(lf.users.me() for _ in range(1_000)))
        assert len(endpoint.tokens) == 2
        rejected = codes(sandbox).count(401)
        assert 1 <= rejected <= 16  # those in flight when the first rejection arrived
        assert codes(sandbox).count(200) == 2_000
        assert lf.stats.retries == rejected


async def test_refresh_ahead_of_expiry_does_not_delay_calls(sandbox: Sandbox) -> None:
    """A token that expires soon is renewed while calls still use it."""
    endpoint = TokenEndpoint(sandbox, expires_in=1.0)
    async with client(sandbox, endpoint) as lf:
        await lf.users.me()
        endpoint.delay, endpoint.expires_in = 0.05, 3_600.0
        await asyncio.sleep(0.85)  # a fifth of the lifetime before the expiry is the margin
        await asyncio.gather(*(lf.users.me() for _ in range(20)))
        assert len(endpoint.tokens) == 2
        await asyncio.sleep(0.1)
        sandbox.revoke_token(endpoint.tokens[0])
        await lf.users.me()
    assert set(codes(sandbox)) == {200}
    assert len(endpoint.tokens) == 2


async def test_calls_wait_for_an_expired_token(sandbox: Sandbox) -> None:
    """A token that has expired by its own date is not sent."""
    endpoint = TokenEndpoint(sandbox, expires_in=0.05)
    async with client(sandbox, endpoint) as lf:
        await lf.users.me()
        sandbox.expire_token(endpoint.tokens[0])
        await asyncio.sleep(0.06)
        await lf.users.me()
    assert codes(sandbox) == [200, 200]


async def test_clock_ahead_does_not_renew_each_call(sandbox: Sandbox) -> None:
    """A token that arrives expired is used until the server rejects it."""
    endpoint = TokenEndpoint(sandbox, expires_in=-100)
    async with client(sandbox, endpoint) as lf:
        await lf.users.me()
        await lf.users.me()
    assert len(endpoint.tokens) == 1


@pytest.mark.parametrize("end", ["expire", "revoke"])
async def test_rejected_token_is_replaced_once(sandbox: Sandbox, end: str) -> None:
    """A call whose token was rejected is sent again with the next one, also if it charges."""
    endpoint = TokenEndpoint(sandbox, expires_in=None)
    async with client(sandbox, endpoint, retries=0) as lf:
        await lf.users.me()
        getattr(sandbox, f"{end}_token")(endpoint.tokens[0])
        response = await lf.companies.get(sandbox.world.company_ids()[0])
    assert codes(sandbox) == [200, 401, 200]
    assert response.meta.credits is not None
    assert response.meta.credits.charged == sandbox.ledger.credits_charged == 1


async def test_second_rejection_is_raised(sandbox: Sandbox) -> None:
    """A new token that is rejected as well ends the call."""
    endpoint = TokenEndpoint(sandbox)
    async with client(sandbox, endpoint) as lf:
        sandbox.fail_next(401, code="token_expired", times=5)
        with pytest.raises(AuthenticationError) as caught:
            await lf.users.me()
    assert (len(endpoint.tokens), codes(sandbox), caught.value.attempts) == (2, [401, 401], 2)


async def test_forbidden_endpoint_blocks_no_other_call(sandbox: Sandbox) -> None:
    """If a credential cannot be renewed after a 403, which may concern one endpoint, other calls go on with it."""
    tokens = iter([AccessToken(sandbox.issue_token())])
    async with client(sandbox, lambda: next(tokens), retries=0) as lf:
        await lf.users.me()
        sandbox.fail_next(403, code="invalid_api_key")
        with pytest.raises(CredentialError):
            await lf.tags.list().collect()
        await lf.users.me()
    assert codes(sandbox) == [200, 403, 200]


@pytest.mark.parametrize("code", ["invalid_api_key", "token_expired", "missing_token"])
async def test_rejection_with_403_is_renewed(sandbox: Sandbox, code: str) -> None:
    """A credential is renewed after a 403 with a code about it, which some versions of the API send."""
    endpoint = TokenEndpoint(sandbox)
    async with client(sandbox, endpoint, retries=0) as lf:
        sandbox.fail_next(403, code=code)
        await lf.companies.get(sandbox.world.company_ids()[0])
    assert (len(endpoint.tokens), codes(sandbox), sandbox.ledger.credits_charged) == (2, [403, 200], 1)


async def test_late_rejection_of_an_old_token_does_not_renew() -> None:
    """A rejection that arrives after the renewal is about the old token, so the call is only sent again."""
    tokens, old_requests, is_expired = list[str](), 0, False

    async def respond(request: web.Request) -> web.Response:
        nonlocal old_requests
        if is_expired and request.headers["Authorization"] == "Bearer token-1":
            old_requests += 1
            await asyncio.sleep(0.1 * (old_requests - 1))
            return web.json_response({"errors": [{"code": "token_expired"}]}, status=401)
        return web.json_response({"data": {"id": "1"}})

    def provide() -> AccessToken:
        tokens.append(f"token-{len(tokens) + 1}")
        return AccessToken(tokens[-1])

    async with handler_server(respond) as url, AsyncLeadfeeder(access_token=provide, base_url=url) as lf:
        await lf.with_options(account_id="1").users.me()  # later calls do not wait for the first connection
        is_expired = True
        await asyncio.gather(*(lf.with_options(account_id="1").users.me() for _ in range(3)))
    assert (tokens, old_requests) == (["token-1", "token-2"], 3)


async def test_other_rejections_do_not_renew(sandbox: Sandbox) -> None:
    """A token without the scope, and a 403 of the account, are not renewed."""
    calls = 0

    def provide() -> AccessToken:
        nonlocal calls
        calls += 1
        return AccessToken(sandbox.issue_token("tags:read"))

    async with client(sandbox, provide) as lf:
        await lf.tags.list().collect()
        with pytest.raises(PermissionDeniedError) as caught:
            await lf.companies.get("1")
        sandbox.fail_next(401, code="oauth_app_inactive")
        with pytest.raises(AuthenticationError):
            await lf.tags.list().collect()
    assert caught.value.code == "insufficient_scope"
    assert calls == 1


async def test_fixed_token_is_not_renewed(sandbox: Sandbox) -> None:
    """The error of a fixed token that expired names the remedy."""
    token = sandbox.issue_token(expires_in=0)
    async with client(sandbox, token) as lf:
        with pytest.raises(AuthenticationError, match="Pass a new access token, or a callable") as caught:
            await lf.users.me()
    assert (caught.value.code, codes(sandbox)) == ("token_expired", [401])


async def test_same_token_again_is_not_sent_again(sandbox: Sandbox) -> None:
    """If the callable returns the rejected token, the call ends with the error of the server."""
    token = sandbox.issue_token(expires_in=0)
    async with client(sandbox, lambda: AccessToken(token)) as lf:
        with pytest.raises(AuthenticationError):
            await lf.users.me()
    assert codes(sandbox) == [401]


async def test_rejected_attempt_is_not_one_of_the_retries(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rejection, a call still has all its retries."""
    monkeypatch.setattr("leadfeeder_async._core.retry.INITIAL_BACKOFF", 0.01)
    async with client(sandbox, TokenEndpoint(sandbox), retries=1) as lf:
        sandbox.fail_next(401, code="token_expired")
        sandbox.fail_next(503)
        assert (await lf.users.me()).data.id
        sandbox.fail_next(401, code="token_expired")
        sandbox.fail_next(503, times=2)
        with pytest.raises(ServerError):
            await lf.users.me()
    assert codes(sandbox) == [401, 503, 200, 401, 503, 503]


async def test_budget_bounds_the_second_request(sandbox: Sandbox) -> None:
    """The request with the new token counts against a budget."""
    endpoint = TokenEndpoint(sandbox)
    async with client(sandbox, endpoint) as lf:
        sandbox.fail_next(401, code="token_expired")
        async with lf.budget(max_requests=1):
            with pytest.raises(BudgetExceededError):
                await lf.users.me()
    assert codes(sandbox) == [401]


async def test_failure_is_shared_and_paused(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    """If the callable fails, all waiting calls end with the class of its exception, and the next second repeats it."""
    endpoint = TokenEndpoint(sandbox, delay=0.01)
    endpoint.error = RuntimeError("client_secret=hunter2")
    async with client(sandbox, endpoint) as lf:
        results = await asyncio.gather(*(lf.users.me() for _ in range(200)), return_exceptions=True)
    assert {type(result) for result in results} == {CredentialError}
    assert len(endpoint.tokens) == 1
    error = results[0]
    assert isinstance(error, CredentialError)
    assert "RuntimeError" in str(error)
    assert (error.sent, error.phase, error.context.operation) == ("no", "credential", "get_current_user")
    assert "hunter2" not in caplog.text + str(results)
    assert sandbox.ledger.requests == []


async def test_failed_refresh_ahead_keeps_the_token(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the old token is valid, calls succeed although the callable fails. It is called again a second later."""
    monkeypatch.setattr(credential, "FAILURE_PAUSE", 0.5)
    endpoint = TokenEndpoint(sandbox, expires_in=60)
    monkeypatch.setattr(credential, "RENEWAL_MARGIN_SHARE", 0.999)  # the margin begins at once
    async with client(sandbox, endpoint) as lf:
        await lf.users.me()
        endpoint.error = RuntimeError()
        await asyncio.sleep(0.1)
        await asyncio.gather(*(lf.users.me() for _ in range(20)))
        await asyncio.sleep(0.55)
        await lf.users.me()
        await asyncio.sleep(0)
    assert set(codes(sandbox)) == {200}
    assert len(endpoint.tokens) == 3


async def test_canceled_caller_does_not_cancel_the_refresh(sandbox: Sandbox) -> None:
    """The refresh that one caller started serves the others after that caller was canceled."""
    endpoint = TokenEndpoint(sandbox, delay=0.05)
    async with client(sandbox, endpoint) as lf:
        first = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.01)
        second = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.01)
        first.cancel()
        await second
    assert len(endpoint.tokens) == 1


async def test_deadline_bounds_the_wait(sandbox: Sandbox) -> None:
    """A callable that takes long ends the call at its deadline, and the error names the phase."""
    async with client(sandbox, TokenEndpoint(sandbox, delay=9)) as lf:
        with pytest.raises(DeadlineExceededError) as caught:
            await lf.with_options(deadline=0.05).users.me()
    assert (caught.value.phase, caught.value.sent) == ("credential", "no")


async def test_slow_callable_times_out(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callable that never returns fails after a time, also without a deadline."""
    monkeypatch.setattr(credential, "RENEWAL_TIMEOUT", 0.05)
    async with client(sandbox, TokenEndpoint(sandbox, delay=9)) as lf:
        with pytest.raises(CredentialError, match=r"took longer than 0\.05 s"):
            await lf.users.me()


async def test_closing_cancels_the_refresh(sandbox: Sandbox) -> None:
    """Closing the client ends a running callable, and its calls."""
    ended = list[str]()

    async def provide() -> AccessToken:
        try:
            await asyncio.sleep(9)
        finally:
            ended.append("ended")
        return AccessToken("x")

    async with client(sandbox, provide) as lf:
        call = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.02)
    assert ended == ["ended"]
    with pytest.raises(ClientClosedError):
        await call


@pytest.mark.parametrize("by_scope", [False, True])
async def test_canceled_closing_closes_the_connections(by_scope: bool) -> None:
    """If closing is canceled while a callable runs, the connections are closed nevertheless."""
    raw = RawServer(
        http(b'{"data":{"id":"1"}}'), http(b'{"errors":[{"code":"token_expired"}]}', status="401 Unauthorized")
    )
    renewing, ended = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await raw.handle(reader, writer)
        finally:
            ended.set()

    async def provide() -> AccessToken:
        if raw.requests:
            renewing.set()
            try:
                await asyncio.sleep(9)
            finally:
                await asyncio.sleep(0.05)
        return AccessToken("first-token")

    async with listening(handle) as server:
        lf = AsyncLeadfeeder(access_token=provide, base_url=f"http://localhost:{port_of(server)}", account_id="1")
        await lf.users.me()
        call = asyncio.create_task(lf.users.me())
        await renewing.wait()
        closing = asyncio.create_task(_close_in_scope(lf) if by_scope else lf.aclose())
        await asyncio.sleep(0.01)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        with pytest.raises(ClientClosedError):
            await call
        async with asyncio.timeout(5):
            await ended.wait()


async def _close_in_scope(lf: AsyncLeadfeeder) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await lf.aclose()


async def test_callable_must_not_use_its_own_client(sandbox: Sandbox) -> None:
    """A callable that calls the API with the client that waits for it raises instead of waiting forever."""
    seen = list[str]()

    async def provide() -> AccessToken:
        try:
            await lf.users.me()
        except CredentialError as error:
            seen.append(error.message)
        return AccessToken(sandbox.issue_token())

    async with client(sandbox, provide) as lf:
        await lf.users.me()
    assert seen == ["The callable of access_token uses the client that it authenticates."]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a-token-12345", "must return an AccessToken, not str"),
        (None, "not NoneType"),
        (AccessToken("two words-12345"), "cannot carry"),
        (AccessToken(""), "is empty"),
    ],
)
async def test_invalid_result_of_callable(sandbox: Sandbox, value: AccessToken, message: str) -> None:
    """A result that is not a usable token raises, and is not shown."""
    async with client(sandbox, lambda: value) as lf:
        with pytest.raises(ConfigurationError, match=message) as caught:
            await lf.users.me()
    assert "12345" not in str(caught.value)
    assert sandbox.ledger.requests == []


async def test_naive_expiry_in_callable_is_explained(sandbox: Sandbox) -> None:
    """An expiry without a time zone is reported with its remedy, although other errors of the callable are hidden."""
    async with client(sandbox, lambda: AccessToken("x", datetime(2030, 1, 1))) as lf:  # noqa: DTZ001
        with pytest.raises(ConfigurationError, match="no time zone"):
            await lf.users.me()


async def test_callable_that_cancels_itself_fails(sandbox: Sandbox) -> None:
    """A callable that raises CancelledError, as aiohttp does when it closes, does not cancel the calls."""

    def provide() -> AccessToken:
        raise asyncio.CancelledError

    async with client(sandbox, provide) as lf:
        with pytest.raises(CredentialError, match="it was canceled"):
            await lf.users.me()


# API keys


def key_client(sandbox: Sandbox, key: object = None, **options: object) -> AsyncLeadfeeder:
    settings = {"rate": 1e6, "burst": 100_000, **options}
    return AsyncLeadfeeder(key, base_url=sandbox.url, account_id=sandbox.account_id, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_async", [False, True])
async def test_key_callable_follows_a_rotation(sandbox: Sandbox, is_async: bool) -> None:
    """A callable is called at the start and after the server rejected the key, not for each call."""
    calls = 0

    def provide() -> str:
        nonlocal calls
        calls += 1
        return f" {sandbox.api_key}\n"

    async def provide_later() -> str:
        await asyncio.sleep(0.01)
        return provide()

    async with key_client(sandbox, provide_later if is_async else provide) as lf:
        await asyncio.gather(*(lf.users.me() for _ in range(20)))
        assert calls == 1
        sandbox.rotate_key()
        await asyncio.gather(*(lf.users.me() for _ in range(20)))
        assert calls == 2
    assert codes(sandbox).count(200) == 40


def test_key_file_with_assignments_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with variables instead of a key is an error that names the file and does not show the key."""
    file = tmp_path / ".env"
    file.write_text(f"export LEADFEEDER_API_KEY={KEY}\n", encoding="utf-8")
    monkeypatch.delenv("LEADFEEDER_API_KEY", raising=False)
    monkeypatch.setenv("LEADFEEDER_API_KEY_FILE", str(file))
    with pytest.raises(ConfigurationError, match="has an assignment or quotes, not only a key") as caught:
        AsyncLeadfeeder()
    assert KEY not in str(caught.value)


async def test_key_file_follows_a_rotation(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with the key, such as a mounted secret, is read again after the server rejected the key."""
    file = tmp_path / "key"
    file.write_text(sandbox.api_key, encoding="utf-8")
    monkeypatch.setenv("LEADFEEDER_API_KEY_FILE", str(file))
    async with key_client(sandbox) as lf:
        await lf.users.me()
        old = sandbox.api_key
        sandbox.rotate_key()
        with pytest.raises(AuthenticationError):
            await lf.users.me()
        file.write_text(sandbox.api_key + "\n", encoding="utf-8")
        await lf.users.me()
        assert codes(sandbox) == [200, 401, 401, 200]
        file.unlink()
        sandbox.rotate_key()
        with pytest.raises(CredentialError, match="cannot be read"):
            await lf.users.me()
    assert old not in str(file)


HANGING = """
import asyncio, os, sys
from leadfeeder_async import AsyncLeadfeeder, DeadlineExceededError
from leadfeeder_async.sandbox import Sandbox


async def main(file):
    async with Sandbox(companies=2, visits=2) as sandbox:
        with open(file, "w") as opened:
            opened.write(sandbox.api_key)
        async with AsyncLeadfeeder(base_url=sandbox.url, account_id="310042") as lf:
            os.unlink(file)
            os.mkfifo(file)
            sandbox.rotate_key()
            try:
                await lf.with_options(deadline=0.2).users.me()
            except DeadlineExceededError:
                print("late")


open(sys.argv[1], "w").write("k" * 20)
asyncio.run(main(sys.argv[1]))
"""


@needs_fifos
def test_hanging_key_file_keeps_no_program_alive(tmp_path: Path) -> None:
    """A program ends although a thread still waits for the key file."""
    file = tmp_path / "key"
    environment = {**os.environ, "LEADFEEDER_API_KEY_FILE": str(file)}
    command = [sys.executable, "-c", HANGING, str(file)]
    got = subprocess.run(command, check=False, env=environment, capture_output=True, encoding="utf-8", timeout=30)
    assert (got.returncode, got.stdout) == (0, "late\n"), got.stderr


@needs_fifos
async def test_slow_key_file_holds_only_its_call(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that blocks, as on a network drive, ends its call at the deadline, and the event loop stays free."""
    file = tmp_path / "key"
    file.write_text(sandbox.api_key, encoding="utf-8")
    monkeypatch.setenv("LEADFEEDER_API_KEY_FILE", str(file))
    async with key_client(sandbox) as lf:
        await lf.users.me()
        file.unlink()
        os.mkfifo(file)
        sandbox.rotate_key()
        call = asyncio.create_task(lf.with_options(deadline=0.3).users.me())
        turns = 0
        while not call.done():
            turns += 1
            await asyncio.sleep(0.01)
        with pytest.raises(DeadlineExceededError):
            await call
        assert turns > 10
        descriptor = os.open(file, os.O_WRONLY)  # the thread waits for a writer
        os.write(descriptor, sandbox.api_key.encode())
        os.close(descriptor)
        await lf.users.me()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", CredentialError, "is empty"),
        (f"LEADFEEDER_API_KEY={KEY}", ConfigurationError, "has an assignment or quotes"),
        (f"{KEY}\n{KEY}", ConfigurationError, "contains characters that an HTTP header cannot carry"),
    ],
)
async def test_key_file_is_checked_after_a_rotation(
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    error: type[LeadfeederError],
    message: str,
) -> None:
    """A file that does not contain only a key is named, and its content is neither sent nor shown."""
    file = tmp_path / "key"
    file.write_text(sandbox.api_key, encoding="utf-8")
    monkeypatch.setenv("LEADFEEDER_API_KEY_FILE", str(file))
    async with key_client(sandbox) as lf:
        await lf.users.me()
        sandbox.rotate_key()
        file.write_text(content, encoding="utf-8")
        with pytest.raises(error, match=f"{re.escape(repr(str(file)))} {message}") as caught:
            await lf.users.me()
    assert codes(sandbox) == [200, 401]
    assert KEY not in str(caught.value)


def test_empty_key_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without a key says that the file is empty."""
    file = tmp_path / "key"
    file.write_text(" \n", encoding="utf-8")
    monkeypatch.delenv("LEADFEEDER_API_KEY", raising=False)
    monkeypatch.setenv("LEADFEEDER_API_KEY_FILE", str(file))
    with pytest.raises(MissingKeyError, match="is empty"):
        AsyncLeadfeeder()


async def test_new_key_has_its_own_quota_and_rate(sandbox: Sandbox) -> None:
    """A used-up quota and a pause of the old key do not hold back the new one, because the API counts per key."""
    limiter = TokenBucket(1e6, 100_000)
    async with key_client(sandbox, lambda: sandbox.api_key, monthly_quota=10, limiter=limiter) as lf:
        for _ in range(10):
            await lf.users.me()
        sandbox.rotate_key()
        sandbox.latency = 0.2
        call = asyncio.create_task(lf.users.me())
        await asyncio.sleep(0.1)  # the request with the old key is in flight
        limiter.pause(60.0)
        await asyncio.wait_for(call, 2)
        sandbox.latency = 0.0
        assert lf.health().requests_this_month == 1
        sandbox.fail_next(429, code="rate_limit_exceeded", retry_after="0.01")
        await lf.users.me()  # would raise QuotaExceededError if requests of the old key counted


async def test_renewed_token_keeps_quota_and_rate(sandbox: Sandbox) -> None:
    """A new token of the same grant continues the count and the pause of the old one."""
    endpoint = TokenEndpoint(sandbox)
    async with client(sandbox, endpoint) as lf:
        await lf.users.me()
        before = lf.health().requests_this_month
        sandbox.expire_token(endpoint.tokens[0])
        await lf.users.me()
        assert lf.health().requests_this_month == before + 2


async def test_key_callable_returns_no_key(sandbox: Sandbox) -> None:
    """A callable that returns an empty string is a missing key."""
    async with key_client(sandbox, lambda: "") as lf:
        with pytest.raises(MissingKeyError):
            await lf.users.me()


def test_access_token_hides_itself() -> None:
    """A token is in no repr, and cannot be pickled."""
    token = AccessToken("canary-token-123", datetime(2030, 1, 1, tzinfo=UTC))
    assert "canary" not in f"{token!r}{token!s}"
    assert "2030" in repr(token)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(token)
