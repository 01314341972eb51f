"""Visits to the account's websites."""

from __future__ import annotations

from datetime import UTC, datetime

from leadfeeder_async.models import companies
from leadfeeder_async.models.base import Model
from leadfeeder_async.models.ip import VisitLocation


class EngagementPage(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The page an engagement took place on."""

    path: str | None = None
    title: str | None = None
    url: str | None = None


class Engagement(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One step of a visit (contract: ``EngagementV1``)."""

    event_type: str | None = None
    hostname: str | None = None
    page: EngagementPage | None = None
    previous_page_path: str | None = None
    time_on_page: float | None = None
    """Seconds."""
    has_met_goals: bool | None = None


class VisitIdentifiers(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The ids the trackers gave the browser."""

    lf_client_id: str | None = None
    ga_client_ids: tuple[str, ...] | None = None


class Visitor(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The person, where they made themselves known."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class WebVisitAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """When a visit was, where it came from and what it saw."""

    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    keyword: str | None = None
    referring_url: str | None = None
    landing_page_path: str | None = None
    device_type: str | None = None
    visit_length: float | None = None
    """Seconds."""
    page_depth: int | None = None
    started_at: datetime | None = None
    identifiers: VisitIdentifiers | None = None
    visitor: Visitor | None = None
    engagements: tuple[Engagement, ...] | None = None


class WebVisitRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Who visited, and from where."""

    company: companies.Company | None = None
    location: VisitLocation | None = None


class WebVisit(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One visit of one company to the account's website (contract: ``WebVisitV1``)."""

    id: str
    type: str = "web_visit"
    attributes: WebVisitAttributes = WebVisitAttributes()
    relationships: WebVisitRelationships = WebVisitRelationships()

    @property
    def started_at(self) -> datetime | None:
        """When the visit began; a time without a zone is taken for UTC."""
        started = self.attributes.started_at
        return started if started is None or started.tzinfo else started.replace(tzinfo=UTC)

    @property
    def company(self) -> companies.Company | None:
        """The visiting company; a stub unless ``include=["company"]``."""
        return self.relationships.company

    @property
    def location(self) -> VisitLocation | None:
        """Where the visit came from."""
        return self.relationships.location


class WebVisitsTrackerScriptAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The tracker to put on a website, and whether it works."""

    script_hash: str | None = None
    script_html: str | None = None
    status: str | None = None


class WebVisitsTrackerScript(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The account's tracker (contract: ``WebVisitsTrackerScriptV1``)."""

    id: str
    type: str = "web_visits_tracker_script"
    attributes: WebVisitsTrackerScriptAttributes = WebVisitsTrackerScriptAttributes()

    @property
    def status(self) -> str | None:
        """Whether the tracker works."""
        return self.attributes.status
