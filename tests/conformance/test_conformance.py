"""Run the conformance cases with the client. README.md describes the format of the cases."""

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
CONTRACT = yaml.safe_load((HERE.parent / "contract" / "openapi.yaml").read_text(encoding="utf-8"))


def load_cases(name: str) -> list[dict[str, Any]]:
    return json.loads((HERE / name).read_text(encoding="utf-8"))


REQUESTS, RESPONSES = load_cases("requests.json"), load_cases("responses.json")
RETRY_AFTER = load_cases("retry_after.json")


class CaseServer:
    """A handler that records requests and returns the response of the current case."""

    def __init__(self) -> None:
        self.response: dict[str, Any] = {"status": 200, "body": {"data": []}}
        self.requests: list[dict[str, Any]] = []

    async def __call__(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(
            {
                "method": request.method,
                "path": request.raw_path.split("?")[0],
                "query": dict(request.query),
                **({"body": json.loads(body)} if body else {}),
            }
        )
        headers = {"Content-Type": "application/json", **self.response.get("headers", {})}
        return web.Response(status=self.response["status"], body=body_of(self.response), headers=headers)


def body_of(response: dict[str, Any]) -> bytes:
    if "body" in response:
        return json.dumps(response["body"]).encode()
    if "body_base64" in response:
        return base64.b64decode(response["body_base64"])
    return response["body_text"].encode()


@pytest.fixture(scope="module")
async def case_server() -> AsyncIterator[tuple[CaseServer, str]]:
    """A running server and its URL."""
    server = CaseServer()
    async with handler_server(server) as url:
        yield server, url


async def result_of(call: Any) -> Any:
    """Await a call, or collect the items of a list."""
    return await (call.collect() if isinstance(call, Pager) else call)


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["id"])
async def test_request(case_server: tuple[CaseServer, str], case: dict[str, Any]) -> None:
    """A call sends the request of the case, or raises its error without sending a request."""
    server, url = case_server
    server.response, server.requests = {"status": 400, "body": {}}, []
    async with client_of(url, retries=0) as lf:
        with pytest.raises(LeadfeederError) as caught:
            await result_of(attrgetter(case["call"])(lf)(*case["arguments"], **case["named"]))
    if "error" in case:
        assert (type(caught.value).__name__, server.requests) == (case["error"], [])
    else:
        assert server.requests == [case["request"]]


@pytest.mark.parametrize("case", [case for case in REQUESTS if "request" in case], ids=lambda case: case["id"])
def test_request_matches_contract(case: dict[str, Any]) -> None:
    """The contract allows the path, method, parameters and body of the request."""
    request = case["request"]
    path, item = next(
        (path, item)
        for path, item in CONTRACT["paths"].items()
        if item.get(request["method"].lower(), {}).get("operationId") == case["operation"]
    )
    operation = item[request["method"].lower()]
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request["path"])
    declared = [
        resolve_parameter(parameter) for parameter in [*item.get("parameters", []), *operation.get("parameters", [])]
    ]
    in_query = [parameter for parameter in declared if parameter["in"] == "query"]
    assert set(request["query"]) <= {parameter["name"] for parameter in in_query}
    assert {parameter["name"] for parameter in in_query if parameter.get("required")} <= set(request["query"])
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(request["body"], {**schema, "components": CONTRACT["components"]})


def resolve_parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    name = parameter.get("$ref", "").rsplit("/", 1)[-1]
    return CONTRACT["components"]["parameters"][name] if name else parameter


CALLS: dict[str, Callable[[AsyncLeadfeeder], Awaitable[Any] | Pager[Any]]] = {
    "read": lambda lf: lf.users.me(),
    "billed": lambda lf: lf.companies.get("1"),
    "company": lambda lf: lf.request("GET", "/v1/x", idempotent=True, may_charge=False, returns=company_response()),
    "tags": lambda lf: lf.tags.list(),
    "write": lambda lf: lf.tags.delete("1"),
}


def company_response() -> type[Any]:
    from leadfeeder_async.models.envelope import Response
    from leadfeeder_async.models.records import Company

    return Response[Company]


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case["id"])
async def test_response(case_server: tuple[CaseServer, str], case: dict[str, Any]) -> None:
    """The response of a case becomes its value, or raises its error with the expected attributes."""
    server, url = case_server
    server.response = case
    async with client_of(url, retries=0) as lf:
        if "error" in case:
            with pytest.raises(LeadfeederError) as caught:
                await result_of(CALLS[case["call"]](lf))
            error, attributes = caught.value, dict(case["error"])
            assert type(error).__name__ == attributes.pop("class"), repr(error)
            assert {name: getattr(error, name) for name in attributes} == attributes
        elif "ids" in case:
            assert [item.id for item in await result_of(CALLS[case["call"]](lf))] == case["ids"]
        else:
            result = await result_of(CALLS[case["call"]](lf))
            assert {path: value_at(result, path) for path in case["value"]} == case["value"]


def value_at(value: Any, path: str) -> Any:
    """Return the value at a path such as ``data.attributes.name``."""
    for step in path.split("."):
        value = value[int(step)] if step.isdecimal() else getattr(value, step)
    return value


@pytest.mark.parametrize("case", RETRY_AFTER, ids=lambda case: repr(case["header"]))
def test_retry_after(case: dict[str, Any]) -> None:
    """A ``Retry-After`` header with seconds or a future date is a delay, and any other is ignored."""
    assert parse_retry_after(case["header"], datetime.fromisoformat(case["now"])) == case["seconds"]


def test_cases_are_complete() -> None:
    """Every operation has a request, IDs are unique, and there are at least 300 cases."""
    operations = {
        operation["operationId"]
        for item in CONTRACT["paths"].values()
        for method, operation in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    }
    assert {case["operation"] for case in REQUESTS} == operations
    names = [case["id"] for case in (*REQUESTS, *RESPONSES)]
    assert len(names) == len(set(names))
    assert len(names) + len(RETRY_AFTER) >= 300
