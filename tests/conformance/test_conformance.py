"""The conformance cases, run through the real client; README.md says what their fields mean."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, LeadfeederError, Pager
from leadfeeder_async._core.retry import parse_retry_after
from tests.support.clients import client_of
from tests.support.servers import handler_server

HERE = Path(__file__).parent
CONTRACT = yaml.safe_load((HERE.parent / "contract" / "openapi.yaml").read_text())


def cases(name: str) -> list[dict[str, Any]]:
    return json.loads((HERE / name).read_text())


REQUESTS, REPLIES, RETRY_AFTER = cases("requests.json"), cases("replies.json"), cases("retry_after.json")


class Stage:
    """A server that notes the request and gives the reply of the case on stage."""

    def __init__(self) -> None:
        self.reply: dict[str, Any] = {"status": 200, "body": {"data": []}}
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(
            {
                "method": request.method,
                "path": request.raw_path.split("?")[0],
                "query": dict(request.query),
                **({"body": json.loads(body)} if body else {}),
            }
        )
        headers = {"Content-Type": "application/json", **self.reply.get("headers", {})}
        return web.Response(status=self.reply["status"], body=content(self.reply), headers=headers)


def content(reply: dict[str, Any]) -> bytes:
    if "body" in reply:
        return json.dumps(reply["body"]).encode()
    return base64.b64decode(reply["body_base64"]) if "body_base64" in reply else reply["body_text"].encode()


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[tuple[Stage, str]]:
    played = Stage()
    async with handler_server(played) as url:
        yield played, url


async def outcome(answer: Any) -> Any:
    """Await an answer, or read a list."""
    return await (answer.collect() if isinstance(answer, Pager) else answer)


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["id"])
async def test_request(stage: tuple[Stage, str], case: dict[str, Any]) -> None:
    """The arguments of a call become the request of the case, or the error before anything is sent."""
    played, url = stage
    played.reply, played.seen = {"status": 404, "body": {}}, []
    async with client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await outcome(attrgetter(case["call"])(lf)(*case["arguments"], **case["named"]))
    if "error" in case:
        assert (type(caught.value).__name__, played.seen) == (case["error"], [])
    else:
        assert played.seen == [case["request"]]


@pytest.mark.parametrize("case", [case for case in REQUESTS if "request" in case], ids=lambda case: case["id"])
def test_request_keeps_the_contract(case: dict[str, Any]) -> None:
    """The case itself is right: the contract has its path, method and parameters, and accepts its body."""
    asked = case["request"]
    path, item = next(
        (path, item)
        for path, item in CONTRACT["paths"].items()
        if item.get(asked["method"].lower(), {}).get("operationId") == case["operation"]
    )
    operation = item[asked["method"].lower()]
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked["path"])
    declared = [resolve(one) for one in [*item.get("parameters", []), *operation.get("parameters", [])]]
    inquery = [one for one in declared if one["in"] == "query"]
    assert set(asked["query"]) <= {one["name"] for one in inquery}
    assert {one["name"] for one in inquery if one.get("required")} <= set(asked["query"])
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(asked["body"], {**schema, "components": CONTRACT["components"]})


def resolve(parameter: dict[str, Any]) -> dict[str, Any]:
    name = parameter.get("$ref", "").rsplit("/", 1)[-1]
    return CONTRACT["components"]["parameters"][name] if name else parameter


CALLS: dict[str, Callable[[AsyncLeadfeeder], Awaitable[Any] | Pager[Any]]] = {
    "read": lambda lf: lf.users.me(),
    "charging": lambda lf: lf.companies.get("1"),
    "company": lambda lf: lf.request("GET", "/v1/x", idempotent=True, may_charge=False, returns=company_answer()),
    "tags": lambda lf: lf.tags.list(),
    "write": lambda lf: lf.tags.delete("1"),
}


def company_answer() -> type[Any]:
    from leadfeeder_async.models.companies import Company
    from leadfeeder_async.models.envelope import Response

    return Response[Company]


@pytest.mark.parametrize("case", REPLIES, ids=lambda case: case["id"])
async def test_reply(stage: tuple[Stage, str], case: dict[str, Any]) -> None:
    """The reply of a case becomes its value, or the error of its class with its facts."""
    played, url = stage
    played.reply = case
    async with client_of(url, retries=0) as lf:
        if "error" in case:
            with pytest.raises(LeadfeederError) as caught:
                await outcome(CALLS[case["call"]](lf))
            error, facts = caught.value, dict(case["error"])
            assert type(error).__name__ == facts.pop("class"), repr(error)
            assert {name: getattr(error, name) for name in facts} == facts
        elif "ids" in case:
            assert [one.id for one in await outcome(CALLS[case["call"]](lf))] == case["ids"]
        else:
            answer = await outcome(CALLS[case["call"]](lf))
            assert {way: reach(answer, way) for way in case["value"]} == case["value"]


def reach(value: Any, way: str) -> Any:
    """Follow a way such as ``data.attributes.name``."""
    for step in way.split("."):
        value = value[int(step)] if step.isdecimal() else getattr(value, step)
    return value


@pytest.mark.parametrize("case", RETRY_AFTER, ids=lambda case: repr(case["header"]))
def test_retry_after(case: dict[str, Any]) -> None:
    """Seconds and dates are read; what is past, endless or no time at all counts as absent."""
    assert parse_retry_after(case["header"], datetime.fromisoformat(case["now"])) == case["seconds"]


def test_there_are_enough() -> None:
    """Every operation has a request, ids are unique, and all together are 300 or more."""
    operations = {
        one["operationId"]
        for item in CONTRACT["paths"].values()
        for method, one in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }
    assert {case["operation"] for case in REQUESTS} == operations
    names = [case["id"] for case in (*REQUESTS, *REPLIES)]
    assert len(names) == len(set(names))
    assert len(names) + len(RETRY_AFTER) >= 300
