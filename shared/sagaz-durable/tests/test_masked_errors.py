"""What exceptions say is recorded and logged without the secrets in it."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagaz import Saga, action, compensate

from sagaz_durable.masked_errors import masked_error, masked_text
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import SagazError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Client error '401 Unauthorized' for url 'https://pay.example/v1?api_key=hunter2&order=1'",
            "Client error '401 Unauthorized' for url 'https://pay.example/v1?api_key=***&order=1'",
        ),
        ("cannot reach postgresql://me:hunter2@db/shop, giving up", "cannot reach postgresql://***@db/shop, giving up"),
        ("http://me:hunt@er2@pay.example answers 401", "http://***@pay.example answers 401"),
        ("https://pay.example?api%5Fkey=hunter2", "https://pay.example?api%5Fkey=***"),
        ("postgresql://me:hunter2 and more@db/shop", "postgresql://*** and more@db/shop"),
        ("what was cut is amqp://me:hunter2…", "what was cut is amqp://***"),
        ("(redis://:hunter2@cache:6379/0)", "(redis://***@cache:6379/0)"),
        ("connecting with host=h password=hunter2 dbname=shop", "connecting with host=h password=*** dbname=shop"),
        ("password='hunter2 and more', user=me", "password=***, user=me"),
        ("login(user='me', Password = \"hunter2\")", "login(user='me', Password = ***)"),
        ("input_value={'password': 'hunter2', 'name': 'Ada'}", "input_value={'password': ***, 'name': 'Ada'}"),
        ('got {"client_secret":"hunter2","id":1}', 'got {"client_secret":***,"id":1}'),
        ("what was cut is {'password': 'hunter2…", "what was cut is {'password': ***"),
        ('what was cut is {"password": "hunter2…', 'what was cut is {"password": ***'),
        ("what was cut is api_key=hunter2…", "what was cut is api_key=***"),
        ("sent Authorization: Basic aHVudGVyMg==", "sent Authorization: ***"),
        ("headers {'Cookie': 'sid=hunter2; a=b', 'Accept': '*'}", "headers {'Cookie': ***"),
        ("sent Proxy-Authorization: Basic aHVudGVyMg==", "sent Proxy-Authorization: ***"),
        ("got Set-Cookie: sid=hunter2", "got Set-Cookie: ***"),
        ("sent x-api-key: hunter2 and more", "sent x-api-key: ***"),
        ("a bearer hunter2hunter2hunter2 is not known", "a bearer *** is not known"),
        ("Bearer hunter2hunter2hunter2", "Bearer ***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2 has expired", "*** has expired"),
        ("read -----BEGIN RSA PRIVATE KEY----- hunter2", "read ***"),
    ],
)
def test_what_is_secret_is_left_out_and_all_else_is_told(said, shown):
    assert masked_text(said) == shown
    assert masked_error(ValueError(said)) == f"ValueError: {shown}"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("sent x-api-key: hunter2\nhunter2", "sent x-api-key: ***"),
        ("read -----BEGIN RSA PRIVATE KEY-----\nhunter2\nhunter2", "read ***"),
    ],
)
def test_a_secret_of_several_lines_is_left_out_whole(said, shown):
    assert masked_text(said) == shown


@pytest.mark.parametrize(
    "said",
    [
        *("password: too short", "KeyError: 'api_key'", "the token has expired", "basic authentication is off", ""),
        *("https://shop.example/orders/1?email=a@b.example", "a bearer token is missing", "the cookie is old"),
        *("card_type=visa", "{'status': 'declined', 'order': 1}", "total = 3 != 4", "a=b=c", "://", "x://y"),
        *("('http://pay.example:8080')", "http://[::1]:80/a", "see http://pay.example: away", "file://C:/orders.db"),
        *("https://pay.example?at=noon:late", "https://pay.example#at:noon"),
    ],
)
def test_what_only_looks_similar_is_told(said):
    assert masked_text(said) == said


@given(st.text())
def test_any_text_is_masked_and_once_is_enough(said):
    assert masked_text(masked_text(said)) == masked_text(said)


class Paying(Saga):
    saga_name = "paying"
    retry_steps = True

    @action("reserve", max_retries=1)
    async def reserve(self, ctx): ...

    @compensate("reserve")
    async def release(self, ctx):
        raise OSError("https://stock.example/?token=hunter2 does not answer")

    @action("charge", depends_on=["reserve"], max_retries=1)
    async def charge(self, ctx):
        raise OSError("https://me:hunter2@pay.example/ does not answer")


@pytest.mark.anyio
async def test_neither_the_journal_nor_the_run_nor_the_log_has_what_a_steps_exception_tells_too_much(caplog):
    caplog.set_level(logging.DEBUG, "sagaz_durable")
    settings = replace(Settings(), backoff_seconds=0.01)
    runtime = SagazRuntime(settings, sagas=[Paying])
    await runtime.open()
    try:
        with pytest.raises(Exception, match="hunter2") as raised:
            await Sagas(runtime).run(Paying, {}, saga_id="run-1")
        assert not isinstance(raised.value, SagazError), "the caller has what the step raised"
        run = await runtime.store.load("run-1")
        steps = await runtime.store.load_steps("run-1")
    finally:
        await runtime.close()
    told = [run.error, *(step.error for step in steps), *(one.getMessage() for one in caplog.records)]
    assert "hunter2" not in str(told)
    assert any("https://***@pay.example/ does not answer" in str(one) for one in told)
    assert any("https://stock.example/?token=*** does not answer" in str(one) for one in told)


class Unbuilt(Saga):
    saga_name = "unbuilt"

    def __init__(self):
        raise OSError("https://me:hunter2@config.example/ does not answer")

    @action("reserve")
    async def reserve(self, ctx): ...


@pytest.mark.anyio
async def test_a_run_that_was_given_up_is_told_of_without_the_secrets_of_the_reason(tmp_path):
    settings = Settings(storage_url=f"sqlite:///{tmp_path / 's.db'}", max_failures=1, poll_seconds=0.01)
    runtime = SagazRuntime(settings, sagas=[Unbuilt])
    await runtime.open()
    try:
        saga_id = await Sagas(runtime).start(Unbuilt, {})
        await runtime.make_worker(drain=True).run()
        run, attempts = await runtime.store.load(saga_id), await runtime.store.load_attempts(saga_id)
    finally:
        await runtime.close()
    assert run.status == "failed"
    assert "https://***@config.example/ does not answer" in run.error
    assert "hunter2" not in f"{run} {attempts}"
