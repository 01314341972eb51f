"""Conversion of models into rows of the tables. Pure functions.

Visits are many, so they are converted by DuckDB (see ``spool_sql``).
"""

from __future__ import annotations

from leadfeeder_async.jobs.sync.transaction import Row
from leadfeeder_async.models.accounts import AccountCredits
from leadfeeder_async.models.places import Location
from leadfeeder_async.models.records import Company, CompanyAttributes
from leadfeeder_async.models.tags_and_lists import List, Tag
from leadfeeder_async.models.usage import ApiUsage
from leadfeeder_async.models.values import Address, IndustryCode


def has_attributes(record: Company | Location) -> bool:
    """Return False for a stub, which has only an id."""
    return record.attributes not in _NO_ATTRIBUTES


def company_row(account_id: str, company: Company) -> Row:
    """Return a row of ``companies``."""
    attributes = company.attributes
    address = attributes.address or Address()
    return {
        "account_id": account_id,
        "id": company.id,
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
    """Return a row of ``locations``."""
    attributes = location.attributes
    return {
        "account_id": account_id,
        "id": location.id,
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


_NO_ATTRIBUTES = (Company(id="").attributes, Location(id="").attributes)
"""The attributes of stubs. Stubs share these objects, so a stub is recognized without comparing fields."""
