"""People at companies, and who is behind an address."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec

from leadfeeder_async.sandbox.operations.companies import company, where
from leadfeeder_async.sandbox.query import Json, OperationResult, Query, Route, by_cursor
from leadfeeder_async.sandbox.server_state import ApiError
from leadfeeder_async.sandbox.world import company_at

_RELATIONS = (
    "company",
    "lists",
    "buyer_personas",
    "crm_connections",
    "crm_suggestions",
    "crm_connections.crm_record",
    "crm_connections.crm_record.crm_owner",
    "crm_suggestions.crm_record",
    "crm_suggestions.crm_record.crm_owner",
)


def get_contact(query: Query) -> OperationResult:
    """One person, whole."""
    includes = query.includes(_RELATIONS)
    contact_id = query.ids["id"]
    if not query.state.world.has_contact(contact_id):
        raise ApiError(404, "entity_not_found", "No such contact")
    charged = query.state.charge(query.the_account(), [contact_id])
    return OperationResult(_contact(query, contact_id, includes), charged=charged)


def retrieve_contacts(query: Query) -> OperationResult:
    """Several people, whole; unknown ids are left out."""
    includes = query.includes(_RELATIONS)
    known = [one for one in query.ids_of("ids") if query.state.world.has_contact(one)]
    charged = query.state.charge(query.the_account(), known)
    return OperationResult([_contact(query, one, includes) for one in known], charged=charged)


class ContactSearch(msgspec.Struct, frozen=True):
    """The conditions of a contact search that the sandbox applies."""

    search_terms: list[str] = []
    emails: list[str] = []
    company_ids: list[str] = []
    departments: list[str] = []
    hierarchy_levels: list[str] = []


def search_contacts(query: Query) -> OperationResult:
    """Summaries of the people that fit every condition."""
    if not query.body:
        raise ApiError(400, "invalid_request", "At least one criterion is needed")
    wanted, world = query.read(ContactSearch), query.state.world
    found = [one for one in world.contact_ids() if _fits(world.contact(one), world.employer_of(one), wanted)]
    return by_cursor(query, found, lambda one: _summary(query, one))


def _fits(contact: Json, company_id: str, wanted: ContactSearch) -> bool:
    text = f"{contact['name']} {contact['title']}".lower()
    departments = msgspec.convert(contact["departments"], list[str])
    return (
        all(term.lower() in text for term in wanted.search_terms)
        and (not wanted.emails or contact["email"] in wanted.emails)
        and (not wanted.company_ids or company_id in wanted.company_ids)
        and (not wanted.departments or bool(set(wanted.departments) & set(departments)))
        and (not wanted.hierarchy_levels or contact["hierarchy_level"] in wanted.hierarchy_levels)
    )


def _summary(query: Query, contact_id: str) -> Json:
    world = query.state.world
    whole = world.contact(contact_id)
    attributes = {key: whole[key] for key in ("name", "hierarchy_level", "email")}
    stub = {"company": {"id": world.employer_of(contact_id), "type": "company"}}
    return {"id": contact_id, "type": "contact_summary", "attributes": attributes, "relationships": stub}


def _contact(query: Query, contact_id: str, includes: set[str]) -> Json:
    world, workspace = query.state.world, query.state.records
    employer = world.employer_of(contact_id)
    relations: Json = {
        "company": company(query, employer) if "company" in includes else {"id": employer, "type": "company"},
        "lists": [workspace.lists.show(one) for one in workspace.lists_of("contact", contact_id)],
        "buyer_personas": [],
        "crm_connections": [],
        "crm_suggestions": [],
    }
    return {"id": contact_id, "type": "contact", "attributes": world.contact(contact_id), "relationships": relations}


def enrich_ip(query: Query) -> OperationResult:
    """The company behind an address, its place and network."""
    try:
        ip = str(ip_address(query.params.get("ip", "")))
    except ValueError:
        raise ApiError(400, "invalid_request", "ip must be an IP address") from None
    world, account = query.state.world, query.the_account()
    company_id = company_at(ip)
    if company_id is None or not world.has_company(company_id):
        attributes: Json = {"ip": ip, "company_type": "isp"}
        relations: Json = {"company": None, **where(0)}
        return OperationResult(_enriched(ip, attributes, relations), charged=0)
    charged = query.state.charge(account, [company_id])
    attributes = {"ip": ip, "company_type": "company", "confidence_score": "high"}
    relations = {"company": company(query, company_id), **where(world.place_of(company_id))}
    return OperationResult(_enriched(ip, attributes, relations), charged=charged)


def _enriched(ip: str, attributes: Json, relations: Json) -> Json:
    return {"id": ip, "type": "enriched_ip", "attributes": attributes, "relationships": relations}


ROUTES = (
    Route("GET", "/v1/contacts", retrieve_contacts, ("ids", "include")),
    Route("POST", "/v1/contacts/search", search_contacts, paging="cursor"),
    Route("GET", "/v1/contacts/{id}", get_contact, ("include",)),
    Route("GET", "/v1/ip/enrich", enrich_ip, ("ip",)),
)
