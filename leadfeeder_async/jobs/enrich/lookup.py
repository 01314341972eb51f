"""What a job asks of the API: matches by the two hundred for free, records by the hundred, addresses one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core import codec
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import APIStatusError, DecodeError
from leadfeeder_async.jobs.enrich.keys import Key
from leadfeeder_async.jobs.enrich.results import Outcome, ResultLine, failed_line
from leadfeeder_async.models.companies import CompanyMatch
from leadfeeder_async.models.envelope import Meta, Response
from leadfeeder_async.models.ip import EnrichedIp
from leadfeeder_async.models.records import Company
from leadfeeder_async.pagination.decoders import strip_line_breaks
from leadfeeder_async.pagination.dedupe import row_id
from leadfeeder_async.pagination.id_batches import MAX_IDS_PER_REQUEST
from leadfeeder_async.resources.companies import RETRIEVE_COMPANIES, Companies
from leadfeeder_async.resources.ip import ENRICH_IP
from leadfeeder_async.types import QueryValue

T_co = TypeVar("T_co", covariant=True)

KEYS_PER_MATCH = 200
"""The API matches at most this many companies in one request."""

CANDIDATES = 3
"""How many companies each key is matched to at most; two are enough to see that it is ambiguous."""


class MatchPolicy(msgspec.Struct, frozen=True):
    """When a match is good enough to be fetched, which costs a credit."""

    min_score: float = 0.8
    """A company that matches less well is not taken."""
    min_lead: float = 0.1
    """Nor one whose score is not this much above the next one's."""

    def line(self, matches: Iterable[CompanyMatch]) -> ResultLine:
        """Tell what some matches mean; a matched line has an id, and no record yet."""
        found = {one.id: one for one in sorted(matches, key=_score)}
        best = sorted(found.values(), key=_score, reverse=True)
        if not best:
            return ResultLine(outcome=Outcome.NOT_FOUND)
        lead = _score(best[0]) - (_score(best[1]) if len(best) > 1 else 0.0)
        certain = len(best) == 1 and best[0].score is None
        if certain or (_score(best[0]) >= self.min_score and (len(best) == 1 or lead >= self.min_lead - 1e-9)):
            return ResultLine(outcome=Outcome.MATCHED, id=best[0].id, score=best[0].score)
        shown = tuple(msgspec.Raw(msgspec.json.encode(one)) for one in best)
        return ResultLine(outcome=Outcome.AMBIGUOUS, score=best[0].score, candidates=shown)


def _score(match: CompanyMatch) -> float:
    return match.score or 0.0


class FetchResult(msgspec.Struct):
    """What one charging request brought."""

    lines: dict[str, ResultLine] = msgspec.field(default_factory=dict[str, ResultLine])
    """By the id asked for."""
    fetch_individually: list[str] = msgspec.field(default_factory=list[str])
    """Ids that must be asked for one by one: their records came, but not which is whose."""
    charged: int | None = None
    """Credits; None where the answer does not say."""


class Lookup(Protocol[T_co]):
    """How one kind of rows is asked for."""

    matches: bool
    """Keys are matched first; where they are not, a key is its own id."""
    per_fetch: int
    """Ids in one request that charges."""
    price: int
    """The most that one id can charge."""

    async def match(self, executor: RequestExecutor, keys: Sequence[Key]) -> list[ResultLine]:
        """Find the company of each key, for free."""
        ...

    async def fetch(self, executor: RequestExecutor, ids: Sequence[str]) -> FetchResult:
        """Get the records of some ids, which charges."""
        ...

    def id_of(self, line: ResultLine) -> str | None:
        """Return the id that leads to a line's record."""
        ...

    def record(self, executor: RequestExecutor, line: ResultLine) -> T_co:
        """Decode a line's record."""
        ...


class CompanyLookup:
    """Companies: matched first, then fetched."""

    matches = True
    per_fetch = MAX_IDS_PER_REQUEST
    price = 1

    def __init__(self, choice: MatchPolicy, include: tuple[str, ...] | None, account_id: str | None) -> None:
        self._choice = choice
        self._include = include
        self._account_id = account_id

    async def match(self, executor: RequestExecutor, keys: Sequence[Key]) -> list[ResultLine]:
        """Match up to 200 keys in one request."""
        asked = [key.match_fields for key in keys]
        answer = await Companies(executor).match(asked, CANDIDATES, account_id=self._account_id)
        return [self._choice.line(matches) for matches in answer.data]

    async def fetch(self, executor: RequestExecutor, ids: Sequence[str]) -> FetchResult:
        """Get up to 100 companies in one request."""
        params: dict[str, QueryValue] = {"ids": tuple(ids), "include": self._include}
        request = ApiRequest(RETRIEVE_COMPANIES, params=params, account_id=self._account_id)
        body = await executor.execute(request.undecoded)
        page = executor.decode_page(RETRIEVE_COMPANIES.with_response_type(Response[tuple[msgspec.Raw, ...]]), body)
        rows = [strip_line_breaks(bytes(raw)) for raw in page.items]
        return _assign_records(ids, rows, _charged_by(page.meta), page.partial_errors)

    def id_of(self, line: ResultLine) -> str | None:
        """Return the company's id."""
        return line.id

    def record(self, executor: RequestExecutor, line: ResultLine) -> Company:
        """Decode a company."""
        return _decoded(executor, RETRIEVE_COMPANIES, b'{"data":[%b]}' % bytes(line.record)).data[0]


def _charged_by(meta: Meta) -> int | None:
    """Return what an answer charged: nothing where it gives credits back, None where it does not say."""
    said = meta.credits.charged if meta.credits else None
    return None if said is None else max(0, said)


def _assign_records(
    ids: Sequence[str], rows: Sequence[bytes], charged: int | None, errors: Sequence[APIStatusError]
) -> FetchResult:
    """Find whose record each row is: a merged company comes under its current id."""
    found = {row_id(row): row for row in rows}
    lost = [one for one in ids if one not in found]
    strangers = [one for one in found if one not in set(ids)]
    fetched = FetchResult(charged=charged)
    each = charged if len(ids) == 1 else {0: 0, len(found): 1}.get(charged if charged is not None else -1)
    fetched.lines = {one: _matched(one, found[one], each) for one in ids if one in found}
    if len(lost) == len(strangers) == 1:
        fetched.lines[lost[0]] = _matched(strangers[0], found[strangers[0]], each)
    elif strangers and len(ids) > 1:
        fetched.fetch_individually = lost
    elif strangers and lost:
        fetched.lines[lost[0]] = _ambiguous_record_error(lost[0], strangers, each)
    else:
        fetched.lines.update({one: _missing(one, errors) for one in lost})
    return fetched


def _matched(company_id: str, row: bytes, charged: int | None) -> ResultLine:
    return ResultLine(outcome=Outcome.MATCHED, id=company_id, record=msgspec.Raw(row), charged=charged)


def _missing(company_id: str, errors: Sequence[APIStatusError]) -> ResultLine:
    if errors:
        return failed_line(errors[0], company_id=company_id)
    return ResultLine(outcome=Outcome.NOT_FOUND, id=company_id)


def _ambiguous_record_error(company_id: str, strangers: Sequence[str], charged: int | None) -> ResultLine:
    """Take none of several strangers for the company asked for: the guess would be somebody else's record."""
    error = DecodeError(f"Asked for company {company_id} alone, the server sent {len(strangers):,} others.")
    return failed_line(error, company_id=company_id, charged=charged)


class IpLookup:
    """Addresses: asked for one by one, at a price that is not published."""

    matches = False
    per_fetch = 1

    def __init__(self, account_id: str | None) -> None:
        self._account_id = account_id
        self.price = 1
        """The most that an answer has charged so far."""

    async def match(self, executor: RequestExecutor, keys: Sequence[Key]) -> list[ResultLine]:  # noqa: ARG002 - as the others
        """Match nothing: an address is its own id."""
        return []

    async def fetch(self, executor: RequestExecutor, ids: Sequence[str]) -> FetchResult:
        """Find who is behind one address."""
        params: dict[str, QueryValue] = {"ip": ids[0]}
        endpoint = ENRICH_IP.with_response_type(Response[msgspec.Raw])
        request = ApiRequest(endpoint, params=params, account_id=self._account_id, billable_records=self.price)
        answer = await executor.execute(request)
        charged = _charged_by(answer.meta)
        self.price = max(self.price, charged or 0)
        line = ResultLine(
            outcome=Outcome.MATCHED, record=msgspec.Raw(strip_line_breaks(bytes(answer.data))), charged=charged
        )
        company = self.record(executor, line).company
        outcome = Outcome.NOT_FOUND if company is None else Outcome.MATCHED
        found = replace(line, outcome=outcome, id=company.id if company else None)
        return FetchResult({ids[0]: found}, charged=charged)

    def id_of(self, line: ResultLine) -> str | None:
        """Return the address."""
        return line.key

    def record(self, executor: RequestExecutor, line: ResultLine) -> EnrichedIp:
        """Decode what is known of an address."""
        return _decoded(executor, ENRICH_IP, b'{"data":%b}' % bytes(line.record)).data


def _decoded(executor: RequestExecutor, endpoint: Endpoint[T_co], body: bytes) -> T_co:
    return codec.decode(endpoint, body, endpoint.error_context(), executor.redactor)
