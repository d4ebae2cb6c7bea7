"""Transactional steps: what they do with the ORM commits together with their journal entry, or not at all."""

from __future__ import annotations

import itertools
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import IntegrityError, connections, transaction
from places import ALIASES, on, place, until, worked
from testproject.shop.models import Order
from testproject.shop.sagas import TillSaga

from django_sagaz import Saga, SagaDefinitionError, StepError, action, atomic_saga_start, compensate, effect, run_saga
from django_sagaz._project.current import current_project
from django_sagaz.models import Run, Step

PROGRAM = str(Path(__file__).with_name("dies_in_a_step.py"))

POINTS = {"default": 17, "pg": 19, "maria": 26}
"""More than there are."""


numbers = itertools.count(1)
"""For names of sagas: all of a process are in one registry."""


def names(alias):
    return sorted(Order.objects.using(alias).values_list("name", flat=True))


def one_step(function):
    """A saga of one transactional step, which has a compensation that is none."""

    class One(Saga):
        saga_name = f"till-{next(numbers)}"

        @action("charge")
        @effect("transactional")
        def charge(self, ctx):
            return function(ctx)

        @compensate("charge")
        def refund(self, ctx):
            Order.objects.using(ctx["db"]).create(name="refund")

    return One


@pytest.mark.parametrize(
    ("alias", "at"),
    [pytest.param(alias, at, marks=place(alias).marks) for alias in ALIASES for at in range(1, POINTS[alias])],
)
def test_a_step_and_its_compensation_have_their_effects_once_wherever_their_process_dies(home, elsewhere, at):
    process = elsewhere(PROGRAM, home, str(at))
    output = process.communicate(timeout=60)[0]
    assert process.returncode in (0, -signal.SIGKILL), output
    runs = Run.objects.using(home)
    past = datetime(2020, 1, 1, tzinfo=UTC)
    runs.filter(lease_owner__isnull=False).update(lease_expires_at=past, available_at=past)

    def ended():
        worked()
        return runs.get(pk="run-1").status == "rolled_back"

    until(ended)
    assert names(home) == ["charge", "refund"]


@on()
def test_every_statement_is_among_the_points_at_which_processes_are_killed(home, elsewhere):
    output = elsewhere(PROGRAM, home, "0").communicate(timeout=60)[0]
    # Of the step, and of its compensation: savepoint, insert, release, record, and before and after the commit.
    assert 2 * 6 <= int(output.split()[-2]) < POINTS[home], output


@on()
def test_a_step_and_its_journal_entry_are_seen_by_others_at_the_same_moment(home):
    seen = []

    def look():
        # On a connection of its own.
        seen.append((names(home), Step.objects.using(home).count()))
        connections.close_all()

    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return {"charged": 1}

    run_saga(one_step(charge), {"db": home})
    assert seen == [([], 0)]
    assert names(home) == ["charge"]
    assert Step.objects.using(home).get().status == "done"


@on()
def test_a_step_that_fails_leaves_nothing_and_is_not_compensated(home):
    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        raise ValueError("declined")

    with pytest.raises(ValueError, match="declined"):
        run_saga(one_step(charge), {"db": home})
    assert names(home) == []
    assert Step.objects.using(home).get().status == "failed"
    assert Run.objects.using(home).get().status == "rolled_back"


@on()
def test_a_step_whose_result_cannot_be_kept_leaves_nothing(home):
    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        return {"order": object()}

    with pytest.raises(ValueError, match="order: object is not one of JSON's types"):
        run_saga(one_step(charge), {"db": home})
    assert names(home) == []


@on()
def test_a_step_that_ends_its_transaction_behind_djangos_back_is_in_doubt_and_compensated(home):
    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        with connections[ctx["db"]].cursor() as cursor:
            cursor.execute("COMMIT")

    with pytest.raises(StepError, match="has ended its own transaction"):
        run_saga(one_step(charge), {"db": home})
    assert names(home) == ["charge", "refund"]


@on()
def test_a_step_that_swallows_an_error_of_its_transaction_is_told_so(home):
    def charge(ctx):
        try:
            with transaction.atomic(ctx["db"], savepoint=False):
                raise IntegrityError("taken")
        except IntegrityError:
            pass

    with pytest.raises(StepError, match="went on after an error"):
        run_saga(one_step(charge), {"db": home})
    assert Step.objects.using(home).get().status == "failed"


@on()
@pytest.mark.parametrize("savepoint", [True, False])
def test_a_block_that_a_step_leaves_open_is_its_failure_and_nothing_of_it_is_left_on_the_connection(home, savepoint):
    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        transaction.atomic(using=ctx["db"], savepoint=savepoint).__enter__()

    with pytest.raises(StepError, match=r"has entered a transaction.atomic\(\) that it has not left"):
        run_saga(one_step(charge), {"db": home})
    assert names(home) == []
    assert Step.objects.using(home).get().status == "failed"
    assert not connections[home].in_atomic_block
    run_saga(one_step(lambda ctx: Order.objects.using(ctx["db"]).create(name="next") and None), {"db": home})
    assert names(home) == ["next"]


@on()
def test_a_step_that_closes_its_connection_is_told_so(home):
    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        connections[ctx["db"]].close()

    with pytest.raises(StepError, match="has closed its database connection"):
        run_saga(one_step(charge), {"db": home})
    assert names(home) == []


@on()
def test_a_hook_that_raises_after_the_commit_changes_nothing_of_it(home):
    def charge(ctx):
        Order.objects.using(ctx["db"]).create(name="charge")
        transaction.on_commit(lambda: 1 / 0, using=ctx["db"])

    run_saga(one_step(charge), {"db": home})
    assert names(home) == ["charge"]
    assert Run.objects.using(home).get().status == "completed"


@on()
def test_what_a_step_starts_is_started_if_and_only_if_the_step_commits(home):
    other = one_step(lambda ctx: None)

    def charge(ctx):
        atomic_saga_start(other, {"db": home}, using=home)
        if ctx["fails"]:
            raise ValueError("declined")

    with pytest.raises(ValueError, match="declined"):
        run_saga(one_step(charge), {"db": home, "fails": True})
    assert Run.objects.using(home).filter(saga_name=other.saga_name).count() == 0
    run_saga(one_step(charge), {"db": home, "fails": False})
    assert Run.objects.using(home).filter(saga_name=other.saga_name).count() == 1


@on()
def test_a_worker_calls_transactional_steps_too(home):
    class Counting(Saga):
        saga_name = f"till-counting-{home}"

        @action("charge")
        @effect("transactional")
        def charge(self, ctx):
            assert connections[ctx["db"]].in_atomic_block
            Order.objects.using(ctx["db"]).create(name="charge")

    with transaction.atomic(home):
        atomic_saga_start(Counting, {"db": home}, using=home)
    worked()
    assert Run.objects.using(home).get().status == "completed"
    assert names(home) == ["charge"]


@on("default")
def test_an_asynchronous_transactional_step_is_refused_by_name(home):
    class Slow(Saga):
        saga_name = "till-async"

        @action("charge")
        @effect("transactional")
        async def charge(self, ctx): ...

    with pytest.raises(SagaDefinitionError, match=r"Step 'charge' of saga 'till-async' .* Make it a `def` step"):
        run_saga(Slow, {"db": home})


@on("default")
def test_transactional_steps_are_refused_where_runs_are_kept_outside_of_django(home, settings):
    class Plain(Saga):
        saga_name = "till-plain"

        @action("look")
        def look(self, ctx):
            return {"looked": True}

    settings.SAGAZ = {"STORAGE_URL": "memory://"}
    for saga in (one_step(lambda ctx: None), TillSaga):
        with pytest.raises(SagaDefinitionError, match=r"STORAGE_URL.* keeps runs outside of Django's databases"):
            run_saga(saga, {"db": home})
    assert "till" not in current_project().registry.first_steps, "so that no worker claims its runs"
    # The project's other sagas are run all the same.
    assert run_saga(Plain, {})["looked"]
    settings.SAGAZ = {"DATABASE": home}
    with pytest.raises(ValueError, match="no truck"):
        run_saga(TillSaga, {"db": home})
    assert "till" in current_project().registry.first_steps


@pytest.mark.django_db
def test_in_a_test_case_a_step_is_part_of_the_tests_own_transaction(settings):
    settings.SAGAZ = {"DATABASE": "default"}

    def charge(ctx):
        Order.objects.create(name="charge")
        return {"charged": 1}

    assert run_saga(one_step(charge), {"db": "default"})["charged"] == 1
    assert names("default") == ["charge"]
