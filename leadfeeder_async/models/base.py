"""The base classes of all models."""

from __future__ import annotations

import msgspec

from leadfeeder_async.models.columns import Cell, row_of


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The base class of all models: a frozen Struct that can be converted to plain Python objects.

    Each model repeats its Struct options. Type checkers require that, and ``gc=False`` is only right for some models.
    """

    def to_dict(self) -> dict[str, object]:
        """Return the model as plain Python objects that ``json.dumps`` and web frameworks accept.

        Keys have the names of the API. Dates and times are ISO 8601 strings.

        Returns:
            A new dict of dicts, lists, strings, numbers, booleans and None. Fields that were missing from a response
            are None. Fields that are unset in a request body are left out.

        """
        plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(self))
        return plain


class Record(Model, frozen=True, kw_only=True):
    """The base class of records, which have an id and can be a row of a table."""

    def to_row(self) -> dict[str, Cell]:
        """Return the record as one flat row, with the same columns for all records of its class.

        The columns are those of CSV and parquet files, data frames and the views of a synced database. Related records
        have their id and a few everyday fields, such as ``company.id`` and ``company.name``.

        Returns:
            A new dict. Its values are strings, numbers, booleans, dates, times with a time zone, and None. Lists and
            open objects are JSON strings.

        """
        return row_of(self)
