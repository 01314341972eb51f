"""``leadfeeder contract check``: the project's own contract passes, altered ones are told apart."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from leadfeeder_async.cli.openapi_diff import compare
from leadfeeder_async.resources import all_endpoints
from tests.cli.test_cli import leadfeeder
from tests.support.paths import EXAMPLES
from tests.support.servers import handler_server

CONTRACT = EXAMPLES.parent / "openapi.yaml"


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(CONTRACT.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


def test_own_contract_holds_no_surprise(contract: dict[str, Any]) -> None:
    """Rows, parameters and Structs agree with the contract they were written from, to the last field."""
    assert compare(contract, all_endpoints()) == []


def move(document: dict[str, Any]) -> None:
    document["paths"]["/v1/signals/search"] = document["paths"].pop("/v1/companies/signals")


def move_and_rename(document: dict[str, Any]) -> None:
    operation = document["paths"].pop("/v1/companies/ips")
    operation["get"]["operationId"] = "getCompanyIpAddresses"
    document["paths"]["/v1/companies/ip-addresses"] = operation


def change_method(document: dict[str, Any]) -> None:
    item = document["paths"]["/v1/tags/{id}"]
    item["put"] = item.pop("patch")


def need_parameter(document: dict[str, Any]) -> None:
    parameter = {"name": "region", "in": "query", "required": True, "schema": {"type": "string"}}
    document["paths"]["/v1/tags"]["get"]["parameters"].append(parameter)


def change_type(document: dict[str, Any]) -> None:
    company = document["components"]["schemas"]["CompanyV1"]["properties"]["attributes"]["properties"]
    company["founded_year"] = {"type": "string"}


def drop_parameter(document: dict[str, Any]) -> None:
    document["paths"]["/v1/companies/{id}"]["get"]["parameters"].pop()


def add_field(document: dict[str, Any]) -> None:
    visit = document["components"]["schemas"]["WebVisitV1"]["properties"]["attributes"]["properties"]
    visit["mood"] = {"type": "string"}


def add_operation(document: dict[str, Any]) -> None:
    document["paths"]["/v1/moods"] = {"get": {"operationId": "list_moods"}}


def rename_ids(document: dict[str, Any]) -> None:
    document["paths"]["/v1/tags/{tag_id}"] = document["paths"].pop("/v1/tags/{id}")


@pytest.mark.parametrize(
    ("change", "where", "said", "override"),
    [
        (move, "search_company_signals", "lives at /v1/signals/search", "/v1/signals/search"),
        (move_and_rename, "retrieve_company_ips", "/v1/companies/ip-addresses", "/v1/companies/ip-addresses"),
        (change_method, "update_tag", "PUT, not PATCH", None),
        (need_parameter, "retrieve_tags", "region", None),
        (change_type, "CompanyV1.attributes.founded_year", "string", None),
    ],
)
def test_breaking_change_is_named(
    contract: dict[str, Any], change: Callable[[dict[str, Any]], None], where: str, said: str, override: str | None
) -> None:
    """What would fail at run time is breaking, names its place, and comes with the override where one mends it."""
    altered = copy.deepcopy(contract)
    change(altered)
    (first, *_) = compare(altered, all_endpoints())
    assert (first.where, first.breaking, first.override) == (where, True, override)
    assert said in first.what


@pytest.mark.parametrize(
    ("change", "where"),
    [(drop_parameter, "get_company"), (add_field, "WebVisitV1.attributes.mood"), (add_operation, "list_moods")],
)
def test_harmless_change_is_noted(
    contract: dict[str, Any], change: Callable[[dict[str, Any]], None], where: str
) -> None:
    """New fields, new operations and parameters that went are said, and break nothing."""
    altered = copy.deepcopy(contract)
    change(altered)
    (found,) = compare(altered, all_endpoints())
    assert (found.where, found.breaking) == (where, False)


def test_names_of_ids_in_paths_do_not_matter(contract: dict[str, Any]) -> None:
    """``/tags/{tag_id}`` is ``/tags/{id}``."""
    altered = copy.deepcopy(contract)
    rename_ids(altered)
    assert compare(altered, all_endpoints()) == []


async def test_command_reads_files_and_addresses(contract: dict[str, Any], tmp_path: Path) -> None:
    """A file that agrees exits with 0; an altered one, by address, with 1 and the override to paste."""
    assert (await leadfeeder(None, "contract", "check", CONTRACT))[:2] == (0, "")
    altered = copy.deepcopy(contract)
    move(altered)

    async def handle(request: web.Request) -> web.Response:
        assert "X-Api-Key" not in request.headers
        return web.json_response(altered)

    async with handler_server(handle) as url:
        code, stdout, stderr = await leadfeeder(None, "contract", "check", f"{url}/openapi.json")
    assert (code, json.loads(stdout)["override"]) == (1, "/v1/signals/search")
    assert "AsyncLeadfeeder(paths={'search_company_signals': '/v1/signals/search'})" in stderr


@pytest.mark.parametrize("text", ["", "- a", "{", "\x00"])
async def test_what_is_no_document_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is missing, or no OpenAPI document, exits with 2."""
    path = tmp_path / "x.yaml"
    assert (await leadfeeder(None, "contract", "check", path))[0] == 2
    path.write_text(text)
    code, _, stderr = await leadfeeder(None, "contract", "check", path)
    assert (code, "Traceback" in stderr) == (2, False)
