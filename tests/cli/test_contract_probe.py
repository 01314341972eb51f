"""``leadfeeder contract probe`` and the paths in ``leadfeeder doctor``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import yaml
from aiohttp import web

from leadfeeder_async._core.endpoint import Billing
from leadfeeder_async.cli.contract_probe import LIST_PROBES, RECORD_PROBES
from leadfeeder_async.resources import all_endpoints
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import json_lines, leadfeeder
from tests.support.paths import CONTRACT
from tests.support.servers import handler_server


@asynccontextmanager
async def moved(sandbox: Sandbox, paths: dict[str, str | None]) -> AsyncIterator[str]:
    """Run a proxy in front of a sandbox that has some paths elsewhere, or nowhere."""
    new_paths = {new: old for old, new in paths.items() if new}

    async def handle(request: web.Request) -> web.Response:
        if any(request.path.startswith(old) for old in paths):
            return web.json_response({"errors": [{"code": "not_found"}]}, status=404)
        url = sandbox.url + new_paths.get(request.path, request.path)
        headers = {"X-Api-Key": request.headers["X-Api-Key"], "Content-Type": "application/json"}
        body = await request.read()
        async with session.request(request.method, url, params=request.query, headers=headers, data=body) as response:
            return web.Response(status=response.status, body=await response.read(), content_type="application/json")

    async with aiohttp.ClientSession() as session, handler_server(handle) as url:
        yield url


def test_probes_cover_inferred_reads_that_are_free() -> None:
    """Each operation whose path is inferred is tried if it is free and only reads."""
    paths = yaml.load(CONTRACT.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))[
        "paths"
    ]
    free = {endpoint.operation for endpoint in all_endpoints() if endpoint.billing is Billing.FREE}
    inferred = {
        item["get"]["operationId"]
        for item in paths.values()
        if "inferred" in str(item.get("get", {}).get("x-evidence"))
    }
    assert {*LIST_PROBES, *RECORD_PROBES} == inferred & free


async def test_paths_that_exist(quarter: Sandbox) -> None:
    """If all paths exist, the command exits with 0. It charges nothing and changes nothing."""
    changes = [request for request in quarter.ledger.requests if request.method not in {"GET", "POST"}]
    charged = quarter.ledger.credits_charged
    code, stdout, stderr = await leadfeeder(quarter, "contract", "probe")
    results = json_lines(stdout)
    assert (code, {result["status"] for result in results} - {"unknown"}) == (0, {"exists"}), stdout
    assert len(results) == len(LIST_PROBES) + len(RECORD_PROBES)
    assert "Operations that charge credits or change data were not tried." in stderr
    assert quarter.ledger.credits_charged == charged
    assert [request for request in quarter.ledger.requests if request.method not in {"GET", "POST"}] == changes


async def test_paths_that_moved_or_are_missing(quarter: Sandbox) -> None:
    """A path that exists elsewhere is printed as an override. A path that exists nowhere exits with 1."""
    paths = {"/v1/custom-fields": "/v1/custom_fields", "/v1/icps": None}
    async with moved(quarter, paths) as url:
        environment = quarter.environment | {"LEADFEEDER_BASE_URL": url}
        code, stdout, stderr = await leadfeeder(None, "contract", "probe", **environment)
    results = {result["operation"]: result for result in json_lines(stdout)}
    assert (code, results["list_icps"]["status"]) == (1, "missing")
    assert results["retrieve_custom_fields"]["path"] == "/v1/custom_fields"
    assert "AsyncLeadfeeder(paths={'retrieve_custom_fields': '/v1/custom_fields'})" in stderr


async def test_rejected_key_stops_the_probe(quarter: Sandbox) -> None:
    """A key that is rejected is one error, not one for each path."""
    code, stdout, stderr = await leadfeeder(quarter, "contract", "probe", LEADFEEDER_API_KEY="canary-1234567890")
    assert (code, stdout) == (3, "")
    assert "canary" not in stderr


async def test_doctor_shows_paths_that_it_found(quarter: Sandbox) -> None:
    """Doctor warns about an operation that has another path."""
    async with moved(quarter, {"/v1/web-visits/tracker": "/v1/web-visits/website-tracking-script"}) as url:
        environment = quarter.environment | {"LEADFEEDER_BASE_URL": url}
        _, stdout, _ = await leadfeeder(None, "doctor", "--json", **environment)
    (result,) = [result for result in json_lines(stdout) if result["check"] == "paths"]
    assert result["message"] == "get_web_visits_tracker_script: /v1/web-visits/website-tracking-script"
    assert result["status"] == "warn"
