"""A task of three steps, for django-tasks; imported only where that is installed."""

from __future__ import annotations

from django_tasks import task

from benchmarks.ledger import began, ended


@task()
def noop(n: int) -> None:
    """Make three calls."""
    _reserve(n)
    _charge()
    _ship(n)


def _reserve(n: int) -> dict[str, int]:
    began(n)
    return {"reservation": 1}


def _charge() -> dict[str, int]:
    return {"charge": 2}


def _ship(n: int) -> dict[str, int]:
    ended(n)
    return {"parcel": 3}


@task()
def quiet(order: dict[str, object]) -> None:
    """Do nothing."""
