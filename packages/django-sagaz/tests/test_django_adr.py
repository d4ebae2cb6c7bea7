"""The Django samples of ADR-028, as written but for the documented differences: import names, and no REST framework."""

from __future__ import annotations

import io
import json
import os

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import transaction
from django.http import JsonResponse
from django.test import AsyncClient, Client, override_settings
from django.urls import path
from testproject.shop.models import Order

import django_sagaz
from django_sagaz import Saga, action, async_saga_factory, atomic_saga_start, run_saga, saga_context
from django_sagaz.models import Run


class OrderSaga(Saga):
    saga_name = "order-of-the-adr"

    @action("reserve")
    async def reserve(self, ctx):
        return {"reserved": ctx["order_id"]}


def explicitly(request):
    with transaction.atomic():
        order = Order.objects.create(name="explicit")

        # This writes to outbox table in SAME transaction
        saga_id = atomic_saga_start(
            OrderSaga,
            context={"order_id": order.id},
            connection=transaction.get_connection(),  # Reuse Django's connection
        )
    return JsonResponse({"order_id": order.id, "saga_id": saga_id})


@transaction.atomic
@saga_context  # Automatically captures the transaction
def decorated(request):
    order = Order.objects.create(name="decorated")
    saga = OrderSaga()
    saga.run_deferred({"order_id": order.id})  # Publishes to outbox on commit
    return JsonResponse({"order_id": order.id})


async def asynchronous(request):
    data = json.loads(request.body)
    saga = await async_saga_factory(OrderSaga)
    result = await saga.run({"order_id": data["order_id"]})
    return JsonResponse({"saga_id": result.saga_id})


urlpatterns = [path("explicitly", explicitly), path("decorated", decorated), path("asynchronous", asynchronous)]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("name", ["explicitly", "decorated"])
def test_both_approaches_start_a_saga_with_the_transaction_and_the_command_runs_it(name):
    answer = Client().post(f"/{name}").json()
    run = Run.objects.get()
    assert (run.status, run.context["order_id"]) == ("pending", Order.objects.get().pk)
    assert answer.get("saga_id", run.pk) == run.pk
    out = io.StringIO()
    call_command("sagaz_worker", "--concurrency", "4", "--drain", stdout=out)
    assert "Ended: 1 completed." in out.getvalue()


async def test_the_asynchronous_view_answers_with_the_id_of_its_run():
    answer = await AsyncClient().post("/asynchronous", {"order_id": 7}, content_type="application/json")
    run = await Run.objects.aget()
    assert (answer.json()["saga_id"], run.status) == (run.pk, "completed")


@override_settings(
    SAGAZ={
        "STORAGE_URL": os.environ.get("SAGAZ_STORAGE_URL", "memory://"),
        "BROKER_URL": os.environ.get("SAGAZ_BROKER_URL", None),
        "METRICS": True,
        "LOGGING": True,
    }
)
def test_the_settings_are_valid_and_what_has_no_use_yet_is_one_warning():
    [message] = checks.run_checks(tags=["sagaz"])
    assert (message.id, message.level) == ("sagaz.W006", checks.WARNING)
    assert 'SAGAZ["METRICS"]: accepted, and without use yet: metrics are counted in this process\'s' in message.msg
    assert run_saga(OrderSaga, {"order_id": 1})["reserved"] == 1


def test_the_commands_are_there():
    for command, told in (("sagaz_list", "order  ("), ("sagaz_check", "problem    none")):
        out = io.StringIO()
        call_command(command, stdout=out)
        assert told in out.getvalue()


@pytest.mark.parametrize("name", ["atomic_saga_start", "saga_context", "async_saga_factory", "Saga"])
def test_every_name_of_the_samples_is_public(name):
    assert name in django_sagaz.__all__
