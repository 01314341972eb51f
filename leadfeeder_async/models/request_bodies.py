"""The bodies of requests that create or change records. Attributes that are ``UNSET`` are not sent."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from leadfeeder_async.models.base import Model
from leadfeeder_async.models.envelope import ResourceIdentifier

Scope: TypeAlias = Literal["company", "contact"]
"""The records that a list contains, or that have a custom field."""


class LinkagesRequest(Model, frozen=True, kw_only=True):
    """The records to add to or remove from a relationship (contract: ``LinkagesRequestV1``)."""

    data: tuple[ResourceIdentifier, ...]


class TagChanges(Model, frozen=True, kw_only=True):
    """The attributes of a tag to set."""

    name: str | UnsetType = UNSET
    color: Annotated[int, Meta(ge=0, le=9)] | UnsetType | None = UNSET


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
    """The attributes of a list to set. The scope can only be set when the list is created."""

    name: str | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET


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
    """The attributes of a custom field to set."""

    name: str | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
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
    """The attributes of a custom feed to set. Filters are sent unchanged."""

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
    """The companies to enrich, by ``company_ids`` or by ``list_id``, and the AI field to fill."""

    custom_field_id: str
    company_ids: tuple[str, ...] | UnsetType = UNSET
    list_id: str | UnsetType = UNSET


class CompanyEnrichmentJobData(Model, frozen=True, kw_only=True):
    """A company enrichment job to create."""

    type: str = "job"
    id: str | UnsetType = UNSET
    attributes: CompanyEnrichmentJob


class CompanyEnrichmentJobRequest(Model, frozen=True, kw_only=True):
    """The body of a company enrichment job (contract: ``CompanyEnrichmentJobRequestV1``). Its route is not known."""

    data: CompanyEnrichmentJobData


class FindContactDataJob(Model, frozen=True, kw_only=True, omit_defaults=True):
    """The contacts to find data for, by ``contact_ids`` or by ``list_id``."""

    contact_ids: tuple[str, ...] | UnsetType = UNSET
    list_id: str | UnsetType = UNSET


class FindContactDataJobData(Model, frozen=True, kw_only=True):
    """A contact data job to create."""

    type: str = "job"
    id: str | UnsetType = UNSET
    attributes: FindContactDataJob


class FindContactDataJobRequest(Model, frozen=True, kw_only=True):
    """The body of a job that finds contact data (contract: ``FindContactDataJobRequestV1``). Its route is not known."""

    data: FindContactDataJobData
