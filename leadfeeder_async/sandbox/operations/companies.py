"""Companies and their matches, financials, signals and IP addresses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.company_records import (
    COMPANY_RELATIONS,
    company_json,
    company_reference,
    company_summary,
    find_companies,
    require_company,
)
from leadfeeder_async.sandbox.operations.company_search import search_companies
from leadfeeder_async.sandbox.pages import cursor_page
from leadfeeder_async.sandbox.query import OperationResult, Query, Route
from leadfeeder_async.sandbox.sample_data import SIGNAL_CATEGORIES, Json, hash_mix, hostname, location_attributes
from leadfeeder_async.sandbox.server_state import ApiError


def get_company(query: Query) -> OperationResult:
    """Return a company under its current id."""
    company_id = require_company(query, query.path_params["id"])
    charged = query.state.charge(query.require_account(), [company_id])
    return OperationResult(company_json(query, company_id), charged=charged)


def retrieve_companies(query: Query) -> OperationResult:
    """Return several companies, each under its current id. Omit unknown ids."""
    rejected_ids = query.state.rejected_ids
    requested_ids = query.id_list("ids")
    for company_id in requested_ids:
        if company_id in rejected_ids:
            raise ApiError(rejected_ids[company_id], "invalid_request", f"ids must not include {company_id}")
    current_ids = find_companies(query, requested_ids)
    charged = query.state.charge(query.require_account(), current_ids)
    return OperationResult([company_json(query, company_id) for company_id in current_ids], charged=charged)


class MatchInput(msgspec.Struct, frozen=True):
    """The known fields of a company to match."""

    company_name: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    vat_id: str | UnsetType = UNSET
    register_id: str | UnsetType = UNSET
    register_location: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    phone: str | UnsetType = UNSET
    street: str | UnsetType = UNSET
    street_name: str | UnsetType = UNSET
    street_number: str | UnsetType = UNSET
    postal_code: str | UnsetType = UNSET
    city: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    country_code: str | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not (self.company_name or self.url or self.vat_id or self.register_id):
            raise ValueError("company_name, url, vat_id or register_id is needed")


class MatchRequest(msgspec.Struct, frozen=True):
    """The body of a match request."""

    companies: Annotated[list[MatchInput], msgspec.Meta(min_length=1, max_length=200)]


def match_companies(query: Query) -> OperationResult:
    """Return the candidates for each input, best match first."""
    max_candidates = query.int_param("max_results_per_company", 5, 20)
    candidates = [
        _candidates(query, match_input)[:max_candidates] for match_input in query.decode_body(MatchRequest).companies
    ]
    return OperationResult(candidates, charged=0, extra_meta={"num_results": sum(map(len, candidates))})


def _candidates(query: Query, match_input: MatchInput) -> list[Json]:
    index, scores = query.state.world.match_index, dict[str, float]()
    name = (match_input.company_name or "").lower().strip()
    partial_matches = (
        company_id for known_name, ids in index["name"].items() if name and name in known_name for company_id in ids
    )
    scores.update(dict.fromkeys(partial_matches, 0.6))
    scores.update(dict.fromkeys(index["name"].get(name, ()), 0.95))
    scores.update(dict.fromkeys(index["hostname"].get(hostname(match_input.url or ""), ()), 0.97))
    scores.update(dict.fromkeys(index["vat_id"].get((match_input.vat_id or "").lower(), ()), 1.0))
    best_first = sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))
    return [_company_match(query, company_id, score) for company_id, score in best_first[:20]]


def _company_match(query: Query, company_id: str, score: float) -> Json:
    relationships = {"company_summary": company_summary(query, company_id)}
    attributes = {"match_score": score}
    return {"id": company_id, "type": "company_match", "attributes": attributes, "relationships": relationships}


def get_company_financials(query: Query) -> OperationResult:
    """Return the financial reports of two years."""
    company_id = require_company(query, query.path_params["id"])
    charged = query.state.charge(query.require_account(), [company_id])
    return OperationResult([_financials(query, company_id, year) for year in (2025, 2024)], charged=charged)


def _financials(query: Query, company_id: str, year: int) -> Json:
    employees = msgspec.convert(query.state.world.company(company_id)["employee_count"], int)
    revenue = {"value": float(employees * 120_000 - 9_000 * (2025 - year)), "currency": "EUR"}
    attributes: Json = {
        "year": year,
        "currency": "EUR",
        "revenue": revenue,
        "earnings": None,
        "net_worth": None,
        "employee_count": employees,
    }
    return {"id": f"fin-{company_id}-{year}", "type": "company_financials", "attributes": attributes}


class SignalDates(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A date range, both days included."""

    start: date = date.min
    end: date = date.max

    def __post_init__(self) -> None:
        if self.start > self.end:
            raise ValueError("from is after to")


class SignalSearch(msgspec.Struct, frozen=True):
    """The body of a signal search."""

    company_ids: Annotated[list[str], msgspec.Meta(min_length=1)]
    categories: list[str] = []
    event_date: SignalDates = SignalDates()
    publication_date: SignalDates = SignalDates()

    def __post_init__(self) -> None:
        if not set(self.categories) <= set(SIGNAL_CATEGORIES):
            raise ValueError("categories has an unknown category")


def search_company_signals(query: Query) -> OperationResult:
    """Return signals of companies. Charge for the companies on the returned page."""
    search, account = query.decode_body(SignalSearch), query.require_account()
    known_ids = find_companies(query, search.company_ids)
    rows = [(company_id, signal) for company_id in known_ids for signal in _signals(query, company_id, search)]
    result = cursor_page(query, rows, lambda row: row[1])
    signals_on_page = msgspec.convert(result.data, list[object])
    companies_on_page = {company_id for company_id, signal in rows if signal in signals_on_page}
    return msgspec.structs.replace(result, charged=query.state.charge(account, sorted(companies_on_page)))


def _signals(query: Query, company_id: str, search: SignalSearch) -> Iterable[Json]:
    world = query.state.world
    for number in range(hash_mix(world.seed, 8, int(company_id)) % 4):
        bits = hash_mix(world.seed, 9, int(company_id), number)
        category = SIGNAL_CATEGORIES[bits % len(SIGNAL_CATEGORIES)]
        event_date = world.end_date - timedelta(bits % 300 + 3)
        publication_date = event_date + timedelta(3)
        if (
            (not search.categories or category in search.categories)
            and search.event_date.start <= event_date <= search.event_date.end
            and search.publication_date.start <= publication_date <= search.publication_date.end
        ):
            attributes: Json = {
                "category": category,
                "event_date": str(event_date),
                "publication_date": str(publication_date),
                "title": f"News {number + 1}",
                "summary": f"Something about {category.replace('_', ' ')}.",
                "url": f"https://news.test/{company_id}/{number}",
            }
            relationships = {"company": {"id": company_id, "type": "company"}}
            signal_id = f"sig-{company_id}-{number}"
            yield {"id": signal_id, "type": "signal", "attributes": attributes, "relationships": relationships}


def retrieve_company_ips(query: Query) -> OperationResult:
    """Return the IP addresses of companies. Omit unknown ids."""
    max_ips = query.int_param("max_ip_addresses", 2, 10**6)
    known_ids = find_companies(query, query.id_list("company_ids"))
    charged = query.state.charge(query.require_account(), known_ids)
    return OperationResult([_company_ips(query, company_id, max_ips) for company_id in known_ids], charged=charged)


def _company_ips(query: Query, company_id: str, max_ips: int) -> Json:
    relationships: Json = {
        "company": company_reference(query, company_id),
        "ip_addresses": [
            _ip_address(query, company_id, ip) for ip in query.state.world.company_ips(company_id)[:max_ips]
        ],
    }
    return {"id": company_id, "type": "company_ip", "attributes": {}, "relationships": relationships}


def _ip_address(query: Query, company_id: str, ip: str) -> Json:
    attributes = {"ip": ip, "confidence_score": "high"}
    relationships = ip_relationships(query.state.world.location_of_company(company_id))
    return {"id": ip, "type": "ip_address", "attributes": attributes, "relationships": relationships}


def ip_relationships(location: int) -> Json:
    """Return the location and network of an IP address."""
    attributes = {name: value for name, value in location_attributes(location).items() if name != "postal_code"}
    network = {"name": "Example Net", "asn": 64_500 + location, "cidr": "198.18.0.0/15"}
    return {
        "location": {"id": f"iploc-{location}", "type": "ip_location", "attributes": attributes},
        "network": {"id": f"AS{64_500 + location}", "type": "network", "attributes": network},
    }


ROUTES = (
    Route("GET", "/v1/companies", retrieve_companies, ("ids", "include"), COMPANY_RELATIONS),
    Route(
        "GET", "/v1/companies/ips", retrieve_company_ips, ("company_ids", "max_ip_addresses", "include"), ("company",)
    ),
    Route("POST", "/v1/companies/search", search_companies, pagination="cursor"),
    Route("POST", "/v1/companies/match", match_companies, ("max_results_per_company",)),
    Route("POST", "/v1/companies/signals", search_company_signals, pagination="cursor"),
    Route("GET", "/v1/companies/{id}", get_company, ("include",), COMPANY_RELATIONS),
    Route("GET", "/v1/companies/{id}/financials", get_company_financials),
)
