"""Settings of a client, taken from arguments or the environment and validated once."""

from __future__ import annotations

import os
import re
import ssl
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, urlsplit

import msgspec

from leadfeeder_async._argument_checks import (
    check_account_id,
    check_boolean,
    check_integer,
    check_positive,
    check_string,
)
from leadfeeder_async._proxies import CABundle, Proxy, is_loopback
from leadfeeder_async._secret import Secret
from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import ConfigurationError, MissingKeyError, check_argument
from leadfeeder_async.types import AccessTokenProvider, ApiKeyProvider

DEFAULT_BASE_URL = "https://api.leadfeeder.com"
DEFAULT_RATE = 9.9
DEFAULT_BURST = 12
DEFAULT_MAX_CONCURRENCY = 16
DEFAULT_TIMEOUT = 30.0
DEFAULT_RETRIES = 2
DEFAULT_MAX_BODY = 64 * 1024 * 1024
DEFAULT_MONTHLY_QUOTA = 100_000
DEFAULT_MAX_SEARCH_ROWS = 10_000


CredentialKind: TypeAlias = Literal["api_key", "access_token"]
"""The kinds of credentials, named like the arguments of the client."""


class CredentialSource(msgspec.Struct, frozen=True, kw_only=True):
    """The credential that a client starts with, and the function that returns a new one."""

    kind: CredentialKind
    secret: Secret | None = None
    """The credential, if it is known before the first call."""
    provider: ApiKeyProvider | AccessTokenProvider | None = None
    """Returns a new credential. None if it cannot be renewed."""
    may_block: bool = False
    """The function reads a file or the keyring, which can take long."""

    def __repr__(self) -> str:
        return f"<CredentialSource {self.kind}>"  # the repr of a callable shows its arguments, which can be secrets


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that all calls of a client and its copies share."""

    credential: CredentialSource
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
        check_positive("rate", self.rate, "requests per second")
        for name in ("burst", "max_concurrency", "monthly_quota", "max_body_bytes", "max_search_rows"):
            check_integer(name, getattr(self, name), 1)
        for operation, path in self.paths.items():
            is_valid = check_string(f"paths[{operation!r}]", path).startswith("/") and path.isprintable()
            check_argument(
                is_valid,
                f"paths: {operation}={path!r} must start with a slash and have only printable characters.",
                "Write it like /v1/tags.",
                argument="paths",
            )


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options that ``with_options`` can change for some calls."""

    account_id: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: int = DEFAULT_RETRIES
    deadline: float | None = None
    budgets: tuple[Budget, ...] = ()

    def __post_init__(self) -> None:
        if self.deadline is not None:
            check_positive("deadline", self.deadline, "seconds")
        check_positive("timeout", self.timeout, "seconds")
        check_integer("retries", self.retries, 0)
        if self.account_id is not None:
            check_account_id("account_id", self.account_id)


def read_credential(
    api_key: str | ApiKeyProvider | None, access_token: str | AccessTokenProvider | None, base_url: str
) -> CredentialSource:
    """Return the source of the credential: an argument or a variable of the environment.

    The variables are LEADFEEDER_API_KEY, LEADFEEDER_API_KEY_FILE and LEADFEEDER_ACCESS_TOKEN, in this order. With
    LEADFEEDER_KEYRING=1, the system keyring is the last one. The file and the keyring are read again after the server
    has rejected the key, so that a new key is used.
    """
    try:
        if api_key is not None and access_token is not None:
            raise ConfigurationError("api_key and access_token cannot be combined.", hint="Pass one of them.")
        if access_token is not None:
            return _source("access_token", access_token)
        if api_key is not None:
            return _source("api_key", api_key)
    finally:
        api_key = access_token = None  # a traceback with locals would show them
    file = _key_file()
    if file is not None:
        provider = partial(_read_key_file, file)
        return CredentialSource(kind="api_key", secret=find_api_key(None), provider=provider, may_block=True)
    if "LEADFEEDER_API_KEY" not in os.environ:
        if os.environ.get("LEADFEEDER_ACCESS_TOKEN"):
            secret = read_secret("access_token", os.environ["LEADFEEDER_ACCESS_TOKEN"], "LEADFEEDER_ACCESS_TOKEN")
            return CredentialSource(kind="access_token", secret=secret)
        if read_switch("keyring", None):
            provider = partial(_read_keyring, base_url)
            secret = read_secret("api_key", provider())
            return CredentialSource(kind="api_key", secret=secret, provider=provider, may_block=True)
    return CredentialSource(kind="api_key", secret=find_api_key(None))


def _source(kind: CredentialKind, argument: str | ApiKeyProvider | AccessTokenProvider | None) -> CredentialSource:
    try:
        if callable(argument):
            return CredentialSource(kind=kind, provider=argument)
        return CredentialSource(kind=kind, secret=read_secret(kind, argument))
    finally:
        argument = None  # a traceback with locals would show it


def find_api_key(argument: object) -> Secret:
    """Return the key without white space around it, or raise ConfigurationError if a header cannot carry it.

    The key is the argument, LEADFEEDER_API_KEY, the content of LEADFEEDER_API_KEY_FILE, or with LEADFEEDER_KEYRING=1
    the key in the system keyring.
    """
    try:
        if argument is not None:
            return read_secret("api_key", argument)
    finally:
        argument = None  # a traceback with locals would show it
    file = _key_file()
    if file is None:
        if "LEADFEEDER_API_KEY" not in os.environ and read_switch("keyring", None):
            return read_secret("api_key", _read_keyring(read_base_url(None)))
        name = "LEADFEEDER_API_KEY"
        return read_secret("api_key", os.environ.get(name, ""), name if name in os.environ else None)
    return Secret(_read_key_file(file))


def _read_key_file(file: str) -> str:
    return key_in_text(_read_file(file), f"The file '{file}'").reveal()


def key_in_text(text: str, origin: str) -> Secret:
    """Return the key in a text that contains only a key, without white space around it.

    Args:
        text: The content.
        origin: The place that it comes from, for errors.

    Raises:
        MissingKeyError: The text is empty.
        ConfigurationError: It contains more than a key, or a header cannot carry it.
    """
    try:
        if not text.strip():
            raise MissingKeyError(f"{origin} is empty.", hint="Write the key into it.")
        check_argument(
            not _ASSIGNMENT.match(text[:_MAX_ASSIGNMENT]),
            f"{origin} has an assignment or quotes, not only a key (its content is not shown).",
            "Write only the key into it.",
            argument="api_key",
        )
        return read_secret("api_key", text, origin)
    finally:
        text = ""  # a traceback with locals would show it


def read_secret(kind: CredentialKind, value: object, origin: str | None = None) -> Secret:
    """Return a key or a token without white space around it.

    Args:
        kind: The kind of the credential.
        value: The string.
        origin: The place that it comes from, for errors.

    Raises:
        MissingKeyError: It is empty.
        ConfigurationError: It is not a string, or a header cannot carry it.

    """
    if not isinstance(value, str):
        found = type(value).__name__
        value = None  # a traceback with locals would show it
        raise ConfigurationError(f"{kind} must be a string, not {found} (its value is not shown).", argument=kind)
    secret = Secret(value.strip())
    value = None
    if secret.is_blank:
        if kind == "api_key":
            raise MissingKeyError("No API key was given." if origin is None else f"{origin} is empty.")
        raise MissingKeyError(
            f"{origin or 'The access token'} is empty.", hint="Set LEADFEEDER_ACCESS_TOKEN, or pass access_token=."
        )
    check_argument(
        secret.is_header_safe and (kind == "api_key" or secret.is_one_word),
        f"{origin or kind} contains characters that an HTTP header cannot carry (its value is not shown).",
        "Copy it again. It is plain ASCII on one line.",
        argument=kind,
    )
    return secret


_ASSIGNMENT = re.compile(r"\s*([\w -]+\s|\$env:)?\w*(API|ACCESS)_?(KEY|TOKEN)\w*\s*[=:]|\s*[\"']", re.IGNORECASE)

_MAX_ASSIGNMENT = 200
"""The characters in which an assignment is searched."""


def _key_file() -> str | None:
    """Return the file that LEADFEEDER_API_KEY_FILE names, if the key is not in LEADFEEDER_API_KEY."""
    return None if "LEADFEEDER_API_KEY" in os.environ else os.environ.get("LEADFEEDER_API_KEY_FILE") or None


def _read_file(file: str) -> str:
    try:
        return decode_text(Path(file).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
    shown = f"='{file}'" if _is_path(file) else " (its value is not shown, because it may be the key)"
    raise MissingKeyError(
        f"LEADFEEDER_API_KEY_FILE{shown} cannot be read: {reason}.", hint="Check its path and permissions."
    )


def decode_text(data: bytes) -> str:
    """Return the text of a small file, which is UTF-8, or UTF-16 as Windows PowerShell writes it.

    Raises:
        UnicodeDecodeError: It is neither.
    """
    return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")


def _is_path(text: str) -> bool:
    """Return True if a text is a path in an existing folder, or a short file name, so that it cannot be a key."""
    if re.fullmatch(r"[\w-]{1,16}\.[a-z]{1,5}", text) is not None:
        return True
    try:
        folder = Path(text).expanduser().parent
        return folder.name != "" and any(part.is_dir() for part in (folder, *folder.parents[:-1]))
    except (OSError, RuntimeError):  # the name is too long, or names an unknown user
        return False


def _read_keyring(base_url: str) -> str:
    from leadfeeder_async.integrations import keyring  # noqa: PLC0415 - needs an extra

    return keyring.read_api_key(base_url)


def read_account_id(argument: object) -> str | None:
    """Return the account from the argument or LEADFEEDER_ACCOUNT_ID. None means the only account of the key.

    White space around it is removed, as around the key. Characters that an id cannot have are rejected.
    """
    name = "account_id" if argument is not None else "LEADFEEDER_ACCOUNT_ID"
    value = argument if argument is not None else os.environ.get(name, "").strip() or None
    return None if value is None else check_account_id(name, value.strip() if isinstance(value, str) else value)


def read_base_url(argument: object, *, allow_http: object = None) -> str:
    """Return the base URL from the argument or LEADFEEDER_BASE_URL, without its trailing slash.

    Args:
        argument: The argument of the client.
        allow_http: Allow plain HTTP to other machines. Defaults to LEADFEEDER_ALLOW_HTTP.
    """
    if allow_http is not None:
        check_boolean("allow_http", allow_http)
    is_given = argument is not None and argument != ""
    given = argument if is_given else os.environ.get("LEADFEEDER_BASE_URL") or DEFAULT_BASE_URL
    name = "base_url" if is_given else "LEADFEEDER_BASE_URL"
    if not isinstance(given, str):
        raise ConfigurationError("base_url must be a string (its value is not shown).", argument="base_url")
    url = given.strip().rstrip("/")
    if "@" in url:  # wherever it is, because passwords may contain slashes
        argument = given = url = ""  # a traceback with locals would show them
        raise ConfigurationError(
            f"{name} must not contain credentials (not shown).",
            hint="Remove the user name. Only the API key is needed.",
            argument="base_url",
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    check_argument(
        not ("?" in url or "#" in url),
        f"{name} must not contain a query or a fragment (not shown).",
        f"Pass a URL such as {DEFAULT_BASE_URL}.",
        argument="base_url",
    )
    check_argument(
        parts.scheme in {"http", "https"} and bool(parts.hostname),
        f"{name}={url!r} is not a URL such as {DEFAULT_BASE_URL}.",
        argument="base_url",
    )
    check_argument(
        _has_valid_port(parts),
        f"{name}={url!r} has an invalid port.",
        "Use a port from 1 to 65535.",
        argument="base_url",
    )
    check_argument(
        parts.path.rpartition("/")[2] != "v1",
        f"{name}={url!r} ends in /v1, which each call adds by itself.",
        "Remove /v1.",
        argument="base_url",
    )
    check_argument(
        parts.scheme == "https" or is_loopback(parts.hostname) or read_switch("allow_http", allow_http),
        f"{name}={url!r} uses unencrypted HTTP, which would expose the API key.",
        "Use https. For a sandbox on another machine, set allow_http=True or LEADFEEDER_ALLOW_HTTP=1.",
        argument="base_url",
    )
    return url


def read_switch(name: str, argument: object) -> bool:
    """Return the value of a boolean argument or, if it is None, of its variable, such as LEADFEEDER_TRUST_ENV=1."""
    if argument is not None:
        return check_boolean(name, argument)
    variable = f"LEADFEEDER_{name.upper()}"
    value = os.environ.get(variable, "").strip().lower()
    is_valid = value in {"", "0", "1", "false", "true", "no", "yes", "off", "on"}
    check_argument(is_valid, f"{variable}={value!r} must be 1 or 0.", argument=name)
    return value in {"1", "true", "yes", "on"}


def _has_valid_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False
