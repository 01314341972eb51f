"""A keyring in a file, for commands that run in a process of their own.

``PYTHON_KEYRING_BACKEND=tests.support.keyring_file.FileKeyring`` selects it, and ``KEYRING_FILE`` names the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class FileKeyring(KeyringBackend):
    """Stores passwords in a JSON file. A file that contains ``locked`` behaves like a locked keyring."""

    priority = 1
    name = "the test keyring"

    @property
    def _file(self) -> Path:
        return Path(os.environ["KEYRING_FILE"])

    def _read(self) -> dict[str, str]:
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else "{}"
        if text == "locked":
            raise KeyringLocked
        passwords: dict[str, str] = json.loads(text)
        return passwords

    def get_password(self, service: str, username: str) -> str | None:
        return self._read().get(f"{service} {username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._file.write_text(json.dumps({**self._read(), f"{service} {username}": password}), encoding="utf-8")

    def delete_password(self, service: str, username: str) -> None:
        passwords = self._read()
        if passwords.pop(f"{service} {username}", None) is None:
            raise PasswordDeleteError
        self._file.write_text(json.dumps(passwords), encoding="utf-8")
