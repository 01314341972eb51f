"""Operations with an inferred path: alternatives are tried once, and the path that exists is kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

import pytest
import yaml
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, NotFoundError, ServerError
from leadfeeder_async.resources import all_endpoints
from tests.support.clients import client_of
from tests.support.paths import CONTRACT
from tests.support.servers import handler_server

FIRST, SECOND, THIRD = (
    "/v1/web-visits/custom-feeds/folders",
    "/v1/web-visits/custom-feed-folders",
    "/v1/custom-feed-folders",
)


class RouteServer:
    """A server on which only some paths exist."""

    def __init__(self, statuses: Mapping[str, int]) -> None:
        self.statuses = dict(statuses)
        self.paths: list[str] = []

    async def __call__(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        status = self.statuses.get(request.path, 404)
        content = {"data": []} if status == 200 else {"errors": [{"code": "not_found", "detail": "No such route"}]}
        return web.json_response(content, status=status)


async def folders(lf: AsyncLeadfeeder) -> None:
    await lf.custom_feeds.folders()


@pytest.mark.parametrize("status", [404, 405])
async def test_alternative_path_is_tried_and_kept(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """The path that exists is used from then on, and logged once."""
    server = RouteServer({FIRST: status, SECOND: 404, THIRD: 200})
    with caplog.at_level(logging.WARNING, "leadfeeder_async"):
        async with handler_server(server) as url, client_of(url) as lf:
            await folders(lf)
            await folders(lf)
            assert dict(lf.paths) == {"retrieve_custom_feed_folders": THIRD}
    assert server.paths == [FIRST, SECOND, THIRD, THIRD]
    assert [record.getMessage() for record in caplog.records] == [
        (
            f"retrieve_custom_feed_folders: GET {THIRD} exists, but {FIRST} does not. "
            f"Pass paths={{'retrieve_custom_feed_folders': '{THIRD}'}} to use it at once."
        )
    ]


async def test_first_path_that_exists_is_kept() -> None:
    """After a successful response, a 404 is raised and no alternative is tried."""
    server = RouteServer({FIRST: 200})
    async with handler_server(server) as url, client_of(url) as lf:
        await folders(lf)
        server.statuses[FIRST] = 404
        with pytest.raises(NotFoundError) as caught:
            await folders(lf)
        assert dict(lf.paths) == {}
    assert server.paths == [FIRST, FIRST]
    assert "paths=" not in str(caught.value)


async def test_no_path_exists() -> None:
    """All paths are tried once in a client, and the error names them."""
    server = RouteServer({})
    async with handler_server(server) as url, client_of(url) as lf:
        for _ in range(2):
            with pytest.raises(NotFoundError, match="none of these exists") as caught:
                await folders(lf)
            assert all(path in str(caught.value) for path in (FIRST, SECOND, THIRD))
    assert server.paths == [FIRST, SECOND, THIRD, FIRST]


async def test_account_without_the_feature() -> None:
    """If no path exists for one account, the paths are still tried for another one, and then kept."""
    paths = list[tuple[str, str]]()

    async def respond(request: web.Request) -> web.Response:
        account = request.query["account_id"]
        paths.append((account, request.path))
        exists = account == "2" and request.path == SECOND
        return web.json_response({"data": []} if exists else {"errors": []}, status=200 if exists else 404)

    async with handler_server(respond) as url, client_of(url) as lf:
        for account in ("1", "2", "2", "1"):
            with suppress(NotFoundError):
                await folders(lf.with_options(account_id=account))
    assert paths == [
        *(("1", path) for path in (FIRST, SECOND, THIRD)),
        *(("2", path) for path in (FIRST, SECOND, SECOND)),
        ("1", SECOND),
    ]


async def test_explicit_path_has_no_alternative() -> None:
    """A path that the caller set has no alternatives."""
    server = RouteServer({})
    async with handler_server(server) as url:
        async with client_of(url, paths={"retrieve_custom_feed_folders": "/v2/folders"}) as lf:
            with pytest.raises(NotFoundError):
                await folders(lf)
    assert server.paths == ["/v2/folders"]


async def test_other_errors_try_no_alternative() -> None:
    """Only a path that does not exist has an alternative."""
    server = RouteServer({FIRST: 503})
    async with handler_server(server) as url, client_of(url, retries=0) as lf:
        with pytest.raises(ServerError):
            await folders(lf)
    assert server.paths == [FIRST]


async def test_retries_of_alternative_path() -> None:
    """A path that does not exist uses none of the retries of the alternative."""
    server = RouteServer({THIRD: 503})
    async with handler_server(server) as url, client_of(url, retries=1) as lf:
        with pytest.raises(ServerError) as caught:
            await folders(lf)
    assert server.paths == [FIRST, SECOND, THIRD, THIRD]
    assert (caught.value.context.attempts, caught.value.context.path) == (2, THIRD)


async def test_concurrent_calls_find_the_same_path() -> None:
    """Calls that started before the path was found use it too."""
    server = RouteServer({SECOND: 200})
    async with handler_server(server) as url, client_of(url) as lf:
        await asyncio.gather(*(folders(lf) for _ in range(5)))
        await folders(lf)
    assert server.paths[-1] == SECOND
    assert set(server.paths) == {FIRST, SECOND}


async def test_query_and_body_stay_the_same() -> None:
    """Only the path of the request changes."""
    requests = list[tuple[str, str, bytes]]()

    async def handle(request: web.Request) -> web.Response:
        requests.append((request.method, request.path_qs, await request.read()))
        return web.json_response({"data": [], "meta": {}}, status=200 if "search" in request.path else 405)

    async with handler_server(handle) as url, client_of(url) as lf:
        await lf.companies.search_signals(company_ids=["7"]).collect()
    first, second = requests
    assert (first[0], first[2]) == (second[0], second[2])
    assert second[1] == first[1].replace("/signals", "/signals/search")


def test_alternatives_are_those_of_the_contract() -> None:
    """The alternatives are those of the contract, and no such path contains an ID."""
    document = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    listed = {
        operation["operationId"]: tuple(operation["x-path-alternatives"])
        for path in document["paths"].values()
        for operation in path.values()
        if "x-path-alternatives" in operation
    }
    assert {row.operation: row.path_alternatives for row in all_endpoints() if row.path_alternatives} == listed
    assert all(
        "{" not in path
        for row in all_endpoints()
        for path in (row.path, *row.path_alternatives)
        if row.path_alternatives
    )
