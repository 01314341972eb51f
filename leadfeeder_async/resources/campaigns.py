"""Campaigns and their statistics."""

from __future__ import annotations

from collections.abc import Iterable

from leadfeeder_async._argument_checks import check_id, check_string
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.campaigns import Campaign, CampaignStats
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.includes import CampaignInclude
from leadfeeder_async.pagination.date_range import DateLike, parse_days
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import include_param

LIST_CAMPAIGNS = Endpoint(
    "list_campaigns",
    "GET",
    "/v1/campaigns",
    Response[tuple[Campaign, ...]],
    params=("include",),
    pagination=PaginationStyle.PAGE_NUMBER,
)
GET_CAMPAIGN = Endpoint("get_campaign", "GET", "/v1/campaigns/{id}", Response[Campaign], params=("include",))
GET_CAMPAIGN_STATS = Endpoint(
    "get_campaign_stats",
    "GET",
    "/v1/campaigns/{id}/stats",
    Response[tuple[CampaignStats, ...]],
    params=("start_period", "end_period", "frequency"),
    pagination=PaginationStyle.PAGE_NUMBER,
)


class Campaigns:
    """Campaigns and their statistics."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self,
        *,
        include: Iterable[CampaignInclude] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[Campaign]:
        """List the campaigns.

        ``async for campaign in lf.campaigns.list(include=["campaign_summary"])``

        API operation: ``list_campaigns``.

        Args:
            include: Relationships to return: ``campaign_summary``, ``campaign_settings``, ``campaign_locations``,
                ``list``, ``custom_feed``.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of campaigns.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, ``page_size`` or ``limit`` is out of
                range, or an argument has the wrong type.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order.

        """
        params = {"include": include_param(include, CampaignInclude)}
        call = ApiRequest(LIST_CAMPAIGNS, params=params, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def get(
        self, campaign_id: str, *, include: Iterable[CampaignInclude] | None = None, account_id: str | None = None
    ) -> Response[Campaign]:
        """Get a campaign.

        ``(await lf.campaigns.get("cmp-4")).data.attributes.status``

        API operation: ``get_campaign`` (inferred path).

        Args:
            campaign_id: The id of the campaign.
            include: Relationships to return: ``campaign_summary``, ``campaign_settings``, ``campaign_locations``,
                ``list``, ``custom_feed``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The campaign.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            NotFoundError: The account has no campaign with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        params = {"include": include_param(include, CampaignInclude)}
        return await self._executor.execute(
            ApiRequest(GET_CAMPAIGN, (check_id("campaign_id", campaign_id),), params=params, account_id=account_id)
        )

    def stats(
        self,
        campaign_id: str,
        *,
        start_period: DateLike,
        end_period: DateLike,
        frequency: str,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CampaignStats]:
        """List the statistics of a campaign, one record per period.

        ``async for row in lf.campaigns.stats("cmp-4", start_period=..., end_period=..., frequency="daily")``

        API operation: ``get_campaign_stats`` (inferred path).

        Args:
            campaign_id: The id of the campaign.
            start_period: The first day, as a date or ``YYYY-MM-DD``.
            end_period: The last day, included.
            frequency: The length of a period, such as ``daily``. The allowed values are not published.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of statistics. Their names are not published, so ``attributes`` is a dict.

        Raises:
            ConfigurationError: ``start_period`` is after ``end_period``, or is not a date.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order.

        """
        days = parse_days("start_period", start_period, "end_period", end_period)
        check_string("frequency", frequency)
        params = {"start_period": str(days.start), "end_period": str(days.end), "frequency": frequency}
        call = ApiRequest(
            GET_CAMPAIGN_STATS, (check_id("campaign_id", campaign_id),), params=params, account_id=account_id
        )
        return Pager(self._executor, call, page_size=page_size, limit=limit)
