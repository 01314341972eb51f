"""No tool that inspects the frames, objects or files of a process shows the API key."""

from __future__ import annotations

import asyncio
import base64
import faulthandler
import gc
import html
import io
import json
import logging
import pickle
import re
import signal
import tempfile
import traceback
import types
import urllib.parse
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console
from rich.traceback import Traceback

from leadfeeder_async import AsyncLeadfeeder, Budget, IncompleteListError, LeadfeederError
from leadfeeder_async._core.messages import HttpResponse
from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async._secret import Secret
from leadfeeder_async.errors import ErrorContext
from tests.support.clients import client_of
from tests.support.redis import RedisServer
from tests.support.servers import http, raw_server, silence

CANARY = "red/SECRET+key=12345-abc"


def errors_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def frames_of(error: BaseException) -> Iterator[types.FrameType]:
    """Yield the frames of the package and of aiohttp that an error keeps."""
    for found in errors_of(error):
        for frame, _ in traceback.walk_tb(found.__traceback__):
            if "tests" not in Path(frame.f_code.co_filename).parts:
                yield frame


def walk(value: object, depth: int = 3) -> Iterator[str]:
    """Yield the strings in a value as Sentry collects them: its repr, its items and the attributes of its objects."""
    yield repr(value)
    if depth == 0 or isinstance(value, Secret | types.ModuleType | type):
        return
    if isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from walk(item, depth - 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from walk(item, depth - 1)
    elif hasattr(value, "__dict__"):
        yield from walk(dict(vars(value)), depth - 1)


def rich_traceback(error: BaseException) -> str:
    """Return the output of rich for an error, without the frames of this test."""
    output = io.StringIO()
    shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True, suppress=[__file__])
    Console(file=output, width=300).print(shown)
    return output.getvalue()


def sinks_of(error: BaseException) -> dict[str, str]:
    """Return the output of each tool for an error."""
    frames = list(frames_of(error))
    return {
        "locals": "".join(repr(value) for frame in frames for value in frame.f_locals.values()),
        "sentry": "".join(text for frame in frames for text in walk(dict(frame.f_locals))),
        "vars": "".join(text for found in errors_of(error) for text in walk(vars(found))),
        "rich": rich_traceback(error),
        "text": "".join(traceback.format_exception(error)),
        "cgitb": cgitb_text(error),
    }


def cgitb_text(error: BaseException) -> str:
    """Return what cgitb shows of an error and of those that led to it. Python 3.13 has no cgitb."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            import cgitb
        except ImportError:
            return ""
    shown = [cgitb.text((type(found), found, found.__traceback__), 9) for found in errors_of(error)]
    assert all(shown)
    return "".join(map(_without_this_file, shown))


def _without_this_file(text: str) -> str:
    """Return the frames of a report without those of this test, whose source contains the key."""
    return "\n\n".join(frame for frame in text.split("\n\n") if __file__ not in frame)


def faulthandler_text() -> str:
    """Return what faulthandler shows of all threads, as in a crash."""
    with tempfile.TemporaryFile() as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read().decode()


def shown_in(sinks: dict[str, str]) -> list[str]:
    return [name for name, text in sinks.items() if CANARY in text or repr(CANARY)[1:-1] in text]


def interrupting(error: Callable[[], object]) -> aiohttp.TraceConfig:
    """Return a trace that raises an error while aiohttp has the headers of a request in its frames."""
    trace = aiohttp.TraceConfig()

    async def interrupt(*_: object) -> None:
        error()

    trace.on_connection_create_start.append(interrupt)
    return trace


def exit_process() -> None:
    raise SystemExit(3)


def run(call: Coroutine[Any, Any, object]) -> BaseException | None:
    """Run a call on a loop that leaves signals alone, check its error, and return it."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(call)
    except BaseException as error:  # noqa: BLE001 - the test examines all of them
        shown = sinks_of(error)
        assert shown_in(shown) == []
        return error
    finally:
        loop.close()
    return None


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
def test_key_after_interrupted_request(kind: str) -> None:
    """Ctrl-C and sys.exit during a request leave no frames with headers."""
    raise_it = exit_process if kind == "SystemExit" else lambda: signal.raise_signal(signal.SIGINT)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for background jobs

    async def call() -> None:
        async with raw_server(http(b'{"data":{}}')) as server:
            traces = [interrupting(raise_it)]
            async with AsyncLeadfeeder(CANARY, base_url=server.url, account_id="1", trace_configs=traces) as lf:
                await lf.users.me()

    try:
        assert type(run(call())).__name__ == kind
    finally:
        signal.signal(signal.SIGINT, previous)


def test_closed_coroutine_shows_no_key() -> None:
    """A coroutine that is closed in the middle of a request leaves no frames with headers."""
    errors = list[BaseException]()

    async def request(lf: AsyncLeadfeeder) -> None:
        try:
            await lf.users.me()
        except BaseException as error:
            errors.append(error)
            raise

    async def call() -> None:
        async with raw_server(silence) as server:
            async with AsyncLeadfeeder(CANARY, base_url=server.url, account_id="1") as lf:
                coroutine = request(lf)
                waiting = coroutine.send(None)
                while not server.requests:
                    await asyncio.sleep(0.01)
                    if waiting is None or waiting.done():
                        waiting = coroutine.send(None)
                coroutine.close()

    run(call())
    assert [type(error) for error in errors] == [GeneratorExit]
    assert shown_in(sinks_of(errors[0])) == []


def _lists(lf: AsyncLeadfeeder) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    visits = lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-02")
    return {
        "page numbers": visits.collect,
        "cursor": lf.companies.search(search_terms=["e"]).collect,
        "ids": lf.companies.get_many(["1"]).collect,
        "raw": lambda: anext(visits.raw_pages()),
        "tags": lf.tags.list().collect,
    }


@pytest.mark.parametrize("name", ["page numbers", "cursor", "ids", "raw", "tags"])
@pytest.mark.parametrize("body", ['{"data":"%s"}', '{"errors":[{"title":"%s"}]}'])
def test_list_that_cannot_be_decoded_shows_no_key(name: str, body: str) -> None:
    """A server that echoes the key in the body of a list puts it into no frame of the error."""

    async def call() -> None:
        async with raw_server(http((body % CANARY).encode())) as server:
            async with AsyncLeadfeeder(CANARY, base_url=server.url, account_id="1", retries=0) as lf:
                await _lists(lf)[name]()

    assert isinstance(run(call()), LeadfeederError)


async def test_faulthandler_shows_no_key_during_a_request() -> None:
    """The tracebacks of all threads contain no key while a request is sent."""
    shown = list[str]()
    gc.collect()  # at most 100 threads are shown, and event loops of earlier tests have threads
    async with raw_server(http(b'{"data":{"id":"1"}}')) as server:
        traces = [interrupting(lambda: shown.append(faulthandler_text()))]
        async with AsyncLeadfeeder(CANARY, base_url=server.url, account_id="1", trace_configs=traces) as lf:
            await lf.users.me()
    assert "transport.py" in shown[0]
    assert CANARY not in shown[0]


def half_built() -> list[object]:
    """Return objects whose constructors have failed at once."""
    from leadfeeder_async.integrations.redis import RedisCredits, RedisLimiter

    makers: list[tuple[type[object], tuple[object, ...]]] = [
        (RedisLimiter, ("redis://h", f"{CANARY}\nx")),
        (RedisCredits, ("redis://h", "n", 1, f"{CANARY}\nx")),
        (AsyncLeadfeeder, (f"{CANARY}\nx",)),
        (Budget, (-1,)),
    ]
    objects = list[object]()
    for cls, arguments in makers:
        made = cls.__new__(cls)
        with pytest.raises(LeadfeederError):
            cls.__init__(made, *arguments)
        objects.append(made)
    return objects


def test_half_built_objects_have_a_repr_without_the_key() -> None:
    """An object whose constructor has failed appears in tracebacks, so it has a repr."""
    for value in half_built():
        assert repr(value).startswith(f"<{type(value).__name__} ")
        assert shown_in({"repr": "".join(walk(value))}) == []


CONSTRUCTORS: dict[str, Callable[[], object]] = {
    "key": lambda: AsyncLeadfeeder(f"{CANARY}\nx"),
    "rate": lambda: AsyncLeadfeeder(CANARY, rate=-1),
    "timeout": lambda: AsyncLeadfeeder(CANARY, timeout=0),
    "base_url": lambda: AsyncLeadfeeder(CANARY, base_url="http://elsewhere.test"),
    "paths": lambda: AsyncLeadfeeder(CANARY, paths={"nope": "/x"}),
}


def _redis_constructors() -> dict[str, Callable[[], object]]:
    from leadfeeder_async.integrations.redis import RedisCredits, RedisLimiter

    return {
        "redis url": lambda: RedisLimiter("nonsense://", CANARY),
        "redis rate": lambda: RedisLimiter("redis://h", CANARY, rate=-1),
        "redis key": lambda: RedisLimiter("redis://h", f"{CANARY}\nx"),
        "redis credits": lambda: RedisCredits("redis://h", "n", -1, CANARY),
        "redis credits key": lambda: RedisCredits("redis://h", "n", 1, f"{CANARY}\nx"),
    }


@pytest.mark.parametrize("name", [*CONSTRUCTORS, *_redis_constructors()])
def test_key_after_failed_constructor(name: str) -> None:
    """No frame of a failing constructor contains the key."""
    with pytest.raises(LeadfeederError) as caught:
        (CONSTRUCTORS | _redis_constructors())[name]()
    assert shown_in(sinks_of(caught.value)) == []


PASSWORD = "Passw0rd-of-an-address"


def _redis_with_password() -> dict[str, Callable[[], object]]:
    from leadfeeder_async.integrations.redis import RedisCredits, RedisLimiter

    good = f"redis://user:{PASSWORD}@127.0.0.1:1/0"
    bad = {"port": f"redis://user:{PASSWORD}@h:port/0", "scheme": f"foo://user:{PASSWORD}@h"}
    return {
        **{f"credits {name}": partial(RedisCredits, url, "n", 1, CANARY) for name, url in bad.items()},
        **{f"limiter {name}": partial(RedisLimiter, url, CANARY) for name, url in bad.items()},
        "credits max": lambda: RedisCredits(good, "n", -1, CANARY),
        "credits timeout": lambda: RedisCredits(good, "n", 1, CANARY, timeout=-1),
        "credits key": lambda: RedisCredits(good, "n", 1, f"{CANARY}\nx"),
        "limiter rate": lambda: RedisLimiter(good, CANARY, rate=-1),
        "limiter timeout": lambda: RedisLimiter(good, CANARY, timeout=-1),
        "limiter key": lambda: RedisLimiter(good, f"{CANARY}\nx"),
    }


def passwords_in(error: BaseException) -> list[str]:
    """Return the tools that show a password of an address, in plain text or as the header of a proxy."""
    forms = (PASSWORD, CANARY, base64.b64encode(f"user:{PASSWORD}".encode()).decode())
    return [name for name, text in sinks_of(error).items() if any(form in text for form in forms)]


@pytest.mark.parametrize("name", list(_redis_with_password()))
def test_redis_password_after_failed_constructor(name: str) -> None:
    """No frame of a failing constructor contains the password of the URL."""
    with pytest.raises(LeadfeederError) as caught:
        _redis_with_password()[name]()
    assert passwords_in(caught.value) == []


async def test_redis_password_after_failed_login(redis_server: RedisServer) -> None:
    """A server that rejects the password leaves it in no error, and the objects show it nowhere."""
    from leadfeeder_async.integrations.redis import RedisCredits, RedisLimiter

    url = redis_server.url.replace("redis://", f"redis://user:{PASSWORD}@")
    async with (
        RedisCredits(url, "n", 1, CANARY, outage_timeout=0) as shared,
        RedisLimiter(url, CANARY, outage_timeout=0) as limiter,
    ):
        for call in (shared.reserve(1, ErrorContext()), limiter.acquire()):
            with pytest.raises(LeadfeederError, match="invalid username-password pair") as caught:
                await call
            assert passwords_in(caught.value) == []
        assert PASSWORD not in "".join(walk(shared, 7)) + "".join(walk(limiter, 7))


@pytest.mark.parametrize(
    "address",
    ["http://user:{}@h:99999", "socks5://user:{}@h:1", "http://us%3Aer:{}@h:1", "http://user:{}@[::1", "user:{}@h:0"],
)
def test_proxy_password_after_failed_constructor(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame contains the password of a proxy that cannot be used."""
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", address.format(PASSWORD))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(LeadfeederError, match="HTTPS_PROXY") as caught:
        AsyncLeadfeeder(CANARY, trust_env=True)
    assert passwords_in(caught.value) == []


@pytest.mark.parametrize(
    "address", ["https://user:{}@h", "user:{}@h", "//user:{}@h", "http://u:/{}@h:x", "https://u:{}@[h"]
)
def test_password_in_the_base_url(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame contains the password of a base URL, which is rejected."""
    with pytest.raises(LeadfeederError, match="must not contain credentials") as caught:
        AsyncLeadfeeder(CANARY, base_url=address.format(PASSWORD))
    assert passwords_in(caught.value) == []
    monkeypatch.setenv("LEADFEEDER_BASE_URL", address.format(PASSWORD))
    with pytest.raises(LeadfeederError, match="must not contain credentials") as caught:
        AsyncLeadfeeder(CANARY)
    assert passwords_in(caught.value) == []


async def test_proxy_password_of_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client behind a proxy shows the password neither in its objects nor in the error of a call."""
    monkeypatch.setenv("https_proxy", f"http://user:{PASSWORD}@127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with AsyncLeadfeeder(CANARY, account_id="1", trust_env=True, retries=0) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await lf.users.me()
        resources, proxy = lf._state._resources, lf._state.settings.proxy
        assert resources is not None
        assert proxy is not None
        shown = "".join([*walk(lf, 5), *walk(resources.transport, 2), repr(proxy.credentials)])
    assert passwords_in(caught.value) == []
    assert PASSWORD not in shown
    assert base64.b64encode(f"user:{PASSWORD}".encode()).decode() not in shown


def test_redis_url_in_error() -> None:
    """The error about an invalid URL contains no part of it, because that may be a password."""
    from leadfeeder_async.integrations.redis import RedisLimiter

    with pytest.raises(LeadfeederError) as caught:
        RedisLimiter("redis://:pass/word@host:6379", CANARY)
    assert "pass" not in str(caught.value)


async def test_key_in_debug_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the logs at DEBUG nor the objects of the client contain the key."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    caplog.set_level(logging.DEBUG)
    try:
        async with raw_server(http(b'{"data":{}}')) as server:
            async with AsyncLeadfeeder(CANARY, base_url=server.url, account_id="1", retries=0) as lf:
                with pytest.raises(LeadfeederError):
                    await lf.users.me()
                assert shown_in({"client": "".join(walk(lf, 3))}) == []
    finally:
        loop.set_debug(False)
    assert shown_in({"log": caplog.text + repr([vars(record) for record in caplog.records])}) == []


def double(encode: Callable[[str], str]) -> Callable[[str], str]:
    """Return an encoding that is applied twice."""
    return lambda text: encode(encode(text))


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


ENCODINGS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "escaped slashes": lambda text: text.replace("/", "\\/"),
    "unicode escapes": lambda text: "".join(f"\\u{ord(char):04X}" for char in text),
    "escaped unicode escapes": lambda text: "".join(f"\\\\u{ord(char):04x}" for char in text),
    "bytes": lambda text: "".join(f"\\x{ord(char):02x}" for char in text),
    "percent": quote,
    "percent twice": double(quote),
    "percent everywhere": lambda text: "".join(f"%{ord(char):02X}" for char in text),
    "html": html.escape,
    "html twice": double(html.escape),
    "html numbers": lambda text: "".join(f"&#{ord(char)};" for char in text),
    "html names": lambda text: text.replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;"),
    "json twice": double(json.dumps),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "base64 of more": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode()),
    "base64 in lines": lambda text: base64.encodebytes(f"{'x' * 30}{text}{text}".encode()).decode(),
    "base64 in short lines": lambda text: "\r\n".join(re.findall(".{1,9}", base64.b64encode(text.encode()).decode())),
    "hex": lambda text: text.encode().hex(),
    "hex with colons": lambda text: text.encode().hex(":"),
    "hex with spaces": lambda text: text.encode().hex(" "),
    "hex numbers": lambda text: ", ".join(f"0x{byte:02x}" for byte in text.encode()),
    "long unicode escapes": lambda text: "".join(f"\\U{ord(char):08x}" for char in text),
    "unicode escapes in braces": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "percent unicode": lambda text: "".join(f"%u{ord(char):04x}" for char in text),
    "octal": lambda text: "".join(f"\\{ord(char):03o}" for char in text),
    "quoted printable": lambda text: "".join(f"={ord(char):02X}" for char in text),
    "quoted printable in lines": lambda text: "=\n".join(re.findall(".{1,20}", text)),
    "folded": lambda text: f"{text[:5]}\r\n {text[5:]}",
    "spaces": " ".join,
    "nulls": "\0".join,
    "zero-width spaces": lambda text: "\u200b".join(re.findall(".{1,8}", text)),
    "soft hyphens": lambda text: "&shy;".join(re.findall(".{1,8}", text)),
    "word breaks": lambda text: "<wbr>".join(re.findall(".{1,8}", text)),
    "list of bytes": lambda text: json.dumps(list(text.encode())),
    "reversed": lambda text: text[::-1],
    "base32": lambda text: base64.b32encode(text.encode()).decode(),
    "base32 of more": lambda text: base64.b32encode(f"key: {text}; ".encode()).decode(),
    "base64 twice": double(lambda text: base64.b64encode(f"key: {text}".encode()).decode()),
    "hex of base64": lambda text: base64.b64encode(text.encode()).hex(),
    "base64 of utf-16": lambda text: base64.b64encode(f"{text}; ".encode("utf-16-le")).decode(),
    "base64 of utf-16 after others": lambda text: base64.urlsafe_b64encode(f"a {text}; ".encode("utf-16-be")).decode(),
    "hex of utf-16": lambda text: text.encode("utf-16-le").hex(),
}


LONG_TOKEN = "eyJ0eXAi.+/-_~" + "abcDEF0123456789-_." * 60 + "end+/="


@pytest.mark.parametrize("key", [CANARY, "a>?b>?c~~~~<&'\"x//++", LONG_TOKEN])
@pytest.mark.parametrize("name", list(ENCODINGS))
def test_encoded_key_is_redacted(name: str, key: str) -> None:
    """A response that contains the key in any encoding is redacted before and after decoding."""
    echo, redactor = ENCODINGS[name](key), Redactor(Secret(key))
    assert echo not in redactor.text(f"Key: {echo}.")
    assert "***" in redactor.text(f"Key: {echo}.")
    assert echo[-60:] not in redactor.text(f"Key: {echo}.")
    response = redactor.response(HttpResponse(400, {"X-Request-Id": echo}, json.dumps({"title": echo}).encode()))
    title = json.loads(response.body)["title"]
    assert echo not in redactor.text(title)
    assert echo not in (response.header("X-Request-Id") or "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", ["<h1>Key %s", '{"errors":[{"title":"%s"}]}'])
def test_key_in_wide_characters_is_redacted(encoding: str, text: str) -> None:
    """The key is removed from responses in other encodings than UTF-8."""
    body, redactor = (text % CANARY).encode(encoding), Redactor(Secret(CANARY))
    shown = redactor.excerpt(body) + redactor.response(HttpResponse(400, {}, body)).body.decode(errors="replace")
    assert "***" in shown
    assert CANARY[:8] not in shown.replace("\0", "")


async def test_key_in_the_content_encoding() -> None:
    """A content encoding is only shown if it is a known one."""
    for encoding, is_shown in ((CANARY, False), (f"br, {CANARY}", True), ("zstd", True)):
        async with raw_server(http(b"{}", "200 OK", f"Content-Encoding: {encoding}\r\n")) as server:
            async with AsyncLeadfeeder(CANARY, account_id="1", base_url=server.url, retries=0) as lf:
                with pytest.raises(LeadfeederError) as caught:
                    await lf.tags.list().collect()
        assert CANARY.lower() not in str(caught.value).lower()
        assert ("content encoding " + encoding.partition(",")[0] in str(caught.value)) == is_shown


@pytest.mark.parametrize("key", ["k", "ab", "test"])
def test_encodings_of_short_keys_are_not_redacted(key: str) -> None:
    """The encodings of a short key are too common to remove, so that errors stay readable."""
    assert Redactor(Secret(key)).text("Zw== 107 is N5SW 999") == "Zw== 107 is N5SW 999"


SERVER_TEXTS: dict[str, tuple[str, Callable[[AsyncLeadfeeder], Awaitable[object]]]] = {
    "request id beside partial errors": (
        '{"data":[],"meta":{"request_id":"%s"},"errors":[{"title":"x"}]}',
        lambda lf: lf.tags.list().collect(),
    ),
    "partial error": (
        '{"data":[],"errors":[{"code":"%s","title":"%s","detail":"%s"}]}',
        lambda lf: lf.tags.list().collect(),
    ),
    "request id of a missing account": ('{"data":[],"meta":{"request_id":"%s"}}', lambda lf: lf.accounts.get()),
    "names of accounts": (
        '{"data":[{"id":"%s","attributes":{"name":"%s"}},{"id":"2"}]}',
        lambda lf: lf.tags.list().collect(),
    ),
    "rejected cursor": (
        '{"data":[{"id":"1"}],"meta":{"pagination":{"next_cursor":"%s"}}}',
        lambda lf: lf.companies.search(search_terms=["e"]).collect(),
    ),
}
"""A response with a secret in each place of which errors show the text, and a call that raises such an error."""


@pytest.mark.parametrize("name", list(SERVER_TEXTS))
@pytest.mark.parametrize("form", ["plain", "hex", "base64"])
async def test_key_in_text_that_errors_show(name: str, form: str) -> None:
    """Errors contain no key, wherever a server puts it into the text that they show."""
    body, call = SERVER_TEXTS[name]
    echo = ENCODINGS[form](CANARY)
    ok = http(body.replace("%s", echo).encode())
    steps = [ok, *[http(b'{"errors":[{"code":"invalid_cursor"}]}', "400 Bad")] * 3] if "cursor" in name else [ok]
    account_id = None if "accounts" in name else "1"
    async with raw_server(*steps) as server:
        async with AsyncLeadfeeder(CANARY, base_url=server.url, account_id=account_id, retries=0) as lf:
            with pytest.raises(LeadfeederError) as caught:
                await call(lf)
    problems = caught.value.problems if isinstance(caught.value, IncompleteListError) else ()
    for error in (caught.value, *problems):
        assert echo not in f"{error}{error!r}{error.args}{error.context}{error.request_id}{pickle.dumps(error)!r}"


@pytest.mark.parametrize("part", ["\\", "%25", "&amp;", "&#0", "r", "red", CANARY[:-1], "\\\\\\\\r"])
async def test_redaction_time(part: str) -> None:
    """An error response that repeats the start of the key is redacted quickly."""
    body = (part * 40_000).encode()[:64_000]
    loop = asyncio.get_running_loop()
    async with raw_server(http(body, "500 Oops")) as server, client_of(server.url, retries=0) as lf:
        start = loop.time()
        with pytest.raises(LeadfeederError):
            await lf.users.me()
        assert loop.time() - start < 1.0
