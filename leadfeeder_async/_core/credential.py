"""The API key or access token of a client: the only place that puts it into a header, and its renewal.

A credential with a callable is renewed ahead of its expiry, and after the server has rejected it. All calls that need
the new one wait for the same call of the callable. The callable can fail with the secrets of an identity provider in
its message and in its frames, so only the class of its exception is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from inspect import isawaitable

from leadfeeder_async._core.attempt import logger
from leadfeeder_async._core.error_mapping import CREDENTIAL_CODES
from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async._core.worker_thread import start_in_thread
from leadfeeder_async._secret import Secret
from leadfeeder_async.errors import (
    AuthenticationError,
    ConfigurationError,
    CredentialError,
    ErrorContext,
    LeadfeederError,
    MissingKeyError,
    may_concern_one_account,
)
from leadfeeder_async.settings import CredentialKind, CredentialSource, read_secret
from leadfeeder_async.types import AccessToken

RENEWAL_MARGIN = timedelta(seconds=60)
"""How long before its expiry a token is renewed, while calls still use it."""

RENEWAL_MARGIN_SHARE = 0.2
"""The largest part of the lifetime of a short-lived token that the margin takes."""

EXPIRY_TOLERANCE_SHARE = 0.1
"""The part of the margin in which calls wait for the new token, because the old one could expire on the way."""

RENEWAL_TIMEOUT = 60.0
"""Seconds that the callable may take."""

FAILURE_PAUSE = 1.0
"""Seconds for which a failure of the callable is raised again, so that waiting calls do not repeat it one by one."""

_TOKEN_HINT = "Pass a new access token, or a callable for access_token= that returns one when it is needed."  # noqa: S105 - a sentence
_CALLABLE_HINT = "Check the key that the callable of api_key= returns."

_RENEWING: ContextVar[Credential | None] = ContextVar("leadfeeder_credential", default=None)
"""The credential that the current task renews. Its client cannot be used for that."""


class Credential:
    """The current key or token, and the task that renews it.

    Args:
        source: The credential at the start, and the callable that returns a new one.
        on_new_key: Called with each API key that the callable returns and that is new.

    """

    def __init__(self, source: CredentialSource, on_new_key: Callable[[Secret], None]) -> None:
        self._source = source
        self._on_new_key = on_new_key
        self._secret = source.secret
        self._renew_at: datetime | None = None
        self._wait_from: datetime | None = None
        self._is_rejected = False
        self._task: asyncio.Task[None] | None = None
        self._reading: asyncio.Future[object] | None = None
        """The latest read of a provider that may block."""
        self._failure: tuple[float, LeadfeederError] | None = None
        self.redactor = Redactor() if source.secret is None else Redactor(source.secret)
        """Removes each credential from what servers send."""
        self.expires_at: datetime | None = None
        """When the token expires, if that is known."""
        self.version = 0
        """Changes with each new credential."""

    def __repr__(self) -> str:
        source = getattr(self, "_source", None)  # absent if Ctrl-C interrupted the constructor
        return f"<Credential {source.kind if source else 'without a source'}>"

    @property
    def kind(self) -> CredentialKind:
        """The kind of the credential."""
        return self._source.kind

    @property
    def is_renewable(self) -> bool:
        """True if a callable returns new credentials."""
        return self._source.provider is not None

    @property
    def hint(self) -> str | None:
        """The hint of an error about the credential, or None for that of an API key from the environment."""
        if self.kind == "access_token":
            return _TOKEN_HINT
        if self._source.provider is None:
            return None
        return "Check LEADFEEDER_API_KEY_FILE or the keyring." if self._source.may_block else _CALLABLE_HINT

    def headers(self) -> dict[str, str]:
        """Return the header that authenticates a request."""
        if self._secret is None:
            raise AssertionError("renew() was not awaited")
        if self._source.kind == "api_key":
            return {"X-Api-Key": self._secret.reveal()}
        return {"Authorization": f"Bearer {self._secret.reveal()}"}

    def check_caller(self, context: ErrorContext) -> None:
        """Raise CredentialError for a call that the callable makes with its own client, which would wait forever."""
        if self._source.provider is not None and _RENEWING.get() is self:
            raise CredentialError(
                f"The callable of {self.kind} uses the client that it authenticates.",
                context,
                hint="Use another client inside the callable.",
            )

    def is_usable(self) -> bool:
        """Return True if no call has to wait for a new credential. Start to renew one that expires soon."""
        if self._source.provider is None:
            return True
        if self._secret is None or self._is_rejected:
            return False
        now = datetime.now(UTC)
        if self._renew_at is None or now < self._renew_at:
            return True
        if self._wait_from is None or now >= self._wait_from:
            return False
        if not self._has_just_failed():
            self._start()
        return True

    async def renew(self) -> None:
        """Wait for a new credential. Callers that wait at the same time share one call of the callable.

        Raises:
            CredentialError: The callable failed.
            ConfigurationError: The credential that it returned cannot be used.

        """
        if self._failure is not None and self._has_just_failed():
            error = self._failure[1]
            raise error.with_context(error.context)  # a copy, which does not collect the frames of all callers
        await asyncio.shield(self._start())

    async def replace_rejected(self, error: AuthenticationError, version: int) -> bool:
        """Replace the credential after the server has rejected it. Return True if there is another one now.

        Args:
            error: The error of the request.
            version: The version that the request was sent with.

        """
        is_ambiguous = may_concern_one_account(error)
        if self._source.provider is None or is_ambiguous or error.code not in {None, *CREDENTIAL_CODES}:
            return False
        if version == self.version:
            self._is_rejected = error.status == HTTPStatus.UNAUTHORIZED  # a 403 may concern this request only
            await self.renew()
        return version != self.version

    async def aclose(self) -> None:
        """Cancel a renewal in progress."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> asyncio.Task[None]:
        """Return the running renewal, or start one. It continues if its callers are canceled."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._renew(), name="leadfeeder credential")
            self._task.add_done_callback(self._record_end)
        return self._task

    def _record_end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LeadfeederError):
            self._failure = asyncio.get_running_loop().time(), error
            logger.warning("The %s could not be renewed: %s", self.kind.replace("_", " "), error.message)
        elif error is None:
            self._failure = None

    def _has_just_failed(self) -> bool:
        return self._failure is not None and asyncio.get_running_loop().time() - self._failure[0] < FAILURE_PAUSE

    async def _renew(self) -> None:
        """Call the callable once. Its exceptions are raised without their text, causes and frames."""
        _RENEWING.set(self)
        failure: BaseException
        scope = asyncio.timeout(RENEWAL_TIMEOUT)
        try:
            async with scope:
                self._store(*await self._fetch())
        except MissingKeyError as error:  # for example, a file is empty while it is being replaced
            failure = error if self._secret is None else CredentialError(error.message, hint=error.hint)
        except ConfigurationError as error:
            failure = error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            is_own = task is not None and task.cancelling() == 0
            failure = self._renewal_error("it was canceled") if is_own else error
        except Exception as error:  # noqa: BLE001 - none may pass with its text and its frames
            is_late = isinstance(error, TimeoutError) and scope.expired()
            reason = f"it took longer than {RENEWAL_TIMEOUT:g} s" if is_late else type(error).__name__
            failure = self._renewal_error(reason)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt must lose the frames too
            failure = error
        else:
            return
        failure.__cause__ = failure.__context__ = None
        raise failure.with_traceback(None)

    async def _fetch(self) -> tuple[Secret, datetime | None]:
        assert self._source.provider is not None
        value = await self._read_blocking() if self._source.may_block else self._source.provider()
        if isawaitable(value):
            value = await value
        if self.kind == "api_key":
            origin = "The key in the file or keyring" if self._source.may_block else "The key that api_key() returned"
            return read_secret("api_key", value, origin), None
        if isinstance(value, AccessToken):
            origin = "The token that the callable of access_token returned"
            return read_secret("access_token", value.reveal(), origin), value.expires_at
        kind = type(value).__name__
        raise ConfigurationError(
            f"The callable of access_token must return an AccessToken, not {kind} (its value is not shown).",
            argument="access_token",
        )

    async def _read_blocking(self) -> object:
        """Return the value of a provider that may block. If an earlier call of it hangs, wait for that one."""
        assert self._source.provider is not None
        if self._reading is None or self._reading.done():
            self._reading = start_in_thread(self._source.provider)
        return await asyncio.shield(self._reading)

    def _store(self, secret: Secret, expires_at: datetime | None) -> None:
        old, now = self._secret, datetime.now(UTC)
        self.redactor.add(secret)
        self._secret, self._is_rejected = secret, False
        self.expires_at = self._renew_at = self._wait_from = None
        if expires_at is not None and expires_at > now:  # otherwise this clock is ahead, so the server decides
            margin = min(RENEWAL_MARGIN, RENEWAL_MARGIN_SHARE * (expires_at - now))
            self.expires_at = expires_at
            self._renew_at, self._wait_from = expires_at - margin, expires_at - EXPIRY_TOLERANCE_SHARE * margin
        if old is None or old.reveal() != secret.reveal():
            self.version += 1
            if self.kind == "api_key":
                self._on_new_key(secret)

    def _renewal_error(self, reason: str) -> CredentialError:
        if self._source.may_block:
            return CredentialError(
                f"The key could not be read again ({reason}).", hint="Check LEADFEEDER_API_KEY_FILE or the keyring."
            )
        return CredentialError(f"The callable of {self.kind} failed ({reason}).")
