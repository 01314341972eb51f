"""The ``leadfeeder`` command.

:class:`~leadfeeder_async.cli.exit_codes.ExitCode` lists the exit codes.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from types import FrameType

from leadfeeder_async.cli.error_options import describe_error
from leadfeeder_async.cli.exit_codes import ExitCode, exit_code
from leadfeeder_async.cli.global_options import load_env_file, take_global_options
from leadfeeder_async.cli.printing import messages, print_err
from leadfeeder_async.cli.standard_streams import flush_streams, is_closed_pipe, prepare_streams
from leadfeeder_async.errors import LeadfeederError


def main() -> None:
    """Run the command and exit with its exit code."""
    prepare_streams()
    missing = [name for name in ("cyclopts", "rich") if find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print_err(f"The command requires {names}. Run pip install cyclopts pyyaml rich, or install the extra cli.")
        sys.exit(ExitCode.USAGE)
    code: int = ExitCode.INCOMPLETE  # for release() after an unexpected exception; Python then exits with 1
    try:
        code = _run()
    finally:
        messages.release(has_failed=code != ExitCode.SUCCESS)
    sys.exit(code if flush_streams() else code or ExitCode.INCOMPLETE)


def _run() -> int:
    from cyclopts import CycloptsError

    received_sigterm = install_sigterm_handler()
    try:
        return _run_app()
    except CycloptsError as error:
        from leadfeeder_async.cli.usage_errors import usage_message

        print_err(f"leadfeeder: {usage_message(error)}")
        return ExitCode.USAGE
    except LeadfeederError as error:
        print_err(f"leadfeeder: {describe_error(error)}")
        return exit_code(error)
    except KeyboardInterrupt:
        print_err("Terminated." if received_sigterm else "Interrupted.")
        return ExitCode.TERMINATED if received_sigterm else ExitCode.INTERRUPTED
    except OSError as error:
        if is_closed_pipe(error):
            return ExitCode.PIPE_CLOSED
        print_err(f"leadfeeder: {error.filename or 'output'}: {error.strerror}")
        return ExitCode.INCOMPLETE
    except Exception:
        print_err(
            "leadfeeder: This is a bug. Please report the following lines. "
            "`leadfeeder doctor --bundle report.json` writes a report without personal data to attach."
        )
        raise


def _run_app() -> int:
    from leadfeeder_async.cli.app import build_app

    arguments, messages.is_quiet, env_files = take_global_options(sys.argv[1:])
    for env_file in env_files:
        load_env_file(env_file)
    os.environ.setdefault("LEADFEEDER_TRUST_ENV", "1")
    os.environ.setdefault("LEADFEEDER_KEYRING", "1" if find_spec("keyring") else "0")
    app = build_app(help_only=arguments in ([], ["--help"], ["-h"]))
    result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    sys.stdout.flush()
    return result if isinstance(result, int) else ExitCode.SUCCESS


def install_sigterm_handler() -> list[int]:
    """Handle SIGTERM, and Ctrl-Break on Windows, like Ctrl-C, so that a command saves its progress.

    The handler calls the handler of SIGINT, which cancels the running task. Raising an exception here instead could
    lose it in a callback. Background jobs that ignore SIGINT keep ignoring it.

    Returns:
        A list that receives the number of each signal that was handled.

    """
    received = list[int]()

    def terminate(number: int, frame: FrameType | None) -> None:
        received.append(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if callable(interrupt):
            interrupt(signal.SIGINT, frame)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), terminate)
    return received
