"""The proxy and the certificates that environment variables configure, as curl reads them."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from leadfeeder_async.errors import check_argument


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy. Its representation does not show the credentials."""

    url: str
    """The URL without credentials."""
    variable: str
    """The environment variable that names the proxy."""
    credentials: tuple[str, str] | None = None
    """The user name and the password."""

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}, {self.variable!r})"


class CABundle(msgspec.Struct, frozen=True):
    """A file or folder of certificates, and the environment variable that names it."""

    path: Path
    variable: str


def proxy_from_environment(url: str) -> Proxy | None:
    """Return the proxy for requests to ``url``, or None if there is none.

    HTTPS_PROXY or HTTP_PROXY, depending on the URL, then ALL_PROXY. Lowercase names come first. NO_PROXY lists the
    hosts that need no proxy.

    Plain HTTP to this machine is only sent to a proxy on this machine. Any other proxy would receive the API key
    unencrypted, over the network.

    Args:
        url: The URL of the API.

    Raises:
        ConfigurationError: The proxy cannot be used. Without the error, requests would be sent around it.
    """
    target = urlsplit(url)
    variable = _variable(target.scheme)
    if variable is None or _is_excluded(target):
        return None
    parts = _split(os.environ[variable], variable)
    if target.scheme == "http" and is_loopback(target.hostname):
        return _proxy(parts, variable) if parts.scheme == "http" and is_loopback(parts.hostname) else None
    return _proxy(parts, variable)


def ca_bundle_from_environment() -> CABundle | None:
    """Return the certificates of REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE, or None."""
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        if os.environ.get(variable):
            return CABundle(Path(os.environ[variable]), variable)
    return None


def is_loopback(host: str | None) -> bool:
    """Return True if a host is this machine."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _variable(scheme: str) -> str | None:
    """Return the name of the variable that configures the proxy. An empty variable counts as not set."""
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        is_request_header = name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ  # set by the client of a CGI script
        if os.environ.get(name, "").strip() and not is_request_header:
            return name
    return None


def _split(value: str, variable: str) -> SplitResult:
    """Return the parts of a proxy's address, whose scheme may be missing. Errors do not show the address."""
    address = value.strip()
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_valid = urlsplit(""), False
    check_argument(
        is_valid,
        f"{variable} is not a valid proxy address (its value is not shown).",
        "Write it like http://proxy.example.com:3128, and percent-encode special characters of the password.",
    )
    return parts


def _proxy(parts: SplitResult, variable: str) -> Proxy:
    check_argument(
        parts.scheme == "http",
        f"{variable} names a proxy with the scheme {parts.scheme}://, which is not supported. Nothing was sent.",
        "Use an http:// proxy, which also forwards https, or list the API's host in NO_PROXY.",
    )
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    check_argument(":" not in user, f"{variable} contains a user name with a colon.", "Use another user name.")
    return Proxy(f"http://{host}:{parts.port or 80}", variable, (user, password) if user or password else None)


def _is_excluded(target: SplitResult) -> bool:
    entries = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").replace(",", " ").lower().split()
    return any(_matches(entry, target) for entry in entries)


def _matches(entry: str, target: SplitResult) -> bool:
    """Return True if an entry of NO_PROXY is the host, a domain that contains it, or a network that contains it."""
    host = (target.hostname or "").rstrip(".")
    name, _, port = entry.rpartition(":")
    if port.isdecimal() and (":" not in name or name.endswith("]")):
        if int(port) != (target.port or (443 if target.scheme == "https" else 80)):
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        domain = entry.removeprefix("*").strip(".")
        return entry == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))
