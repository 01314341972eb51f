"""A client's settings: from arguments, then the environment, checked once."""

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
DEFAULT_TIMEOUT = 60.0
DEFAULT_RETRIES = 2
DEFAULT_MAX_BODY = 64 * 1024 * 1024
DEFAULT_MONTHLY_QUOTA = 100_000


class Secret:
    """A text that shows itself only when asked, and refuses to be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("An API key is not pickled; read it from the environment where it is needed.")

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing but white space."""
        return not self._text.strip()

    @property
    def is_header_safe(self) -> bool:
        """Whether an HTTP header can carry it."""
        return self._text.isascii() and self._text.isprintable()

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def redact_from(self, body: bytes) -> bytes:
        """Return ``body`` with stars in its place."""
        return body.replace(self._text.encode(), b"***")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What all calls of one client and its copies share."""

    api_key: Secret
    base_url: str = DEFAULT_BASE_URL
    rate: float = DEFAULT_RATE
    burst: int = DEFAULT_BURST
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    monthly_quota: int = DEFAULT_MONTHLY_QUOTA
    max_body_bytes: int = DEFAULT_MAX_BODY
    trust_env: bool = False
    ssl_context: ssl.SSLContext | None = None
    paths: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        check_argument(0 < self.rate < inf, f"rate={self.rate!r} must be more than 0 requests a second.")
        check_argument(self.burst >= 1, f"burst={self.burst!r} must be 1 or more.")
        check_argument(self.max_concurrency >= 1, f"max_concurrency={self.max_concurrency!r} must be 1 or more.")
        check_argument(self.monthly_quota >= 1, f"monthly_quota={self.monthly_quota!r} must be 1 or more.")
        check_argument(self.max_body_bytes >= 1, f"max_body_bytes={self.max_body_bytes!r} must be 1 or more.")
        for operation, path in self.paths.items():
            plain = path.startswith("/") and path.isprintable()
            check_argument(plain, f"paths: {operation}={path!r} must start with a slash.")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What ``with_options`` can change for some calls."""

    account_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES
    deadline: float | None = None
    budgets: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        positive = self.deadline is None or 0 < self.deadline < inf
        check_argument(positive, f"deadline={self.deadline!r} must be more than 0 seconds, and finite.")
        check_argument(0 < self.timeout < inf, f"timeout={self.timeout!r} must be more than 0 seconds, and finite.")
        check_argument(self.retries >= 0, f"retries={self.retries!r} must be 0 or more.")
        named = self.account_id is None or _is_text(self.account_id)
        check_argument(named, f"account_id={self.account_id!r} must be a text, and not empty.")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def read_api_key(argument: str | None) -> Secret:
    """Take the key from the argument or LEADFEEDER_API_KEY, and refuse one no header can hold."""
    where = "LEADFEEDER_API_KEY" if argument is None else "api_key"
    secret = Secret((os.environ.get("LEADFEEDER_API_KEY", "") if argument is None else argument).strip(" "))
    del argument  # else it would show in a traceback with locals
    if secret.is_blank:
        raise MissingKeyError("There is no API key.")
    check_argument(
        secret.is_header_safe,
        f"{where} holds characters that no header can carry (its value is not shown).",
        "Copy the key again: plain ASCII, one line.",
    )
    return secret


def read_account_id(argument: str | None) -> str | None:
    """Take the account from the argument or LEADFEEDER_ACCOUNT_ID; None means the key's only account."""
    return argument or os.environ.get("LEADFEEDER_ACCOUNT_ID") or None


def read_base_url(argument: str | None) -> str:
    """Take the address from the argument or LEADFEEDER_BASE_URL, without its trailing slash."""
    url = (argument or os.environ.get("LEADFEEDER_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    check_argument(
        parts.username is None, "base_url holds a name (not shown).", "Leave it out: the key is all it takes."
    )
    check_argument(
        parts.scheme in {"http", "https"} and bool(parts.hostname) and not (parts.query or parts.fragment),
        f"base_url={url!r} is not an address such as {DEFAULT_BASE_URL}.",
    )
    check_argument(
        parts.path.rpartition("/")[2] != "v1",
        f"base_url={url!r} ends in /v1, which each call adds by itself.",
        "Leave /v1 out.",
    )
    check_argument(
        parts.scheme == "https" or parts.hostname in {"localhost", "127.0.0.1", "::1"},
        f"base_url={url!r} would send the key in clear.",
        "Use https; plain http is for a sandbox on this machine only.",
    )
    return url
