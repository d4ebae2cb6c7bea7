"""What the contract asks of a framework: the one file that the author of a new driver has to read.

A driver lives in ``contract/drivers/<name>.py`` and is a subclass of `Driver`, 50 to 150 lines long. It builds one
small application **in its framework's own idiom**, with the plugin's public names only, as a user of that framework
would write it, and says how to reach it. Cases never see the framework. To write one:

1.  Set ``name`` and ``capabilities`` (see `CAPABILITIES`; a case that needs another one is skipped, loudly), and
    ``package`` (the import name of the plugin; when it is not installed, the whole driver is skipped, loudly).
2.  In ``build`` make the application from ``self.spec``, with the routes below; ``start`` builds it anew and starts it
    up as a server would. What goes wrong (a wrong setting, a badly declared saga, a store that cannot be opened) must
    come out of ``start`` as the exception that the user's server would print, with nothing left open. Run system
    checks here, if the framework has some, and raise what they report.

    ==================================  ==================================================================
    ``POST /inline/<saga>``             run it now with the JSON body as context: 200, `ran` (the run)
    ``POST /background/<saga>``         run it after the answer: 202, `accepted` (saga_id)
    ``POST /background/<saga>?then=raise``   the same, and then the endpoint raises `Boom`
    ``POST /deferred/<saga>``           start it for a worker: 202, `accepted` (saga_id)
    ``POST /joined/<saga>?then=commit``      only with "join_session": insert the row ``context["id"]`` into the
                                        application's own table and start the saga in the same transaction, then
                                        commit it; with ``then=rollback`` roll it back; with ``then=savepoint`` do
                                        both in a savepoint, roll that back, and commit: 202, `accepted`
    ``POST /signals/<name>``            only with "signals": send ``body["payload"]`` to ``body["to"]``, the keywords
                                        ``saga_id`` or ``key`` and ``signal_id``: 200, `signalled`. If there is a
                                        ``body["by"]``, make a token for an approval of it, and decide by that
    ``POST /signals/<name>?then=commit``     with "join_session": the same in a transaction, with a row of its own as in
                                        ``/joined``, whose id is ``body["payload"]["id"]``
    ``POST /once/<saga>``               only with "repeatable": start it for a worker in an endpoint that is idempotent
                                        for this saga, with ``location="/runs/{saga_id}"``: `once`. The caller is the
                                        header ``User``; the header ``Then`` is given to `once`
    ``POST /once-joined/<saga>``        with "join_session": the same in a transaction of its own, with a row as in
                                        ``/joined``, which the plugin commits
    ``POST /accepted/<saga>``           only with "http": start it for a worker, for the owner in the header ``Owner``,
                                        and answer with the plugin's ``accepted``
    ``POST /unhandled/<saga>``          with "http": start it for a worker, with the key alone, and catch nothing: the
                                        plugin's problem handlers answer what is raised; with ``?then=<name>`` raise
                                        `raised` (name) instead
    ``/sagas``, and what is beneath     with "http": the plugin's routes about sagas, with `permits` and `who` of the
                                        request's header ``User`` (or ``""``), ``shows=["order"]`` and
                                        ``longest_wait=5``
    ``POST /webhooks/<source>``         only with "webhooks": the plugin's route about webhooks, with `webhook_sources`
    ``GET /health/readiness``           with "http": the plugin's route; and ``/health/liveness``
    ``GET /whoami``                     200, `whoami()`
    ``GET /stream``                     with "streaming": a streamed body with one piece for each of `pieces()`
    ``GET /boom``                       raise `Boom`
    ``WEBSOCKET /ws``                   with "websocket": accept, send `whoami()` as JSON text, close
    ==================================  ==================================================================

    ``<saga>`` is one of ``self.spec.routes``; make one route for each where the idiom is to declare the class
    (FastAPI's dependencies), or look it up there where it is not. The body is parsed with the framework's own JSON
    parser, **without** a schema, and what it gives is passed on as it is. The headers ``Idempotency-Key`` (inline and
    deferred) and ``Run-Id`` (inline) are passed to the plugin as ``idempotency_key=`` and ``saga_id=``, and
    ``Deadline`` (deferred), a time in ISO format, as ``deadline=``; ``Owner`` (all four) as ``owner=``. What a start,
    a run or a signal raises is answered with `told` (error): its status code and JSON. `Boom` is not caught.
3.  Set ``self.runtime`` (the `SagazRuntime` that the plugin keeps for this application) and ``self.app`` (what
    ``current_step().app`` is) before ``start`` returns. Look them up where the plugin keeps them; the only thing
    that a driver may do with private names.
4.  In ``stop`` shut the application down as a server would. Harmless when ``start`` failed or ``stop`` was called.
    ``start`` may be called again afterwards.
5.  In ``request`` send one `Ask` and return its `Answer`: `support.asgi.AsgiClient` and `support.wsgi.WsgiClient` do
    it. Synchronous frameworks are called in threads, many at once; cases are ``async`` for everybody.
6.  ``work`` runs a worker until nothing is due. By default one over ``self.runtime``; override it where the framework
    has a command that can be called inside the process (Django's ``call_command("sagaz_worker", drain=True)``).

Settings come as ``spec.options``: the names of `Settings` in upper case, real values
(``{"STORAGE_URL": …, "LEASE_SECONDS": 5}``), misspelled ones included. ``spec.environment()`` sets them as ``SAGAZ_…``
variables within a ``with`` block, for frameworks that read the environment.

Then add the class to ``contract/drivers/__init__.py``, and run ``pytest tests-matrix/contract -k <name>``.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import uuid4

from sagaz.integrations._base import SagaContextManager

from sagaz_integration_core import errors
from sagaz_integration_core.context import correlation as context
from support.answers import Answer, Ask

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable.engine.result import SagaRun
    from sagaz_durable.http.access import Subject, Verb
    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_integration_core.contract.store import SagaStore

__all__ = [
    "CAPABILITIES", "WEBHOOK_SECRET", "Boom", "Driver", "Spec", "accepted", "permits", "pieces", "raised", "ran",
    "sign", "signalled", "told", "webhook_sources", "who", "whoami",
]  # fmt: skip

T = TypeVar("T")

CAPABILITIES = {
    "inline": "a request can run a saga and answer with its result",
    "background": "a request can start a saga that this process runs after the answer",
    "deferred": "a request can start a saga for a worker",
    "embedded_worker": "spec.worker=True runs a worker inside the application's process",
    "streaming": "responses can be streamed",
    "websocket": "there are WebSockets, and driver.websocket",
    "disconnect": "an endpoint goes on when its client has left (Ask.leave)",
    "http": "there are routes by which runs are watched and decided about",
    "join_session": "a start can join a transaction of the application's own database, which is the store's",
    "own_commits": "with repeatable: what an endpoint starts is committed before its answer is kept",
    "repeatable": "an endpoint can be made idempotent, by the header Idempotency-Key",
    "signals": "a request can send a signal to a run that waits",
    "lifespan": "a request that comes before start-up finds no open runtime, instead of opening it",
    "header_name": "the name of the correlation header can be chosen",
    "propagate": "the correlation id can be kept out of the sagas' contexts",
    "own_store": "the plugin opens SQLite files and PostgreSQL itself, and not through the framework's connections",
    "sagas": "code has the verbs of `Sagas` without a request, and driver.verb calls one",
    "webhooks": "senders can deliver webhooks to the plugin's own route",
    "several": "one process can hold several applications with settings of their own",
}


@dataclass(frozen=True)
class Spec:
    """What a case wants of an application.

    Attributes:
        sagas: The classes to register when the application is built, in the framework's way.
        routes: The classes that requests can name, registered or not.
        options: Settings, the storage URL among them.
        worker: Whether the application's process runs a worker too.
        propagate: Whether the correlation id is put into the contexts of sagas.
    """

    options: Mapping[str, Any]
    sagas: tuple[type[Saga], ...] = ()
    routes: Mapping[str, type[Saga]] = field(default_factory=dict)
    worker: bool = False
    propagate: bool = True

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Set the options as environment variables within the block."""
        before = dict(os.environ)
        os.environ.update({f"SAGAZ_{name}": _as_text(value) for name, value in self.options.items()})
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Driver(ABC):
    """One framework's application; see the module's docstring.

    Attributes:
        stores: The kinds of stores that the plugin is made for.
        setting: How its users spell a setting, around the name in upper case.
        runtime: What the plugin keeps for the started application.
        app: What ``current_step().app`` is in its steps.
        gate: The endpoints of ``/once`` wait here, after their start and ``arrived.set()``; it is mostly open.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    capabilities: ClassVar[frozenset[str]]
    stores: ClassVar[tuple[str, ...]] = ("memory", "sqlite", "postgres")
    setting: ClassVar[str] = "SAGAZ_{}"

    runtime: SagazRuntime
    app: Any
    gate: ClassVar[threading.Event] = threading.Event()
    arrived: ClassVar[threading.Event] = threading.Event()

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.gate.set()

    @abstractmethod
    def build(self) -> None:
        """Make the application, and do not start it."""

    @abstractmethod
    async def start(self) -> None:
        """Build the application and start it up."""

    @abstractmethod
    async def stop(self) -> None:
        """Shut it down."""

    @abstractmethod
    async def request(self, ask: Ask) -> Answer:
        """Send a request and return the whole answer."""

    async def websocket(self, ask: Ask) -> tuple[dict[str, Any], list[Any]]:
        """Open a WebSocket; return ASGI's accept message, and every JSON message until it was closed."""
        raise NotImplementedError

    async def own_rows(self) -> list[str]:
        """Return the ids in the application's own table, with "join_session"."""
        raise NotImplementedError

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a verb of `Sagas` as code outside of any request does, with "sagas"."""
        raise NotImplementedError

    async def work(self) -> None:
        """Run a worker until nothing is due."""
        await self.in_runtime(lambda: self.runtime.make_worker(drain=True).run())

    async def ask(self, question: Callable[[SagaStore], Awaitable[T]]) -> T:
        """Ask the application's own store something; on memory nobody else could."""

        async def answer() -> T:
            return await question(self.runtime.store)

        return await self.in_runtime(answer)

    async def in_runtime(self, work: Callable[[], Any]) -> Any:
        """Do something on the event loop that the plugin keeps its runtime on, this one or another thread's."""
        if self.runtime.loop is asyncio.get_running_loop():
            return await work()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self.runtime.loop))


# What endpoints answer, the same in every framework.


class Boom(Exception):
    """What an endpoint raises when it is asked to; nobody catches it."""


_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.ContextValueError, 422),
    (errors.IdempotencyConflict, 409),
    (errors.RunInProgress, 409),
    (errors.RunFailed, 409),
    (errors.RunWaiting, 202),
    (errors.SignalConflict, 409),
    (errors.ApprovalDecided, 409),
    (errors.SignalRefused, 409),
    (errors.StoreUnavailable, 503),
    (errors.RunInterrupted, 503),
    (errors.RuntimeNotOpen, 503),
    (errors.SagazError, 400),
)


def told(error: Exception) -> tuple[int, dict[str, Any]]:
    """What a start or a run raised, as status code and JSON."""
    status = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
    notes = list(getattr(error, "__notes__", ()))
    return status, {
        "error": type(error).__name__,
        "message": str(error).encode("ascii", "backslashreplace").decode(),
        "notes": notes,
        "path": getattr(error, "path", ""),
        "saga_id": getattr(error, "saga_id", None),
        "waits_for": getattr(error, "waits_for", None),
    }


def raised(name: str) -> Exception:
    """One of our errors, with a text that is not for everybody."""
    details = {"RunWaiting": ("o-1",), "RunErased": ("o-1", "completed")}
    error: Exception = getattr(errors, name)("db.internal", *details.get(name, ()))
    return error


def ran(run: SagaRun) -> dict[str, Any]:
    """What a run returned, as JSON."""
    return {"saga_id": run.saga_id, "saga_name": run.saga_name, "status": run.status.value, "result": dict(run)}


def accepted(saga_id: str) -> dict[str, Any]:
    """A start, as JSON."""
    return {"saga_id": saga_id}


def once(saga_id: str, then: str) -> tuple[bytes, int, dict[str, str]]:
    """The answer of an endpoint that clients may repeat: body, status and headers, other ones at each execution.

    Args:
        then: A status; ``raise`` to have `Boom` raised; ``large`` for a body that is not kept.
    """
    if then == "raise":
        raise Boom(saga_id)
    body = {"saga_id": saga_id, "execution": uuid4().hex, "padding": "x" * (300_000 if then == "large" else 0)}
    headers = {"Content-Type": "application/json", "Set-Cookie": "visitor=7", "X-Shop": f"shop-{uuid4().hex}"}
    return json.dumps(body).encode(), int(then) if then.isdigit() else 202, headers


def signalled(new: bool) -> dict[str, Any]:
    """A signal that was sent, as JSON."""
    return {"new": new}


def whoami() -> dict[str, Any]:
    """The request at hand, as our context and as sagaz's own see it."""
    return {"ours": context.correlation_id(), "sagaz": SagaContextManager.get("correlation_id")}


def pieces() -> Iterator[bytes]:
    """The body of ``/stream``: the correlation id, as it is seen while each of three pieces is made."""
    for _ in range(3):
        yield f"{context.correlation_id()}\n".encode()


WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def webhook_sources() -> dict[str, Any]:
    """What the route about webhooks takes: what nobody signs, and Standard Webhooks."""
    from sagaz_durable.webhooks.sources import StandardWebhooks, Unsigned

    return {
        "shop": Unsigned(delivery_member="id", event_member="type"),
        "signed": StandardWebhooks([WEBHOOK_SECRET]),
    }


def sign(delivery_id: str, body: bytes, *, secret: str = WEBHOOK_SECRET, sent_at: int | None = None) -> dict[str, str]:
    """The headers of a Standard Webhook, with underscores for hyphens."""
    at = int(time.time()) if sent_at is None else sent_at
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_")) if secret == WEBHOOK_SECRET else secret.encode()
    digest = hmac.new(key, f"{delivery_id}.{at}.".encode() + body, "sha256").digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook_id": delivery_id, "webhook_timestamp": str(at), "webhook_signature": signature}


def permits(user: str, verb: Verb, subject: Subject) -> bool:
    """Whether the application permits somebody this: an operator everything, and others to read their own runs."""
    return user.startswith("operator") or (user != "" and verb in ("list", "read") and subject.owner == user)


def who(user: str) -> str:
    """Who decides, for the audit."""
    return f"{user}@shop.example"
