"""The routes that change nothing: lists of runs, and all that a reader is told of one."""

from __future__ import annotations

from typing import Literal

from sagaz_durable.calls.waits import waits_for
from sagaz_durable.diagram.mermaid import mermaid
from sagaz_durable.diagram.states import DrawnStep, drawn_steps
from sagaz_durable.diagram.svg import STYLE, svg
from sagaz_durable.http.access import Subject, allow, permits, subject_of
from sagaz_durable.http.answers import Answers, answered, json_answer
from sagaz_durable.http.documents import run_summary
from sagaz_durable.http.headers import is_unchanged
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.pages import query_of
from sagaz_durable.operations.health import ProbeResult
from sagaz_durable.operations.listing import Listing
from sagaz_durable.operations.outcomes import RunReport

__all__ = ["Form", "Readings", "probe_answer"]

Form = Literal["svg", "mermaid"]

_MEDIA: dict[Form, str] = {"svg": "image/svg+xml", "mermaid": "text/vnd.mermaid"}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
"""What a browser may do with a picture that it is shown by itself: nothing but draw it."""


class Readings(Answers):
    """Runs, for those who may read them."""

    @answered
    async def list_runs(self, request: HttpRequest) -> HttpResponse:
        """Answer with a page of the runs that the query asks for, the newest first.

        The application permits the list by what it asks for, and then each run of it; one that may not be read is
        left out.
        """
        query, authorize = query_of(request), self._rules.authorize
        await allow(authorize, request, "list", Subject(None, query["saga_name"], query["owner"]))
        page = await Listing(self._scope).list_runs(**query)
        shown = [run_summary(run) for run in page.runs if await permits(authorize, request, "read", subject_of(run))]
        return json_answer(200, {"runs": shown, "next": page.cursor}, {"Cache-Control": "private, no-store"})

    @answered
    async def show_run(self, request: HttpRequest, saga_id: str) -> HttpResponse:
        """Answer with all that a reader is told of a run; 304 if he has it already."""
        return await self._document(request, await self._permitted(request, "read", saga_id))

    @answered
    async def draw_run(self, request: HttpRequest, saga_id: str, form: Form | None = None) -> HttpResponse:
        """Answer with the picture of a run's steps, as SVG or as Mermaid text.

        Args:
            form: Which; by default what ``Accept`` asks for, and SVG where that says nothing.
        """
        run = await self._permitted(request, "read", saga_id)
        chosen = form or _accepted_form(request.header("Accept") or "")
        headers = {"ETag": self._etag(run, f"-{chosen}"), "Cache-Control": "private, no-cache", "Vary": "Accept"}
        if is_unchanged(request, headers["ETag"]):
            return HttpResponse(304, headers)
        steps, is_known = self._drawn(await self._report(run)), run.saga_name in self._scope.registry
        text = mermaid(steps) if chosen == "mermaid" else svg(steps, run.saga_name, by_order=not is_known, style=STYLE)
        headers |= {"Content-Type": f"{_MEDIA[chosen]}; charset=utf-8", "X-Content-Type-Options": "nosniff"}
        return HttpResponse(200, {**headers, "Content-Security-Policy": _POLICY}, text.encode())

    def _drawn(self, report: RunReport) -> list[DrawnStep]:
        run, registry = report.run, self._scope.registry
        declared = list(registry.graph(run.saga_name).nodes.values()) if run.saga_name in registry else None
        is_active = run.status in ("pending", "executing") or (run.status == "waiting" and run.direction == "forward")
        awaited = {(wait.step, str(wait.phase)): waits_for(wait) for wait in report.waits if wait.outcome is None}
        return drawn_steps(declared, report.steps, direction=run.direction, active=is_active, awaited=awaited)


def probe_answer(result: ProbeResult) -> HttpResponse:
    """Return what a probe is answered: 200 or 503, and to nobody why; the commands and the functions tell that."""
    status, said = (200, "ok") if result else (503, "unavailable")
    return json_answer(status, {"status": said}, {"Cache-Control": "no-store"})


def _accepted_form(accept: str) -> Form:
    media = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if _MEDIA["mermaid"] in media:
        return "mermaid"
    return "mermaid" if "text/plain" in media and not media & {_MEDIA["svg"], "image/*", "*/*"} else "svg"
