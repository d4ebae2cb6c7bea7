"""One question to the store, from synchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from django_sagaz._project.project import Project
from django_sagaz._stores.runners import immediately
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["ask"]

T = TypeVar("T")


def ask(project: Project, question: Callable[[SagaStore], Coroutine[Any, Any, T]]) -> T:
    """Ask the project's store something.

    Raises:
        StoreUnavailable: It does not answer.
    """
    if project.alias is not None:
        return immediately(question(project.store))
    return asyncio.run(_ask_outside(create_store(project.settings), question))


async def _ask_outside(store: SagaStore, question: Callable[[SagaStore], Coroutine[Any, Any, T]]) -> T:
    await store.open()
    try:
        return await question(store)
    finally:
        await store.close()
