"""Addresses other than that of the API. Their requests use the proxy and the certificates of the environment too."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TypedDict

import aiohttp
from yarl import URL

from leadfeeder_async._core.transport import default_ssl_context
from leadfeeder_async._proxies import ca_bundle_from_environment, proxy_from_environment
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.settings import read_switch

_HOST = re.compile(r"[\w.-]{1,253}|[0-9a-f:.]+(?:%25[\w.-]+)?", re.ASCII)
"""A host name or an IP address."""


class RequestOptions(TypedDict):
    """The arguments of a request of aiohttp that depend on the proxy."""

    proxy: str | None
    headers: dict[str, str]
    proxy_headers: dict[str, str] | None
    allow_redirects: bool


class HttpAddress:
    """An address that the command was given. It may contain a login, which no error shows.

    Args:
        url: The address.
        name: The name of the address for errors, such as ``webhook``.

    Raises:
        ConfigurationError: The address is not valid, or the proxy or the certificates of the environment cannot be
            used.

    """

    def __init__(self, url: str, name: str) -> None:
        self.url = _parse(url, name)
        trusts_environment = read_switch("trust_env", None)
        self._proxy = proxy_from_environment(str(self.url)) if trusts_environment else None
        needs_tls = self.url.scheme == "https"
        bundle = ca_bundle_from_environment() if trusts_environment else None
        self._verify = default_ssl_context(bundle) if needs_tls else True

    @property
    def host(self) -> str:
        """The host."""
        return self.url.host or ""

    @property
    def without_login(self) -> str:
        """The address without a user name and a password."""
        return str(self.url.with_user(None))

    def open_session(self, seconds: float) -> aiohttp.ClientSession:
        """Return a session whose requests take at most this many seconds. It stores no cookies."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._verify),
            timeout=aiohttp.ClientTimeout(seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    def request_options(self, headers: Mapping[str, str]) -> RequestOptions:
        """Return the arguments of a request with these headers."""
        login = dict[str, str]()
        if self._proxy is not None and self._proxy.credentials is not None:
            encoded = b64encode(self._proxy.credentials.reveal().encode()).decode()
            login = {"Proxy-Authorization": f"Basic {encoded}"}
        is_tunnel = self.url.scheme == "https"
        return RequestOptions(
            proxy=self._proxy.url if self._proxy is not None else None,
            headers={**headers, **({} if is_tunnel else login)},
            proxy_headers=login if is_tunnel else None,
            allow_redirects=False,
        )


def _parse(text: str, name: str) -> URL:
    try:
        url = URL(text.strip())
        host = url.raw_host or ""
        host.encode("idna")  # raises UnicodeError for parts of the name that are empty or too long
    except ValueError:
        url, host = URL(), ""
    has_split_password = "@" in url.raw_fragment
    if url.scheme in {"http", "https"} and url.port and _HOST.fullmatch(host) and not has_split_password:
        return url
    raise ConfigurationError(
        f"The address of the {name} is not a valid URL (it is not shown).",
        hint="Write it as https://host/path, with a port from 1 to 65535 if it needs one.",
    )
