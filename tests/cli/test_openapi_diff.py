"""The comparison with an OpenAPI document, and ``leadfeeder contract check``."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from aiohttp import web

from leadfeeder_async.cli import contract_command
from leadfeeder_async.cli.openapi_diff import compare
from leadfeeder_async.resources import all_endpoints
from tests.cli.command import leadfeeder, leadfeeder_on_terminal
from tests.support.paths import CONTRACT
from tests.support.servers import handler_server

Document: TypeAlias = dict[str, Any]
Change: TypeAlias = Callable[[Document], None]


@pytest.fixture(scope="module")
def contract() -> Document:
    document: Document = yaml.load(
        CONTRACT.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return document


def changed(contract: Document, change: Change) -> Document:
    document = copy.deepcopy(contract)
    change(document)
    return document


def test_own_contract_has_no_differences(contract: Document) -> None:
    """The endpoints and models agree with the contract of this repository."""
    assert compare(contract, all_endpoints()) == []


def move(document: Document) -> None:
    document["paths"]["/v1/signals/search"] = document["paths"].pop("/v1/companies/signals")


def move_and_rename(document: Document) -> None:
    operation = document["paths"].pop("/v1/companies/ips")
    operation["get"]["operationId"] = "getCompanyIpAddresses"
    document["paths"]["/v1/companies/ip-addresses"] = operation


def change_method(document: Document) -> None:
    item = document["paths"]["/v1/tags/{id}"]
    item["put"] = item.pop("patch")


def require_parameter(document: Document) -> None:
    parameter = {"name": "region", "in": "query", "required": True, "schema": {"type": "string"}}
    document["paths"]["/v1/tags"]["get"]["parameters"].append(parameter)


def change_type(document: Document) -> None:
    company = document["components"]["schemas"]["CompanyV1"]["properties"]["attributes"]["properties"]
    company["founded_year"] = {"type": "string"}


def drop_parameter(document: Document) -> None:
    document["paths"]["/v1/companies/{id}"]["get"]["parameters"].pop()


def add_field(document: Document) -> None:
    visit = document["components"]["schemas"]["WebVisitV1"]["properties"]["attributes"]["properties"]
    visit["mood"] = {"type": "string"}


def add_operation(document: Document) -> None:
    document["paths"]["/v1/moods"] = {"get": {"operationId": "list_moods"}}


def rename_path_parameter(document: Document) -> None:
    document["paths"]["/v1/tags/{tag_id}"] = document["paths"].pop("/v1/tags/{id}")


@pytest.mark.parametrize(
    ("change", "location", "message", "override"),
    [
        (move, "search_company_signals", "The path is /v1/signals/search, not", "/v1/signals/search"),
        (move_and_rename, "retrieve_company_ips", "/v1/companies/ip-addresses", "/v1/companies/ip-addresses"),
        (change_method, "update_tag", "The method is PUT, not PATCH.", None),
        (require_parameter, "retrieve_tags", "region", None),
        (change_type, "CompanyV1.attributes.founded_year", "string", None),
    ],
)
def test_breaking_change(contract: Document, change: Change, location: str, message: str, override: str | None) -> None:
    """A change that breaks calls is marked, with the path that corrects it if there is one."""
    (first, *_) = compare(changed(contract, change), all_endpoints())
    assert (first.location, first.breaking, first.override) == (location, True, override)
    assert message in first.message


@pytest.mark.parametrize(
    ("change", "location"),
    [(drop_parameter, "get_company"), (add_field, "WebVisitV1.attributes.mood"), (add_operation, "list_moods")],
)
def test_compatible_change(contract: Document, change: Change, location: str) -> None:
    """New fields, new operations and removed parameters are reported as not breaking."""
    (difference,) = compare(changed(contract, change), all_endpoints())
    assert (difference.location, difference.breaking) == (location, False)


def test_names_of_path_parameters_are_ignored(contract: Document) -> None:
    """``/tags/{tag_id}`` is the same path as ``/tags/{id}``."""
    assert compare(changed(contract, rename_path_parameter), all_endpoints()) == []


async def test_check_of_file() -> None:
    """A file that agrees with the package exits with 0."""
    code, stdout, stderr = await leadfeeder(None, "contract", "check", CONTRACT)
    assert (code, stdout) == (0, "")
    assert stderr.endswith("0 breaking differences, 0 other differences.\n")


async def test_check_of_url(contract: Document) -> None:
    """A document is downloaded without the key. A breaking difference exits with 1."""
    document = changed(contract, move)

    async def handle(request: web.Request) -> web.Response:
        assert "X-Api-Key" not in request.headers
        return web.json_response(document)

    async with handler_server(handle) as url:
        code, stdout, stderr = await leadfeeder(None, "contract", "check", f"{url}/openapi.json")
    assert (code, json.loads(stdout)["override"]) == (1, "/v1/signals/search")
    assert "AsyncLeadfeeder(paths={'search_company_signals': '/v1/signals/search'})" in stderr


@pytest.mark.parametrize(
    ("status", "size", "message"),
    [(404, 1, "the server returned status 404"), (200, contract_command.MAX_DOCUMENT_BYTES + 1, "is larger than")],
)
async def test_unusable_download(status: int, size: int, message: str) -> None:
    """A document that cannot be downloaded, or is too large, is one error."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, body=b" " * size)

    async with handler_server(handle) as url:
        code, stdout, stderr = await leadfeeder(None, "contract", "check", f"{url}/openapi.json")
    assert (code != 0, stdout) == (True, "")
    assert message in stderr


async def test_unreachable_document() -> None:
    """A server that cannot be reached is one error with its cause."""
    code, _, stderr = await leadfeeder(None, "contract", "check", "http://127.0.0.1:9/openapi.json")
    assert (code, "the request failed (ClientConnectorError)" in stderr) == (5, True)


async def test_check_on_terminal(contract: Document, tmp_path: Path) -> None:
    """On a terminal, each difference is wrapped between words."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(changed(contract, move)), encoding="utf-8")
    _, screen = await leadfeeder_on_terminal(None, "contract", "check", str(path))
    first, second = screen.splitlines()[:2]
    assert first.startswith("BREAKING  search_company_signals: The path is /v1/signals/search, not")
    assert second == "          /v1/companies/signals."


ODD_DOCUMENTS = {
    "keys of other types": "components: {schemas: {TagV1: {properties: {no: {}, on: {}, 2026-01-01: {}, 1: {}}}}}",
    "invalid date": "components: {schemas: {TagV1: {properties: {a: {example: 2026-02-31}}}}}",
    "parameter without a name": "paths: {/v1/tags: {get: {parameters: [{in: query}, null, 5]}}}",
    "parameters is null": "paths: {/v1/tags: {get: {parameters: null}}}",
    "paths is a list": "paths: [1]",
    "very long integer": f"x: {'9' * 5_000}",
    "aliases": "\n".join(
        [
            "a0: &a0 {x: 1}",
            *(f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}" for n in range(1, 30)),
        ]
    ),
    "recursive alias": "paths: &paths {/v1/tags: *paths}",
    "many paths": "paths:\n" + "".join(f"  /v1/tags/x{n}: {{get: {{}}}}\n" for n in range(5_000)),
}


@pytest.mark.parametrize("text", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
async def test_odd_document_is_compared(tmp_path: Path, text: str) -> None:
    """A document that is valid YAML is compared, however odd it is."""
    path = tmp_path / "openapi.yaml"
    path.write_text(text, encoding="utf-8")
    code, _, stderr = await leadfeeder(None, "contract", "check", path)
    assert (code, "Traceback" in stderr) == (1, False)
    assert "breaking differences" in stderr


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "? {a: 1}\n: 2", "x" * (8 * 1024 * 1024 + 1)], ids=["deep", "unhashable", "large"]
)
async def test_unusable_document_is_refused(tmp_path: Path, text: str) -> None:
    """A document that is too deep, too large or has an object as a key exits with 2."""
    path = tmp_path / "openapi.yaml"
    path.write_text(text, encoding="utf-8")
    code, _, stderr = await leadfeeder(None, "contract", "check", path)
    assert (code, "Traceback" in stderr) == (2, False)


@pytest.mark.parametrize("text", ["", "- a", "{", "\x00"])
async def test_invalid_document(tmp_path: Path, text: str) -> None:
    """A file that is missing or not an OpenAPI document exits with 2."""
    path = tmp_path / "x.yaml"
    assert (await leadfeeder(None, "contract", "check", path))[0] == 2
    path.write_text(text, encoding="utf-8")
    code, _, stderr = await leadfeeder(None, "contract", "check", path)
    assert (code, "Traceback" in stderr) == (2, False)
