"""Exports: the rows of a list, as the API sent them, into a file that is whole or not there."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import IO

from leadfeeder_async._walks import Page
from leadfeeder_async.errors import CheckpointError
from leadfeeder_async.jobs.progress import Meter, OnProgress, Progress


async def write_rows(
    pages: AsyncGenerator[Page[bytes], None], sink: IO[bytes], meter: Meter, on_progress: OnProgress | None = None
) -> Progress:
    """Write every row of ``pages`` to ``sink``, one JSON object a line."""
    async with aclosing(pages):
        async for page in pages:
            sink.write(b"".join(item + b"\n" for item in page.items))
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
    """Write every row of ``pages`` to ``path``; until the last one is safe, the file is called ``….part``."""
    part = path.with_name(path.name + ".part")
    with _open(part, path, overwrite=overwrite) as sink:
        progress = await write_rows(pages, sink, meter, on_progress)
        sink.flush()
        os.fsync(sink.fileno())
    part.replace(path)
    return progress


def _open(part: Path, path: Path, *, overwrite: bool) -> IO[bytes]:
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path} exists.", advice="Choose another name, or allow it to be overwritten.")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("wb")
    except OSError as error:
        raise CheckpointError(f"{part} cannot be written: {error.strerror}.", advice="Choose another place.") from error
