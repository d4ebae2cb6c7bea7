"""A caller's isolation level is his, and so is its conflict; a role's default level makes no conflict of our own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from places import on
from roles import as_user, execute, give, user_of

from django_sagaz import RunInProgress, Saga, action, atomic_saga_start, publish, run_saga
from django_sagaz.models import OutboxEvent, Run


class Paid(Saga):
    """Needs no table but the journal's."""

    saga_name = "paid-in-isolation"

    @action("pay")
    def pay(self, ctx):
        return {"paid": True}

    @action("thank", depends_on=["pay"])
    async def thank(self, ctx):
        pass


def elsewhere(work):
    """Do something on another thread, and so on another connection."""

    def closing():
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(closing).result()


@on("pg")
@pytest.mark.parametrize("what", ["saga", "event"])
def test_a_conflict_in_a_serializable_transaction_is_raised_as_djangos_and_ends_it(home, settings, what):
    settings.SAGAZ = {**settings.SAGAZ, "BROKER_URL": "memory://"}

    def write():
        if what == "saga":
            return atomic_saga_start(Paid, {}, idempotency_key="k")
        return publish("paid", {}, idempotency_key="k")

    def others():
        with transaction.atomic(home):
            return write()

    begin = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"

    def overtaken():
        with transaction.atomic(home):
            execute(home, begin, "SELECT 1 FROM sagaz_meta")
            found.append(elsewhere(others))
            write()

    found = []
    with pytest.raises(OperationalError, match="could not serialize access") as raised:
        overtaken()
    assert raised.value.__cause__.sqlstate == "40001"
    with transaction.atomic(home):
        execute(home, begin)
        assert [write()] == found
        with connections[home].cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("serializable",)
    model = Run if what == "saga" else OutboxEvent
    assert model.objects.using(home).count() == 1


@on("pg")
def test_where_a_role_is_serializable_by_default_runs_and_workers_conflict_with_nobody(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, "SYNC_THREADS": 4}
    together = threading.Barrier(6)

    def work(_):
        """Run what the other threads run, too, at the same moment: one executes it, the others find its row."""
        try:
            for turn in range(15):
                together.wait(20)
                with suppress(RunInProgress):
                    assert run_saga(Paid, {}, idempotency_key=str(turn))["paid"]
        finally:
            connections.close_all()

    with user_of(home) as user:
        give(home, user)
        execute(home, f"ALTER ROLE {user} SET default_transaction_isolation = 'serializable'")
        with as_user(home, user):
            with ThreadPoolExecutor(6) as threads:
                list(threads.map(work, range(6)))
            for _ in range(5):
                with transaction.atomic(home):
                    atomic_saga_start(Paid, {})
            call_command("sagaz_worker", drain=True, verbosity=0)
    assert set(Run.objects.using(home).values_list("status", flat=True)) == {"completed"}
    assert Run.objects.using(home).count() == 20
