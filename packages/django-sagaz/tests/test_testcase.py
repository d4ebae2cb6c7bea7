"""Inside Django's own test classes, everything happens on the test's connection, in memory too."""

from __future__ import annotations

import unittest.mock

import pytest
from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import connections, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from django.test.utils import CaptureQueriesContext
from testproject.shop.models import Order
from testproject.shop.sagas import OrderSaga

from django_sagaz import (
    AtomicBlockError,
    TransactionRequired,
    async_saga_factory,
    atomic_saga_start,
    create_saga,
    run_saga,
)
from django_sagaz.models import Run, Step


class Cases:
    """The same on every database."""

    home: str

    def context(self, **more):
        return {"db": self.home, "name": "one", **more}

    def runs(self):
        return Run.objects.using(self.home)

    def test_an_inline_run_sees_and_changes_the_tests_rows(self):
        Order.objects.using(self.home).create(name="one")
        run = run_saga(create_saga(OrderSaga), self.context())
        assert (run.status.value, run["orders"], run["shipped"]) == ("completed", 1, True)
        assert run["key"] == f"{run.saga_id}:reserve"
        assert Order.objects.using(self.home).get().paid
        assert self.runs().get().status == "completed"
        assert Step.objects.using(self.home).filter(status="done").count() == 3

    def test_a_failed_one_is_compensated_and_raises_the_steps_error(self):
        Order.objects.using(self.home).create(name="one")
        with self.assertRaisesMessage(ValueError, "no truck"):
            run_saga(OrderSaga, self.context(fail=True))
        assert not Order.objects.using(self.home).get().paid
        assert self.runs().get().status == "rolled_back"

    def test_the_worker_command_drains(self):
        Order.objects.using(self.home).create(name="one")
        with transaction.atomic(self.home):
            atomic_saga_start(OrderSaga, self.context())
        call_command("sagaz_worker", drain=True)
        assert self.runs().get().status == "completed"
        assert Order.objects.using(self.home).get().paid

    def test_only_a_users_own_transaction_counts(self):
        with pytest.raises(TransactionRequired):
            atomic_saga_start(OrderSaga, self.context())
        with transaction.atomic(self.home), pytest.raises(AtomicBlockError):
            run_saga(OrderSaga, self.context())
        with transaction.atomic(self.home, durable=True):
            atomic_saga_start(OrderSaga, self.context())
        assert self.runs().count() == 1

    def test_on_commit_hooks_can_run_sagas(self):
        with self.captured(execute=True):
            with transaction.atomic(self.home):
                Order.objects.using(self.home).create(name="one")
                transaction.on_commit(lambda: run_saga(OrderSaga, self.context()), using=self.home)
            if isinstance(self, TestCase):
                assert self.runs().count() == 0
        assert self.runs().get().status == "completed"

    async def test_async_code_runs_sagas_on_the_tests_connection(self):
        await Order.objects.using(self.home).acreate(name="one")
        saga = await async_saga_factory(OrderSaga)
        run = await saga.run(self.context())
        assert (run["orders"], run.status.value) == (1, "completed")
        order = await Order.objects.using(self.home).aget()
        assert order.paid
        assert await self.runs().acount() == 1

    async def test_sync_code_called_from_async_code_can_run_sagas(self):
        run = await sync_to_async(run_saga)(OrderSaga, self.context())
        assert run.status.value == "completed"
        assert await self.runs().acount() == 1


class InTestCase(Cases):
    def captured(self, **options):
        return self.captureOnCommitCallbacks(using=self.home, **options)

    def test_the_first_start_of_a_process_asks_no_more_than_the_second_one(self):
        def start():
            with transaction.atomic(self.home):
                atomic_saga_start(OrderSaga, self.context())

        def run():
            run_saga(OrderSaga, self.context())

        def queries(begin):
            with CaptureQueriesContext(connections[self.home]) as captured:
                begin()
            return len(captured)

        for begin in (start, run):
            # What was found out before is forgotten with the settings.
            with override_settings(SAGAZ={"DATABASE": self.home}):
                assert queries(begin) == queries(begin)


class InTransactionTestCase(Cases):
    def captured(self, **options):
        return unittest.mock.MagicMock()


def _cases():
    for base, rows in ((TestCase, InTestCase), (TransactionTestCase, InTransactionTestCase)):
        for home in ("default", "memory", "pg"):
            if (base, home) == (TransactionTestCase, "memory"):
                continue
            body = {"home": home, "databases": {home}}
            name = f"{rows.__name__}_{home}"
            yield name, override_settings(SAGAZ={"DATABASE": home})(type(name, (rows, base), body))


globals().update(_cases())


@override_settings(SAGAZ={"DATABASE": "memory"})
class IsolationTest(TestCase):
    databases = {"memory"}

    def test_one_leaves_nothing(self):
        run_saga(OrderSaga, {"db": "memory", "name": "one"})
        assert Run.objects.using("memory").count() == 1

    def test_two_sees_nothing(self):
        assert Run.objects.using("memory").count() == 0
        assert connections["memory"].in_atomic_block
