"""Errors for the usual mistakes with jobs: ``await job``, a ``for`` without ``async``, and an input read twice."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Generic, NoReturn, TypeVar

from leadfeeder_async.errors import ConfigurationError

T = TypeVar("T")


class JobGuard:
    """The base class of jobs that are read with ``async for``."""

    _method: ClassVar[str]
    """The call that runs the job to its end."""

    if not TYPE_CHECKING:  # type checkers report these mistakes by themselves

        def __await__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} is not awaitable. Use `async for`, or `await {self._method}`.")

        def __iter__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} is not iterable. Use `async for`, or `await {self._method}`.")


def forbid_second_read(rows: Iterable[T] | AsyncIterable[T]) -> Iterable[T] | AsyncIterable[T]:
    """Return the rows. If they are an iterator, reading them a second time raises ConfigurationError.

    Without this error, a second use of a job would silently skip the rows that the first use has read.
    """
    if isinstance(rows, AsyncIterator):
        return _AsyncOnce(rows)
    return _Once(rows) if isinstance(rows, Iterator) else rows


class _Once(Generic[T]):
    """Rows of an iterator, such as a generator or a reader of the module csv."""

    def __init__(self, rows: Iterator[T]) -> None:
        self._rows: Iterator[T] | None = rows

    def __iter__(self) -> Iterator[T]:
        rows, self._rows = self._rows, None
        if rows is None:
            raise _read_again_error()
        return rows


class _AsyncOnce(Generic[T]):
    """Rows of an asynchronous iterator."""

    def __init__(self, rows: AsyncIterator[T]) -> None:
        self._rows: AsyncIterator[T] | None = rows

    def __aiter__(self) -> AsyncIterator[T]:
        rows, self._rows = self._rows, None
        if rows is None:
            raise _read_again_error()
        return rows


def _read_again_error() -> ConfigurationError:
    return ConfigurationError(
        "The input was read by an earlier use of this job, and an iterator can be read only once.",
        hint="Pass a list, or make a new job with a new iterator.",
    )
