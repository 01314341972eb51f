"""Access tokens and key rotation of the sandbox."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from leadfeeder_async.sandbox import Sandbox, run_in_thread
from leadfeeder_async.sandbox.operations.scopes import SCOPES
from tests.support.paths import CONTRACT


def send(sandbox: Sandbox, path: str, **headers: str) -> tuple[int, str | None]:
    """Send a GET request. Return the status and the error code."""
    request = Request(f"{sandbox.url}{path}", headers={name.replace("_", "-"): text for name, text in headers.items()})
    try:
        with urlopen(request) as response:
            return response.status, None
    except HTTPError as error:
        body: dict[str, Any] = json.loads(error.read())
        return error.code, body["errors"][0]["code"]


def test_scopes_match_the_contract() -> None:
    """Each operation needs the scope that the contract names."""
    contract = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    operations = [operation for methods in contract["paths"].values() for operation in methods.values()]
    expected = {one["operationId"]: one["x-oauth-scope"] for one in operations if "x-oauth-scope" in one}
    assert expected == SCOPES


def test_token_life_cycle() -> None:
    """A token works within its scopes, until it expires or is revoked."""
    with run_in_thread(Sandbox(rate_limit=False)) as sandbox:
        account = f"account_id={sandbox.account_id}"
        whole, narrow = sandbox.issue_token(), sandbox.issue_token("tags:read", "usage:read")
        assert send(sandbox, f"/v1/tags?{account}", Authorization=f"Bearer {whole}") == (200, None)
        assert send(sandbox, f"/v1/tags?{account}", Authorization=f"bearer {narrow}") == (200, None)
        scoped = send(sandbox, f"/v1/lists?{account}&scope=company", Authorization=f"Bearer {narrow}")
        assert scoped == (403, "insufficient_scope")
        assert send(sandbox, f"/v1/industries?{account}", Authorization=f"Bearer {narrow}") == (
            200,
            None,
        )  # needs no scope
        assert send(sandbox, "/v1/accounts", Authorization="Bearer unknown") == (401, "invalid_token")
        assert send(sandbox, "/v1/accounts", Authorization=f"Basic {whole}") == (401, "missing_token")
        sandbox.expire_token(whole)
        assert send(sandbox, "/v1/accounts", Authorization=f"Bearer {whole}") == (401, "token_expired")
        sandbox.revoke_token(whole)
        assert send(sandbox, "/v1/accounts", Authorization=f"Bearer {whole}") == (401, "token_revoked")
        late = sandbox.issue_token(expires_in=0)
        assert send(sandbox, "/v1/accounts", Authorization=f"Bearer {late}") == (401, "token_expired")


def test_rotated_key() -> None:
    """A rotated key replaces the old one, with a rate limit and a quota of its own."""
    with run_in_thread(Sandbox(rate=0.001, burst=2, quota=2)) as sandbox:
        old = sandbox.api_key
        assert [send(sandbox, "/v1/accounts", X_Api_Key=old)[0] for _ in range(3)] == [200, 200, 429]
        new = sandbox.rotate_key()
        assert new == sandbox.api_key != old
        assert send(sandbox, "/v1/accounts", X_Api_Key=old) == (401, "invalid_api_key")
        assert send(sandbox, "/v1/accounts", X_Api_Key=new) == (200, None)
        assert send(sandbox, "/v1/accounts", X_Api_Key=new) == (429, "rate_limit_exceeded")


def test_unknown_scopes_and_tokens() -> None:
    """Misspelled scopes and tokens of other sandboxes raise an error."""
    sandbox = Sandbox()
    with pytest.raises(ValueError, match="did you mean companies:read"):
        sandbox.issue_token("company:read")
    with pytest.raises(ValueError, match="has not issued"):
        sandbox.revoke_token("other")
    with pytest.raises(ValueError, match="has not issued"):
        sandbox.expire_token("other")


def test_thread_keeps_the_loop_of_the_caller() -> None:
    """A sandbox in a thread does not replace the event loop of the thread that starts it."""
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    try:
        with run_in_thread(Sandbox(rate_limit=False)):
            assert asyncio.get_event_loop_policy().get_event_loop() is own
        assert asyncio.get_event_loop_policy().get_event_loop() is own
    finally:
        asyncio.set_event_loop(None)
        own.close()
