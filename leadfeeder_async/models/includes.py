"""The names for ``include=``, so that type checkers find misspelled ones.

At run time, a name that resembles a known one is rejected as a misspelling. Other names are sent, because the API may
know them. A type checker accepts such a name with ``typing.cast``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

AccountInclude: TypeAlias = Literal["account_company"]
"""The relationships of an account."""

CompanyInclude: TypeAlias = Literal[
    "group_company",
    "tags",
    "lists",
    "web_visits",
    "icps",
    "crm_connections",
    "crm_connections.crm_record",
    "crm_connections.crm_record.crm_owner",
    "crm_suggestions",
    "crm_suggestions.crm_record",
    "crm_suggestions.crm_record.crm_owner",
    "crm_group_connections",
    "crm_group_connections.crm_connection",
    "crm_group_connections.crm_connection.crm_record",
    "crm_group_connections.crm_connection.crm_record.crm_owner",
]
"""The relationships of a company."""

CompanyIpInclude: TypeAlias = Literal["company"]
"""The relationships of the IP addresses of a company."""

ContactInclude: TypeAlias = Literal[
    "company",
    "lists",
    "buyer_personas",
    "crm_connections",
    "crm_connections.crm_record",
    "crm_connections.crm_record.crm_owner",
    "crm_suggestions",
    "crm_suggestions.crm_record",
    "crm_suggestions.crm_record.crm_owner",
]
"""The relationships of a contact."""

WebVisitInclude: TypeAlias = Literal["company"]
"""The relationships of a visit, and of a company that visited."""

CustomFeedInclude: TypeAlias = Literal["folder", "connected_list"]
"""The relationships of a custom feed."""

CustomFeedFolderInclude: TypeAlias = Literal["custom_feeds"]
"""The relationships of a folder of custom feeds."""

CampaignInclude: TypeAlias = Literal[
    "campaign_summary", "campaign_settings", "campaign_locations", "list", "custom_feed"
]
"""The relationships of a campaign."""
