"""Processes whose threads are greenlets, by gevent's or eventlet's monkey-patching: no event loop works in them."""

from __future__ import annotations

import sys

from sagaz_integration_core.errors import SettingsError

__all__ = ["refuse_greenlets"]


def refuse_greenlets() -> None:
    """See that threads are real ones.

    Raises:
        SettingsError: They are not; with what to start the server, or Celery's worker, with instead.
    """
    patcher = _patcher()
    if patcher is None:
        return
    # Celery's command loads it; a web process that only sends tasks does not.
    celery = "celery.bin.worker" in sys.modules
    advice = (
        "Use another pool of Celery's: celery worker --pool prefork, or --pool threads"
        if celery
        else "Use threaded workers, e.g. gunicorn --worker-class gthread --threads 8"
    )
    raise SettingsError(
        f"{patcher} has replaced threads by greenlets, and sagas need real ones for their event loop: every greenlet "
        f"would seem to be inside of that loop. {advice}."
    )


def _patcher() -> str | None:
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None
