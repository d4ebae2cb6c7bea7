"""`SagaApi`: the routes about sagas, without a web framework; each takes a request and returns the answer.

How a plugin serves them:

1. When the application is set up, make `ApiRules` of what the application chooses; there it is checked.
2. For each request make ``SagaApi(scope, rules)``, which costs nothing. ``scope`` is the application's open runtime; in
   synchronous code ``BlockingScope(runtime)``, with ``done_now(api.show_run(request, saga_id))`` on the request's own
   thread.
3. Make an `HttpRequest` of the framework's, with at most ``api.most_bytes + 1`` bytes of its body, and call the method
   of the route: ``list_runs``, ``show_run``, ``draw_run``, ``decide``, ``send_signal``. The application's hooks are
   called in there, with ``request.native``. Probes are answered with `reading.probe_answer`.
4. Make the framework's response of the `HttpResponse`. What a method raises is a fault of the application's: its hook's
   own exception, or a `UsageError`.

`accepted` is for the application's own endpoints, after they have started a run.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from sagaz_durable.http.answers import answered, json_answer
from sagaz_durable.http.deciding import Decidings
from sagaz_durable.http.headers import preference_of
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.reading import Readings
from sagaz_durable.http.rules import ApiRules
from sagaz_durable.masked_errors import masked_error
from sagaz_integration_core.contract.records import FINISHED
from sagaz_integration_core.errors import RunInProgress, RunNotFound, RunWaiting, StoreUnavailable, UsageError

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import ReachableScope

__all__ = ["SagaApi", "Wait"]

logger = logging.getLogger(__name__)

Wait = Callable[[str, float], Awaitable[object]]
"""Waits for a run's end for so many seconds, as `Sagas.wait` does."""

_SOON, _LATE = 1, 60
"""Seconds after which a client is told to ask again, at least and at most."""


class SagaApi(Readings, Decidings):
    """The routes, for one request or many; see the module.

    Args:
        scope: What the application's sagas are asked through.
        rules: What the application has chosen.
        wait: How `accepted` waits for a run's end; without, it never does. In synchronous code an ``async def``
            function that calls ``wait_sync``.
    """

    def __init__(self, scope: ReachableScope, rules: ApiRules, *, wait: Wait | None = None) -> None:
        super().__init__(scope, rules)
        self._wait = wait

    @answered
    async def accepted(self, request: HttpRequest, saga_name: str, saga_id: str, location: str) -> HttpResponse:
        """Answer an application's own request that has started a run, after the start was committed.

        It is 202 with the address of the run's status and when to look there; or, if the client prefers to wait and
        the run ends within that time, 200 with what `show_run` would tell. Whoever has started a run is told of it:
        nobody is asked who may read it.

        Args:
            saga_name: Which saga the run is of.
            location: Where `show_run` is served for this run; a path.
        """
        preference = preference_of(request, self._rules.longest_wait if self._wait else 0)
        applied = {} if preference.applied is None else {"Preference-Applied": preference.applied}
        if preference.wait and (ended := await self._end_of(saga_id, preference.wait)) is not None:
            return replace(ended, headers={**ended.headers, "Content-Location": location, **applied})
        typical = self._scope.registry.durations.typical(saga_name)
        seconds = min(max(ceil(typical or _SOON), _SOON), _LATE)
        headers = {"Location": location, "Retry-After": str(seconds), "Cache-Control": "no-store", **applied}
        return json_answer(202, {"saga_id": saga_id, "saga": saga_name, "location": location}, headers)

    async def _end_of(self, saga_id: str, seconds: float) -> HttpResponse | None:
        """Return what is told of a run that ends within this time; its start is recorded, whatever goes wrong here."""
        if self._wait is None:
            return None
        try:
            await self._wait(saga_id, seconds)
        except (RunInProgress, RunNotFound, RunWaiting, StoreUnavailable):
            return None
        except UsageError:
            raise
        except Exception as error:
            # What a run failed with is raised. It is told as the application allows it.
            logger.debug("Run %s failed while its client waited: %s", saga_id, masked_error(error))
        try:
            run = await self._load(saga_id)
            return await self._document(None, run) if run is not None and run.status in FINISHED else None
        except StoreUnavailable:
            return None
