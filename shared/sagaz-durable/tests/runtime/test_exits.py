"""A run whose step gets no thread because the process exits is given back, and not rolled back."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.calls import interpreter_exit
from sagaz_durable.calls.interpreter_exit import caused_by_exit
from sagaz_durable.runtime.bound_saga import bind
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import RunInterrupted

REFUSAL = "can't create new thread at interpreter shutdown"


class Refusing(ThreadPoolExecutor):
    def submit(self, *given):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


@pytest.fixture
def exiting(monkeypatch):
    """Threads are refused, as this process exits."""
    monkeypatch.setattr(interpreter_exit, "ThreadPoolExecutor", Refusing)


class NoThread(Saga):
    saga_name = "no-thread"

    @action("first")
    async def first(self, ctx): ...

    @compensate("first")
    async def undo(self, ctx):
        raise AssertionError("nothing is rolled back")

    @action("needs a thread", depends_on=["first"])
    async def second(self, ctx):
        try:
            raise RuntimeError(REFUSAL)
        except RuntimeError as error:
            raise OSError("the name server cannot be asked") from error


@pytest.mark.usefixtures("exiting")
async def test_a_step_that_gets_no_thread_at_exit_has_not_failed(tmp_path, opened):
    from sagaz_durable.settings.settings import Settings

    async with opened(Settings(storage_url=f"sqlite:///{tmp_path / 'sagaz.db'}")) as runtime:
        with pytest.raises(RunInterrupted, match="this process is exiting"):
            async with asyncio.timeout(20):
                await bind(runtime, NoThread).run()
        [run] = await runtime.store.find(RunFilter())
        assert (run.status, run.failures, run.lease_owner, run.error) == ("pending", 0, None, None)


def test_a_refusal_that_another_process_has_met_is_no_exit_of_this_one():
    assert not caused_by_exit(RuntimeError(REFUSAL))


@pytest.mark.usefixtures("exiting")
def test_only_pythons_own_refusals_count():
    assert caused_by_exit(RuntimeError(REFUSAL))
    assert caused_by_exit(RuntimeError("cannot schedule new futures after interpreter shutdown"))
    assert not caused_by_exit(RuntimeError("cannot schedule new futures after shutdown"))
    assert not caused_by_exit(ValueError(REFUSAL))
    circle = ValueError("one")
    circle.__cause__ = ValueError("two")
    circle.__cause__.__cause__ = circle
    assert not caused_by_exit(circle)
