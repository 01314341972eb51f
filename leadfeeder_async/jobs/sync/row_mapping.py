"""Pure: answers of the API made into rows of the tables."""

from __future__ import annotations

from collections.abc import Iterator

from leadfeeder_async.jobs.sync.transaction import Row
from leadfeeder_async.models.accounts import AccountCredits
from leadfeeder_async.models.places import Location, LocationAttributes
from leadfeeder_async.models.records import Company, CompanyAttributes, WebVisit
from leadfeeder_async.models.tags_and_lists import List, Tag
from leadfeeder_async.models.usage import ApiUsage
from leadfeeder_async.models.values import Address, Engagement, EngagementPage, IndustryCode, VisitIdentifiers, Visitor


def visit_row(account_id: str, visit: WebVisit) -> Row:
    """Return a row of ``visits``."""
    seen = visit.attributes
    ids, person = seen.identifiers or VisitIdentifiers(), seen.visitor or Visitor()
    return {
        "account_id": account_id,
        "id": visit.id,
        "company_id": visit.company.id if visit.company else None,
        "location_id": visit.location.id if visit.location else None,
        "started_at": visit.started_at.isoformat() if visit.started_at else None,
        "source": seen.source,
        "medium": seen.medium,
        "campaign": seen.campaign,
        "keyword": seen.keyword,
        "referring_url": seen.referring_url,
        "landing_page_path": seen.landing_page_path,
        "device_type": seen.device_type,
        "visit_length": seen.visit_length,
        "page_depth": seen.page_depth,
        "lf_client_id": ids.lf_client_id,
        "ga_client_ids": None if ids.ga_client_ids is None else list(ids.ga_client_ids),
        "visitor_email": person.email,
        "visitor_first_name": person.first_name,
        "visitor_last_name": person.last_name,
    }


def engagement_rows(account_id: str, visit: WebVisit) -> Iterator[Row]:
    """Return the rows of ``engagements`` of a visit, its steps counted from 1."""
    for step, engagement in enumerate(visit.attributes.engagements or (), 1):
        yield {"account_id": account_id, "visit_id": visit.id, "step": step, **_engagement(engagement)}


def _engagement(engagement: Engagement) -> Row:
    page = engagement.page or EngagementPage()
    return {
        "event_type": engagement.event_type,
        "hostname": engagement.hostname,
        "page_path": page.path,
        "page_title": page.title,
        "page_url": page.url,
        "previous_page_path": engagement.previous_page_path,
        "time_on_page": engagement.time_on_page,
        "has_met_goals": engagement.has_met_goals,
    }


def company_row(account_id: str, company: Company) -> Row:
    """Return a row of ``companies``; of a stub, nothing but its keys, which replace no known company."""
    keys: Row = {"account_id": account_id, "id": company.id}
    known = company.attributes
    if known == CompanyAttributes():
        return keys
    address = known.address or Address()
    return {
        **keys,
        "name": known.name,
        "url": known.url,
        "country_code": address.country_code,
        "country": address.country,
        "region": address.region,
        "city": address.city,
        "postal_code": address.postal_code,
        "street_address": address.street_address,
        **_figures(known),
        "tag_ids": _ids(company.relationships.tags),
        "list_ids": _ids(company.relationships.lists),
    }


def _figures(known: CompanyAttributes) -> Row:
    industries = known.industries
    return {
        "industry": _first_name(industries.industry if industries else None),
        "nace": _codes(industries.nace if industries else None),
        "employee_count": known.employee_count,
        "employee_range": None if known.employee_range is None else str(known.employee_range),
        "revenue_eur": known.revenue.value_eur if known.revenue else None,
        "founded_year": known.founded_year,
        "legal_form": known.legal_form,
        "vat_id": known.vat_id,
        "intent_score": known.intent.score if known.intent else None,
        "intent_tier": known.intent.score_tier if known.intent else None,
        "do_not_contact": known.meta.do_not_contact if known.meta else None,
    }


def _first_name(industries: tuple[IndustryCode, ...] | None) -> str | None:
    return industries[0].name if industries else None


def _codes(industries: tuple[IndustryCode, ...] | None) -> list[str] | None:
    return None if industries is None else [one.code for one in industries if one.code is not None]


def _ids(related: tuple[Tag | List, ...] | None) -> list[str] | None:
    return None if related is None else [one.id for one in related]


def location_row(account_id: str, location: Location) -> Row:
    """Return a row of ``locations``; of a stub, nothing but its keys."""
    keys: Row = {"account_id": account_id, "id": location.id}
    known = location.attributes
    if known == LocationAttributes():
        return keys
    return {
        **keys,
        "country_code": known.country_code,
        "country": known.country,
        "region": known.region,
        "city": known.city,
        "postal_code": known.postal_code,
    }


def tag_row(account_id: str, tag: Tag) -> Row:
    """Return a row of ``tags``."""
    return {"account_id": account_id, "id": tag.id, "name": tag.name, "color": tag.attributes.color}


def list_row(account_id: str, one: List, scope: str) -> Row:
    """Return a row of ``lists``."""
    return {
        "account_id": account_id,
        "id": one.id,
        "name": one.name,
        "scope": one.attributes.scope or scope,
        "item_count": one.attributes.item_count,
    }


def usage_row(account_id: str, usage: ApiUsage) -> Row:
    """Return a row of ``usage``; what the server does not name is an empty text, since keys are never null."""
    counted = usage.attributes
    return {
        "account_id": account_id,
        "month": counted.period or "",
        "method": counted.method or "",
        "endpoint": counted.endpoint or "",
        "requests": counted.requests,
        "credits_charged": counted.credits_charged,
    }


def credits_row(account_id: str, seen_at: str, balance: AccountCredits) -> Row:
    """Return a row of ``credits``."""
    return {
        "account_id": account_id,
        "seen_at": seen_at,
        "available": balance.available,
        "used": balance.used,
        "remaining": balance.remaining,
        "next_reset_on": balance.next_reset_on.isoformat() if balance.next_reset_on else None,
    }
