"""The base class of all models."""

from __future__ import annotations

import msgspec


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
