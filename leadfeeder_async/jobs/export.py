"""Exports: the rows of a list, as the API sent them, into a file that is whole or not there."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, TypeAlias

from leadfeeder_async._walks import Page, whole
from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.locks import lock_alone
from leadfeeder_async.jobs.progress import Meter, OnProgress, Progress

Write: TypeAlias = Callable[[bytes], Awaitable[object]]
"""Takes the next bytes of an export."""


async def write_rows(
    pages: AsyncGenerator[Page[bytes], None], write: Write, meter: Meter, on_progress: OnProgress | None = None
) -> Progress:
    """Write every row of ``pages``, one JSON object a line."""
    async with aclosing(whole(pages)) as rows:
        async for page in rows:
            await write(b"".join(item + b"\n" for item in page.items))
            progress = meter.count(len(page.items), page.total)
            if on_progress is not None:
                on_progress(progress)
    return meter.now()


async def export_file(
    pages: AsyncGenerator[Page[bytes], None],
    path: Path,
    meter: Meter,
    on_progress: OnProgress | None = None,
    *,
    overwrite: bool = False,
) -> Progress:
    """Write every row of ``pages`` to ``path``; until the last one is safe, the file is called ``….part``.

    Raises CheckpointError, before anything is sent, where ``path`` exists, cannot be written, or is being written by
    another export.
    """
    with part_file(path, overwrite=overwrite) as sink:

        async def write(data: bytes) -> None:
            sink.write(data)

        return await write_rows(pages, write, meter, on_progress)


@contextmanager
def part_file(path: Path, *, overwrite: bool) -> Generator[IO[bytes]]:
    """Open ``path``'s ``….part`` for this process alone; give it its name when all went well.

    What was written stays in the ``….part`` otherwise, unless that is nothing.
    """
    _check(path, overwrite=overwrite)
    part = path.with_name(path.name + ".part")
    with _open_alone(part, path) as sink:
        try:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
            _check(path, overwrite=overwrite)
            part.replace(path)
        finally:
            if part.exists() and not part.stat().st_size and not sink.tell():
                part.unlink()


def _check(path: Path, *, overwrite: bool) -> None:
    if not path.name or path.is_dir():
        raise CheckpointError(f"{str(path)!r} is not a file's name.", advice="Name a file.")
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path} exists.", advice="Choose another name, or pass overwrite=True (--overwrite).")


def _open_alone(part: Path, path: Path) -> IO[bytes]:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        sink = part.open("ab")
    except OSError as error:
        raise CheckpointError(f"{part} cannot be written: {error.strerror}.", advice="Choose another place.") from error
    try:
        lock_alone(sink)
    except OSError:
        sink.close()
        raise CheckpointError(
            f"Another export is writing {path}.", advice="Wait for it, or choose another name."
        ) from None
    sink.truncate(0)
    return sink
