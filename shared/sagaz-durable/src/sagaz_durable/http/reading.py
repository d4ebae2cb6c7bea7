"""The routes that change nothing: lists of runs, and all that a reader is told of one."""

from __future__ import annotations

from dataclasses import replace

from sagaz_durable.http.access import Subject, allow, permits, subject_of
from sagaz_durable.http.answers import Answers, answered, json_answer
from sagaz_durable.http.documents import run_summary
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.pages import cursor_of, filter_of

__all__ = ["Readings"]


class Readings(Answers):
    """Runs, for those who may read them."""

    @answered
    async def list_runs(self, request: HttpRequest) -> HttpResponse:
        """Answer with a page of the runs that the query asks for, the newest first.

        The application permits the list by what it asks for, and then each run of it; one that may not be read is
        left out.
        """
        query, authorize = filter_of(request), self._rules.authorize
        await allow(authorize, request, "list", Subject(None, query.saga_name, None))
        runs = await self._scope.reach(lambda: self._scope.store.find(replace(query, limit=query.limit + 1)))
        page = runs[: query.limit]
        shown = [run_summary(run) for run in page if await permits(authorize, request, "read", subject_of(run))]
        following = cursor_of(page[-1]) if len(runs) > len(page) else None
        return json_answer(200, {"runs": shown, "next": following}, {"Cache-Control": "private, no-store"})

    @answered
    async def show_run(self, request: HttpRequest, saga_id: str) -> HttpResponse:
        """Answer with all that a reader is told of a run; 304 if he has it already."""
        return await self._document(request, await self._permitted(request, "read", saga_id))
