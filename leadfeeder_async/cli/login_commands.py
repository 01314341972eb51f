"""``leadfeeder login`` and ``leadfeeder logout``: the API key in the keyring of the operating system."""

from __future__ import annotations

import os
import sys
from getpass import getpass

from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async._secret import Secret
from leadfeeder_async.cli.printing import print_err
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import PermissionDeniedError, check_argument
from leadfeeder_async.settings import key_in_text, read_base_url

TIMEOUT = 15.0
"""Seconds per attempt."""

MAX_LINES = 100
"""Lines of a pipe in which the key is looked for."""

MAX_LINE = 10_000
"""Characters of a line that are read."""


async def login() -> None:
    """Store the API key in the keyring of the operating system.

    Asks for the key, or reads it from a pipe: `leadfeeder login < key.txt`. The key is stored after the API has
    accepted it, for the address in use. Other commands then need no LEADFEEDER_API_KEY. Sends one request.

    Credits: none.
    """
    from leadfeeder_async.integrations.keyring import backend_name, store_api_key

    base_url = read_base_url(None)
    given = Secret(
        getpass(f"API key for {base_url} (not shown): ", stream=sys.stderr) if sys.stdin.isatty() else _first_line()
    )
    check_argument(not given.is_blank, "No API key was given.", "Enter it on a terminal, or pipe it into the command.")
    secret = key_in_text(given.reveal(), "The input")
    async with AsyncLeadfeeder(secret.reveal(), base_url=base_url, timeout=TIMEOUT) as lf:
        try:
            email = (await lf.users.me()).data.attributes.email or "a user without email"
            user = Redactor(secret).text(email)
        except PermissionDeniedError:  # the key is valid, but cannot read its user
            user = "an unknown user"
    store_api_key(base_url, secret.reveal())
    print_err(f"The key of {user} for {base_url} is stored in {backend_name()}.")
    variable = next((name for name in ("LEADFEEDER_API_KEY", "LEADFEEDER_API_KEY_FILE") if name in os.environ), None)
    if variable is not None:
        print_err(f"{variable} is set and takes precedence over it.")


async def logout() -> None:
    """Delete the API key from the keyring of the operating system.

    The key itself stays valid. Delete it in Leadfeeder under Settings > API keys if it is no longer needed.

    Credits: none.
    """
    from leadfeeder_async.integrations.keyring import backend_name, delete_api_key

    base_url = read_base_url(None)
    if delete_api_key(base_url):
        print_err(f"The key for {base_url} is deleted from {backend_name()}. The key itself stays valid.")
    else:
        print_err(f"No key for {base_url} is stored in {backend_name()}.")


def _first_line() -> str:
    """Return the first line of stdin that is not blank. The pipe may stay open after it."""
    for _ in range(MAX_LINES):
        line = sys.stdin.readline(MAX_LINE).removeprefix("\ufeff")
        if line.strip() or not line:
            return line
    return ""
