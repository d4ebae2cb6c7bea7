"""Which correlation ids are accepted, how long one is bound, and who sees it."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys
import threading
import uuid

import anyio
import pytest

import sagaz_durable  # noqa: F401  sagaz's own request context is a mirror as soon as the engine is there
from sagaz_integration_core.context import correlation as context
from sagaz_integration_core.contract.lifecycle import RequestContext


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def upstream():
    """sagaz's own view of the request."""
    from sagaz.integrations import SagaContextManager

    return SagaContextManager


@pytest.mark.parametrize(
    "value", ["a", "x" * 128, "0b2d5c9e-7a44-4b86-8a0f-2f2d0f1b6c11", "urn:uuid:1/2", "a.b_c~d:e/f+g=h@i-j", "Root=1-6"]
)
def test_a_safe_id_is_taken_as_it_is(value, caplog):
    assert context.accept(value) == value
    assert context.accept(value.encode()) == value
    assert caplog.records == []


@pytest.mark.parametrize(
    "value",
    ["", "x" * 129, "a b", "a\n", "a\r\nSet-Cookie: x", "é", "a\0", "${jndi}", "a,b", '"a"', "<b>", "a%20b", "a;b"],
)
def test_any_other_id_is_replaced_and_counted_in_a_log_line_without_it(value, caplog):
    for given in (value, value.encode("latin-1")):
        caplog.clear()
        fresh = context.accept(given)

        assert uuid.UUID(fresh).version == 4
        [record] = caplog.records
        assert (record.name, record.levelno) == ("sagaz_integration_core.context.correlation", logging.WARNING)
        assert fresh in record.getMessage()
        assert value == "" or value not in record.getMessage().replace("A-Z a-z 0-9", "")


def test_the_count_of_replaced_ids_goes_up(caplog):
    context.accept("a b")
    context.accept("a b")

    first, second = (record.args[1] for record in caplog.records)
    assert second == first + 1


def test_bytes_that_are_no_text_are_replaced():
    uuid.UUID(context.accept(b"\xff\xfe"))


def test_without_an_id_each_request_gets_a_fresh_one_silently(caplog):
    assert context.accept(None) != context.accept(None)
    assert caplog.records == []


def test_what_is_bound_is_current_until_it_is_unbound():
    assert context.current() is None

    binding = context.bind("one", propagate=False)
    request: RequestContext | None = context.current()

    assert request is not None
    assert (request.correlation_id, request.propagate) == ("one", False)
    assert context.correlation_id() == "one"
    context.unbind(binding)
    assert context.current() is None
    assert context.correlation_id() is None


def test_an_inner_binding_ends_before_the_outer_one():
    with context.bound("outer", values={"tenant": "t", "user": 1}) as outer:
        with context.bound("inner", values={"user": 2}) as inner:
            assert context.current() is inner
            assert inner.values == {"tenant": "t", "user": 2}
        assert context.current() is outer
    assert context.current() is None


def test_an_exception_unbinds():
    with pytest.raises(ZeroDivisionError), context.bound("one"):
        _ = 1 / 0
    assert context.current() is None


def test_unbinding_twice_changes_nothing():
    binding = context.bind("one")
    context.unbind(binding)
    with context.bound("two"):
        context.unbind(binding)
        assert context.correlation_id() == "two"


def test_a_binding_can_be_undone_in_a_copy_of_its_context(upstream):
    # The body of a streaming response ends in one.
    with context.bound("outer"):
        upstream.set("user", 1)
        binding = context.bind("inner")
        copied = contextvars.copy_context()

        def end() -> tuple[object, object]:
            context.unbind(binding)
            return context.correlation_id(), upstream.get_all()

        assert copied.run(end) == ("outer", {"correlation_id": "outer", "user": 1})
        assert context.correlation_id() == "inner"
        context.unbind(binding)
        assert context.correlation_id() == "outer"


def test_a_binding_without_an_outer_one_can_be_undone_in_a_copy_of_its_context(upstream):
    results = []

    def request() -> None:
        binding = context.bind("one")
        contextvars.copy_context().run(lambda: (context.unbind(binding), results.append(context.current())))
        contextvars.copy_context().run(lambda: (context.unbind(binding), results.append(upstream.get_all())))

    contextvars.Context().run(request)

    assert results == [None, {}]


def test_undoing_a_binding_late_leaves_another_request_alone(upstream):
    binding = contextvars.Context().run(lambda: context.bind("abandoned"))

    with context.bound("another"):
        context.unbind(binding)
        assert context.correlation_id() == "another"
        assert upstream.get("correlation_id") == "another"


def test_a_thread_does_not_see_another_threads_request():
    seen = []
    with context.bound("one"):
        thread = threading.Thread(target=contextvars.Context().run, args=(lambda: seen.append(context.current()),))
        thread.start()
        thread.join()

    assert seen == [None]


async def test_concurrent_requests_do_not_see_each_other(upstream):
    seen = {}

    async def request(name: str) -> None:
        with context.bound(name):
            await anyio.sleep(0.001)
            seen[name] = context.correlation_id(), upstream.get("correlation_id")

    async with anyio.create_task_group() as group:
        for number in range(50):
            group.start_soon(request, str(number))

    assert seen == {str(number): (str(number), str(number)) for number in range(50)}
    assert context.current() is None


async def test_the_id_follows_into_worker_threads():
    with context.bound("one"):
        assert await anyio.to_thread.run_sync(context.correlation_id) == "one"


def test_sagaz_sees_the_id_and_the_values_and_forgets_them(upstream):
    with context.bound("one", values={"tenant": "t"}):
        assert upstream.get_all() == {"tenant": "t", "correlation_id": "one"}
    assert upstream.get_all() == {}


def test_what_an_enclosing_scope_of_sagaz_has_set_stays_visible_and_comes_back(upstream):
    with upstream.scope(user=1, correlation_id="theirs"):
        with context.bound("ours"):
            assert upstream.get_all() == {"user": 1, "correlation_id": "ours"}
            upstream.set("user", 2)
        assert upstream.get_all() == {"user": 1, "correlation_id": "theirs"}


def test_sagaz_sees_the_id_also_when_it_is_not_propagated_into_contexts(upstream):
    with context.bound("one", propagate=False):
        assert upstream.get("correlation_id") == "one"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_binding_does_not_import_sagaz():
    assert run(
        "import sagaz_durable, sys\n"
        "from sagaz_integration_core.context import correlation as context\n"
        "with context.bound('one'): print('sagaz' in sys.modules)"
    ) == "False"  # fmt: skip


def test_sagaz_sees_the_id_as_soon_as_somebody_has_imported_it():
    assert run(
        "import sagaz_durable\n"
        "from sagaz_integration_core.context import correlation as context\n"
        "from sagaz.integrations import SagaContextManager, get_correlation_id\n"
        "with context.bound('one'): print(get_correlation_id())"
    ) == "one"  # fmt: skip
