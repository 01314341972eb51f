"""Keys, tokens and the secrets of callables, as canaries, in none of the sinks in which credentials leak."""

from __future__ import annotations

import asyncio
import io
import itertools
import logging
import os
import pickle
import sys
import traceback
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import AccessToken, AsyncLeadfeeder, AttemptEvent, CredentialError, LeadfeederError
from leadfeeder_async._core import redaction
from leadfeeder_async._core.credential import Credential
from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async._secret import Secret
from leadfeeder_async.settings import CredentialSource
from tests.cli.command import leadfeeder
from tests.core.test_key_sinks import errors_of, frames_of, rich_traceback, walk
from tests.support.servers import handler_server

KEY = "canary-key-0123456789"
TOKEN = "canary-opaque-token/+9876543210"
JWT = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJjYW5hcnkiOiJqd3QifQ" * 40 + ".c2lnbmF0dXJlLWNhbmFyeQ"
NEXT = "canary-next-token-5555555555"
REFRESH = "canary-refresh-token-777"
CLIENT_SECRET = "canary-client-secret-888"
CANARIES = (KEY, TOKEN, JWT, NEXT, REFRESH, CLIENT_SECRET, "c2lnbmF0dXJlLWNhbmFyeQ")

Sinks = dict[str, str]


async def token_of_provider() -> AccessToken:
    """Request a token with secrets in local variables, as a real callable does."""
    client_secret, response = CLIENT_SECRET, {"access_token": NEXT, "refresh_token": REFRESH}
    await asyncio.sleep(0)
    assert client_secret
    return AccessToken(response["access_token"], datetime.now(UTC) + timedelta(hours=1))


def failing_provider() -> AccessToken:
    """Fail as an HTTP client does whose error shows the request and the response."""
    response = {"access_token": NEXT, "refresh_token": REFRESH}
    raise RuntimeError(f"POST /token client_secret={CLIENT_SECRET} returned {response}")


async def invalid_provider() -> AccessToken:
    return AccessToken(f"{NEXT} with a space")


async def interrupted_provider() -> AccessToken:
    client_secret = CLIENT_SECRET
    raise SystemExit(len(client_secret))


def key_provider() -> str:
    return KEY


async def provider_with_arguments(client_secret: str, refresh_token: str) -> AccessToken:
    assert client_secret
    raise RuntimeError(refresh_token)


PACKAGE_NAME = f"leadfeeder_async{os.sep}"

KINDS: dict[str, dict[str, Any]] = {
    "api_key": {"api_key": KEY},
    "api_key callable": {"api_key": key_provider},
    "access_token": {"access_token": TOKEN},
    "JSON web token": {"access_token": JWT},
    "access_token callable": {"access_token": token_of_provider},
    "failing callable": {"access_token": failing_provider},
    "callable with arguments": {
        "access_token": partial(provider_with_arguments, client_secret=CLIENT_SECRET, refresh_token=REFRESH)
    },
    "invalid callable": {"access_token": invalid_provider},
    "interrupted callable": {"access_token": interrupted_provider},
}


async def echo(request: web.Request) -> web.StreamResponse:
    """Reject a request, and return its credential in each part of the response that errors use."""
    sent = request.headers.get("Authorization") or request.headers.get("X-Api-Key") or ""
    error = {"code": "token_expired", "title": f"Rejected: {sent}", "detail": f"{sent[:-3]}... {sent}"}
    headers = {"X-Request-Id": sent, "Location": f"https://{sent}.test/"}
    return web.json_response({"errors": [error], "meta": {"request_id": sent}}, status=401, headers=headers)


@asynccontextmanager
async def echo_server() -> AsyncIterator[str]:
    async with handler_server(echo) as url:
        yield url


def cgitb_text(error: BaseException) -> str:
    """Return the page of cgitb, which shows the variables of all frames. Python 3.13 removed it."""
    if sys.version_info >= (3, 13):
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import cgitb

    trace: Any = error.__traceback__
    return cgitb.html((type(error), error, trace)) + cgitb.text((type(error), error, trace))


def without_test_frames(error: BaseException) -> BaseException:
    """Drop the frames of tests, which hold the canaries themselves."""
    trace = error.__traceback__
    while trace is not None and "tests" in Path(trace.tb_frame.f_code.co_filename).parts:
        trace = trace.tb_next
    return error.with_traceback(trace)


def dump_tasks() -> str:
    """Return the stacks and the reprs of all tasks, as debuggers dump them."""
    output = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(file=output)
        output.write(repr(task))
    return output.getvalue()


def sinks_of(error: BaseException, lf: AsyncLeadfeeder, events: list[AttemptEvent], log: str) -> Sinks:
    for found in errors_of(error):
        without_test_frames(found)
    frames = list(frames_of(error))
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    return {
        "repr": repr(list(errors_of(error))) + repr(lf),
        "str": "".join(map(str, errors_of(error))),
        "args": repr([found.args for found in errors_of(error)]) + repr([vars(found) for found in errors_of(error)]),
        "pickle": repr([pickle.dumps(found) for found in errors_of(error)]),
        "log": log,
        "traceback with locals": "".join(trace.format()) + rich_traceback(error),
        "cgitb": cgitb_text(error),
        "debug dump": "".join(repr(value) for frame in frames for value in frame.f_locals.values())
        + "".join(text for frame in frames for text in walk(dict(frame.f_locals)))
        + "".join(walk(lf, 4))
        + "".join(walk(lf._state.credential))
        + dump_tasks(),
        "events": repr(events),
    }


def hits(sinks: Sinks) -> list[str]:
    forms = [form for canary in CANARIES for form in (canary, canary.replace("/", "\\/"))]
    return [name for name, text in sinks.items() if any(form in text for form in forms)]


async def sinks_for(kind: str) -> Sinks:
    """Let a call fail with a kind of credential, and return the texts in which the credential could be."""
    log, events = io.StringIO(), list[AttemptEvent]()
    handler, root = logging.StreamHandler(log), logging.getLogger()
    handler.setFormatter(logging.Formatter("%(message)s %(args)s"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    try:
        async with echo_server() as url:
            async with AsyncLeadfeeder(base_url=url, account_id="1", on_attempt=events.append, **KINDS[kind]) as lf:
                with pytest.raises(BaseException) as caught:  # noqa: PT011 - SystemExit is one of them
                    await lf.users.me()
                return sinks_of(caught.value, lf, events, log.getvalue())
    finally:
        asyncio.get_running_loop().set_debug(False)
        root.removeHandler(handler)
        root.setLevel(logging.WARNING)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "interrupted callable"])
async def test_credential_is_in_no_sink(kind: str) -> None:
    """A rejected credential that the server echoes, and a callable that fails, show no canary anywhere."""
    assert hits(await sinks_for(kind)) == []


def test_interrupted_callable_is_in_no_sink() -> None:
    """SystemExit in a callable passes through without the frames that hold its secrets."""
    found = list[BaseException]()

    async def call() -> None:
        async with AsyncLeadfeeder(base_url="http://127.0.0.1:9", access_token=interrupted_provider) as lf:
            await lf.users.me()

    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(call())
    except SystemExit as error:
        found.append(error)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError, SystemExit, LeadfeederError):
                loop.run_until_complete(task)
        loop.close()
    assert [type(error) for error in found] == [SystemExit]
    texts = [repr(value) for frame in frames_of(found[0]) for value in frame.f_locals.values()]
    assert hits({"locals": "".join(texts), "rich": rich_traceback(without_test_frames(found[0]))}) == []


def interrupt_construction(at_call: int) -> KeyboardInterrupt | None:
    """Construct a client, and press Ctrl-C when the package makes its n-th call. Return the error, if it was raised."""
    calls = itertools.count(1)

    def press_ctrl_c(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and PACKAGE_NAME in frame.f_code.co_filename and next(calls) == at_call:
            raise KeyboardInterrupt

    redaction._COMPILED.clear()
    sys.setprofile(press_ctrl_c)
    try:
        AsyncLeadfeeder(KEY, base_url="http://127.0.0.1:9")
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.setprofile(None)
    return None


def test_interrupted_constructor_is_in_no_sink() -> None:
    """Ctrl-C while a client is constructed leaves no frames that hold the key. The first call is the constructor itself."""
    errors = [error for call in range(2, 400) if (error := interrupt_construction(call)) is not None]
    assert len(errors) > 60
    for error in errors:
        frames = [frame for frame in frames_of(error) if PACKAGE_NAME in frame.f_code.co_filename]
        assert hits({frame.f_code.co_name: repr(frame.f_locals) for frame in frames}) == []


# Each measure is broken on purpose, to see that the sinks above notice.


def identity(self: object, text: str) -> str:
    return text


def revealing(self: Any) -> str:
    return self.reveal()


def learn_nothing(self: object, secret: Secret) -> None:
    return


async def renew_with_everything(self: Credential) -> None:
    """Renew without hiding the exceptions of the callable."""
    try:
        self._store(*await self._fetch())
    except RuntimeError as error:
        raise CredentialError(str(error)) from error


BREAKS: dict[str, tuple[str, type, str, Callable[..., object]]] = {
    "no redaction": ("access_token", Redactor, "text", identity),
    "no redaction of keys": ("api_key", Redactor, "text", identity),
    "no redaction of web tokens": ("JSON web token", Redactor, "text", identity),
    "new credentials are not learned": ("access_token callable", Redactor, "add", learn_nothing),
    "new keys are not learned": ("api_key callable", Redactor, "add", learn_nothing),
    "secrets show themselves": ("api_key", Secret, "__repr__", revealing),
    "callables show their arguments": (
        "callable with arguments",
        CredentialSource,
        "__repr__",
        lambda self: repr(self.provider),
    ),
    "exceptions of the callable pass": ("failing callable", Credential, "_renew", renew_with_everything),
}


@pytest.mark.parametrize("broken", list(BREAKS))
async def test_sinks_notice_a_leak(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one of the measures, the canaries are found."""
    kind, owner, name, replacement = BREAKS[broken]
    monkeypatch.setattr(owner, name, replacement)
    assert hits(await sinks_for(kind))


# Files, recordings and the command line.

ENVIRONMENTS: dict[str, dict[str, str]] = {
    "api_key": {"LEADFEEDER_API_KEY": KEY},
    "access_token": {"LEADFEEDER_ACCESS_TOKEN": TOKEN},
    "JSON web token": {"LEADFEEDER_ACCESS_TOKEN": JWT},
}


@pytest.mark.parametrize("kind", [*ENVIRONMENTS, "file"])
async def test_credential_is_in_no_output_of_the_command(kind: str, tmp_path: Path) -> None:
    """Stderr with all logs, the output of doctor, and unfinished files show no canary."""
    (tmp_path / "secret").write_text(KEY, encoding="utf-8")
    (tmp_path / "ips.txt").write_text("198.18.0.17\n", encoding="utf-8")
    environment = ENVIRONMENTS.get(kind, {"LEADFEEDER_API_KEY_FILE": str(tmp_path / "secret")})
    shared = {"LEADFEEDER_LOG": "debug", "PYTHONASYNCIODEBUG": "1", "LEADFEEDER_ACCOUNT_ID": "1"}
    sinks: Sinks = {}
    async with echo_server() as url:
        for command in (
            ("doctor",),
            ("doctor", "--json", "--bundle", tmp_path / "report.json"),
            ("export", "visits", "--out", tmp_path / "visits.ndjson"),
            ("enrich", "--by", "ip", tmp_path / "ips.txt", "--out", tmp_path / "ips.ndjson", "--yes"),
            ("companies", "get", "1"),
        ):
            code, out, err = await leadfeeder(None, *command, LEADFEEDER_BASE_URL=url, **shared, **environment)
            assert code != 0
            sinks[" ".join(map(str, command))] = out + err
    assert "token_expired" in sinks["doctor"]
    assert (tmp_path / "report.json").exists()
    (tmp_path / "secret").unlink()
    sinks |= {
        path.name: path.read_text(errors="replace", encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()
    }
    assert hits(sinks) == []


async def test_credential_is_in_no_checkpoint_or_recording(tmp_path: Path) -> None:
    """Checkpoints of an interrupted export with a renewed token, and the ledger of the sandbox, show no token."""
    from leadfeeder_async.sandbox import Sandbox

    async with Sandbox(companies=60, visits=500, rate_limit=False) as sandbox:
        tokens = list[str]()

        def provide() -> AccessToken:
            tokens.append(sandbox.issue_token())
            return AccessToken(tokens[-1])

        def interrupt(_: object) -> None:
            sandbox.fail_next(401, code="token_expired")
            sandbox.fail_next(500)

        async with AsyncLeadfeeder(
            access_token=provide, base_url=sandbox.url, account_id=sandbox.account_id, retries=0, rate=1e6
        ) as lf:
            visits = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date).prefetch(0)
            with pytest.raises(LeadfeederError):
                await visits.to_file(tmp_path / "cut.ndjson", on_progress=interrupt)
        files = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()}
        recordings = repr(sandbox.ledger)
    assert len(tokens) == 2
    assert {"cut.ndjson.part", "cut.ndjson.checkpoint"} <= set(files)
    for token in tokens:
        assert [name for name, text in {**files, "recordings": recordings}.items() if token in text] == []
