"""The ``leadfeeder`` command.

Exit codes: 0 done, 1 the server refused this one request, 2 wrong usage, 3 key or permission, 4 quota or credits,
5 not finished, 130 interrupted, 141 the reader of a pipe left, 143 terminated.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import textwrap
from importlib.util import find_spec
from types import FrameType

from leadfeeder_async.errors import (
    APIStatusError,
    AuthenticationError,
    BudgetExceededError,
    CheckpointError,
    DatabaseError,
    DatabaseLockedError,
    InsufficientCreditsError,
    LeadfeederError,
    MissingKeyError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    UsageError,
)

REFUSED, USAGE, AUTH, SPENT, INCOMPLETE, INTERRUPTED, PIPE_CLOSED, TERMINATED = 1, 2, 3, 4, 5, 130, 141, 143


def main() -> None:
    """Run the command line."""
    missing = [name for name in ("cyclopts", "rich") if find_spec(name) is None]
    if missing:
        print_err(f"The command line needs {' and '.join(missing)}: pip install 'leadfeeder-async[cli]'")
        sys.exit(USAGE)
    sys.exit(_run())


def _run() -> int:
    from cyclopts import CycloptsError

    from leadfeeder_async.cli.app import app

    terminated = install_sigterm_handler()
    try:
        result = app(exit_on_error=False, result_action="return_value")
    except CycloptsError:
        return USAGE  # Cyclopts has said what is wrong
    except LeadfeederError as error:
        print_err(f"leadfeeder: {error}")
        return exit_code(error)
    except KeyboardInterrupt:
        print_err("Terminated." if terminated else "Interrupted.")
        return TERMINATED if terminated else INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at exit
        return PIPE_CLOSED
    except OSError as error:
        print_err(f"leadfeeder: {error.filename or 'output'}: {error.strerror}")
        return INCOMPLETE
    return result if isinstance(result, int) else 0


def install_sigterm_handler() -> list[int]:
    """Let SIGTERM end a command in order: what is done is kept, and the command to go on is shown.

    It calls what hears Ctrl-C, which cancels the work: an exception raised here could be lost in a callback. A job in
    the background, where Ctrl-C is not meant for it, stays deaf to that.
    """
    received = list[int]()

    def terminate(number: int, frame: FrameType | None) -> None:
        received.append(number)
        hear = signal.getsignal(signal.SIGINT)
        if callable(hear):
            hear(signal.SIGINT, frame)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    return received


def exit_code(error: LeadfeederError) -> int:
    """Choose the exit code of an error."""
    match error:
        case AuthenticationError() | PermissionDeniedError() | MissingKeyError():
            return AUTH
        case QuotaExceededError() | InsufficientCreditsError() | BudgetExceededError():
            return SPENT
        case (
            DatabaseLockedError()
            | CheckpointError(__cause__=OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG | errno.EIO))
        ):
            return INCOMPLETE
        case UsageError() | CheckpointError() | DatabaseError():
            return USAGE
        case APIStatusError() if not isinstance(error, ServerError | RateLimitedError):
            return REFUSED
        case _:
            return INCOMPLETE


def print_err(text: str) -> None:
    """Say something on stderr; on a terminal its lines break between words, except commands, which are indented."""
    if sys.stderr.isatty():
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        text = "\n".join(line if line.startswith(" ") else _wrapped(line, width) for line in text.split("\n"))
    sys.stderr.write(f"{text}\n")


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)
