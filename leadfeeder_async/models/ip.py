"""The companies behind IP addresses."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record
from leadfeeder_async.models.places import IpLocation, Location, Network
from leadfeeder_async.models.records import Company
from leadfeeder_async.models.shortcuts import CompanyShortcuts, LocationShortcuts


class EnrichedIpAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An IP address, the type of company behind it, and the confidence of the result."""

    ip: str | None = None
    company_type: str | None = None
    """``company`` if a company was found. Other values, such as ``isp``, mean that the address has no usable result."""
    confidence_score: str | float | None = None


class EnrichedIpRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company, location and network of an IP address."""

    company: Company | None = None
    location: IpLocation | None = None
    network: Network | None = None


class EnrichedIp(
    CompanyShortcuts, LocationShortcuts, Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True
):
    """The result of an IP address lookup (contract: ``EnrichedIpV1``)."""

    id: str
    type: str = "enriched_ip"
    attributes: EnrichedIpAttributes = EnrichedIpAttributes()
    relationships: EnrichedIpRelationships = EnrichedIpRelationships()

    @property
    def company(self) -> Company | None:
        """The company behind the IP address. None if no company was found."""
        return self.relationships.company

    @property
    def location(self) -> Location | None:
        """The location of the IP address."""
        return self.relationships.location
