"""The proxy and the certificates that environment variables name."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from leadfeeder_async._secret import Secret
from leadfeeder_async.errors import ConfigurationError, check_argument


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy. Its representation does not show the credentials."""

    url: str
    """The URL without credentials."""
    variable: str
    """The environment variable that names the proxy."""
    credentials: Secret | None = None
    """The user name and the password, with a colon between them."""

    def __repr__(self) -> str:
        return f"Proxy({self.url!r}, {self.variable!r})"


class _Address(msgspec.Struct, frozen=True):
    """The parts of a proxy's address."""

    scheme: str
    host: str
    port: int
    credentials: Secret | None
    has_colon_in_user: bool


class CABundle(msgspec.Struct, frozen=True):
    """A file or folder of certificates, and the environment variable that names it."""

    path: Path
    variable: str


def proxy_from_environment(url: str) -> Proxy | None:
    """Return the proxy for requests to ``url``, or None if there is none.

    It is that of HTTPS_PROXY or HTTP_PROXY, by the scheme of the URL, or else that of ALL_PROXY. Lowercase names come
    first. NO_PROXY lists the hosts that need no proxy.

    Plain HTTP to this machine is only sent to a proxy on this machine. Any other proxy would receive the API key
    unencrypted, over the network. HTTPS to this machine uses the proxy, as in curl, because the
    request is encrypted.

    Args:
        url: The URL of the API, of a webhook or of a document.

    Raises:
        ConfigurationError: The proxy cannot be used. Without the error, requests would be sent around it.
    """
    target = urlsplit(url)
    variable = _variable(target.scheme)
    if variable is None or _is_excluded(target):
        return None
    address = _read_address(variable)
    if address is None:
        raise ConfigurationError(
            f"{variable} is not a valid proxy address (its value is not shown).",
            hint="Write it like http://proxy.example.com:3128, and percent-encode special characters of the password.",
        )
    if target.scheme == "http" and is_loopback(target.hostname):
        return _proxy(address, variable) if address.scheme == "http" and is_loopback(address.host) else None
    return _proxy(address, variable)


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
    names = set(os.environ)  # in upper case on Windows, where a lowercase name would find the same variable
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"):
        is_request_header = name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ  # set by the client of a CGI script
        if name in names and os.environ[name].strip() and not is_request_header:
            return name
    return None


def _read_address(variable: str) -> _Address | None:
    """Return the parts of a proxy's address, whose scheme may be missing, or None if it is invalid.

    Only this function has the password in its variables. It raises nothing, so no traceback shows them.
    """
    value = os.environ[variable].strip()
    if ":/" in value.replace("://", "", 1):  # with one slash, the scheme would be taken for the host
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        has_split_password = "@" in f"{parts.path}{parts.query}{parts.fragment}"  # by a character that is not encoded
        if not parts.hostname or parts.port == 0 or has_split_password:
            return None
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        credentials = Secret(f"{user}:{password}") if user or password else None
        return _Address(parts.scheme, parts.hostname, parts.port or 80, credentials, ":" in user)
    except ValueError:
        return None


def _proxy(address: _Address, variable: str) -> Proxy:
    check_argument(
        address.scheme == "http",
        f"{variable} names a proxy with the scheme {address.scheme}://, which is not supported. Nothing was sent.",
        "Use an http:// proxy, which also forwards https, or list the host in NO_PROXY.",
    )
    check_argument(
        not address.has_colon_in_user, f"{variable} contains a user name with a colon.", "Use another user name."
    )
    host = f"[{address.host}]" if ":" in address.host else address.host
    return Proxy(f"http://{host}:{address.port}", variable, address.credentials)


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
