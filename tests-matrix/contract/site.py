"""What a case works with: one application, its shop, and the words for what a client does."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from contract.driver import Driver, Spec
from contract.sagas import Shop
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import ACTIVE, FINISHED, RunRecord, StepRecord
from support.answers import Answer, Ask
from support.waiting import until

__all__ = ["KINDS", "Site"]

KINDS = ("inline", "background", "deferred")

_TEST_PACE = {"POLL_SECONDS": 0.02, "BACKOFF_SECONDS": 0.01, "BACKOFF_MAX_SECONDS": 0.05, "DRAIN_SECONDS": 5}

_STEADY = object()


class Site:
    """One application on one store; entered, it is started.

    Args:
        store: The settings that choose the store.
        shop: The sagas; by default new ones, with a ledger of their own.
        sagas: What is registered when the application is built, by route; by default everything in the shop.
        options: Settings besides the store's, or instead of them.
    """

    def __init__(
        self,
        driver: type[Driver],
        store: Mapping[str, Any],
        *,
        shop: Shop | None = None,
        sagas: Mapping[str, type] | None = None,
        options: Mapping[str, Any] | None = None,
        worker: bool = False,
        propagate: bool = True,
    ) -> None:
        self._kind = driver
        self._store = store
        self.shop = shop or Shop()
        routes = self.shop.sagas if sagas is None else sagas
        settings = {**_TEST_PACE, **store, **(options or {})}
        spec = Spec(settings, tuple(routes.values()), routes, worker=worker, propagate=propagate)
        self.worker = worker or settings["STORAGE_URL"].startswith("memory:")
        self.driver = driver(spec)
        self._answers: deque[Answer] = deque(maxlen=5)

    def another(self, **changes: Any) -> Site:
        """Return a second application of the same kind, by default with the same shop on the same store."""
        return Site(self._kind, changes.pop("store", self._store), **{"shop": self.shop, **changes})

    @property
    def kinds(self) -> tuple[str, ...]:
        """The ways in which this framework's requests can start a saga."""
        return tuple(kind for kind in KINDS if kind in self.driver.capabilities)

    async def __aenter__(self) -> Self:
        await self.driver.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A case that failed must not wait for steps at the gate.
        if error is not None:
            self.shop.gate.set()
            error.add_note("\n".join(["Answers:", *map(str, self._answers)]))
        await self.driver.stop()

    # What clients do.

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask(Ask("GET", path, headers=_header_names(headers)))

    async def post(
        self, path: str, context: Any = _STEADY, *, raw: bytes = b"", leave: bool = False, **headers: str
    ) -> Answer:
        """POST a context as JSON, or ``raw`` bytes; a header's name has underscores for its hyphens."""
        body = raw if context is _STEADY else json.dumps(context).encode()
        return await self.ask(Ask("POST", path, body, _header_names(headers), leave=leave))

    async def ask(self, ask: Ask) -> Answer:
        """Send a request; an error that follows tells of the last answers."""
        answer = await self.driver.request(ask)
        self._answers.append(answer)
        return answer

    async def start(self, kind: str, saga: str = "order", context: Any = None, **headers: str) -> str:
        """Start a saga, expect it to be accepted, and return its saga_id."""
        answer = await self.post(f"/{kind}/{saga}", {"order": 5} if context is None else context, **headers)
        assert answer.status in (200, 202), answer.body
        saga_id = answer.json()["saga_id"]
        assert isinstance(saga_id, str)
        return saga_id

    async def signal(self, name: str, payload: Any = None, then: str = "", **to: str) -> Answer:
        """Send a signal, by ``saga_id`` or ``key``, and with ``then`` in a transaction."""
        return await self._send(name, {"payload": payload or {}, "to": to}, then)

    async def decide(self, by: str, payload: Any, then: str = "", **to: str) -> Answer:
        """Decide about the signal ``paid`` by the token of an approval."""
        return await self._send("paid", {"payload": payload, "to": to, "by": by}, then)

    async def _send(self, name: str, body: Any, then: str) -> Answer:
        return await self.post(f"/signals/{name}" + (f"?then={then}" if then else ""), body)

    # What can be seen afterwards.

    async def run(self, saga_id: str) -> RunRecord:
        record = await self.driver.ask(lambda store: store.load(saga_id))
        assert record is not None, f"run {saga_id} is not in the store"
        return record

    async def steps(self, saga_id: str) -> list[StepRecord]:
        return await self.driver.ask(lambda store: store.load_steps(saga_id))

    async def journal(self, saga_id: str) -> list[str]:
        """The journal's entries as ``step do done``."""
        return [f"{entry.step} {entry.phase} {entry.status}" for entry in await self.steps(saga_id)]

    async def runs(self) -> list[RunRecord]:
        return await self.driver.ask(lambda store: store.find(RunFilter(limit=1000)))

    async def ended(self, saga_id: str) -> RunRecord:
        """Run a worker, if none is inside the application, and wait for a run's final status."""
        if not self.worker:
            await self.driver.work()

        async def record() -> RunRecord | None:
            run = await self.run(saga_id)
            return run if run.status in FINISHED else None

        return await until(record, f"run {saga_id} has a final status")  # type: ignore[return-value]

    async def ended_in_time(self, saga_id: str) -> RunRecord:
        """Do the same with workers until then, for a run that waits for a time."""

        async def record() -> RunRecord | None:
            if not self.worker:
                await self.driver.work()
            run = await self.run(saga_id)
            return run if run.status in FINISHED else None

        return await until(record, f"run {saga_id} has a final status")  # type: ignore[return-value]

    async def waiting(self, saga_id: str) -> RunRecord:
        """Run a worker, if none is inside the application, and wait until a run waits for a signal or a time."""
        if not self.worker:
            await self.driver.work()

        async def record() -> RunRecord | None:
            run = await self.run(saga_id)
            return run if run.status == "waiting" else None

        return await until(record, f"run {saga_id} waits")  # type: ignore[return-value]

    async def waits_or_has_ended(self, saga_id: str) -> RunRecord:
        """Do the same for a run that may be too late for its wait."""
        if not self.worker:
            await self.driver.work()

        async def record() -> RunRecord | None:
            run = await self.run(saga_id)
            return run if run.status == "waiting" or run.status in FINISHED else None

        return await until(record, f"run {saga_id} waits, or has ended")  # type: ignore[return-value]

    async def started(self, **context: Any) -> str:
        """Start a saga that waits to be paid, and wait until it does; its saga_id."""
        saga_id = await self.start("deferred", "paid", context)
        await self.waiting(saga_id)
        return saga_id

    async def all_ended(self) -> list[RunRecord]:
        """Do the same for every run."""
        if not self.worker:
            await self.driver.work()

        async def none_active() -> bool:
            return all(run.status not in ACTIVE for run in await self.runs())

        await until(none_active, "all runs have a final status")
        return await self.runs()

    async def called(self, what: str, times: int = 1) -> None:
        """Wait until a step was called that often, of whatever run."""

        async def enough() -> bool:
            return sum(entry.what == what for entry in self.shop.ledger) >= times

        await until(enough, f"{what} is called {times} times")

    async def expect_refusal(self, answer: Answer, error: str, status: int) -> dict[str, Any]:
        """Check an error's answer, and that nothing was recorded and no step was called."""
        body: dict[str, Any] = answer.json()
        assert (answer.status, body["error"]) == (status, error), body
        assert await self.runs() == []
        assert self.shop.ledger == []
        return body


def _header_names(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
