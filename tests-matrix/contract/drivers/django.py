"""Django: one project in one process, sagas in its own database, under WSGI and under ASGI.

Settings, applications and connections belong to the process in Django. So a site is a stretch of `override_settings`,
and a second one at the same time has to be the same project, or there is none (no "several").
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.apps import apps
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connection, connections, transaction
from django.test.utils import override_settings
from sagaz import Saga

from contract.driver import Driver
from contract.drivers._django_shop import ASYNC_URLS, URLS, PrivateMiddleware, ShopConfig, ShopOrder
from django_sagaz import (
    acancel,
    alist_runs,
    aresolve,
    aretry,
    arun_now,
    asignal_run,
    astatus,
    atomic_saga_start,
    atomic_saga_start_many,
    cancel,
    create_saga,
    list_runs,
    resolve,
    retry,
    run_now,
    run_saga,
    signal_run,
    status,
)
from django_sagaz._execution.worker import work
from django_sagaz.middleware import SagaContextMiddleware, SagaProblemMiddleware
from support.answers import Answer, Ask
from support.asgi import AsgiClient
from support.wsgi import WsgiClient

__all__ = ["AsyncDjangoDriver", "AsyncMemoryDjangoDriver", "DjangoDriver", "MemoryDjangoDriver"]

SAGAS = f"{ShopConfig.name}.sagas"


class DjangoDriver(Driver):
    """One project, called over WSGI, each request in a thread of its own; ``runtime`` is nothing that Django has."""

    name = "django"
    package = "django_sagaz"
    app = apps
    setting: ClassVar[str] = 'SAGAZ["{}"]'
    urls: ClassVar[Any] = URLS
    # "embedded_worker": the command's work, in another thread of this process.
    capabilities = frozenset(
        (
            "inline",
            "deferred",
            "embedded_worker",
            "streaming",
            "join_session",
            "header_name",
            "propagate",
            "repeatable",
            "sagas",
            "webhooks",
            "signals",
            "http",
        )
    )
    stores: ClassVar[tuple[str, ...]] = ("sqlite", "postgres")

    def build(self) -> None:
        spec, sagaz = self.spec, dict(self.spec.options)
        self.databases = _databases(sagaz)
        self.worker: _Worker | None = None
        middleware = SagaContextMiddleware if spec.propagate else PrivateMiddleware
        self.settings = override_settings(
            INSTALLED_APPS=["django_sagaz", f"{ShopConfig.name}.ShopConfig"],
            MIDDLEWARE=[f"{one.__module__}.{one.__name__}" for one in (middleware, SagaProblemMiddleware)],
            ROOT_URLCONF=self.urls,
            SAGAZ=sagaz,
            SHOP_SAGAS=spec.routes,
        )
        sys.modules[SAGAS] = module = ModuleType(SAGAS)
        for number, saga in enumerate(spec.sagas):
            setattr(module, f"saga_{number}", saga)
            if issubclass(saga, Saga):
                saga.__module__ = SAGAS  # What a module merely imports belongs to another one.

    def serve(self) -> Any:
        """Make what a server would serve, and who speaks to it."""
        return WsgiClient(get_wsgi_application())

    async def start(self) -> None:
        self.build()
        self.is_started, self.is_entered = True, False
        try:
            await _in_thread(self._enter)
        except BaseException:
            await self.stop()
            raise
        if self.spec.worker and self.databases:
            self.worker = _Worker()
            await self.worker.start(self.config.project)

    def _enter(self) -> None:
        self.settings.enable()
        connections.settings = connections.configure_settings(dict(self.databases))
        self.config: Any = apps.get_app_config("django_sagaz")
        call_command("check", stdout=io.StringIO(), stderr=io.StringIO())
        for saga in self.spec.sagas:
            create_saga(saga)  # What is no saga was overlooked, and is met by the first view that uses it.
        self.client: Any = self.serve()
        if self.databases:
            call_command("migrate", verbosity=0)
            if ShopOrder._meta.db_table not in connection.introspection.table_names():
                with connection.schema_editor() as editor:
                    editor.create_model(ShopOrder)
        self.is_entered = True

    async def stop(self) -> None:
        if not getattr(self, "is_started", False):
            return
        self.is_started = False
        if self.worker is not None:
            await self.worker.stop()
        await _in_thread(self._leave)

    def _leave(self) -> None:
        try:
            if self.is_entered:
                self.config.executions.drain()  # As when the process exits.
        finally:
            self.settings.disable()

    async def request(self, ask: Ask) -> Answer:
        # Where `include` has a prefix that ends in a slash, so does the list's address.
        path = "/sagas/" + ask.path.removeprefix("/sagas") if ask.route == "/sagas" else ask.path
        return await self.client.request(replace(ask, path=path))

    async def own_rows(self) -> list[str]:
        return await _in_thread(lambda: list(ShopOrder.objects.values_list("id", flat=True)))

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        return await _in_thread(lambda: VERBS[name](*args, **options))

    async def work(self) -> None:
        await _in_thread(lambda: call_command("sagaz_worker", drain=True, stdout=io.StringIO()))

    async def ask(self, question: Any) -> Any:
        return await _in_thread(lambda: self.config.executions.run(lambda runtime: question(runtime.store)))


class AsyncDjangoDriver(DjangoDriver):
    """The same with async views, over ASGI in the test's own event loop."""

    name = "django-async"
    capabilities = DjangoDriver.capabilities | {"own_commits"}
    urls = ASYNC_URLS

    def serve(self) -> Any:
        return AsgiClient(get_asgi_application())

    async def verb(self, name: str, *args: Any, **options: Any) -> Any:
        if name not in ASYNC_VERBS:
            return await super().verb(name, *args, **options)

        async def call() -> Any:
            async with ThreadSensitiveContext():
                try:
                    return await ASYNC_VERBS[name](*args, **options)
                finally:
                    await sync_to_async(connections.close_all)()

        # Connections belong to the context, and the next site has other databases.
        return await asyncio.create_task(call())


class MemoryDjangoDriver(DjangoDriver):
    """Sagas outside of the project's databases, where nothing can start together with a transaction."""

    name = "django-memory"
    capabilities = DjangoDriver.capabilities - {"deferred", "join_session", "repeatable", "sagas", "signals"}
    stores = ("memory",)


class AsyncMemoryDjangoDriver(MemoryDjangoDriver, AsyncDjangoDriver):
    """Both."""

    name = "django-async-memory"


def _in_transaction(start: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **options: Any) -> Any:
        with transaction.atomic():
            return start(*args, **options)

    return call


VERBS: dict[str, Callable[..., Any]] = {
    "start": _in_transaction(atomic_saga_start),
    "start_many": _in_transaction(atomic_saga_start_many),
    "run": run_saga,
    "status": status,
    "list_runs": list_runs,
    "retry": retry,
    "cancel": cancel,
    "resolve": resolve,
    "run_now": run_now,
    "signal_run": signal_run,
}
"""What Django has for the verbs of `Sagas`; `run_background` it has not."""

ASYNC_VERBS = {
    "status": astatus,
    "list_runs": alist_runs,
    "retry": aretry,
    "cancel": acancel,
    "resolve": aresolve,
    "run_now": arun_now,
    "signal_run": asignal_run,
}


def _databases(sagaz: dict[str, Any]) -> dict[str, Any]:
    """Return DATABASES as a project has them, instead of a URL for the plugin; on memory there are none."""
    url = sagaz["STORAGE_URL"]
    if url.startswith("sqlite:"):
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    elif url.startswith("postgresql:"):
        from psycopg.conninfo import conninfo_to_dict

        info = conninfo_to_dict(url)
        database = {"ENGINE": "django.db.backends.postgresql", "NAME": info.pop("dbname")}
        database |= {key.upper(): str(value) for key, value in info.items()}
    else:
        return {}
    for name in ("STORAGE_URL", "MIGRATE", "POOL_SIZE"):
        sagaz.pop(name, None)
    return {"default": database}


async def _in_thread(work: Callable[[], Any]) -> Any:
    def call() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return await asyncio.to_thread(call)


class _Worker:
    """``manage.py sagaz_worker`` without its signals."""

    async def start(self, project: Any) -> None:
        ready = threading.Event()
        main = self._main(project, lambda line: ready.set())
        self._ended = asyncio.create_task(asyncio.to_thread(asyncio.run, main))
        await asyncio.to_thread(ready.wait, 10)

    async def _main(self, project: Any, tell: Callable[[str], None]) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        with suppress(asyncio.CancelledError):
            await work(project, concurrency=None, drain=False, tell=tell)

    async def stop(self) -> None:
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        await self._ended
