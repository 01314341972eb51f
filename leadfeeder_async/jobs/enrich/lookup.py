"""Lookups: free matches of up to 200 keys, charged requests for up to 100 companies, and single IP addresses."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core import codec
from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint
from leadfeeder_async._core.error_mapping import partial_errors
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Price
from leadfeeder_async.errors import APIStatusError, DecodeError, LeadfeederError
from leadfeeder_async.jobs.enrich.batch import Batch
from leadfeeder_async.jobs.enrich.key_normalization import Key
from leadfeeder_async.jobs.enrich.results import Outcome, ResultLine, line_without_record
from leadfeeder_async.jobs.enrich.unassigned_records import Records, UnassignedRecords, sum_charges, with_candidates
from leadfeeder_async.models.companies import CompanyMatch
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.records import Company
from leadfeeder_async.models.search_filters import CompanyMatchInput
from leadfeeder_async.pagination.decoders import strip_line_breaks
from leadfeeder_async.pagination.dedupe import row_id
from leadfeeder_async.pagination.id_batches import MAX_IDS_PER_REQUEST
from leadfeeder_async.resources.companies import MATCH_COMPANIES, RETRIEVE_COMPANIES, Companies
from leadfeeder_async.resources.ip import ENRICH_IP
from leadfeeder_async.types import QueryValue

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

KEYS_PER_MATCH = 200
"""The most companies that the API matches in one request."""

MAX_MATCH_REQUESTS_AFTER_ERROR = 16
"""The most requests of one match to find out which keys have caused an error that was reported beside the matches."""

MAX_MATCHES_PER_KEY = 3
"""The most matches requested for one key: one more than ambiguity needs, so that people can choose."""


class MatchPolicy(msgspec.Struct, frozen=True):
    """The conditions under which a match is accepted, so that its company is fetched."""

    min_score: float = 0.8
    """The lowest score."""
    min_lead: float = 0.1
    """The lowest difference between the score and the next one."""

    def evaluate(self, matches: Sequence[CompanyMatch]) -> ResultLine:
        """Return the result of the matches of one key. An accepted match has an id, but no record yet."""
        if len(matches) > 1:
            best_by_id = {match.id: match for match in sorted(matches, key=_score)}
            matches = sorted(best_by_id.values(), key=_score, reverse=True)
        if not matches:
            return ResultLine(outcome=Outcome.NOT_FOUND)
        best, is_only = matches[0], len(matches) == 1
        is_clear = is_only or _score(best) - _score(matches[1]) >= self.min_lead - 1e-9
        has_no_scores = is_only and best.score is None
        if has_no_scores or (_score(best) >= self.min_score and is_clear):
            return ResultLine(outcome=Outcome.MATCHED, id=best.id, score=best.score)
        candidates = tuple(msgspec.Raw(msgspec.json.encode(match)) for match in matches)
        return ResultLine(outcome=Outcome.AMBIGUOUS, score=best.score, candidates=candidates)


def _score(match: CompanyMatch) -> float:
    return match.score or 0.0


class FetchResult(msgspec.Struct):
    """The result of one charged request."""

    lines: dict[str, ResultLine] = msgspec.field(default_factory=dict[str, ResultLine])
    """Results by requested id."""
    fetch_individually: list[str] = msgspec.field(default_factory=list[str])
    """Ids to request one by one, because their records cannot be assigned to them."""
    unassigned: UnassignedRecords | None = None
    """The records of these ids."""
    fetch_again: list[str] = msgspec.field(default_factory=list[str])
    """Ids that are absent from the response. Their records may have been returned for other requested ids."""


class Lookup(Protocol[T_co]):
    """The requests for one kind of key."""

    needs_match: bool
    """True if keys are matched to ids first. Otherwise, each key is its own id."""
    ids_per_fetch: int
    """The most ids of one charged request."""
    price: Price
    """The price of one id."""
    is_repeat_free: bool
    """True if an id that was charged is free for twelve months."""

    async def match(self, executor: RequestExecutor, keys: Sequence[Key]) -> list[ResultLine]:
        """Match some keys, for free."""
        ...

    async def fetch(self, executor: RequestExecutor, batch: Batch[str]) -> FetchResult:
        """Fetch the records of some ids, which may charge."""
        ...

    def record_id(self, line: ResultLine) -> str | None:
        """Return the id with which the record of a result was requested."""
        ...

    def decode_record(self, executor: RequestExecutor, line: ResultLine) -> T_co:
        """Return the record of a result, decoded."""
        ...


class CompanyLookup:
    """Matches keys to companies and fetches the companies.

    Args:
        price: The price of a company.
        policy: The conditions under which a match is accepted.
        include: The relations to include in the records.
        account_id: The account.

    """

    needs_match = True
    ids_per_fetch = MAX_IDS_PER_REQUEST
    is_repeat_free = True

    def __init__(
        self, price: Price, policy: MatchPolicy, include: tuple[str, ...] | None, account_id: str | None
    ) -> None:
        self.price = price
        self._policy = policy
        self._include = include
        self._account_id = account_id

    async def match(self, executor: RequestExecutor, keys: Sequence[Key]) -> list[ResultLine]:
        """Match up to 200 keys in one request."""
        lines, problem = await self._match(executor, keys)
        if problem is not None and len(lines) == len(keys):  # the caller reports other numbers of entries
            await self._match_again(executor, keys, lines, problem)
        return lines

    async def _match(
        self, executor: RequestExecutor, keys: Sequence[Key]
    ) -> tuple[list[ResultLine], APIStatusError | None]:
        fields = [CompanyMatchInput(**key.match_fields) for key in keys]
        response = await Companies(executor).match(fields, MAX_MATCHES_PER_KEY, account_id=self._account_id)
        lines = [self._policy.evaluate(matches) for matches in response.data]
        return lines, _first_error(executor, MATCH_COMPANIES, response)

    async def _match_again(
        self, executor: RequestExecutor, keys: Sequence[Key], lines: list[ResultLine], problem: APIStatusError
    ) -> None:
        """Request the keys without a match again, in halves, until only the keys that cause the error have failed.

        After ``MAX_MATCH_REQUESTS_AFTER_ERROR`` requests, all keys that are left fail.
        """
        pending = deque([([place for place, line in enumerate(lines) if line.outcome is Outcome.NOT_FOUND], problem)])
        requests_left = MAX_MATCH_REQUESTS_AFTER_ERROR
        while pending:
            places, problem = pending.popleft()
            if len(places) <= 1 or requests_left <= 1:
                for place in places:
                    lines[place] = line_without_record(problem)
                continue
            for half in (places[: len(places) // 2], places[len(places) // 2 :]):
                requests_left -= 1
                found, error = await self._match(executor, [keys[place] for place in half])
                if len(found) != len(half):
                    found = [line_without_record(error or problem)] * len(half)
                for place, line in zip(half, found, strict=True):
                    lines[place] = line
                rest = [place for place in half if lines[place].outcome is Outcome.NOT_FOUND]
                if error is not None and rest:
                    pending.append((rest, error))

    async def fetch(self, executor: RequestExecutor, batch: Batch[str]) -> FetchResult:
        """Fetch up to 100 companies in one request."""
        params: dict[str, QueryValue] = {"ids": tuple(batch.items), "include": self._include}
        endpoint = _RETRIEVE_CHARGED_COMPANIES if batch.is_free else RETRIEVE_COMPANIES
        request = ApiRequest(endpoint, params=params, account_id=self._account_id)
        body = await executor.execute(request.undecoded)
        page = await executor.decode_page(_RAW_COMPANIES, body)
        rows, errors = [strip_line_breaks(bytes(row)) for row in page.items], list[LeadfeederError](page.partial_errors)
        records = [row for row in rows if row.startswith(b"{")]
        if len(records) < len(rows):
            errors.append(DecodeError("A record of the response is not an object.", RETRIEVE_COMPANIES.error_context()))
        return _assign_records(
            batch.items,
            records,
            _charged_credits(page.meta),
            errors,
            price=self.price.highest,
            is_repeat=batch.is_repeat,
            is_partial=len(page.partial_errors) > 0,
        )

    def record_id(self, line: ResultLine) -> str | None:
        """Return the id of the company."""
        return line.id

    def decode_record(self, executor: RequestExecutor, line: ResultLine) -> Company:
        """Return the company."""
        return _decode(executor, RETRIEVE_COMPANIES, b'{"data":[%b]}' % bytes(line.record)).data[0]


_RETRIEVE_CHARGED_COMPANIES = replace(RETRIEVE_COMPANIES, billing=Billing.FREE)
"""For companies that were certainly charged just now. No budget has to cover them again."""

_RAW_COMPANIES = RETRIEVE_COMPANIES.with_response_type(Response[tuple[msgspec.Raw, ...]])


def _first_error(
    executor: RequestExecutor, endpoint: Endpoint[Response[U]], response: Response[U]
) -> APIStatusError | None:
    """Return the first error that a response reports beside its data."""
    errors = partial_errors(response, endpoint.error_context(), executor.redactor)
    return errors[0] if errors else None


def _charged_credits(meta: Meta) -> int | None:
    """Return the credits that a response charged, or None if it does not contain them. Refunds count as zero."""
    charged = meta.credits.charged if meta.credits else None
    return None if charged is None else max(0, charged)


def _assign_records(
    ids: Sequence[str],
    rows: Sequence[bytes],
    charged: int | None,
    errors: Sequence[LeadfeederError],
    *,
    price: int = 1,
    is_repeat: bool = False,
    is_partial: bool = False,
) -> FetchResult:
    """Assign the records of a response to the requested ids. A merged company is returned under its current id.

    If all records have requested ids, an absent id may still be a merged company of one of them, or the server may have
    returned only some of the records. Absent ids are therefore requested again without the others, until a response
    contains none of them. If a response charges for ids and contains no record, they are requested once more.

    Args:
        ids: The requested ids.
        rows: The records.
        charged: The credits that the response charged, if they are known.
        errors: The errors beside the records.
        price: The highest price of a record.
        is_repeat: An earlier response has charged these ids and contained no record.
        is_partial: The server reports that records are missing.

    """
    found = Records()
    for index, (found_id, record) in enumerate(zip(map(row_id, rows), rows, strict=True)):
        found[index if found_id is None else found_id] = record
    each = _credits_per_record(charged, len(ids), len(found), price)
    result = FetchResult()
    result.lines = {
        company_id: _matched_line(company_id, row, each)
        for company_id in ids
        if (row := found.get(company_id)) is not None
    }
    absent = [company_id for company_id in ids if company_id not in found]
    if len(found) == len(result.lines):
        if absent and not is_partial and (found or (charged and not is_repeat)):
            result.fetch_again = absent
        else:
            of_absent = _credits_of_absent(charged, len(ids), len(found), price)
            result.lines.update({company_id: _absent_line(company_id, errors, of_absent) for company_id in absent})
        return result
    requested = set(ids)
    unrequested = {company_id: row for company_id, row in found.items() if company_id not in requested}
    if len(absent) == len(unrequested) == 1:
        [(current, row)] = unrequested.items()
        result.lines[absent[0]] = _matched_line(current if isinstance(current, str) else absent[0], row, each)
    elif len(ids) == 1:
        [company_id] = ids
        line = result.lines.get(company_id) or _ambiguous_record_line(company_id, unrequested, each)
        result.lines[company_id] = with_candidates(line, unrequested)
    elif absent:
        result.fetch_individually = absent
        result.unassigned = UnassignedRecords(unrequested, each, owners=len(absent), unresolved=len(absent))
    else:  # no row has requested these records, so the first one keeps them
        line = with_candidates(result.lines[ids[0]], unrequested)
        result.lines[ids[0]] = replace(line, charged=sum_charges(each, each, len(unrequested)))
    return result


def _credits_per_record(charged: int | None, requested: int, found: int, price: int) -> int | None:
    """Return the credits of each record, or None if only some of several records were charged."""
    if requested == 1 or charged == 0:
        return charged
    return price if charged == found * price else None


def _credits_of_absent(charged: int | None, requested: int, found: int, price: int) -> int | None:
    """Return the credits of each id without a record, or None if the response charged more than for its records."""
    if requested == 1:
        return charged or 0
    return None if (charged or 0) > found * price else 0


def _matched_line(company_id: str, row: bytes, charged: int | None) -> ResultLine:
    return ResultLine(outcome=Outcome.MATCHED, id=company_id, record=msgspec.Raw(row), charged=charged)


def _absent_line(company_id: str, errors: Sequence[LeadfeederError], charged: int | None) -> ResultLine:
    if errors:
        return line_without_record(errors[0], record_id=company_id, charged=charged)
    return ResultLine(outcome=Outcome.NOT_FOUND, id=company_id, charged=charged)


def _ambiguous_record_line(company_id: str, unrequested: Records, charged: int | None) -> ResultLine:
    """Return a failure, because none of several records can be assigned to the requested id."""
    message = f"The server returned {len(unrequested):,} other companies for the requested company {company_id}."
    return line_without_record(DecodeError(message), record_id=company_id, charged=charged)


class IpLookup:
    """Looks up IP addresses one by one. Their price is not published.

    Args:
        price: The price of a lookup.
        account_id: The account.

    """

    needs_match = False
    ids_per_fetch = 1
    is_repeat_free = False

    def __init__(self, price: Price, account_id: str | None) -> None:
        self.price = price
        self._account_id = account_id

    async def match(self, executor: RequestExecutor, keys: Sequence[Key]) -> list[ResultLine]:  # noqa: ARG002 - of Lookup
        """Return nothing, because an IP address is its own id."""
        return []

    async def fetch(self, executor: RequestExecutor, batch: Batch[str]) -> FetchResult:
        """Look up one IP address."""
        (ip,) = batch.items
        params: dict[str, QueryValue] = {"ip": ip}
        response = await executor.execute(ApiRequest(_RAW_IP, params=params, account_id=self._account_id))
        charged = _charged_credits(response.meta)
        problem = _first_error(executor, _RAW_IP, response)
        absent = ResultLine(outcome=Outcome.NOT_FOUND, charged=charged)
        if problem is not None:
            absent = line_without_record(problem, charged=charged)
        if bytes(response.data) in {b"null", b"[]"}:
            return FetchResult({ip: absent})
        record = msgspec.Raw(strip_line_breaks(bytes(response.data)))
        line = replace(absent, record=record)
        try:
            company = _decode(executor, _IP_COMPANY, b'{"data":%b}' % bytes(record)).data.relationships.company
        except DecodeError:
            if not bytes(record).startswith(b"{"):
                raise
            line = replace(line, outcome=Outcome.MATCHED, error=None)  # the record was charged, so it is kept as it is
        else:
            if company is not None:
                line = replace(line, outcome=Outcome.MATCHED, id=company.id, error=None)
        return FetchResult({ip: line})

    def record_id(self, line: ResultLine) -> str | None:
        """Return the IP address."""
        return line.key

    def decode_record(self, executor: RequestExecutor, line: ResultLine) -> EnrichedIp:
        """Return the data of the IP address."""
        return _decode(executor, ENRICH_IP, b'{"data":%b}' % bytes(line.record)).data


class CompanyId(msgspec.Struct):
    """A company of which only the id is read."""

    id: str


class _IpRelationships(msgspec.Struct):
    company: CompanyId | None = None


class _IpCompany(msgspec.Struct):
    """The part of a record that decides its outcome. Other fields may have unexpected types."""

    relationships: _IpRelationships = msgspec.field(default_factory=_IpRelationships)


_RAW_IP = ENRICH_IP.with_response_type(Response[msgspec.Raw])
_IP_COMPANY = ENRICH_IP.with_response_type(Response[_IpCompany])


def _decode(executor: RequestExecutor, endpoint: Endpoint[T_co], body: bytes) -> T_co:
    return codec.decode(endpoint, body, endpoint.error_context(), executor.redactor)
