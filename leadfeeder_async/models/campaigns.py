"""Campaigns and their statistics."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class CampaignAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and status of a campaign."""

    name: str | None = None
    status: str | None = None


class CampaignRelationships(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """Records related to a campaign, as the API sent them. Their fields are not published."""

    campaign_summary: object = None
    campaign_settings: object = None
    campaign_locations: object = None
    list: object = None
    custom_feed: object = None


class Campaign(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A campaign (contract: ``CampaignV1``)."""

    id: str
    type: str = "campaign"
    attributes: CampaignAttributes = CampaignAttributes()
    relationships: CampaignRelationships = CampaignRelationships()

    @property
    def name(self) -> str | None:
        """The name of the campaign."""
        return self.attributes.name


class CampaignStats(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The statistics of a campaign in one period, as the API sent them. Their names are not published."""

    id: str
    type: str = "campaign_stats"
    attributes: dict[str, object] | None = None
