"""Helpers for tests of long jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async import Pager, Progress
from tests.support.requirements import make_link, make_pipe, make_socket


class Stopped(Exception):  # noqa: N818 - it ends a job and is not an error
    """Ends a job, as a bug in a progress callback would."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_ids(path: Path) -> list[str]:
    """Return the ids of the rows of a file."""
    return [line["id"] for line in read_lines(path)]


def names_in(folder: Path) -> list[str]:
    """Return the sorted names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def stop_after(rows: int) -> Callable[[Progress], None]:
    """Return a progress callback that ends the job after some rows."""

    def on_progress(progress: Progress) -> None:
        if progress.done >= rows:
            raise Stopped

    return on_progress


async def interrupt(pager: Pager[Any], path: Path, rows: int, **options: bool) -> None:
    """Export a list, and end the export after some rows."""
    with pytest.raises(Stopped):
        await pager.to_file(path, on_progress=stop_after(rows), **options)


FOREIGN_FILES = ("file", "folder", "link", "dangling link", "hard link", "pipe", "socket")
"""The kinds of files that no job makes."""


def make_foreign_file(path: Path, kind: str, target: Path) -> None:
    """Make a file that no job makes. A link leads to ``target``, which is empty."""
    if kind == "file":
        path.write_text("precious", encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        make_pipe(path)
    elif kind == "socket":
        make_socket(path)
    elif kind == "hard link":
        target.touch()
        path.hardlink_to(target)
    else:
        make_link(path, target)
    if kind == "link":
        target.touch()


@contextmanager
def small_disk(size: int | None = None) -> Iterator[Callable[[int], None]]:
    """Simulate a full disk: no file of this process can grow past ``size`` bytes. The yielded function changes it.

    Without a size, the limit begins when the yielded function is called.
    """
    resource = pytest.importorskip("resource", reason="needs limits of file sizes")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def set_size(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    if size is not None:
        set_size(size)
    try:
        yield set_size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def is_open(path: Path) -> bool:
    """Return True if this process has a file open, as far as the system shows it."""
    folder = Path("/proc/self/fd")
    names = [link.readlink() for link in folder.iterdir() if link.is_symlink()] if folder.exists() else []
    return path in names
