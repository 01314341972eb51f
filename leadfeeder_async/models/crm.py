"""Links from Leadfeeder's records to records of a CRM."""

from __future__ import annotations

from typing import TypeAlias

from leadfeeder_async.models.base import Model


class CRMUserAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Who owns a CRM record."""

    name: str | None = None
    email: str | None = None


class CRMUser(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A user of the CRM (contract: ``CRMUserV1``)."""

    id: str
    type: str = "crm_user"
    attributes: CRMUserAttributes = CRMUserAttributes()

    @property
    def name(self) -> str | None:
        """The user's name; None on a stub."""
        return self.attributes.name


class CRMRecordAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The attributes of all three kinds of CRM record.

    Organizations have a ``name``; contacts and leads a first and a last name.
    """

    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    crm_url: str | None = None


class CRMRecordRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Who owns the record."""

    crm_owner: CRMUser | None = None


class CRMRecord(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A record of the CRM: an organization, a contact or a lead, as ``type`` says.

    Contract: ``CRMRecordV1``, ``CRMOrganizationV1``, ``CRMContactV1``, ``CRMLeadV1``.
    """

    id: str
    type: str = ""
    attributes: CRMRecordAttributes = CRMRecordAttributes()
    relationships: CRMRecordRelationships = CRMRecordRelationships()

    @property
    def owner(self) -> CRMUser | None:
        """The CRM user who owns the record."""
        return self.relationships.crm_owner


CRMOrganization: TypeAlias = CRMRecord
CRMContact: TypeAlias = CRMRecord
CRMLead: TypeAlias = CRMRecord


class CRMLinkRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The linked record."""

    crm_record: CRMRecord | None = None


class CRMConnection(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A link to a CRM record (contract: ``CRMConnectionV1``, ``CRMSuggestionV1``)."""

    id: str
    type: str = "crm_connection"
    attributes: dict[str, object] | None = None
    relationships: CRMLinkRelationships = CRMLinkRelationships()

    @property
    def record(self) -> CRMRecord | None:
        """The record on the CRM's side."""
        return self.relationships.crm_record


CRMSuggestion: TypeAlias = CRMConnection


class CRMGroupConnectionRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The link of another company of the group."""

    crm_connection: CRMConnection | None = None


class CRMGroupConnection(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A link that another company of the same group has (contract: ``CRMGroupConnectionV1``)."""

    id: str
    type: str = "crm_group_connection"
    attributes: dict[str, object] | None = None
    relationships: CRMGroupConnectionRelationships = CRMGroupConnectionRelationships()

    @property
    def connection(self) -> CRMConnection | None:
        """The link itself."""
        return self.relationships.crm_connection
