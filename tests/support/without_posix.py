"""A pytest plugin that removes what Windows does not have: ``pytest -p tests.support.without_posix``.

The tests and the package cannot import modules that only POSIX has, and functions that only POSIX has are missing. Other
packages look at ``sys.platform``, so they can import these modules.
"""

from __future__ import annotations

import builtins
import os
import signal
import socket
from typing import Any

MODULES = {"fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
IMPORTERS = ("leadfeeder_async", "tests")

NAMES = {
    os: (
        "chown", "fchmod", "fchown", "fdatasync", "fork", "forkpty", "getpgid", "killpg", "mkfifo", "nice", "openpty",
        "setsid", "statvfs", "O_DIRECTORY", "O_NOFOLLOW",
    ),
    signal: ("SIGHUP", "SIGSTOP", "SIGUSR1", "SIGXFSZ", "alarm", "pause"),
    socket: ("MSG_DONTWAIT", "recv_fds", "send_fds"),
}  # fmt: skip

python_import = builtins.__import__


def import_on_windows(name: str, *args: Any, **options: Any) -> Any:
    """Import a module, as the ``import`` statement does, unless Windows does not have it."""
    importer = (args[0] if args else options.get("globals")) or {}
    if name in MODULES and str(importer.get("__name__")).partition(".")[0] in IMPORTERS:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return python_import(name, *args, **options)


builtins.__import__ = import_on_windows
for owner, names in NAMES.items():
    for name in names:
        delattr(owner, name)
