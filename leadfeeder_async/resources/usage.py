"""The usage of the API."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime

from leadfeeder_async._argument_checks import reject
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.usage import ApiUsage

GET_USAGE = Endpoint(
    "get_usage", "GET", "/v1/usage", Response[tuple[ApiUsage, ...]], params=("start_period", "end_period")
)


class Usage:
    """The requests and credits that were used per month."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def get(
        self, *, start_period: str, end_period: str, account_id: str | None = None
    ) -> Response[tuple[ApiUsage, ...]]:
        """Get the number of requests and credits per month and endpoint.

        ``(await lf.usage.get(start_period="2026-10", end_period="2026-11")).data``

        The client remembers the number of requests in the current month. If 95 % of ``monthly_quota`` are used, the
        client treats a 429 as the end of the quota.

        API operation: ``get_usage``, scope ``usage:read``.

        Args:
            start_period: The first month, as ``YYYY-MM``.
            end_period: The last month, included.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The usage, one record per month and endpoint.

        Raises:
            ConfigurationError: A period is not a month, or ``start_period`` is after ``end_period``.

        Credits:
            None.

        """
        params = {"start_period": _month("start_period", start_period), "end_period": _month("end_period", end_period)}
        check_argument(
            start_period <= end_period,
            f"start_period={start_period} is after end_period={end_period}.",
            "Pass the earlier month as start_period.",
            argument="start_period",
        )
        response = await self._executor.execute(ApiRequest(GET_USAGE, params=params, account_id=account_id))
        self._executor.record_monthly_usage(_used_in(f"{datetime.now(UTC):%Y-%m}", response.data))
        return response


_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


def _month(name: str, value: object) -> str:
    if not isinstance(value, str) or not _MONTH.fullmatch(value):
        hint = f'Write "{value:%Y-%m}".' if isinstance(value, date) else 'Write it as YYYY-MM, such as "2026-11".'
        reject(name, value, "is not a month.", hint)
    return value


def _used_in(month: str, rows: Iterable[ApiUsage]) -> int:
    return sum(row.attributes.requests or 0 for row in rows if row.attributes.period == month)
