"""Asking and deciding about single runs, from synchronous and asynchronous code."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async

from django_sagaz._execution.scopes import synchronous_scope
from sagaz_durable.operations.decisions import Decisions
from sagaz_durable.runtime.client import function_form_of
from sagaz_durable.sagas import Sagas

__all__ = [
    "acancel", "alist_runs", "aresolve", "aretry", "arun_now", "asignal_run", "astatus", "cancel", "list_runs",
    "resolve", "retry", "run_now", "signal_run", "status",
]  # fmt: skip


@function_form_of(Sagas.status_sync)
def status(*args: Any, **options: Any) -> Any:
    """Return all that is known of a run; see `sagaz_durable.sagas.Sagas.status`."""
    return _decisions().status_sync(*args, **options)


@function_form_of(Sagas.list_runs_sync)
def list_runs(*args: Any, **options: Any) -> Any:
    """Return a page of runs, the newest first; see `sagaz_durable.sagas.Sagas.list_runs`."""
    return _decisions().list_runs_sync(*args, **options)


@function_form_of(Sagas.retry_sync)
def retry(*args: Any, **options: Any) -> Any:
    """Have a failed run go on where it stopped, or have its compensation tried again.

    In a transaction that is open, the decision takes effect with its commit. See `sagaz_durable.sagas.Sagas.retry`.
    """
    return _decisions().retry_sync(*args, **options)


@function_form_of(Sagas.cancel_sync)
def cancel(*args: Any, **options: Any) -> Any:
    """Have a run compensate what it has done; see `retry`, and `sagaz_durable.sagas.Sagas.cancel`."""
    return _decisions().cancel_sync(*args, **options)


@function_form_of(Sagas.resolve_sync)
def resolve(*args: Any, **options: Any) -> Any:
    """Note that a person has settled a failed run outside; see `retry`, and `sagaz_durable.sagas.Sagas.resolve`."""
    return _decisions().resolve_sync(*args, **options)


@function_form_of(Sagas.run_now_sync)
def run_now(*args: Any, **options: Any) -> Any:
    """Have a run go on now that is delayed or sleeps; see `retry`, and `sagaz_durable.sagas.Sagas.run_now`."""
    return _decisions().run_now_sync(*args, **options)


@function_form_of(Sagas.signal_run_sync)
def signal_run(*args: Any, **options: Any) -> Any:
    """Send a signal to a run as a person's decision; see `retry`, and `sagaz_durable.sagas.Sagas.signal_run`."""
    return _decisions().signal_run_sync(*args, **options)


@function_form_of(Sagas.status)
async def astatus(*args: Any, **options: Any) -> Any:
    """Do as `status`, in asynchronous code."""
    return await sync_to_async(status)(*args, **options)


@function_form_of(Sagas.list_runs)
async def alist_runs(*args: Any, **options: Any) -> Any:
    """Do as `list_runs`, in asynchronous code."""
    return await sync_to_async(list_runs)(*args, **options)


@function_form_of(Sagas.retry)
async def aretry(*args: Any, **options: Any) -> Any:
    """Do as `retry`, in asynchronous code."""
    return await sync_to_async(retry)(*args, **options)


@function_form_of(Sagas.cancel)
async def acancel(*args: Any, **options: Any) -> Any:
    """Do as `cancel`, in asynchronous code."""
    return await sync_to_async(cancel)(*args, **options)


@function_form_of(Sagas.resolve)
async def aresolve(*args: Any, **options: Any) -> Any:
    """Do as `resolve`, in asynchronous code."""
    return await sync_to_async(resolve)(*args, **options)


@function_form_of(Sagas.run_now)
async def arun_now(*args: Any, **options: Any) -> Any:
    """Do as `run_now`, in asynchronous code."""
    return await sync_to_async(run_now)(*args, **options)


@function_form_of(Sagas.signal_run)
async def asignal_run(*args: Any, **options: Any) -> Any:
    """Do as `signal_run`, in asynchronous code."""
    return await sync_to_async(signal_run)(*args, **options)


def _decisions() -> Decisions:
    return Decisions(synchronous_scope())
