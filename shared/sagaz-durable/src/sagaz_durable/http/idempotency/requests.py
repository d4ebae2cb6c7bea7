"""One request with an ``Idempotency-Key``, from its claim to its answer: the rules, which know no framework."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sagaz_durable.http.idempotency.keys import HEADER, Repeatable, new_key, read_key, run_key_of
from sagaz_durable.http.idempotency.places import KeyPlace
from sagaz_durable.http.idempotency.stored_answers import MOST_BYTES, is_kept, stored, unstored
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_durable.http.problems import Problem
from sagaz_durable.problem_types import KEY_IN_PROGRESS, KEY_MALFORMED, KEY_MISSING, KEY_REUSED, UNAVAILABLE
from sagaz_integration_core.context.request_run import starting_under
from sagaz_integration_core.contract.request_keys import KeyClaim
from sagaz_integration_core.error_text import json_text
from sagaz_integration_core.errors import SagazError, UsageError

if TYPE_CHECKING:
    from sagaz_durable.settings.settings import Settings
    from sagaz_integration_core.contract.records import RunStatus

__all__ = ["PROBLEMS", "RepeatableRequest"]

PROBLEMS = (KEY_MISSING, KEY_MALFORMED, KEY_IN_PROGRESS, KEY_REUSED, UNAVAILABLE)
"""What such a request is answered with in the endpoint's place."""

_LOOK_SECONDS = 0.05


class RepeatableRequest:
    """A request to an endpoint that clients may repeat.

    Whoever handles it asks `begin` for an answer; without one, it executes the endpoint within `starting`, and tells
    what came of it: the answer to `end`, and an exception to `abandon`.

    Args:
        caller: Who sent it; see `new_key`.

    Raises:
        Problem: It has no key where one is required, or a malformed one.
    """

    def __init__(
        self, endpoint: Repeatable, request: HttpRequest, caller: Any, place: KeyPlace, settings: Settings
    ) -> None:
        key = read_key(request, required=endpoint.required)
        self._endpoint = endpoint
        self._place = place
        self._wait_seconds = settings.answer_wait_seconds
        self._key = None if key is None else new_key(request, key, caller, endpoint, settings)

    def starting(self) -> AbstractContextManager[None]:
        """Return what is entered around the endpoint: the run that it starts is the same however often it is called."""
        if self._key is None:
            return starting_under(None, "")
        return starting_under(self._endpoint.saga, run_key_of(self._key.id))

    async def begin(self) -> HttpResponse | None:
        """Return the answer that was given before, or that stands for it; None if the endpoint is to be executed.

        Raises:
            Problem: Another request has the key, this one is being executed, or the store does not answer.
        """
        if self._key is None:
            return None
        try:
            claim = await self._claim()
        except SagazError as error:
            if (told := Problem.of(error)) is None:
                raise
            raise told from error
        if claim.claimed:
            return await self._resumed(claim)
        if claim.fingerprint not in (None, self._key.fingerprint):
            raise Problem(KEY_REUSED, f"Its {HEADER} was sent with another request: send a new one.")
        if claim.answer is None:
            raise Problem(KEY_IN_PROGRESS, "Send it again, with the same key.", {"Retry-After": "1"})
        return unstored(claim.answer)

    async def end(self, response: HttpResponse | None, status: int) -> HttpResponse | None:
        """Keep the endpoint's answer; return another one that is to be given in its place, or None.

        Args:
            response: What was answered; None if its body cannot be kept, as a stream.

        Raises:
            UsageError: It cannot be kept, and there is no run to answer from: nothing was committed.
        """
        if not is_kept(status):
            await self.abandon()
            return None
        if self._key is None:
            await self._place.commit()
            return None
        answer = None if response is None else stored(response)
        if answer is None:
            await self._leave_to_run()
            return None
        kept = await self._place.answer(self._key, answer)
        await self._place.commit()
        return None if kept else await self._given_by_another()

    async def abandon(self) -> None:
        """Give the key back: the endpoint has failed."""
        if self._key is not None:
            await self._place.free(self._key)

    async def _claim(self) -> KeyClaim:
        assert self._key is not None  # noqa: S101
        claim = KeyClaim(False)
        for pause in _pauses(self._wait_seconds):
            claim = await self._place.claim(self._key)
            others = claim.fingerprint not in (None, self._key.fingerprint)
            if claim.claimed or claim.answer is not None or others:
                break
            await self._place.pause(pause)
        return claim

    async def _resumed(self, claim: KeyClaim) -> HttpResponse | None:
        if not claim.resumed or claim.saga_id is None:
            return None
        try:
            return await self._resume(claim.saga_id)
        except BaseException:
            await self.abandon()
            raise

    async def _resume(self, saga_id: str) -> HttpResponse | None:
        """Answer from the run of a request that was executed before, and not answered; None without one."""
        assert self._key is not None  # noqa: S101
        status = await self._place.status(saga_id)
        if status is None:
            return None
        response = self._of_run(saga_id, status)
        await self._place.answer(self._key, str(stored(response)))
        await self._place.commit()
        return response

    def _of_run(self, saga_id: str, status: RunStatus) -> HttpResponse:
        document = {"saga_id": saga_id, "status": status}
        headers = {"Content-Type": "application/json"}
        if self._endpoint.location is not None:
            headers["Location"] = document["location"] = self._endpoint.location.replace("{saga_id}", saga_id)
        return HttpResponse(202, headers, json_text(document).encode())

    async def _leave_to_run(self) -> None:
        if self._endpoint.saga is None:
            await self.abandon()
            raise UsageError(
                f"The answer of {self._endpoint.endpoint} cannot be kept under its {HEADER}, so that nothing of it was "
                f"committed: it is a stream, or has more than {MOST_BYTES:,} bytes. Answer with the address of what is "
                "large."
            )
        if self._endpoint.joins:
            await self._place.commit()
        else:
            await self.abandon()

    async def _given_by_another(self) -> HttpResponse | None:
        assert self._key is not None  # noqa: S101
        claim = await self._place.claim(self._key)
        if claim.claimed:
            await self.abandon()
        return None if claim.answer is None else unstored(claim.answer)


def _pauses(seconds: float) -> Iterator[float]:
    """Yield how long to wait until the next look; the last one is at the end of the time."""
    ends_at = time.monotonic() + seconds
    while (left := ends_at - time.monotonic()) > 0:
        yield min(left, _LOOK_SECONDS)
    yield 0.0
