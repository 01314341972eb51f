"""What every model can do."""

from __future__ import annotations

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every model: a frozen Struct that can become plain Python.

    Each model spells its options again: type checkers want it, and ``gc=False`` is right only for some.
    """

    def to_dict(self) -> dict[str, object]:
        """Return dicts, lists, texts, numbers, booleans and None, as ``json.dumps`` and web frameworks take them.

        Keys are the API's names and times are ISO 8601 texts. What an answer left out is None, as far as this package
        knows the field; what a request leaves unset is left out. Free of charge: nothing is sent.
        """
        plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(self))
        return plain
