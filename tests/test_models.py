"""The contract's examples decode, and nothing they hold is lost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from leadfeeder_async import Endpoint
from leadfeeder_async.models.companies import Company, CompanySearchFilters, SearchLocation
from leadfeeder_async.models.visits import WebVisit
from leadfeeder_async.resources import accounts, companies, web_visits
from tests.conftest import EXAMPLES

KNOWN: list[tuple[str, Endpoint[Any]]] = [
    ("list_accounts", accounts.LIST_ACCOUNTS),
    ("seed-accounts-list", accounts.LIST_ACCOUNTS),
    ("list_accounts--with-account-id", accounts.GET_ACCOUNT),
    ("seed-account-credits", accounts.GET_ACCOUNT),
    ("get_current_user", accounts.GET_CURRENT_USER),
    ("get_company", companies.GET_COMPANY),
    ("get_company--stub-relationships", companies.GET_COMPANY),
    ("retrieve_companies", companies.RETRIEVE_COMPANIES),
    ("search_companies", companies.SEARCH_COMPANIES),
    ("search_companies--empty", companies.SEARCH_COMPANIES),
    ("search_companies--last-page", companies.SEARCH_COMPANIES),
    ("seed-companies-search", companies.SEARCH_COMPANIES),
    ("search_web_visits", web_visits.SEARCH_WEB_VISITS),
    ("retrieve_visitor_companies", web_visits.RETRIEVE_VISITOR_COMPANIES),
]


def lost(example: Any, decoded: Any, path: str = "$") -> list[str]:
    """Return the paths whose value in ``example`` is not the value in ``decoded``."""
    if isinstance(example, dict):
        inner = decoded if isinstance(decoded, dict) else {}
        return [one for key, value in example.items() for one in lost(value, inner.get(key), f"{path}.{key}")]
    if isinstance(example, list):
        return [
            one
            for index, value in enumerate(example)
            for one in lost(value, decoded[index] if index < len(decoded or []) else None, f"{path}[{index}]")
        ]
    return [] if example == decoded or (example is None and not decoded) else [path]


@pytest.mark.parametrize(("name", "row"), KNOWN, ids=[name for name, _ in KNOWN])
def test_example_decodes_without_loss(name: str, row: Endpoint[Any]) -> None:
    """Encoding the decoded example again gives every value back, field by field."""
    body = (EXAMPLES / f"{name}.json").read_bytes()
    again = msgspec.json.decode(msgspec.json.encode(row.decoder.decode(body)))
    assert [path for path in lost(msgspec.json.decode(body), again) if not path.endswith(".attributes")] == []


def test_shortcuts_reach_what_everybody_reads() -> None:
    """Names, companies, tags and times are one attribute away, on whole records and on stubs."""
    body = (EXAMPLES / "search_web_visits.json").read_bytes()
    whole, stub = web_visits.SEARCH_WEB_VISITS.decoder.decode(body).data
    assert whole.company is not None
    assert (whole.company.name, [tag.name for tag in whole.company.tags]) == ("Nordlicht Robotik GmbH", ["Hot lead"])
    assert whole.started_at is not None
    assert whole.started_at.isoformat() == "2026-11-20T09:14:07+00:00"
    assert whole.location is not None
    assert whole.location.city == "Hamburg"
    assert stub.company is not None
    assert (stub.company.name, stub.company.tags, stub.company.lists) == (None, (), ())


def test_unknown_fields_values_and_types_are_tolerated() -> None:
    """What the contract does not know yet is skipped; open vocabularies take any text."""
    body = b'{"id":"1","type":"web_visit_v2","x":{"y":[1]},"attributes":{"device_type":"fridge","z":1}}'
    visit = msgspec.json.decode(body, type=WebVisit)
    assert (visit.type, visit.attributes.device_type) == ("web_visit_v2", "fridge")


def test_stub_prints_short() -> None:
    """The repr of a stub shows what it holds and not what it could."""
    assert repr(Company(id="7")) == "Company(id='7')"


def test_request_structs_leave_out_what_is_not_set() -> None:
    """A search body holds only what was asked for; False asks something."""
    assert msgspec.json.encode(SearchLocation(country_code="DE")) == b'{"country_code":"DE"}'
    assert msgspec.json.encode(CompanySearchFilters(has_phone=False)) == b'{"has_phone":false}'
