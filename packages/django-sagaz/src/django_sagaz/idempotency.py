"""Views that clients may repeat: the rules are the engine's, requests, responses and transactions are Django's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import transaction
from django.http import HttpResponse as DjangoResponse

from django_sagaz._execution.scopes import asynchronous_scope
from django_sagaz._project.current import current_project
from django_sagaz._stores.factory import open_store
from django_sagaz._stores.runners import ThreadSensitive
from sagaz_durable.http.idempotency.handling import answer, answer_sync
from sagaz_durable.http.idempotency.keys import Repeatable
from sagaz_durable.http.idempotency.places import Leases, is_locked, sleep
from sagaz_durable.http.idempotency.requests import RepeatableRequest
from sagaz_durable.http.messages import HttpRequest, HttpResponse
from sagaz_integration_core.contract.request_keys import KeyClaim

if TYPE_CHECKING:
    from django.http import HttpRequest as DjangoRequest
    from sagaz import Saga

    from django_sagaz._project.project import Project
    from sagaz_durable.http.idempotency.places import KeyPlace
    from sagaz_integration_core.contract.records import RunStatus
    from sagaz_integration_core.contract.request_keys import NewKey

__all__ = ["idempotent"]

T = TypeVar("T")
View = Callable[..., Any]
Caller = Callable[["DjangoRequest"], Any]


def idempotent(
    saga: type[Saga] | None = None, *, caller: Caller | None, required: bool = True, location: str | None = None
) -> Callable[[View], View]:
    """Decorate a view that clients may repeat with an ``Idempotency-Key``.

    A plain view is executed within a transaction, which its key and answer are part of: what it writes, and starts with
    `atomic_saga_start`, is there once or not at all. An asynchronous view has no transaction: it names the saga that it
    starts.

    Args:
        saga: The saga that it starts one run of; an asynchronous view needs it.
        caller: Returns who sent a request (``lambda request: request.user.pk``), of whom the key is; None where all
            clients are one.
        required: Whether a request without a key is refused.
        location: The address of a run's status, with ``{saga_id}``: for what is answered after a crash in between.

    Raises:
        UsageError: An asynchronous view names no saga.
    """

    def decorate(view: View) -> View:
        asynchronous = inspect.iscoroutinefunction(view)
        name = f"{view.__module__}.{view.__qualname__}"
        endpoint = Repeatable(name, saga, not asynchronous, required, location)
        return (_once_async if asynchronous else _once)(view, endpoint, caller)

    return decorate


def _once(view: View, endpoint: Repeatable, caller: Caller | None) -> View:
    @wraps(view)
    def once(request: DjangoRequest, *args: Any, **kwargs: Any) -> Any:
        project = current_project()
        _ = project.store  # Raises, and says why, where no transaction of Django's could be joined.
        with transaction.atomic(project.alias):
            begin = _begin(endpoint, request, caller, _Transaction(project), project)
            header = request.headers.get(project.settings.header_name)
            return answer_sync(begin, _Answerer(), lambda: _rendered(view(request, *args, **kwargs)), header)

    return once


def _once_async(view: View, endpoint: Repeatable, caller: Caller | None) -> View:
    @wraps(view)
    async def once(request: DjangoRequest, *args: Any, **kwargs: Any) -> Any:
        project = current_project()

        async def call() -> Any:
            return _rendered(await view(request, *args, **kwargs))

        scope: Any = await asynchronous_scope() if project.alias is None else _Here(project, project.alias)
        begin = _begin(endpoint, request, caller, Leases(scope), project)
        return await answer(begin, _Answerer(), call, request.headers.get(project.settings.header_name))

    return once


def _begin(
    endpoint: Repeatable, request: DjangoRequest, caller: Caller | None, place: KeyPlace, project: Project
) -> Callable[[], RepeatableRequest]:
    def begin() -> RepeatableRequest:
        who = None if caller is None else caller(request)
        return RepeatableRequest(endpoint, _read(request), who, place, project.settings)

    return begin


class _Here:
    """A project's sagas for a coroutine, by the connection that Django has for it; leases are renewed on its loop."""

    def __init__(self, project: Project, alias: str) -> None:
        self.store = open_store(alias, ThreadSensitive(), notify=project.settings.notify)
        self.registry = project.registry
        self.settings = project.settings

    async def reach(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await work()


class _Transaction:
    """Keys in the transaction that is open on this thread's connection."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._store = project.store

    async def claim(self, key: NewKey) -> KeyClaim:
        """Claim a key; an SQLite file that is locked is as if somebody had it."""
        try:
            return self._project.lacks.insert(self._store, lambda: self._store.claim_key_here(key))
        except Exception as error:
            if not is_locked(error):
                raise
            return KeyClaim(False)

    async def answer(self, key: NewKey, answer: str) -> bool:
        """Keep the answer."""
        return self._store.answer_key_here(key.id, answer)

    async def free(self, key: NewKey) -> None:
        """Have the transaction rolled back."""
        transaction.set_rollback(True, using=self._project.alias)

    async def commit(self) -> None:
        """It is, when the block around the view ends."""

    async def status(self, saga_id: str) -> RunStatus | None:
        """Return the status of a run."""
        return (await self._store.statuses([saga_id])).get(saga_id)

    async def pause(self, seconds: float) -> None:
        """Have the thread wait."""
        await sleep(seconds)


def _read(request: DjangoRequest) -> HttpRequest:
    headers = tuple(request.headers.items())
    return HttpRequest(
        str(request.method), request.path, request.META.get("QUERY_STRING", ""), headers, request.body, request
    )


def _rendered(response: Any) -> Any:
    if hasattr(response, "render") and not response.is_rendered:
        response.render()
    return response


class _Answerer:
    """Reads and makes Django's responses."""

    def read(self, response: Any) -> tuple[HttpResponse | None, int]:
        """Return what is kept of a response; nothing of a stream."""
        if response.streaming:
            return None, response.status_code
        return HttpResponse(response.status_code, dict(response.items()), response.content), response.status_code

    def make(self, response: HttpResponse) -> Any:
        """Return Django's response."""
        return DjangoResponse(response.body, status=response.status, headers=dict(response.headers))
