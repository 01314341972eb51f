"""Settings of a client, taken from arguments or the environment and validated once."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit

import msgspec

from leadfeeder_async._proxies import CABundle, Proxy, is_loopback
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
    proxy: Proxy | None = None
    ca_bundle: CABundle | None = None
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


def read_api_key(argument: str | None) -> Secret:
    """Return the key from the argument, LEADFEEDER_API_KEY or the file LEADFEEDER_API_KEY_FILE, without white space.

    Reject a key that a header cannot carry.
    """
    file = os.environ.get("LEADFEEDER_API_KEY_FILE")
    if argument is not None:
        source, secret = "api_key", Secret(argument.strip())
        del argument  # a traceback with locals would show it
    elif file and "LEADFEEDER_API_KEY" not in os.environ:
        source, secret = f"The file {file} (LEADFEEDER_API_KEY_FILE)", _read_secret(Path(file))
    else:
        source, secret = "LEADFEEDER_API_KEY", Secret(os.environ.get("LEADFEEDER_API_KEY", "").strip())
    if secret.is_blank:
        raise MissingKeyError("No API key was given.")
    check_argument(
        secret.is_header_safe,
        f"{source} contains characters that an HTTP header cannot carry (its value is not shown).",
        "Copy the key again. It is plain ASCII on one line.",
    )
    return secret


def _read_secret(path: Path) -> Secret:
    try:
        return Secret(path.read_text(encoding="utf-8-sig").strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
    raise MissingKeyError(f"LEADFEEDER_API_KEY_FILE={str(path)!r} cannot be read: {reason}.")


def read_account_id(argument: str | None) -> str | None:
    """Return the account from the argument or LEADFEEDER_ACCOUNT_ID. None means the only account of the key."""
    account_id = (argument or os.environ.get("LEADFEEDER_ACCOUNT_ID") or "").strip()
    is_valid = account_id.isprintable() and " " not in account_id
    check_argument(is_valid, f"account_id={account_id!r} contains white space or control characters.", "Copy it again.")
    return account_id or None


def read_base_url(argument: str | None, *, allow_http: bool | None = None) -> str:
    """Return the base URL from the argument or LEADFEEDER_BASE_URL, without its trailing slash.

    Args:
        argument: The argument of the client.
        allow_http: Allow plain HTTP to other machines. Defaults to LEADFEEDER_ALLOW_HTTP.
    """
    url = (argument or os.environ.get("LEADFEEDER_BASE_URL") or DEFAULT_BASE_URL).strip().rstrip("/")
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
    check_argument(_has_valid_port(parts), f"base_url={url!r} has an invalid port.", "Use a port from 1 to 65535.")
    check_argument(
        parts.path.rpartition("/")[2] != "v1",
        f"base_url={url!r} ends in /v1, which each call adds by itself.",
        "Remove /v1.",
    )
    check_argument(
        parts.scheme == "https" or is_loopback(parts.hostname) or read_switch("LEADFEEDER_ALLOW_HTTP", allow_http),
        f"base_url={url!r} uses unencrypted HTTP, which would expose the API key.",
        "Use https. For a sandbox on another machine, set allow_http=True or LEADFEEDER_ALLOW_HTTP=1.",
    )
    return url


def read_switch(variable: str, argument: bool | None) -> bool:  # noqa: FBT001 - the value of a public argument
    """Return the argument or, if it is None, the environment variable, which is 1 or 0."""
    if argument is not None:
        return argument
    value = os.environ.get(variable, "").strip().lower()
    check_argument(
        value in {"", "0", "1", "false", "true", "no", "yes", "off", "on"}, f"{variable}={value!r} must be 1 or 0."
    )
    return value in {"1", "true", "yes", "on"}


def _has_valid_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
