"""API keys in the keyring of the operating system. Needs the extra ``keyring``.

The keyring is macOS Keychain, Windows Credential Locker, or the Secret Service of Linux desktops. A key is stored for
one address, so it is never sent to another server.
"""

from __future__ import annotations

from leadfeeder_async.errors import ConfigurationError, MissingKeyError

try:
    import keyring
    from keyring.errors import NoKeyringError, PasswordDeleteError
except ImportError:
    raise ConfigurationError(
        "keyring is not installed.", hint="Run pip install keyring, or install the extra keyring."
    ) from None

__all__ = ["backend_name", "delete_api_key", "read_api_key", "store_api_key"]

SERVICE = "leadfeeder"
"""The name of the service in the keyring."""


def read_api_key(base_url: str) -> str:
    """Return the key that is stored for an address, or an empty string if there is none.

    Args:
        base_url: The URL of the API.

    Raises:
        MissingKeyError: The keyring is locked or broken.

    """
    try:
        return keyring.get_password(SERVICE, base_url) or ""
    except NoKeyringError:
        return ""
    except Exception as error:  # noqa: BLE001 - some backends raise errors of their own
        reason = type(error).__name__
    raise MissingKeyError(
        f"The system keyring cannot be read ({reason}).", hint="Unlock it, or set LEADFEEDER_API_KEY."
    )


def store_api_key(base_url: str, api_key: str) -> None:
    """Store a key for an address. It replaces an older one.

    Args:
        base_url: The URL of the API.
        api_key: The key.

    Raises:
        ConfigurationError: This system has no keyring, or it is locked or broken.

    """
    try:
        keyring.set_password(SERVICE, base_url, api_key)
    except Exception as error:  # noqa: BLE001 - some backends raise errors of their own
        reason = type(error).__name__
    else:
        return
    finally:
        del api_key  # a traceback with locals would show it
    raise ConfigurationError(
        f"The key cannot be stored in the system keyring ({reason}).",
        hint="On a server without a keyring, use LEADFEEDER_API_KEY_FILE.",
    )


def delete_api_key(base_url: str) -> bool:
    """Delete the key that is stored for an address. Return False if there was none.

    Args:
        base_url: The URL of the API.

    Raises:
        ConfigurationError: The keyring is locked or broken.

    """
    try:
        keyring.delete_password(SERVICE, base_url)
    except (NoKeyringError, PasswordDeleteError):
        return False
    except Exception as error:  # noqa: BLE001 - some backends raise errors of their own
        reason = type(error).__name__
    else:
        return True
    raise ConfigurationError(f"The system keyring cannot be changed ({reason}).", hint="Unlock it.")


def backend_name() -> str:
    """Return the name of the keyring in use, such as ``macOS Keyring``."""
    return str(keyring.get_keyring().name)
