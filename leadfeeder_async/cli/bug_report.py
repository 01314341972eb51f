"""The report of ``leadfeeder doctor --bundle``, to attach to a bug report. It contains no data of the account."""

from __future__ import annotations

import os
import platform
import re
import ssl
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.redaction import Redactor, code_without_data, request_id_without_data
from leadfeeder_async._secret import Secret
from leadfeeder_async._version import __version__
from leadfeeder_async.cli.contract_probe import ProbeStatus
from leadfeeder_async.cli.health_checks import CheckResult
from leadfeeder_async.errors import (
    APIStatusError,
    ConfigurationError,
    DecodeError,
    ErrorContext,
    LeadfeederError,
    ResponseError,
    check_argument,
)
from leadfeeder_async.settings import read_base_url, read_credential
from leadfeeder_async.types import AttemptEvent, Health

MAX_REPORTED_ATTEMPTS = 200
"""The latest attempts that the report contains."""

PACKAGES = (
    *("aiohttp", "aiolimiter", "anyio", "msgspec", "yarl", "multidict", "certifi"),
    *("cyclopts", "rich", "duckdb", "redis", "jinja2", "dlt", "keyring", "opentelemetry-api", "uvloop"),
)

PLAIN_VARIABLES = ("ALLOW_HTTP", "KEYRING", "LOG", "TRUST_ENV")
"""Variables, without ``LEADFEEDER_``, whose values the report contains if they are common. Others are only named."""

COMMON_VALUES = frozenset({"", "0", "1", "false", "true", "no", "yes", "off", "on", "debug", "info", "warning", "json"})
"""Values that cannot be a secret that was assigned to the wrong variable."""

NETWORK_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
"""Other variables that the report names, without their values."""

MIN_SECRET_CHARS = 8
"""Shorter values are not credentials, and could be a part of any word of the report."""

_MISMATCH = re.compile(
    r"(?:Expected `[^`]*`(?:, got `[^`]*`)?|Object missing required field `[^`]*`)(?: - at `[^`]*`)?"
)
"""The part of a DecodeError that says which field differs from the contract, without its value."""


_LONG_FRACTION = re.compile(r"(\b\d+\.\d{5})\d+\b")
"""Seconds with more digits than anyone reads."""


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """The versions of the programs involved."""

    leadfeeder_async: str
    python: str
    system: str
    openssl: str
    packages: dict[str, str]


class ReportedError(msgspec.Struct, frozen=True, kw_only=True):
    """An error without texts of the server."""

    error: str
    context: ErrorContext
    message: str | None
    """The text, if it cannot contain data of a response. For a DecodeError, the field that differs."""


class ReportedCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A check of doctor, without its message."""

    check: str
    status: str
    error: ReportedError | None


class ReportedProbe(msgspec.Struct, frozen=True, kw_only=True):
    """An inferred path that was tried."""

    operation: str
    status: ProbeStatus
    path: str | None


class BugReport(msgspec.Struct, kw_only=True):
    """The report, as it is written to the file."""

    note: str = (
        "Written by `leadfeeder doctor --bundle`. It contains no credentials, account ids, record ids, names, email "
        "addresses or texts of responses. Read it before you share it."
    )
    created_at: datetime
    versions: Versions
    settings: dict[str, str]
    checks: list[ReportedCheck]
    probes: list[ReportedProbe]
    attempts: list[AttemptEvent]
    health: Health | None


class Recorder:
    """Collects the facts for the report while doctor runs."""

    def __init__(self) -> None:
        self.attempts = deque[AttemptEvent](maxlen=MAX_REPORTED_ATTEMPTS)
        self.probes = list[ReportedProbe]()
        self.health: Health | None = None

    def report(self, results: Sequence[CheckResult]) -> BugReport:
        """Return the report.

        Args:
            results: The results of the checks.

        """
        return BugReport(
            created_at=datetime.now(UTC),
            versions=_versions(),
            settings=dict(_settings()),
            checks=[ReportedCheck(check=one.check, status=one.status, error=_reported(one.error)) for one in results],
            probes=self.probes,
            attempts=[replace(one, request_id=request_id_without_data(one.request_id)) for one in self.attempts],
            health=self.health and _without_texts(self.health),
        )


def check_target(path: Path) -> None:
    """Raise ConfigurationError if the report cannot be written to ``path``."""
    check_argument(not os.path.lexists(path), f"{path} exists.", "Choose another name.")
    check_argument(path.parent.is_dir(), f"The folder {path.parent} does not exist.", "Create it, or choose another.")


def write_bug_report(path: Path, report: BugReport) -> None:
    """Write a report to a new file. Credentials of the environment are removed from all of its text."""
    encoded = msgspec.json.format(msgspec.json.encode(report), indent=2).decode()
    encoded = _LONG_FRACTION.sub(r"\1", encoded)
    encoded = Redactor(*_secrets()).replace_in(encoded)
    with path.open("x", encoding="utf-8") as file:
        file.write(f"{encoded}\n")


def _secrets() -> Iterator[Secret]:
    """Yield the credentials of the environment, including those with characters that are not valid in a header."""
    with suppress(LeadfeederError):
        secret = read_credential(None, None, read_base_url(None)).secret
        if secret is not None:
            yield secret
    for name in ("LEADFEEDER_API_KEY", "LEADFEEDER_ACCESS_TOKEN"):
        value = os.environ.get(name, "").strip()
        if len(value) >= MIN_SECRET_CHARS:
            yield Secret(value)


def _versions() -> Versions:
    return Versions(
        leadfeeder_async=__version__,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        openssl=ssl.OPENSSL_VERSION,
        packages=dict(_package_versions()),
    )


def _package_versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _settings() -> Iterator[tuple[str, str]]:
    """Yield the settings of the environment. Values that can be personal or secret are replaced by ``set``."""
    for name in sorted(name for name in os.environ if name.startswith("LEADFEEDER_")):
        value, short_name = os.environ[name], name.removeprefix("LEADFEEDER_")
        is_plain = short_name in PLAIN_VARIABLES and value.strip().lower() in COMMON_VALUES
        yield name, _host_of(value) if short_name == "BASE_URL" else value if is_plain else "set"
    for name in NETWORK_VARIABLES:
        if name in os.environ or name.lower() in os.environ:
            yield name, "set"
    yield "encoding", sys.stdout.encoding


def _host_of(base_url: str) -> str:
    """Return a base URL without its path, or ``set`` if it is invalid, because an invalid URL may contain a login."""
    try:
        parts = urlsplit(read_base_url(base_url))
    except ConfigurationError:
        return "set"
    return f"{parts.scheme}://{parts.netloc}{'/***' if parts.path else ''}"


def _reported(error: LeadfeederError | None) -> ReportedError | None:
    if error is None:
        return None
    code, request_id = code_without_data(error.code), request_id_without_data(error.request_id)
    context = replace(error.context, code=code, request_id=request_id)
    return ReportedError(error=type(error).__name__, context=context, message=_message(error))


def _without_texts(health: Health) -> Health:
    """Return the state of a client, without the code and request id of its last error if they may be other texts."""
    last = health.last_error
    if last is None:
        return health
    code, request_id = code_without_data(last.code), request_id_without_data(last.request_id)
    return replace(health, last_error=replace(last, code=code, request_id=request_id))


def _message(error: LeadfeederError) -> str | None:
    if isinstance(error, DecodeError):
        found = _MISMATCH.search(error.message)
        return None if found is None else found[0]
    if isinstance(error, APIStatusError | ResponseError | ConfigurationError):
        return None
    return error.message.replace(str(Path.home()), "~")
