"""Requests to routes that this package has no method for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leadfeeder_async._argument_checks import check_boolean, check_query, check_string, reject
from leadfeeder_async._core.codec import encode_json
from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, RetrySafety
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.resources.body_checks import check_json_value
from leadfeeder_async.types import QueryValue


def build_custom_request(
    method: str,
    path: str,
    *,
    params: Mapping[str, QueryValue] | None,
    json: object,
    returns: type[object],
    idempotent: bool,
    may_charge: bool,
) -> ApiRequest[object]:
    """Return a request to any route, or raise ConfigurationError. The arguments are those of ``lf.request``."""
    _check_route(method, path)
    params = {} if params is None else params
    check_query("params", params)
    check_boolean("idempotent", idempotent)
    check_boolean("may_charge", may_charge)
    _check_returns(returns)
    is_account_given = "account_id" in params
    endpoint = Endpoint(
        "request",
        method.upper(),
        path,
        returns,
        retry_safety=_retry_safety(method, idempotent=idempotent, may_charge=may_charge),
        billing=Billing.PER_REQUEST if may_charge else Billing.FREE,
        is_price_published=False,
        is_billing_known=False,
        names_account=not is_account_given,
    )
    body = None if json is None else _encode_argument(json)
    most = _most_items(params, body) if may_charge else 0
    return ApiRequest(endpoint, params=params, body=body, billable_records=most)


def _check_route(method: object, path: object) -> None:
    """Raise ConfigurationError unless a method and a path can be sent."""
    route = check_string("path", path)
    if not route.startswith("/") or route.startswith("//"):
        reject("path", path, "must start with one slash.")
    if not route.isprintable() or set(route) & set("?#{}\\ "):
        reject("path", path, "contains more than a path.", "Pass the query as params=.")
    verb = check_string("method", method)
    if not (verb.isalpha() and verb.isascii()):
        reject("method", method, "is not an HTTP method.")


def _check_returns(returns: object) -> None:
    """Raise ConfigurationError unless a response can be decoded into a type."""
    is_type = not isinstance(returns, str | int | None)
    try:
        msgspec.json.Decoder(returns if is_type else object)
    except TypeError:
        is_type = False
    if not is_type:
        reject("returns", returns, "must be a type that msgspec can decode.")


def _encode_argument(value: object) -> bytes:
    try:
        check_json_value("json", msgspec.to_builtins(value, str_keys=True))
        return encode_json(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"json cannot be encoded: {error}.", argument="json") from None


def _most_items(params: Mapping[str, QueryValue], body: bytes | None) -> int:
    """Return the most items that a request to an unknown route may be charged for: those of its lists, or its page."""
    sizes: list[int] = [1]
    for name, value in params.items():
        if name == "page[size]" and str(value).isdecimal():
            sizes.append(int(str(value)[:_MAX_SIZE_DIGITS]))
        elif isinstance(value, str):
            sizes.append(value.count(",") + 1)
        elif isinstance(value, tuple):
            sizes.append(sum(part.count(",") + 1 for part in value))
    return max(*sizes, 1 if body is None else _count_items(body))


_MAX_SIZE_DIGITS = 9


def _count_items(encoded: bytes) -> int:
    """Return the number of items in the lists of a JSON value. Text with commas may be a list too."""
    if encoded.startswith(b"["):
        items = msgspec.json.decode(encoded, type=list[msgspec.Raw])
        return max(len(items), sum(_count_items(bytes(item)) for item in items))
    if encoded.startswith(b"{"):
        fields = msgspec.json.decode(encoded, type=dict[str, msgspec.Raw])
        return sum(_count_items(bytes(field)) for field in fields.values())
    return encoded.count(b",") + 1 if b"," in encoded else 0


def _retry_safety(method: str, *, idempotent: bool, may_charge: bool) -> RetrySafety:
    if not (idempotent or method.upper() == "GET"):
        return RetrySafety.NON_IDEMPOTENT
    return RetrySafety.BILLED_READ if may_charge else RetrySafety.IDEMPOTENT
