"""The companies behind IP addresses."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from leadfeeder_async._argument_checks import show_value
from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.ip import EnrichedIp

ENRICH_IP = Endpoint(
    "enrich_ip",
    "GET",
    "/v1/ip/enrich",
    Response[EnrichedIp],
    params=("ip",),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_REQUEST,
    is_price_published=False,
    verification_hint="`lf.accounts.get()` shows the remaining credits. A repeated lookup may be charged again.",
)


class Ip:
    """Lookups of IP addresses."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def enrich(
        self, ip: str | IPv4Address | IPv6Address, *, account_id: str | None = None
    ) -> Response[EnrichedIp]:
        """Find the company, location and network of an IP address.

        ``(await lf.ip.enrich("203.0.113.17")).data.company``

        API operation: ``enrich_ip``, scope ``companies:read``.

        Args:
            ip: An IPv4 or IPv6 address, as a string or an object of the module ``ipaddress``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The result. ``data.company`` is None if no company was found. ``meta.charged`` is the number of credits that
            were charged.

        Raises:
            ConfigurationError: ``ip`` is not an IP address.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response was lost, so credits may have been charged.

        Credits:
            The price is not published. A budget sends one lookup at a time until a response shows the price, and then
            reserves ten times the highest price so far. If too few credits are left for that, a lookup waits for those
            in flight.

        """
        params = {"ip": _address(ip)}
        return await self._executor.execute(ApiRequest(ENRICH_IP, params=params, account_id=account_id))


def _address(ip: object) -> str:
    if isinstance(ip, str | IPv4Address | IPv6Address):
        with suppress(ValueError):
            return str(ip_address(ip))
    raise ConfigurationError(
        f"ip={show_value(ip)} is not an IP address.", hint='Write it as "203.0.113.17".', argument="ip"
    )
