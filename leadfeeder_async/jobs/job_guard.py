"""Errors for the usual mistakes with jobs: ``await job`` and a ``for`` without ``async``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn


class JobGuard:
    """The base class of jobs that are read with ``async for``."""

    _method: ClassVar[str]
    """The call that runs the job to its end."""

    if not TYPE_CHECKING:  # type checkers report these mistakes by themselves

        def __await__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} is not awaitable. Use `async for`, or `await {self._method}`.")

        def __iter__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} is not iterable. Use `async for`, or `await {self._method}`.")
