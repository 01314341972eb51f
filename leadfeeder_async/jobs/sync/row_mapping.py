"""Conversion of models into rows of the tables. Pure functions."""

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
    attributes = visit.attributes
    ids, visitor = attributes.identifiers or VisitIdentifiers(), attributes.visitor or Visitor()
    return {
        "account_id": account_id,
        "id": visit.id,
        "company_id": visit.company.id if visit.company else None,
        "location_id": visit.location.id if visit.location else None,
        "started_at": visit.started_at.isoformat() if visit.started_at else None,
        "source": attributes.source,
        "medium": attributes.medium,
        "campaign": attributes.campaign,
        "keyword": attributes.keyword,
        "referring_url": attributes.referring_url,
        "landing_page_path": attributes.landing_page_path,
        "device_type": attributes.device_type,
        "visit_length": attributes.visit_length,
        "page_depth": attributes.page_depth,
        "lf_client_id": ids.lf_client_id,
        "ga_client_ids": None if ids.ga_client_ids is None else list(ids.ga_client_ids),
        "visitor_email": visitor.email,
        "visitor_first_name": visitor.first_name,
        "visitor_last_name": visitor.last_name,
    }


def engagement_rows(account_id: str, visit: WebVisit) -> Iterator[Row]:
    """Yield the rows of ``engagements`` for a visit. Its steps count from 1."""
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
    """Return a ``companies`` row. For a stub, return only the key columns so that existing data is kept."""
    keys: Row = {"account_id": account_id, "id": company.id}
    attributes = company.attributes
    if attributes == CompanyAttributes():
        return keys
    address = attributes.address or Address()
    return {
        **keys,
        "name": attributes.name,
        "url": attributes.url,
        "country_code": address.country_code,
        "country": address.country,
        "region": address.region,
        "city": address.city,
        "postal_code": address.postal_code,
        "street_address": address.street_address,
        **_figures(attributes),
        "tag_ids": _ids(company.relationships.tags),
        "list_ids": _ids(company.relationships.lists),
    }


def _figures(attributes: CompanyAttributes) -> Row:
    industries = attributes.industries
    return {
        "industry": _first_name(industries.industry if industries else None),
        "nace": _codes(industries.nace if industries else None),
        "employee_count": attributes.employee_count,
        "employee_range": None if attributes.employee_range is None else str(attributes.employee_range),
        "revenue_eur": attributes.revenue.value_eur if attributes.revenue else None,
        "founded_year": attributes.founded_year,
        "legal_form": attributes.legal_form,
        "vat_id": attributes.vat_id,
        "intent_score": attributes.intent.score if attributes.intent else None,
        "intent_tier": attributes.intent.score_tier if attributes.intent else None,
        "do_not_contact": attributes.meta.do_not_contact if attributes.meta else None,
    }


def _first_name(industries: tuple[IndustryCode, ...] | None) -> str | None:
    return industries[0].name if industries else None


def _codes(industries: tuple[IndustryCode, ...] | None) -> list[str] | None:
    return None if industries is None else [industry.code for industry in industries if industry.code is not None]


def _ids(related: tuple[Tag | List, ...] | None) -> list[str] | None:
    return None if related is None else [record.id for record in related]


def location_row(account_id: str, location: Location) -> Row:
    """Return a ``locations`` row. For a stub, return only the key columns."""
    keys: Row = {"account_id": account_id, "id": location.id}
    attributes = location.attributes
    if attributes == LocationAttributes():
        return keys
    return {
        **keys,
        "country_code": attributes.country_code,
        "country": attributes.country,
        "region": attributes.region,
        "city": attributes.city,
        "postal_code": attributes.postal_code,
    }


def tag_row(account_id: str, tag: Tag) -> Row:
    """Return a row of ``tags``."""
    return {"account_id": account_id, "id": tag.id, "name": tag.name, "color": tag.attributes.color}


def list_row(account_id: str, list_: List, scope: str) -> Row:
    """Return a row of ``lists``."""
    return {
        "account_id": account_id,
        "id": list_.id,
        "name": list_.name,
        "scope": list_.attributes.scope or scope,
        "item_count": list_.attributes.item_count,
    }


def usage_row(account_id: str, usage: ApiUsage) -> Row:
    """Return a row of ``usage``. A missing key is an empty string, because keys cannot be null."""
    attributes = usage.attributes
    return {
        "account_id": account_id,
        "month": attributes.period or "",
        "method": attributes.method or "",
        "endpoint": attributes.endpoint or "",
        "requests": attributes.requests,
        "credits_charged": attributes.credits_charged,
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
