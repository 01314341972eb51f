"""Contacts: records and search results."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record
from leadfeeder_async.models.crm import CRMConnection, CRMSuggestion
from leadfeeder_async.models.envelope import ResourceIdentifier
from leadfeeder_async.models.profiles import BuyerPersona
from leadfeeder_async.models.records import Company
from leadfeeder_async.models.shortcuts import CompanyShortcuts
from leadfeeder_async.models.tags_and_lists import List
from leadfeeder_async.models.values import Phone, SocialMediaProfiles


class ContactMeta(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Flags of a contact."""

    do_not_contact: bool | None = None
    has_mail: bool | None = None
    has_phones: bool | None = None


class ContactAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The fields of a contact. Each of them can be missing."""

    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    title: str | None = None
    """The job title."""
    positions: tuple[object, ...] | None = None
    departments: tuple[str, ...] | None = None
    hierarchy_level: str | None = None
    affiliation: str | None = None
    emails: tuple[object, ...] | None = None
    email: str | None = None
    phones: tuple[Phone, ...] | None = None
    social_media_profiles: SocialMediaProfiles | None = None
    meta: ContactMeta | None = None


class ContactRelationships(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Records related to a contact. Each is a stub unless ``include`` names its relationship."""

    company: Company | None = None
    lists: tuple[List, ...] | None = None
    buyer_personas: tuple[BuyerPersona, ...] | None = None
    crm_connections: tuple[CRMConnection, ...] | None = None
    crm_suggestions: tuple[CRMSuggestion, ...] | None = None


class Contact(CompanyShortcuts, Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A person at a company (contract: ``ContactV1``)."""

    id: str
    type: str = "contact"
    attributes: ContactAttributes = ContactAttributes()
    relationships: ContactRelationships = ContactRelationships()

    @property
    def name(self) -> str | None:
        """The name of the person. None on a stub."""
        return self.attributes.name

    @property
    def email(self) -> str | None:
        """The email address of the person. None on a stub."""
        return self.attributes.email

    @property
    def company(self) -> Company | None:
        """The employer. A stub unless ``include=["company"]`` was passed."""
        return self.relationships.company


class ContactSummaryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The fields of a contact that searches return free of charge. Each of them can be missing."""

    name: str | None = None
    hierarchy_level: str | None = None
    email: str | None = None
    meta: ContactMeta | None = None


class ContactSummaryRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The employer of a contact, by id."""

    company: ResourceIdentifier | None = None


class ContactSummary(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A contact in a search result (contract: ``ContactSummaryV1``, ``MaskedContactSummaryV1``)."""

    id: str
    type: str = "contact_summary"
    attributes: ContactSummaryAttributes = ContactSummaryAttributes()
    relationships: ContactSummaryRelationships = ContactSummaryRelationships()

    @property
    def name(self) -> str | None:
        """The name of the person. None if the search result does not include it."""
        return self.attributes.name

    @property
    def company_id(self) -> str | None:
        """The id of the employer."""
        return self.relationships.company.id if self.relationships.company else None
