"""A run's lease is renewed while a plain step keeps the thread of its view."""

from __future__ import annotations

import asyncio
import threading

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import connections
from django.test import TestCase, override_settings
from places import on, until
from testproject.shop.models import Order

from django_sagaz import RuntimeNotOpen, Saga, action, create_saga, current_step, run_saga
from django_sagaz._execution.caller_loop import CallerLoop
from django_sagaz._execution.executions import Executions
from django_sagaz._execution.shared_loop import Host
from django_sagaz._project.current import current_project
from django_sagaz.models import Run

QUICK = {"LEASE_SECONDS": 1.5, "RENEW_SECONDS": 0.3}


class Patient(Saga):
    saga_name = "patient-in-a-view"

    @action("hold")
    def hold(self, ctx):
        """Take the thread until the lease, as it was, has been renewed, twice."""
        run = Run.objects.using(ctx["db"]).filter(pk=current_step().saga_id)
        for _ in range(2):
            before = run.get().lease_expires_at
            until(lambda before=before: run.get().lease_expires_at > before)


def hurried(home, settings):
    settings.SAGAZ = {**settings.SAGAZ, **QUICK}
    return {"db": home}


def renewing():
    return [thread for thread in threading.enumerate() if thread.name == "sagaz-leases"]


@on()
def test_a_long_plain_step_of_run_saga_keeps_its_lease(home, settings):
    run = run_saga(Patient, hurried(home, settings))
    assert run.status.value == "completed"
    assert Run.objects.using(home).get().attempt == 1


@on()
def test_so_does_one_for_which_asynchronous_code_waits(home, settings):
    run = async_to_sync(create_saga(Patient).run)(hurried(home, settings))
    assert run.status.value == "completed"
    assert Run.objects.using(home).get().attempt == 1


@on("default", "pg", "maria")
def test_what_renews_disconnects_when_no_run_needs_it(home, settings):
    run_saga(Patient, hurried(home, settings))
    keeper = current_project().keeper()
    connection = keeper._store._connection._kept
    assert connection.connection is not None
    until(lambda: connection.connection is None)
    assert not keeper.is_connected
    # And comes back: its step waits for renewals.
    assert run_saga(Patient, {"db": home}).status.value == "completed"


@override_settings(SAGAZ={"DATABASE": "default", **QUICK})
class InTestCase(TestCase):
    databases = {"default"}

    def test_nothing_is_renewed_from_elsewhere(self):
        Order.objects.create(name="one")
        seen = []

        class Look(Saga):
            @action("look")
            def look(self, ctx):
                seen.extend(renewing())

        run_saga(Look, {})
        assert not seen


@on("default")
def test_a_host_can_be_closed_while_it_opens(home):
    for _ in range(20):
        host = Host(current_project())
        opened = host._start()
        host.close()
        # Either way it has come to its end, with its thread and its connections.
        assert opened.done()
        assert not [thread for thread in threading.enumerate() if thread.name == "sagaz-loop"]
        with pytest.raises(RuntimeNotOpen):
            opened.result().check_open()


@on("default")
def test_what_runs_while_executions_are_closed_gives_back_what_it_holds(home):
    executions = Executions(current_project())
    inside, closed = threading.Event(), threading.Event()
    kept = []

    async def work(runtime):
        kept.append(runtime)
        inside.set()
        closed.wait(20)

    def run():
        executions.run(work)
        connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    inside.wait(20)
    executions.close()
    closed.set()
    thread.join()
    assert not kept[0].is_open


class Stopped(Saga):
    saga_name = "stopped-by-hand"
    calls = 0

    @action("only")
    def only(self, ctx):
        Stopped.calls += 1
        if Stopped.calls == 1:
            raise KeyboardInterrupt


@on()
def test_a_run_whose_call_was_interrupted_by_ctrl_c_is_resumed_though_its_process_lives(home, settings):
    Stopped.calls = 0
    context = hurried(home, settings)
    with pytest.raises(KeyboardInterrupt):
        run_saga(Stopped, context)
    # A loop that was left in the middle of something executes nothing any more.
    assert run_saga(Stopped, context).status.value == "completed"
    assert Stopped.calls == 2

    def resumed():
        call_command("sagaz_worker", drain=True)
        return Run.objects.using(home).filter(status="completed").count() == 2

    until(resumed)
    assert sorted(Run.objects.using(home).values_list("attempt", "failures")) == [(1, 0), (2, 0)]


def test_a_call_that_was_given_up_before_its_turn_is_not_made():
    loop, made = CallerLoop(), []

    async def work():
        loop.thread.submit(made.append, 1).cancel()
        await asyncio.wrap_future(loop.thread.submit(made.append, 2))

    loop.run(work)
    loop.close()
    assert made == [2]
