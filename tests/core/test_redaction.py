"""The API key appears in no error, log, event or warning, for many faults."""

from __future__ import annotations

import asyncio
import copy
import io
import logging
import pickle
import traceback
import warnings
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest

from leadfeeder_async import AsyncLeadfeeder, AttemptEvent, LeadfeederError
from tests.support.clients import KEY, client_of
from tests.support.servers import RawServer, Step, cut, http, raw_server, silence

ECHO = b'{"errors":[{"code":"invalid_api_key","title":"No such key: ' + KEY.encode() + b'"}]}'

FAULTS: dict[str, Step] = {
    "cut": cut(b""),
    "cut body": cut(http(b"{}")[:-1]),
    "silence": silence,
    "echoed key": http(ECHO, "401 Unauthorized", f"X-Request-Id: {KEY}\r\n"),
    "echoed key in text": http(KEY.encode(), "500 Oops"),
    "echoed key under 200": http(b"<html>" + KEY.encode()),
    "redirect": http(b"", "302 Found", f"Location: https://{KEY}.test/?{KEY}\r\n"),
    "too large": http(b'{"data":{"id":"' + b"x" * 3_000 + b'"}}'),
    "garbage": cut(f"{KEY} garbage\r\n\r\n".encode()),
    "wrong shape": http(b'{"data":5}'),
    "429": http(b"{}", "429 Slow", "Retry-After: 99\r\n"),
}


def chain(error: BaseException) -> list[BaseException]:
    found = list[BaseException]()
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return found


def sinks(
    error: LeadfeederError, events: list[AttemptEvent], log: str, warned: list[warnings.WarningMessage]
) -> dict[str, str]:
    """Return the content of each sink."""
    with_locals = traceback.TracebackException.from_exception(error, capture_locals=True)
    return {
        "repr": repr(error),
        "str": str(error),
        "format": f"{error}",
        "args": repr(error.args),
        "chain": repr(chain(error)),
        "chain's args": repr([link.args for link in chain(error)]),
        "log": log,
        "traceback with locals": "".join(with_locals.format()),
        "pickle": repr(pickle.dumps(error)),
        "copy": repr(vars(copy.copy(error))) + repr(copy.deepcopy(error).context),
        "vars": repr([vars(link) for link in chain(error)]),
        "events": repr(events),
        "warnings": repr([str(warning.message) for warning in warned]),
    }


async def raised(lf: AsyncLeadfeeder, call: Callable[[AsyncLeadfeeder], Awaitable[object]]) -> LeadfeederError:
    with pytest.raises(LeadfeederError) as caught:
        await call(lf)
    return caught.value


CALLS: dict[str, Callable[[AsyncLeadfeeder], Awaitable[object]]] = {
    "read": lambda lf: lf.users.me(),
    "charging read": lambda lf: lf.companies.get("1"),
    "list": lambda lf: lf.tags.list().collect(),
}


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("fault", [*FAULTS, "refused"])
async def test_key_in_sinks(fault: str, call: str) -> None:
    """No error, traceback with locals, pickle, copy, event, warning or log contains the key."""
    events, log = list[AttemptEvent](), io.StringIO()
    handler, root = logging.StreamHandler(log), logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as warned:
            async with server_for_fault(fault) as server:
                url = server.url if server else "http://127.0.0.1:9"
                async with client_of(url, retries=0, timeout=0.1, max_body_bytes=2_000, on_attempt=events.append) as lf:
                    error = await raised(lf, CALLS[call])
    finally:
        root.removeHandler(handler)
        root.setLevel(logging.WARNING)
    contents = sinks(error, events, log.getvalue(), warned)
    assert [name for name, text in contents.items() if KEY in text] == []


def server_for_fault(fault: str) -> AbstractAsyncContextManager[RawServer | None]:
    return raw_server(FAULTS[fault]) if fault in FAULTS else nullcontext()


async def test_key_in_event_loop_report() -> None:
    """The event loop reports an error that was never retrieved without the key."""
    reports = list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reports.append(repr(context)))
    async with raw_server(FAULTS["echoed key"]) as server, client_of(server.url, retries=0) as lf:
        call = asyncio.create_task(lf.users.me())
        await asyncio.wait([call])
        del call
        with pytest.raises(TypeError):
            pickle.dumps(lf)
        await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert len(reports) == 1
    assert KEY not in reports[0]
