"""Custom feeds and their folders. A custom feed is a saved filter of web visits."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record
from leadfeeder_async.models.tags_and_lists import List


class CustomFeedFolderAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name of a folder."""

    name: str | None = None


class CustomFeedFolderRelationships(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The custom feeds in a folder."""

    custom_feeds: tuple[CustomFeed, ...] | None = None


class CustomFeedFolder(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A folder of custom feeds (contract: ``CustomFeedFolderV1``)."""

    id: str
    type: str = "custom_feed_folder"
    attributes: CustomFeedFolderAttributes = CustomFeedFolderAttributes()
    relationships: CustomFeedFolderRelationships = CustomFeedFolderRelationships()

    @property
    def name(self) -> str | None:
        """The name of the folder. None on a stub."""
        return self.attributes.name


class CustomFeedAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name and filters of a custom feed."""

    name: str | None = None
    filters: object = None
    """The filters as the API sent them."""
    created_at: str | None = None
    updated_at: str | None = None


class CustomFeedRelationships(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The folder and the connected list of a custom feed."""

    folder: CustomFeedFolder | None = None
    connected_list: List | None = None


class CustomFeed(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A saved filter of web visits (contract: ``CustomFeedV1``)."""

    id: str
    type: str = "custom_feed"
    attributes: CustomFeedAttributes = CustomFeedAttributes()
    relationships: CustomFeedRelationships = CustomFeedRelationships()

    @property
    def name(self) -> str | None:
        """The name of the feed. None on a stub."""
        return self.attributes.name
