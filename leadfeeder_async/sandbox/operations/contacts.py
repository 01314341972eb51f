"""Contacts and the companies behind IP addresses."""

from __future__ import annotations

from ipaddress import ip_address

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.companies import ip_relationships
from leadfeeder_async.sandbox.operations.company_records import company_json, company_reference, find_companies, related
from leadfeeder_async.sandbox.operations.profiles import matching_personas, require_personas
from leadfeeder_async.sandbox.pages import cursor_page
from leadfeeder_async.sandbox.query import OperationResult, Query, Route
from leadfeeder_async.sandbox.sample_data import Json
from leadfeeder_async.sandbox.server_state import ApiError

_CONTACT_RELATIONS = (
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
    """Return a contact."""
    contact_id = query.path_params["id"]
    if not query.state.world.has_contact(contact_id):
        raise ApiError(404, "entity_not_found", "No such contact")
    charged = query.state.charge(query.require_account(), [contact_id])
    return OperationResult(_contact_json(query, contact_id), charged=charged)


def retrieve_contacts(query: Query) -> OperationResult:
    """Return several contacts. Omit unknown ids."""
    known_ids = [contact_id for contact_id in query.id_list("ids") if query.state.world.has_contact(contact_id)]
    charged = query.state.charge(query.require_account(), known_ids)
    return OperationResult([_contact_json(query, contact_id) for contact_id in known_ids], charged=charged)


class ContactFlags(msgspec.Struct, frozen=True):
    """Conditions that are true or false. The API's names are not published. These two are likely."""

    has_email: bool | UnsetType = UNSET
    has_phone: bool | UnsetType = UNSET


class ContactSearch(msgspec.Struct, frozen=True):
    """The body of a contact search."""

    search_terms: list[str] = []
    emails: list[str] = []
    company_ids: list[str] = []
    positions: list[str] = []
    departments: list[str] = []
    hierarchy_levels: list[str] = []
    affiliation: str | UnsetType = UNSET
    """Accepted, but without effect, because the API's values are not published."""
    buyer_persona_ids: list[str] = []
    filters: ContactFlags = ContactFlags()


def search_contacts(query: Query) -> OperationResult:
    """Return summaries of the contacts that meet all conditions."""
    search, world = query.decode_body(ContactSearch), query.state.world
    if not query.body:
        raise ApiError(400, "invalid_request", "At least one criterion is needed")
    persona_ids = require_personas(query, search.buyer_persona_ids)
    company_ids = set(find_companies(query, search.company_ids)) if search.company_ids else None
    matching_ids = [
        contact_id
        for contact_id in world.contact_ids()
        if (company_ids is None or world.company_of_contact(contact_id) in company_ids)
        and _matches_search(world.contact(contact_id), search, persona_ids)
    ]
    return cursor_page(query, matching_ids, lambda contact_id: _contact_summary(query, contact_id))


def _matches_search(contact: Json, search: ContactSearch, persona_ids: set[str]) -> bool:
    text, title = f"{contact['name']} {contact['title']}".lower(), str(contact["title"]).lower()
    departments = msgspec.convert(contact["departments"], list[str])
    return (
        (not search.search_terms or any(term.lower() in text for term in search.search_terms))
        and (not search.emails or contact["email"] in search.emails)
        and (not search.positions or any(position.lower() in title for position in search.positions))
        and (not search.departments or bool(set(search.departments) & set(departments)))
        and (not search.hierarchy_levels or contact["hierarchy_level"] in search.hierarchy_levels)
        and (not persona_ids or any(persona["id"] in persona_ids for persona in matching_personas(contact)))
        and search.filters.has_email in {UNSET, bool(contact["email"])}
        and search.filters.has_phone in {UNSET, bool(contact["phones"])}
    )


def _contact_summary(query: Query, contact_id: str) -> Json:
    world = query.state.world
    contact = world.contact(contact_id)
    attributes = {name: contact[name] for name in ("name", "hierarchy_level", "email")}
    relationships = {"company": {"id": world.company_of_contact(contact_id), "type": "company"}}
    return {"id": contact_id, "type": "contact_summary", "attributes": attributes, "relationships": relationships}


def _contact_json(query: Query, contact_id: str) -> Json:
    world, records = query.state.world, query.state.records
    contact = world.contact(contact_id)
    relationships: Json = {
        "company": company_reference(query, world.company_of_contact(contact_id)),
        "lists": [
            related(query, "lists", records.lists.to_json(list_id))
            for list_id in records.lists_of("contact", contact_id)
        ],
        "buyer_personas": [related(query, "buyer_personas", persona) for persona in matching_personas(contact)],
        "crm_connections": [],
        "crm_suggestions": [],
    }
    return {"id": contact_id, "type": "contact", "attributes": contact, "relationships": relationships}


def enrich_ip(query: Query) -> OperationResult:
    """Return the company, location and network of an IP address."""
    try:
        ip = str(ip_address(query.params.get("ip", "")))
    except ValueError:
        raise ApiError(400, "invalid_request", "ip must be an IP address") from None
    world, account = query.state.world, query.require_account()
    company_id = world.company_at_ip(ip)
    if company_id is None:
        attributes: Json = {"ip": ip, "company_type": "isp"}
        relationships: Json = {"company": None, **ip_relationships(0)}
        return OperationResult(_enriched_ip(ip, attributes, relationships), charged=0)
    charged = query.state.charge(account, [company_id])
    attributes = {"ip": ip, "company_type": "company", "confidence_score": "high"}
    location = world.location_of_company(company_id)
    relationships = {"company": company_json(query, company_id), **ip_relationships(location)}
    return OperationResult(_enriched_ip(ip, attributes, relationships), charged=charged)


def _enriched_ip(ip: str, attributes: Json, relationships: Json) -> Json:
    return {"id": ip, "type": "enriched_ip", "attributes": attributes, "relationships": relationships}


ROUTES = (
    Route("GET", "/v1/contacts", retrieve_contacts, ("ids", "include"), _CONTACT_RELATIONS),
    Route("POST", "/v1/contacts/search", search_contacts, pagination="cursor"),
    Route("GET", "/v1/contacts/{id}", get_contact, ("include",), _CONTACT_RELATIONS),
    Route("GET", "/v1/ip/enrich", enrich_ip, ("ip",)),
)
