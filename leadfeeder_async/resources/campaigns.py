"""Campaigns and their figures."""

from __future__ import annotations

from collections.abc import Iterable

from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.campaigns import Campaign, CampaignStats
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.date_range import DateLike, make_window
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import csv_param

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
    """Campaigns."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self,
        *,
        include: Iterable[str] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[Campaign]:
        """List the campaigns.

        ``async for campaign in lf.campaigns.list(include=["campaign_summary"])``. Free; numbered pages. Contract:
        ``list_campaigns``.
        """
        params = {"include": csv_param("include", include)}
        call = ApiRequest(LIST_CAMPAIGNS, params=params, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def get(
        self, campaign_id: str, *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Response[Campaign]:
        """Get one campaign.

        ``(await lf.campaigns.get("cmp-4")).data.attributes.status``. Free. Contract: ``get_campaign`` (path inferred).
        """
        params = {"include": csv_param("include", include)}
        return await self._executor.execute(
            ApiRequest(GET_CAMPAIGN, (campaign_id,), params=params, account_id=account_id)
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
        """List a campaign's figures by period, from one day to another, both included.

        ``async for row in lf.campaigns.stats("cmp-4", start_period=..., end_period=..., frequency="daily")``. The
        values that ``frequency`` takes are not published. Free; numbered pages. Contract: ``get_campaign_stats`` (path
        inferred).
        """
        days = make_window(start_period, end_period)
        params = {"start_period": str(days.start), "end_period": str(days.end), "frequency": frequency}
        call = ApiRequest(GET_CAMPAIGN_STATS, (campaign_id,), params=params, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)
