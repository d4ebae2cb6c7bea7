"""No run ends as what it is not, through the functions that Django's users call."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

import pytest
from django.core.exceptions import ValidationError
from django.db import connections, transaction
from django.utils import timezone
from places import on, until, worked

from django_sagaz import Saga, action, atomic_saga_start, compensate, run_saga
from django_sagaz.models import Run, Step

UNPRINTABLE = ValidationError("%(value)s is too much", params={"amount": 3})
"""Its `str` raises KeyError."""


@on()
def test_a_compensation_that_raises_what_cannot_be_printed_has_failed(home):
    class Unprintable(Saga):
        saga_name = f"unprintable-compensation-{home}"

        @action("reserve")
        def reserve(self, ctx): ...

        @compensate("reserve")
        def release(self, ctx):
            raise UNPRINTABLE

        @action("ship", depends_on=["reserve"])
        def ship(self, ctx):
            raise ValueError("no van")

    with pytest.raises(ValueError, match="no van"):
        run_saga(Unprintable, {"db": home})
    run = Run.objects.using(home).get()
    assert run.status == "failed"
    assert "compensation of 'reserve': ValidationError" in run.error


@on()
def test_a_step_that_raises_what_cannot_be_printed_is_journaled_as_failed_and_the_caller_gets_it(home):
    class Unprintable(Saga):
        saga_name = f"unprintable-step-{home}"

        @action("ship")
        def ship(self, ctx):
            raise UNPRINTABLE

    with pytest.raises(ValidationError):
        run_saga(Unprintable, {"db": home})
    assert Run.objects.using(home).get().status == "rolled_back"
    assert Step.objects.using(home).get().status == "failed"


@on()
def test_a_trigger_that_refuses_the_journal_for_a_while_fails_no_step_of_run_saga(home):
    calls = []

    class Refused(Saga):
        saga_name = f"refused-for-a-while-{home}"

        @action("reserve")
        def reserve(self, ctx):
            calls.append("reserve")

        @compensate("reserve")
        def release(self, ctx):
            calls.append("release")

        @action("charge", depends_on=["reserve"])
        def charge(self, ctx):
            calls.append("charge")
            apart(home, *REFUSE[home])
            threading.Thread(target=accept_soon, args=[home, calls]).start()

        @action("ship", depends_on=["charge"])
        def ship(self, ctx):
            calls.append("ship")

    assert run_saga(Refused, {"db": home}).status.value == "completed"
    assert calls == ["reserve", "charge", "accepted", "ship"]


@dataclass(frozen=True)
class Declined(Exception):
    """Neither its traceback nor its notes can be set."""

    code: str = "05"


class Mute(RuntimeError):
    def __str__(self):
        raise KeyError("no text")


@on()
@pytest.mark.parametrize("error", [Declined(), Mute()], ids=type)
def test_a_step_that_raises_what_refuses_to_be_handled_has_failed_and_the_caller_gets_it(home, error):
    class Hostile(Saga):
        saga_name = f"hostile-{type(error).__name__}-{home}"

        @action("reserve")
        def reserve(self, ctx): ...

        @compensate("reserve")
        def release(self, ctx): ...

        @action("charge", depends_on=["reserve"])
        def charge(self, ctx):
            raise error

    with pytest.raises(type(error)) as caught:
        run_saga(Hostile, {})
    assert caught.value is error
    assert Run.objects.using(home).get().status == "rolled_back"


@on()
def test_a_compensation_that_nobody_iterates_over_has_not_undone_anything(home):
    class Lazy(Saga):
        saga_name = f"lazy-compensation-{home}"

        @action("reserve")
        def reserve(self, ctx): ...

        @compensate("reserve")
        def release(self, ctx):
            return (one for one in ["never undone"])

        @action("ship", depends_on=["reserve"])
        def ship(self, ctx):
            raise ValueError("no van")

    with pytest.raises(ValueError, match="no van"):
        run_saga(Lazy, {})
    assert Run.objects.using(home).get().status == "failed"


@on()
@pytest.mark.parametrize("ended", ["charge", "ship"], ids=["it_fails", "what_follows_fails"])
def test_a_compensation_that_a_deployment_has_lost_is_owed_although_its_step_is_called_again(home, ended):
    class Lost(Saga):
        saga_name = f"lost-compensation-{home}-{ended}"

        @action("charge")
        def charge(self, ctx):
            if ended == "charge":
                raise ValueError("no")

        @action("ship", depends_on=["charge"])
        def ship(self, ctx):
            raise ValueError("no van")

    with transaction.atomic(using=home):
        saga_id = atomic_saga_start(Lost, {})
    # As the process of a deployment that had the compensation, and died in the step, has left it.
    Run.objects.using(home).update(attempt=1)
    Step.objects.using(home).create(
        saga_id=saga_id, step="charge", phase="do", status="started", attempt=1, compensated=True,
        started_at=timezone.now(),
    )  # fmt: skip
    worked()
    run = Run.objects.using(home).get()
    assert run.status == "failed"
    assert "step 'charge' is not undone: this deployment has no compensation of step 'charge'" in run.error


REFUSE = {
    "default": [
        "CREATE TRIGGER refuses BEFORE INSERT ON sagaz_step BEGIN SELECT RAISE(ABORT, 'not today'); END",
        "CREATE TRIGGER refuses_too BEFORE UPDATE ON sagaz_step BEGIN SELECT RAISE(ABORT, 'not today'); END",
    ],
    "pg": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$",
        "CREATE TRIGGER refuses BEFORE INSERT OR UPDATE ON sagaz_step FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    "maria": [
        f"CREATE TRIGGER {name} BEFORE {what} ON sagaz_step FOR EACH ROW SIGNAL SQLSTATE '45000' "
        "SET MESSAGE_TEXT = 'not today'"
        for name, what in (("refuses", "INSERT"), ("refuses_too", "UPDATE"))
    ],
}
ACCEPT = {
    "default": ["DROP TRIGGER refuses", "DROP TRIGGER refuses_too"],
    "pg": ["DROP TRIGGER refuses ON sagaz_step", "DROP FUNCTION refuse()"],
    "maria": ["DROP TRIGGER refuses", "DROP TRIGGER refuses_too"],
}


def apart(home, *statements):
    """Execute statements on a thread's own connection, beside that of the run."""

    def execute():
        with connections[home].cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        connections[home].close()

    thread = threading.Thread(target=execute)
    thread.start()
    thread.join(10)


class Refusals(logging.Handler):
    """Sees that a journal write was refused."""

    seen = False

    def emit(self, record):
        self.seen = self.seen or "its journal was refused" in record.getMessage()


def accept_soon(home, calls):
    """Let the journal be written again when the end of charge has been refused for a while."""
    refused = Refusals()
    logging.getLogger("sagaz_durable").addHandler(refused)
    try:
        until(lambda: refused.seen)
    finally:
        logging.getLogger("sagaz_durable").removeHandler(refused)
    calls.append("accepted")
    apart(home, *ACCEPT[home])
