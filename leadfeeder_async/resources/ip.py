"""Who is behind an IP address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

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
    verification_hint="`lf.accounts.get()` shows what is left of the credits; asking again should not charge twice.",
)


class Ip:
    """IP addresses."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def enrich(
        self, ip: str | IPv4Address | IPv6Address, *, account_id: str | None = None
    ) -> Response[EnrichedIp]:
        """Find the company, place and network behind an address; ``.data.company`` is None where there is no company.

        ``(await lf.ip.enrich("203.0.113.17")).data.company``. The price is not published: ``.meta.charged`` tells.
        Raises InsufficientCreditsError, OutcomeUnknownError where the answer was lost, and ConfigurationError for what
        is no address. Contract: ``enrich_ip``, scope ``companies:read``.
        """
        params = {"ip": _address(ip)}
        return await self._executor.execute(ApiRequest(ENRICH_IP, params=params, account_id=account_id))


def _address(ip: str | IPv4Address | IPv6Address) -> str:
    try:
        return str(ip_address(ip))
    except ValueError:
        raise ConfigurationError(f"ip={ip!r} is not an IP address.") from None
