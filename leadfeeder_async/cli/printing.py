"""Print data on stdout and messages on stderr. This module works without the extra ``cli``."""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import suppress

from leadfeeder_async.errors import escape_control_characters


class Messages:
    """The messages of a quiet command, which are printed only if it fails."""

    def __init__(self) -> None:
        self.is_quiet = False
        self.buffered = list[str]()

    def release(self, *, has_failed: bool) -> None:
        """Print the messages if the command has failed, and discard them otherwise."""
        self.is_quiet = False
        buffered, self.buffered = self.buffered, []
        if has_failed:
            for text in buffered:
                print_err(text)


messages = Messages()


def print_err(text: str) -> None:
    """Print a message on stderr.

    Control characters are escaped. On a terminal, long lines are wrapped between words. Indented lines are commands
    and are not wrapped.
    """
    text = escape_control_characters(text, keep_lines=True)
    if messages.is_quiet:
        messages.buffered.append(text)
        return
    with suppress(OSError, ValueError):  # a lost message must not end a job, and there is no other place for it
        if sys.stderr.isatty():
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            text = "\n".join(line if line.startswith(" ") else wrap(line, width) for line in text.split("\n"))
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def print_out(text: str) -> None:
    """Print one line of data on stdout, as it is in a pipe and with escaped control characters on a terminal."""
    if sys.stdout.isatty():
        text = escape_control_characters(text, keep_lines=True)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def wrap(line: str, width: int, indent: str = "") -> str:
    """Wrap a line between words. ``indent`` starts every line but the first."""
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def plural(noun: str) -> str:
    """Return the plural of a regular English noun."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("ch") else f"{noun}s"


def pluralize(number: int, noun: str) -> str:
    """Return a number and a noun, such as ``1 page`` or ``2,000 companies``."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def format_charge(credits: int) -> str:  # noqa: A002 - the API's word
    """Return the charged credits, such as ``3 credits charged``."""
    return f"{pluralize(credits, 'credit')} charged"
