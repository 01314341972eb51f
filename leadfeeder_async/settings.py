"""Settings of a client, taken from arguments or the environment and validated once."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from math import inf
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import MissingKeyError, check_argument

DEFAULT_BASE_URL = "https://api.leadfeeder.com"
DEFAULT_RATE = 9.9
DEFAULT_BURST = 12
DEFAULT_MAX_CONCURRENCY = 16
DEFAULT_TIMEOUT = 30.0
DEFAULT_RETRIES = 2
DEFAULT_MAX_BODY = 64 * 1024 * 1024
DEFAULT_MONTHLY_QUOTA = 100_000
DEFAULT_MAX_SEARCH_ROWS = 10_000


class Secret:
    """A string that is shown only on request and cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An API key cannot be pickled. Read it from the environment in the process that uses it.")

    @property
    def is_blank(self) -> bool:
        """True if it contains only white space."""
        return not self._text.strip()

    @property
    def is_header_safe(self) -> bool:
        """True if an HTTP header can carry it."""
        return self._text.isascii() and self._text.isprintable()

    def reveal(self) -> str:
        """Return the string."""
        return self._text


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that all calls of a client and its copies share."""

    api_key: Secret
    base_url: str = DEFAULT_BASE_URL
    rate: float = DEFAULT_RATE
    burst: int = DEFAULT_BURST
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    monthly_quota: int = DEFAULT_MONTHLY_QUOTA
    max_body_bytes: int = DEFAULT_MAX_BODY
    max_search_rows: int = DEFAULT_MAX_SEARCH_ROWS
    """The most rows of one search that the API returns."""
    trust_env: bool = False
    ssl_context: ssl.SSLContext | None = None
    paths: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        check_argument(0 < self.rate < inf, f"rate={self.rate!r} must be more than 0 requests per second.")
        for name in ("burst", "max_concurrency", "monthly_quota", "max_body_bytes", "max_search_rows"):
            value = getattr(self, name)
            check_argument(value >= 1, f"{name}={value!r} must be 1 or more.")
        for operation, path in self.paths.items():
            is_valid = path.startswith("/") and path.isprintable()
            check_argument(is_valid, f"paths: {operation}={path!r} must start with a slash.")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options that ``with_options`` can change for some calls."""

    account_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES
    deadline: float | None = None
    budgets: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        is_valid = self.deadline is None or 0 < self.deadline < inf
        check_argument(is_valid, f"deadline={self.deadline!r} must be a finite number of seconds above 0.")
        check_argument(0 < self.timeout < inf, f"timeout={self.timeout!r} must be a finite number of seconds above 0.")
        check_argument(self.retries >= 0, f"retries={self.retries!r} must be 0 or more.")
        is_valid = self.account_id is None or _is_nonempty_string(self.account_id)
        check_argument(is_valid, f"account_id={self.account_id!r} must be a string that is not empty.")


def _is_nonempty_string(value: object) -> bool:
    return isinstance(value, str) and value != ""


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine."""
    return host in {"localhost", "127.0.0.1", "::1"}


def read_api_key(argument: str | None) -> Secret:
    """Return the key from the argument or LEADFEEDER_API_KEY. Reject one that a header cannot carry."""
    source = "LEADFEEDER_API_KEY" if argument is None else "api_key"
    secret = Secret((os.environ.get("LEADFEEDER_API_KEY", "") if argument is None else argument).strip(" "))
    del argument  # a traceback with locals would show it
    if secret.is_blank:
        raise MissingKeyError("No API key was given.")
    check_argument(
        secret.is_header_safe,
        f"{source} contains characters that an HTTP header cannot carry (its value is not shown).",
        "Copy the key again. It is plain ASCII on one line.",
    )
    return secret


def read_account_id(argument: str | None) -> str | None:
    """Return the account from the argument or LEADFEEDER_ACCOUNT_ID. None means the only account of the key."""
    return argument or os.environ.get("LEADFEEDER_ACCOUNT_ID") or None


def read_base_url(argument: str | None) -> str:
    """Return the base URL from the argument or LEADFEEDER_BASE_URL, without its trailing slash."""
    url = (argument or os.environ.get("LEADFEEDER_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    check_argument(
        parts.username is None,
        "base_url must not contain credentials (not shown).",
        "Remove the user name. Only the API key is needed.",
    )
    check_argument(
        parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment),
        f"base_url={url!r} is not a URL such as {DEFAULT_BASE_URL}.",
    )
    check_argument(
        parts.path.rpartition("/")[2] != "v1",
        f"base_url={url!r} ends in /v1, which each call adds by itself.",
        "Remove /v1.",
    )
    check_argument(
        parts.scheme == "https" or is_loopback(parts.hostname or ""),
        f"base_url={url!r} uses unencrypted HTTP, which would expose the API key.",
        "Use https. Plain http is allowed only for a sandbox on this machine.",
    )
    return url
