"""Connections of companies and contacts to records in a CRM."""

from __future__ import annotations

from typing import TypeAlias

from leadfeeder_async.models.base import Model, Record


class CRMUserAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and email address of a CRM user."""

    name: str | None = None
    email: str | None = None


class CRMUser(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A user of the CRM (contract: ``CRMUserV1``)."""

    id: str
    type: str = "crm_user"
    attributes: CRMUserAttributes = CRMUserAttributes()

    @property
    def name(self) -> str | None:
        """The name of the user. None on a stub."""
        return self.attributes.name


class CRMRecordAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The attributes of all three types of CRM records.

    Organizations have a ``name``. Contacts and leads have a ``first_name`` and a ``last_name``.
    """

    name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    crm_url: str | None = None


class CRMRecordRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The owner of a CRM record."""

    crm_owner: CRMUser | None = None


class CRMRecord(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An organization, contact or lead in the CRM. ``type`` is the kind of record.

    API schemas: ``CRMRecordV1``, ``CRMOrganizationV1``, ``CRMContactV1``, ``CRMLeadV1``.
    """

    id: str
    type: str = ""
    attributes: CRMRecordAttributes = CRMRecordAttributes()
    relationships: CRMRecordRelationships = CRMRecordRelationships()

    @property
    def owner(self) -> CRMUser | None:
        """The CRM user that owns the record."""
        return self.relationships.crm_owner


CRMOrganization: TypeAlias = CRMRecord
CRMContact: TypeAlias = CRMRecord
CRMLead: TypeAlias = CRMRecord


class CRMLinkRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The CRM record of a connection."""

    crm_record: CRMRecord | None = None


class CRMConnection(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A connection to a CRM record, or a suggested one (contract: ``CRMConnectionV1``, ``CRMSuggestionV1``)."""

    id: str
    type: str = "crm_connection"
    attributes: dict[str, object] | None = None
    relationships: CRMLinkRelationships = CRMLinkRelationships()

    @property
    def record(self) -> CRMRecord | None:
        """The connected CRM record."""
        return self.relationships.crm_record


CRMSuggestion: TypeAlias = CRMConnection


class CRMGroupConnectionRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The connection of another company in the same group."""

    crm_connection: CRMConnection | None = None


class CRMGroupConnection(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A CRM connection of another company in the same group (contract: ``CRMGroupConnectionV1``)."""

    id: str
    type: str = "crm_group_connection"
    attributes: dict[str, object] | None = None
    relationships: CRMGroupConnectionRelationships = CRMGroupConnectionRelationships()

    @property
    def connection(self) -> CRMConnection | None:
        """The connection."""
        return self.relationships.crm_connection
