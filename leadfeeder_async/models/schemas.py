"""The types of the contract's schemas, by their names in the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from leadfeeder_async.models.accounts import Account, AccountSummary, User
from leadfeeder_async.models.campaigns import Campaign
from leadfeeder_async.models.companies import (
    CompanyFinancials,
    CompanyIp,
    CompanyLocation,
    CompanyMatch,
    CompanySummary,
    Signal,
)
from leadfeeder_async.models.contacts import Contact, ContactSummary
from leadfeeder_async.models.crm import (
    CRMConnection,
    CRMContact,
    CRMGroupConnection,
    CRMLead,
    CRMOrganization,
    CRMRecord,
    CRMSuggestion,
    CRMUser,
)
from leadfeeder_async.models.custom_feeds import CustomFeed, CustomFeedFolder
from leadfeeder_async.models.custom_fields import CustomField
from leadfeeder_async.models.envelope import (
    Credits,
    EmptyResponse,
    ErrorBody,
    ErrorObject,
    Meta,
    Pagination,
    ResourceIdentifier,
    Response,
)
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.places import IpAddressExtended, IpLocation, Location, Network, VisitLocation
from leadfeeder_async.models.profiles import BuyerPersona, Icp
from leadfeeder_async.models.records import Company, WebVisit
from leadfeeder_async.models.reference import Industry
from leadfeeder_async.models.request_bodies import (
    CompanyEnrichmentJobRequest,
    CustomFeedRequest,
    CustomFieldRequest,
    FindContactDataJobRequest,
    LinkagesRequest,
    ListCreateRequest,
    ListUpdateRequest,
    TagCreateRequest,
    TagUpdateRequest,
)
from leadfeeder_async.models.search_filters import (
    CompanyMatchInput,
    CompanyMatchRequest,
    CompanySearchRequest,
    ContactSearchRequest,
    SearchLocation,
    SignalCategory,
    SignalSearchRequest,
    WebVisitSearchRequest,
)
from leadfeeder_async.models.server_jobs import Job, JobEstimate
from leadfeeder_async.models.tags_and_lists import List, ListItem, Tag
from leadfeeder_async.models.usage import ApiUsage
from leadfeeder_async.models.values import (
    Address,
    CompanyMeta,
    CompanyRegister,
    Engagement,
    Industries,
    IndustryCode,
    Intent,
    MoneyFigure,
    Phone,
    ProfileLink,
    SocialMediaProfiles,
)
from leadfeeder_async.models.web_visits import WebVisitsTrackerScript

MaskedCompanySummary: TypeAlias = CompanySummary
MaskedContactSummary: TypeAlias = ContactSummary
CustomFeedFilter: TypeAlias = object
"""A filter as Leadfeeder's page "Custom Feed - Filter Reference" documents it. It is sent and returned unchanged."""

AccountResponse: TypeAlias = Response[tuple[AccountSummary, ...]]
UserResponse: TypeAlias = Response[User]
CompanyResponse: TypeAlias = Response[Company]
CompaniesResponse: TypeAlias = Response[tuple[Company, ...]]
CompanyFinancialsResponse: TypeAlias = Response[tuple[CompanyFinancials, ...]]
CompaniesSignalsResponse: TypeAlias = Response[tuple[Signal, ...]]
CompaniesSearchResponse: TypeAlias = Response[tuple[CompanySummary, ...]]
CompaniesMatchResponse: TypeAlias = Response[tuple[tuple[CompanyMatch, ...], ...]]
CompanyIpsResponse: TypeAlias = Response[tuple[CompanyIp, ...]]
ContactResponse: TypeAlias = Response[Contact]
ContactsResponse: TypeAlias = Response[tuple[Contact, ...]]
ContactsSummaryResponse: TypeAlias = Response[tuple[ContactSummary, ...]]
WebVisitsResponse: TypeAlias = Response[tuple[WebVisit, ...]]
VisitorCompaniesResponse: TypeAlias = Response[tuple[CompanyLocation, ...]]
CustomFeedsResponse: TypeAlias = Response[tuple[CustomFeed, ...]]
CustomFeedResponse: TypeAlias = Response[CustomFeed]
CustomFeedFoldersResponse: TypeAlias = Response[tuple[CustomFeedFolder, ...]]
WebVisitsTrackerScriptResponse: TypeAlias = Response[WebVisitsTrackerScript]
IpEnrichResponse: TypeAlias = Response[EnrichedIp]
TagsResponse: TypeAlias = Response[tuple[Tag, ...]]
TagResponse: TypeAlias = Response[Tag]
ListsResponse: TypeAlias = Response[tuple[List, ...]]
ListResponse: TypeAlias = Response[List]
ListItemsResponse: TypeAlias = Response[tuple[ListItem, ...]]
CustomFieldsResponse: TypeAlias = Response[tuple[CustomField, ...]]
CustomFieldResponse: TypeAlias = Response[CustomField]
ApiUsageResponse: TypeAlias = Response[tuple[ApiUsage, ...]]
IndustriesResponse: TypeAlias = Response[tuple[Industry, ...]]
CampaignsResponse: TypeAlias = Response[tuple[Campaign, ...]]
CampaignResponse: TypeAlias = Response[Campaign]
IcpsResponse: TypeAlias = Response[tuple[Icp, ...]]
IcpResponse: TypeAlias = Response[Icp]
BuyerPersonasResponse: TypeAlias = Response[tuple[BuyerPersona, ...]]
BuyerPersonaResponse: TypeAlias = Response[BuyerPersona]
JobResponse: TypeAlias = Response[Job]
JobEstimateResponse: TypeAlias = Response[JobEstimate]
TagDeleteResponse: TypeAlias = EmptyResponse
ListDeleteResponse: TypeAlias = EmptyResponse
EmptySuccessResponse: TypeAlias = EmptyResponse

SCHEMAS: Mapping[str, object] = {
    "Schemas": object,
    "MetaCreditsV1": Credits,
    "MetaPaginationV1": Pagination,
    "MetaV1": Meta,
    "Response": Response,
    "ResourceIdentifierV1": ResourceIdentifier,
    "ErrorObjectV1": ErrorObject,
    "ErrorBodyV1": ErrorBody,
    "Error400": ErrorBody,
    "Error401": ErrorBody,
    "Error403": ErrorBody,
    "Error404": ErrorBody,
    "Error416": ErrorBody,
    "Error429": ErrorBody,
    "Error500": ErrorBody,
    "Error504": ErrorBody,
    "AccountSummaryV1": AccountSummary,
    "AccountV1": Account,
    "UserV1": User,
    "IndustryCodeV1": IndustryCode,
    "IndustriesV1": Industries,
    "AddressV1": Address,
    "MoneyFigureV1": MoneyFigure,
    "ProfileLinkV1": ProfileLink,
    "SocialMediaProfilesV1": SocialMediaProfiles,
    "PhoneV1": Phone,
    "CompanyRegisterV1": CompanyRegister,
    "CompanyMetaV1": CompanyMeta,
    "IntentV1": Intent,
    "CompanyV1": Company,
    "CompanySummaryV1": CompanySummary,
    "MaskedCompanySummaryV1": MaskedCompanySummary,
    "LocationV1": Location,
    "VisitLocationV1": VisitLocation,
    "CompanyLocationV1": CompanyLocation,
    "TagV1": Tag,
    "ListV1": List,
    "ListItemV1": ListItem,
    "IcpV1": Icp,
    "BuyerPersonaV1": BuyerPersona,
    "CustomFieldV1": CustomField,
    "CRMUserV1": CRMUser,
    "CRMOrganizationV1": CRMOrganization,
    "CRMContactV1": CRMContact,
    "CRMLeadV1": CRMLead,
    "CRMRecordV1": CRMRecord,
    "CRMConnectionV1": CRMConnection,
    "CRMSuggestionV1": CRMSuggestion,
    "CRMGroupConnectionV1": CRMGroupConnection,
    "SignalCategory": SignalCategory,
    "SignalV1": Signal,
    "CompanyFinancialsV1": CompanyFinancials,
    "CompanyMatchV1": CompanyMatch,
    "ContactV1": Contact,
    "ContactSummaryV1": ContactSummary,
    "MaskedContactSummaryV1": MaskedContactSummary,
    "EngagementV1": Engagement,
    "WebVisitV1": WebVisit,
    "CustomFeedFilterV1": CustomFeedFilter,
    "CustomFeedFolderV1": CustomFeedFolder,
    "CustomFeedV1": CustomFeed,
    "CustomFeedRequestV1": CustomFeedRequest,
    "WebVisitsTrackerScriptV1": WebVisitsTrackerScript,
    "NetworkV1": Network,
    "IpLocationV1": IpLocation,
    "IpAddressExtendedV1": IpAddressExtended,
    "CompanyIpV1": CompanyIp,
    "EnrichedIpV1": EnrichedIp,
    "ApiUsageV1": ApiUsage,
    "IndustryV1": Industry,
    "CampaignV1": Campaign,
    "JobV1": Job,
    "JobEstimateV1": JobEstimate,
    "LinkagesRequestV1": LinkagesRequest,
    "SearchLocationV1": SearchLocation,
    "CompanySearchRequestV1": CompanySearchRequest,
    "CompanyMatchInputV1": CompanyMatchInput,
    "CompanyMatchRequestV1": CompanyMatchRequest,
    "SignalSearchRequestV1": SignalSearchRequest,
    "ContactSearchRequestV1": ContactSearchRequest,
    "WebVisitSearchRequestV1": WebVisitSearchRequest,
    "TagCreateRequestV1": TagCreateRequest,
    "TagUpdateRequestV1": TagUpdateRequest,
    "ListCreateRequestV1": ListCreateRequest,
    "ListUpdateRequestV1": ListUpdateRequest,
    "CustomFieldRequestV1": CustomFieldRequest,
    "CompanyEnrichmentJobRequestV1": CompanyEnrichmentJobRequest,
    "FindContactDataJobRequestV1": FindContactDataJobRequest,
    "AccountResponse": AccountResponse,
    "UserResponse": UserResponse,
    "CompanyResponse": CompanyResponse,
    "CompaniesResponse": CompaniesResponse,
    "CompanyFinancialsResponse": CompanyFinancialsResponse,
    "CompaniesSignalsResponse": CompaniesSignalsResponse,
    "CompaniesSearchResponse": CompaniesSearchResponse,
    "CompaniesMatchResponse": CompaniesMatchResponse,
    "CompanyIpsResponse": CompanyIpsResponse,
    "ContactResponse": ContactResponse,
    "ContactsResponse": ContactsResponse,
    "ContactsSummaryResponse": ContactsSummaryResponse,
    "WebVisitsResponse": WebVisitsResponse,
    "VisitorCompaniesResponse": VisitorCompaniesResponse,
    "CustomFeedsResponse": CustomFeedsResponse,
    "CustomFeedResponse": CustomFeedResponse,
    "CustomFeedFoldersResponse": CustomFeedFoldersResponse,
    "WebVisitsTrackerScriptResponse": WebVisitsTrackerScriptResponse,
    "IpEnrichResponse": IpEnrichResponse,
    "TagsResponse": TagsResponse,
    "TagResponse": TagResponse,
    "ListsResponse": ListsResponse,
    "ListResponse": ListResponse,
    "ListItemsResponse": ListItemsResponse,
    "CustomFieldsResponse": CustomFieldsResponse,
    "CustomFieldResponse": CustomFieldResponse,
    "ApiUsageResponse": ApiUsageResponse,
    "IndustriesResponse": IndustriesResponse,
    "CampaignsResponse": CampaignsResponse,
    "CampaignResponse": CampaignResponse,
    "IcpsResponse": IcpsResponse,
    "IcpResponse": IcpResponse,
    "BuyerPersonasResponse": BuyerPersonasResponse,
    "BuyerPersonaResponse": BuyerPersonaResponse,
    "JobResponse": JobResponse,
    "JobEstimateResponse": JobEstimateResponse,
    "TagDeleteResponse": TagDeleteResponse,
    "ListDeleteResponse": ListDeleteResponse,
    "EmptySuccessResponse": EmptySuccessResponse,
}
"""The type of each schema of the contract, by its name in the contract."""
