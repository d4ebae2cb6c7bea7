"""People with different permissions, and runs for them to look at."""

# Its imports are in the fixtures: it is loaded before Django is set up.

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def login(db):
    """Return a function that returns a browser in which a person is logged in."""
    from people import log_in

    return log_in


@pytest.fixture
def make(home):
    """Return a function that makes a run, finished unless told otherwise, a minute older than the one before."""
    from django_sagaz.models import Run, Step

    made = []

    def make(status="completed", *, steps=(), **given):
        at = NOW - timedelta(minutes=len(made))
        ended = at + timedelta(seconds=3) if status in ("completed", "rolled_back", "failed") else None
        values = {
            "saga_id": f"run-{len(made):04}",
            "saga_name": "order",
            "status": status,
            "context": {"db": home, "name": "x"},
            "error": "ValueError: no truck" if status == "failed" else None,
            "attempt": 1,
            "available_at": None if ended else at,
            "created_at": at,
            "updated_at": ended or at,
            "finished_at": ended,
            "fingerprint": "f",
            **given,
        }
        run = Run.objects.using(home).create(**values)
        for number, (step, phase, state, more) in enumerate(steps):
            Step.objects.using(home).create(
                saga_id=run.pk,
                step=step,
                phase=phase,
                status=state,
                attempt=1,
                started_at=run.created_at + timedelta(seconds=number),
                finished_at=None if state == "started" else run.created_at + timedelta(seconds=number + 0.25),
                **more,
            )
        made.append(run)
        return run

    return make


@pytest.fixture
def event(home):
    """Return a function that makes an event."""
    from django_sagaz.models import OutboxEvent

    def event(status="pending", **given):
        values = {
            "event_id": f"event-{OutboxEvent.objects.using(home).count()}",
            "saga_id": "run-0000",
            "topic": "saga.order",
            "payload": {"amount": 3},
            "headers": {},
            "status": status,
            "attempts": 20 if status == "dead" else 0,
            "error": "ConnectionError: refused" if status == "dead" else None,
            "available_at": NOW if status == "pending" else None,
            "created_at": NOW,
            **given,
        }
        return OutboxEvent.objects.using(home).create(**values)

    return event


@pytest.fixture
def wait(home):
    """Return a function that makes a wait, for a signal unless it has no name."""
    from django_sagaz.models import Wait

    def wait(step="pay", name="paid", **given):
        number = Wait.objects.using(home).count()
        values = {
            "saga_id": "run-0000",
            "step": step,
            "phase": "do",
            "name": name,
            "n": 0,
            "created_at": NOW + timedelta(seconds=number),
            **given,
        }
        return Wait.objects.using(home).create(**values)

    return wait


@pytest.fixture
def signal(home):
    """Return a function that makes a signal, to a run unless it has a key, a minute younger than the one before."""
    from django_sagaz.models import Signal

    def signal(name="paid", *, key=None, **given):
        number = Signal.objects.using(home).count()
        values = {
            "id": f"signal-{number:04}",
            "name": name,
            "saga_id": "run-0000" if key is None else None,
            "key": key,
            "payload": None if given.get("taken_at") else {"amount": 3},
            "fingerprint": "f",
            "created_at": NOW + timedelta(minutes=number),
            **given,
        }
        return Signal.objects.using(home).create(**values)

    return signal
