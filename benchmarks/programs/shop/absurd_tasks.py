"""A task of three recorded steps for django-absurd; imported only where that is installed."""

from __future__ import annotations

from django.tasks import task
from django_absurd import aget_absurd_context

from benchmarks.ledger import began, ended


@task()
async def noop(n: int) -> None:
    """Take three steps."""
    context = aget_absurd_context()

    async def reserve() -> dict[str, int]:
        began(n)
        return {"reservation": 1}

    async def charge() -> dict[str, int]:
        return {"charge": 2}

    async def ship() -> dict[str, int]:
        ended(n)
        return {"parcel": 3}

    await context.step("reserve", reserve)
    await context.step("charge", charge)
    await context.step("ship", ship)
