"""Data frames of records. Their columns and types depend on the record only, not on the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, TypeVar

from leadfeeder_async._core.worker_thread import run_for_rows, run_in_worker_thread
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.columns import Cell, Column, record_reader
from leadfeeder_async.pagination.visit_time import utc_time

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)

ROWS_AT_ONCE = 5_000
"""Rows that are converted together. Converted rows need less memory than models."""


class Frame(Protocol[F_co]):
    """A frame that is made while a list is read."""

    async def add(self, records: Sequence[object]) -> None:
        """Add the records of a page."""
        ...

    async def finish(self) -> F_co:
        """Return the frame."""
        ...


FrameFactory = Callable[[Sequence[Column]], Frame[F]]
"""Starts a frame with some columns."""


class _Frame:
    """Collects cells. Subclasses convert them."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._read = record_reader(columns)
        self._rows = list[list[Cell]]()

    async def add(self, records: Sequence[object]) -> None:
        """Add the records of a page."""
        if await run_for_rows(partial(self._read_records, records), len(records)):
            await run_in_worker_thread(self._convert)

    def _read_records(self, records: Sequence[object]) -> bool:
        """Add the cells of some records, and return True if there are enough to convert."""
        self._rows.extend(map(self._read, records))
        return len(self._rows) >= ROWS_AT_ONCE

    def _take_values(self) -> list[list[Cell]]:
        """Return the values of each column, and remove them."""
        rows, self._rows = self._rows, []
        values = [[row[index] for row in rows] for index in range(len(self._columns))]
        for index, column in enumerate(self._columns):
            if column.type is int:
                values[index] = [_fit(value) for value in values[index]]
            elif column.type is datetime:
                values[index] = [utc_time(value) if isinstance(value, datetime) else None for value in values[index]]
        return values

    def _convert(self) -> None:
        """Convert the cells so far into a part of the frame."""
        raise NotImplementedError


def _fit(value: Cell) -> Cell:
    """Return an integer, or None if it has more than 64 bits."""
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None


class PolarsFrame(_Frame):
    """Makes a polars DataFrame.

    Args:
        columns: The columns.

    Raises:
        ConfigurationError: polars is not installed.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        _require("polars")
        super().__init__(columns)
        self._parts = list["pl.DataFrame"]()

    async def finish(self) -> pl.DataFrame:
        """Return the frame."""
        return await run_in_worker_thread(self._join)

    def _convert(self) -> None:
        import polars as pl  # noqa: PLC0415 - the user installs it

        types: dict[type[object], pl.DataType] = {
            int: pl.Int64(),
            float: pl.Float64(),
            bool: pl.Boolean(),
            date: pl.Date(),
            datetime: pl.Datetime("us", "UTC"),
        }
        series = [
            pl.Series(column.name, values, dtype=types.get(column.type, pl.String()))
            for column, values in zip(self._columns, self._take_values(), strict=True)
        ]
        self._parts.append(pl.DataFrame(series))

    def _join(self) -> pl.DataFrame:
        import polars as pl  # noqa: PLC0415 - the user installs it

        self._convert()
        return pl.concat(self._parts)


class PandasFrame(_Frame):
    """Makes a pandas DataFrame.

    Args:
        columns: The columns.

    Raises:
        ConfigurationError: pandas is not installed.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        _require("pandas")
        super().__init__(columns)
        self._parts = list["pd.DataFrame"]()

    async def finish(self) -> pd.DataFrame:
        """Return the frame."""
        return await run_in_worker_thread(self._join)

    def _convert(self) -> None:
        import pandas as pd  # noqa: PLC0415 - the user installs it

        series = {
            column.name: pd.Series(values, dtype=_PANDAS_TYPES.get(column.type, "string"))
            for column, values in zip(self._columns, self._take_values(), strict=True)
        }
        self._parts.append(pd.DataFrame(series))

    def _join(self) -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - the user installs it

        self._convert()
        return pd.concat(self._parts, ignore_index=True)


_PANDAS_TYPES: dict[type[object], str] = {
    int: "Int64",
    float: "Float64",
    bool: "boolean",
    date: "datetime64[us]",
    datetime: "datetime64[us, UTC]",
}


def _require(library: str) -> None:
    check_argument(find_spec(library) is not None, f"to_{library} needs {library}.", f"Run pip install {library}.")
