"""What code asks and decides about single runs, in and outside of transactions, synchronous and asynchronous."""

from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from places import on
from testproject.shop.sagas import OrderSaga

from django_sagaz import (
    TransactionRequired,
    UsageError,
    acancel,
    aresolve,
    aretry,
    astatus,
    atomic_saga_start,
    atomic_saga_start_many,
    cancel,
    create_saga,
    resolve,
    retry,
    run_saga,
    status,
)
from django_sagaz.models import AuditEntry, Run


def start(home):
    with transaction.atomic(home):
        return atomic_saga_start(OrderSaga, {"db": home, "name": "x"})


def failed(home):
    saga_id = start(home)
    Run.objects.using(home).filter(pk=saga_id).update(status="failed", available_at=None, attempt=1, error="no truck")
    return saga_id


def noted(home, saga_id):
    return list(AuditEntry.objects.using(home).filter(saga_id=saga_id).values_list("action", "actor", "reason"))


@on("default", "pg", "maria")
def test_code_retries_resolves_and_cancels_and_who_does_is_kept(home):
    saga_id = failed(home)
    assert retry(saga_id, by="ann", reason="truck is back").status == "pending"
    assert cancel(saga_id, by="bob", dry_run=True).message.startswith("Would do: ")
    assert cancel(saga_id, by="bob").status == status(saga_id).status == "compensating"
    assert noted(home, saga_id) == [("retry", "ann", "truck is back"), ("cancel", "bob", "")]
    saga_id = failed(home)
    assert resolve(saga_id, "completed", by="ann", reason="sent by post").status == "completed"
    assert [note.reason for note in status(saga_id).audit] == ["sent by post"]


@on("default", "pg", "maria")
def test_asynchronous_code_has_the_same_verbs(home):
    async def decide(first, second):
        assert (await aretry(first, by="ann")).status == "pending"
        assert (await acancel(first, by="ann")).status == "compensating"
        assert (await aresolve(second, "rolled_back", by="ann", reason="by hand")).status == "rolled_back"
        return [(await astatus(saga_id)).status for saga_id in (first, second)]

    assert async_to_sync(decide)(failed(home), failed(home)) == ["compensating", "rolled_back"]


@on("default", "pg", "maria")
def test_a_decision_is_undone_with_the_transaction_that_it_was_made_in(home):
    saga_id = start(home)
    with transaction.atomic(home):
        assert cancel(saga_id, by="ann").done
        transaction.set_rollback(True, using=home)
    assert (status(saga_id).status, noted(home, saga_id)) == ("pending", [])
    with transaction.atomic(home):
        cancel(saga_id, by="ann")
    assert (status(saga_id).status, noted(home, saga_id)) == ("compensating", [("cancel", "ann", "")])


@on("default")
def test_nobody_decides_without_a_name(home):
    with pytest.raises(UsageError, match="by=' ' names nobody"):
        retry("x", by=" ")


@pytest.mark.django_db
def test_runs_outside_of_djangos_databases_are_decided_about_too(settings):
    settings.SAGAZ = {"STORAGE_URL": "memory://"}
    run = run_saga(create_saga(OrderSaga), {"db": "default", "name": "x"})
    assert status(run.saga_id).status == "completed"
    outcome = cancel(run.saga_id, by="ann")
    assert (outcome.done, "there is nothing to cancel" in outcome.message) == (False, True)


@on("default", "pg", "maria")
def test_many_runs_start_with_the_transaction_in_order_or_not_at_all(home):
    contexts = [{"db": home, "name": str(n)} for n in range(3)]
    with transaction.atomic(home):
        atomic_saga_start_many(OrderSaga, contexts)
        transaction.set_rollback(True, using=home)
    assert not Run.objects.using(home).exists()
    with transaction.atomic(home):
        saga_ids = atomic_saga_start_many(OrderSaga, iter(contexts))
        assert atomic_saga_start_many(OrderSaga, []) == []
    runs = Run.objects.using(home).in_bulk(saga_ids)
    assert [runs[saga_id].context["name"] for saga_id in saga_ids] == ["0", "1", "2"]
    with pytest.raises(TransactionRequired):
        atomic_saga_start_many(OrderSaga, contexts)
