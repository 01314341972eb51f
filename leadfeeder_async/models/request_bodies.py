"""The bodies of writes, in the API's ``data`` envelope; an attribute left ``UNSET`` stays as it is."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from leadfeeder_async.models.base import Model
from leadfeeder_async.models.envelope import ResourceIdentifier


class LinkagesRequest(Model, frozen=True, kw_only=True):
    """Records to link or unlink (contract: ``LinkagesRequestV1``)."""

    data: tuple[ResourceIdentifier, ...]


class TagChanges(Model, frozen=True, kw_only=True):
    """What to set on a tag."""

    name: str | UnsetType = UNSET
    color: int | UnsetType | None = UNSET


class TagData(Model, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="tag"):
    """A tag to create or change."""

    id: str | UnsetType = UNSET
    attributes: TagChanges


class TagRequest(Model, frozen=True, kw_only=True):
    """The body that creates or changes a tag (contract: ``TagCreateRequestV1``, ``TagUpdateRequestV1``)."""

    data: TagData


TagCreateRequest: TypeAlias = TagRequest
TagUpdateRequest: TypeAlias = TagRequest


class ListChanges(Model, frozen=True, kw_only=True):
    """What to set on a list; the scope only when it is made."""

    name: str | UnsetType = UNSET
    scope: Literal["company", "contact"] | UnsetType = UNSET


class ListData(Model, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="list"):
    """A list to create or change."""

    id: str | UnsetType = UNSET
    attributes: ListChanges


class ListRequest(Model, frozen=True, kw_only=True):
    """The body that creates or changes a list (contract: ``ListCreateRequestV1``, ``ListUpdateRequestV1``)."""

    data: ListData


ListCreateRequest: TypeAlias = ListRequest
ListUpdateRequest: TypeAlias = ListRequest


class CustomFieldChanges(Model, frozen=True, kw_only=True):
    """What to set on a custom field."""

    name: str | UnsetType | None = UNSET
    scope: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    options: tuple[object, ...] | UnsetType | None = UNSET


class CustomFieldData(Model, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="custom_field"):
    """A custom field to create or change."""

    id: str | UnsetType = UNSET
    attributes: CustomFieldChanges


class CustomFieldRequest(Model, frozen=True, kw_only=True):
    """The body that creates or changes a custom field (contract: ``CustomFieldRequestV1``)."""

    data: CustomFieldData


class CustomFeedChanges(Model, frozen=True, kw_only=True):
    """What to set on a custom feed; filters pass through untouched."""

    name: str | UnsetType = UNSET
    filters: object = UNSET


class CustomFeedData(Model, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="custom_feed"):
    """A custom feed to create or change."""

    id: str | UnsetType = UNSET
    attributes: CustomFeedChanges
    relationships: object = UNSET


class CustomFeedRequest(Model, frozen=True, kw_only=True):
    """The body that creates or changes a custom feed (contract: ``CustomFeedRequestV1``)."""

    data: CustomFeedData


class CompanyEnrichmentJob(Model, frozen=True, kw_only=True, omit_defaults=True):
    """What to enrich: exactly one of ``company_ids`` and ``list_id``, by an AI field."""

    custom_field_id: str
    company_ids: tuple[str, ...] | UnsetType = UNSET
    list_id: str | UnsetType = UNSET


class CompanyEnrichmentJobData(Model, frozen=True, kw_only=True):
    """A company enrichment job to create."""

    type: str = "job"
    id: str | UnsetType = UNSET
    attributes: CompanyEnrichmentJob


class CompanyEnrichmentJobRequest(Model, frozen=True, kw_only=True):
    """The body of a company enrichment job, whose route is not known (contract: ``CompanyEnrichmentJobRequestV1``)."""

    data: CompanyEnrichmentJobData


class FindContactDataJob(Model, frozen=True, kw_only=True, omit_defaults=True):
    """Whose data to find: exactly one of ``contact_ids`` and ``list_id``."""

    contact_ids: tuple[str, ...] | UnsetType = UNSET
    list_id: str | UnsetType = UNSET


class FindContactDataJobData(Model, frozen=True, kw_only=True):
    """A find-contact-data job to create."""

    type: str = "job"
    id: str | UnsetType = UNSET
    attributes: FindContactDataJob


class FindContactDataJobRequest(Model, frozen=True, kw_only=True):
    """The body of a find-contact-data job, whose route is not known (contract: ``FindContactDataJobRequestV1``)."""

    data: FindContactDataJobData
