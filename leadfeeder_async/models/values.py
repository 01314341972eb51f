"""Small value objects inside records: addresses, phones, industries, amounts of money, steps of a visit."""

from __future__ import annotations

from leadfeeder_async.models.base import Model


class IndustryCode(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The code and name of an industry (contract: ``IndustryCodeV1``)."""

    code: str | None = None
    name: str | None = None


class Industries(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The industries of a company in three classifications (contract: ``IndustriesV1``)."""

    industry: tuple[IndustryCode, ...] | None = None
    """Leadfeeder's own classification."""
    wz: tuple[IndustryCode, ...] | None = None
    """The German WZ classification."""
    nace: tuple[IndustryCode, ...] | None = None
    """The European NACE classification."""


class Address(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A postal address (contract: ``AddressV1``)."""

    street_address: str | None = None
    postal_code: str | None = None
    city: str | None = None
    country: str | None = None
    country_code: str | None = None
    """ISO 3166-1 alpha-2, such as ``DE``."""
    region: str | None = None


class MoneyFigure(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An amount of money in one year (contract: ``MoneyFigureV1``)."""

    value: float | None = None
    """The amount in ``currency``."""
    value_eur: float | None = None
    """The amount in euros."""
    currency: str | None = None
    year: int | None = None
    estimated: bool | None = None


class ProfileLink(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A link to a profile in a social network (contract: ``ProfileLinkV1``)."""

    url: str | None = None


class SocialMediaProfiles(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Profiles by social network (contract: ``SocialMediaProfilesV1``)."""

    linkedin: tuple[ProfileLink, ...] | None = None
    twitter: tuple[ProfileLink, ...] | None = None
    facebook: tuple[ProfileLink, ...] | None = None


class Phone(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A phone number (contract: ``PhoneV1``)."""

    number: str | None = None


class CompanyRegister(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The entry of a company in the commercial register (contract: ``CompanyRegisterV1``)."""

    status: str | None = None
    id: str | None = None
    location: str | None = None


class CompanyMeta(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Flags of a company (contract: ``CompanyMetaV1``)."""

    do_not_contact: bool | None = None
    has_phones: bool | None = None
    has_mail: bool | None = None
    has_contacts: bool | None = None
    num_contacts: int | None = None
    """The number of contacts that Leadfeeder knows at the company."""


class Intent(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The buying intent of a company (contract: ``IntentV1``)."""

    score: float | None = None
    """0 to 10."""
    score_tier: str | None = None
    last_updated_at: str | None = None


class WebEngagement(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The last visit of a company. The value may be out of date, so prefer ``lf.web_visits.search``."""

    last_visit_date: str | None = None


class EngagementPage(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The web page of an engagement."""

    path: str | None = None
    title: str | None = None
    url: str | None = None


class Engagement(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One step of a visit, such as a page view (contract: ``EngagementV1``)."""

    event_type: str | None = None
    hostname: str | None = None
    page: EngagementPage | None = None
    previous_page_path: str | None = None
    time_on_page: float | None = None
    """Seconds."""
    has_met_goals: bool | None = None


class VisitIdentifiers(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The ids that trackers gave the browser of a visitor."""

    lf_client_id: str | None = None
    """The id of Leadfeeder's tracker."""
    ga_client_ids: tuple[str, ...] | None = None
    """The ids of Google Analytics."""


class Visitor(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The person behind a visit, if the person is identified."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
