"""One writer a file."""

from __future__ import annotations

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def lock_alone(file: IO[bytes]) -> None:
        """Lock ``file`` for this process until it is closed; raise OSError if another has it."""
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def lock_alone(file: IO[bytes]) -> None:
        """Lock ``file`` for this process until it is closed; raise OSError if another has it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
