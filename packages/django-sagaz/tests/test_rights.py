"""What a database lacks is said by name and is no outage: commands end, servers wait for it and say so once."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import secrets
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from places import on, until
from roles import as_user, documented, execute, give, user_of
from test_processes import free_port, is_up

from django_sagaz import (
    Saga,
    StoreNotMigrated,
    StoreRightsMissing,
    action,
    atomic_saga_start,
    close,
    liveness,
    readiness,
    run_saga,
)
from django_sagaz.models import Run
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.factory import migrate
from sagaz_durable.stores.grants import WRITING, grants
from sagaz_integration_core.contract.schema import TABLES


class Paid(Saga):
    """Needs no rights but those of its journal."""

    saga_name = "paid"

    @action("pay")
    def pay(self, ctx):
        if ctx.get("decline"):
            raise ValueError("declined")


def start(home, **context):
    with transaction.atomic(home):
        return atomic_saga_start(Paid, context)


def command(*words):
    """Call a command, and return its exit code and what it said."""
    out = io.StringIO()
    try:
        call_command(*words, stdout=out)
    except CommandError as error:
        return 1, f"{out.getvalue()}{error}"
    except SystemExit as end:
        return end.code, out.getvalue()
    return 0, out.getvalue()


def test_the_page_has_the_statements_for_every_table_of_mariadb():
    rights = ", ".join(WRITING)
    assert documented() == [f"GRANT {rights} ON shop.{table} TO app@localhost;" for table in TABLES]


@on("pg", "maria")
def test_with_the_documented_rights_every_command_works_and_a_reader_only_looks(home):
    with user_of(home) as user, user_of(home) as reader:
        give(home, user)
        give(home, reader, only_reads=True)
        with as_user(home, user):
            first, second, third = (start(home, decline=decline) for decline in (False, True, False))
            assert run_saga(Paid, {}).status.value == "completed"
            assert readiness()
        reading = [("sagaz_list", "--runs"), ("sagaz_show", second, "--context"), ("sagaz_events",)]
        writing = [("sagaz_cancel", first), ("sagaz_worker", "--drain"), ("sagaz_prune", "--older-than", "0s")]
        with as_user(home, reader):
            for words in reading:
                assert command(*words)[0] == 0, words
            for words in writing:
                code, said = command(*words)
                assert code == 1, (words, said)
                assert "has not the right to INSERT, UPDATE, DELETE" in said or "refuses its user" in said, said
            code, said = command("sagaz_check")
            assert (code, "has not the right to INSERT, UPDATE, DELETE on sagaz_run" in said) == (1, True), said
            assert command("sagaz_check", "--read-only")[0] == 0
        with as_user(home, user):
            for words in reading + writing:
                code, said = command(*words)
                assert code == 0, (words, said)
            assert command("sagaz_check")[0] == 0
        assert not Run.objects.using(home).filter(pk__in=[second, third]).exists()


@on("pg", "maria")
@pytest.mark.parametrize("lack", ["everything", "sagaz_audit"])
def test_commands_of_a_user_without_rights_end_with_1_and_name_what_lacks(home, lack):
    saga_id = start(home)
    with user_of(home) as user:
        if lack != "everything":
            give(home, user, leave_out=[lack])
        with as_user(home, user):
            for words in (("sagaz_worker",), ("sagaz_worker", "--drain"), ("sagaz_check",)):
                code, said = command(*words)
                assert code == 1, said
                assert lack == "everything" or f"SELECT, INSERT, UPDATE, DELETE on {lack}" in said, said
                assert "try again" not in said
                assert user in said
    assert Run.objects.using(home).get(pk=saga_id).status == "pending"


@on("pg")
def test_a_database_that_may_not_be_entered_is_not_one_that_is_away(home):
    name = connections[home].settings_dict["NAME"]
    with user_of(home) as user:
        give(home, user)
        execute(home, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
        try:
            with as_user(home, user):
                assert "refuses its user" in readiness().problem
                code, said = command("sagaz_worker", "--drain")
                assert (code, "Give it CONNECT on the database" in said) == (1, True), said
        finally:
            execute(home, f"GRANT CONNECT ON DATABASE {name} TO PUBLIC")


@on("pg", "maria")
def test_a_server_says_once_what_its_user_may_not_do_refuses_starts_and_recovers_by_itself(home, caplog):
    with user_of(home) as user:
        give(home, user, leave_out=["sagaz_audit"])
        with as_user(home, user), caplog.at_level(logging.WARNING):
            for _ in range(3):
                for begin in (lambda: start(home), lambda: run_saga(Paid, {}), readiness_or_raise):
                    with pytest.raises(StoreRightsMissing, match="on sagaz_audit"):
                        begin()
                assert "on sagaz_audit" in readiness().problem
                assert liveness()
        give(home, user)
        with as_user(home, user):
            assert run_saga(Paid, {}).status.value == "completed"
            start(home)
            assert readiness()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def readiness_or_raise():
    raise StoreRightsMissing(readiness().problem)


@on("pg", "maria")
def test_rights_that_are_taken_away_later_are_told_once_and_starts_go_on_when_they_are_back(home, caplog):
    with user_of(home) as user:
        give(home, user)
        with as_user(home, user):
            run_saga(Paid, {})
        target = user if home == "pg" else f"{user}@localhost"
        execute(home, f"REVOKE INSERT ON sagaz_run FROM {target}")
        with as_user(home, user):
            for _ in range(3):
                with pytest.raises(StoreRightsMissing, match="sagaz_run"):
                    start(home)
                with pytest.raises(StoreRightsMissing, match="INSERT on sagaz_run"):
                    run_saga(Paid, {})
        give(home, user)
        with as_user(home, user):
            start(home)
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_store_outside_of_django_is_waited_for_too(settings, caplog):
    from pg import database

    with database(os.environ["TESTPROJECT_PG"]) as url:
        settings.SAGAZ = {"STORAGE_URL": url}
        for _ in range(3):
            with pytest.raises(StoreNotMigrated):
                run_saga(Paid, {})
            assert "no sagaz tables" in readiness().problem
        asyncio.run(migrate(Settings(storage_url=url)))
        until(readiness)
        assert run_saga(Paid, {}).status.value == "completed"
        close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


PATHS = ("/start", "/run", "/run_async")


@contextmanager
def later(home, tmp_path):
    """Make a database without tables; give its name, a user without rights, and what gives them to him."""
    if home == "default":
        yield tmp_path / "empty.db", None, lambda: None
        return
    name = f"sagaz_{secrets.token_hex(6)}"
    with user_of(home) as user:
        execute(home, f"CREATE DATABASE {name}")
        try:
            yield name, user, lambda: allow(home, name, user)
        finally:
            execute(home, f"DROP DATABASE {name}" + (" WITH (FORCE)" if home == "pg" else ""))


def allow(home, name, user):
    if home == "maria":
        give(home, user, database=name)
        execute(home, f"GRANT ALL ON {name}.shop_order TO {user}@localhost")
        return
    own = connections[home].settings_dict
    with psycopg.connect(host=own["HOST"], user=own["USER"], dbname=name, autocommit=True) as connection:
        for statement in (*grants(user, "public"), f"GRANT ALL ON shop_order TO {user}"):
            connection.execute(statement.encode())


@on()
def test_a_server_whose_database_gets_tables_and_rights_only_later_recovers_by_itself(home, elsewhere, tmp_path):
    with later(home, tmp_path) as (name, user, allow):
        port = free_port()
        # One process: each says it once.
        options = ["--threads", "4", "--bind", f"127.0.0.1:{port}"]
        server = elsewhere("-m", "gunicorn", *options, "testproject.wsgi", name=name, user=user)
        url = f"http://127.0.0.1:{port}"
        until(lambda: is_up(url + "/who", server))

        def codes():
            posts = [httpx.post(url + path, json={"db": home, "name": "x"}, trust_env=False) for path in PATHS]
            return [answer.status_code for answer in posts]

        assert codes() == [500] * len(PATHS)
        migrating = elsewhere("-m", "django", "migrate", "--run-syncdb", "--database", home, name=name)
        assert migrating.wait(120) == 0, migrating.stdout.read()
        allow()
        until(lambda: codes() == [200] * len(PATHS), 60)
        server.terminate()
        said, _ = server.communicate(timeout=30)
    assert said.count("No saga can be started here") == 1, said
    assert said.count("lacks nothing any more") == 1, said
