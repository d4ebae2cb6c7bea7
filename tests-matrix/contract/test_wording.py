"""Settings, commands and extras are named as the users of the framework at hand spell them."""

from __future__ import annotations

import ast
import asyncio
import importlib
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import metadata
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from sagaz import Saga, action

from django_sagaz._project.settings import read_settings
from django_sagaz._project.wording import WORDING as DJANGO
from fastapi_sagaz._wording import WORDING as FASTAPI
from flask_sagaz._settings import WORDING as FLASK
from sagaz_durable.cli.options import COMMANDS
from sagaz_durable.settings.rules import RULES
from sagaz_durable.settings.settings import Settings, environment, prefixed
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_durable.stores.factory import create_store
from sagaz_integration_core.errors import SagazError, SettingsError, StoreNotMigrated, StoreUnavailable

ROOT = Path(__file__).parents[2]
WORDINGS = {"django": DJANGO, "fastapi": FASTAPI, "flask": FLASK}


class Order(Saga):
    """Keeps what a start is given."""

    @action("ship")
    async def ship(self, ctx):
        """Do nothing."""


frameworks = pytest.mark.parametrize("wording", WORDINGS.values(), ids=WORDINGS)


# That they are spelled rightly: what is named is there.


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_setting_is_read_where_its_spelling_says(name):
    def refusal(read, *arguments, **options):
        with pytest.raises(SettingsError) as caught:
            read(*arguments, **options)
        return str(caught.value)

    [key] = re.findall(r'^SAGAZ\["(\w+)"\]$', DJANGO.setting(name))
    assert refusal(read_settings, {key: object()}).startswith(DJANGO.setting(name))
    assert refusal(Settings.load, prefixed({FLASK.setting(name): object()})).startswith(FLASK.setting(name))
    assert FASTAPI.setting(name) == FLASK.setting(name) == NEUTRAL.setting(name)
    environ = {FASTAPI.setting(name): ","}
    assert refusal(Settings.load, environment(environ)).startswith(FASTAPI.setting(name))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_found_under_the_name_that_it_is_spelled_with(name):
    from fastapi_sagaz.cli import main
    from flask_sagaz.cli import sagaz_group

    [found] = re.findall(r"^`fastapi-sagaz ([\w-]+) MODULE:APP --drain`$", FASTAPI.command(name, "--drain"))
    assert found in main.commands
    [found] = re.findall(r"^`flask sagaz ([\w-]+) --drain`$", FLASK.command(name, "--drain"))
    assert found in sagaz_group.list_commands(click.Context(sagaz_group))
    [found] = re.findall(r"^`python manage.py (\w+)", DJANGO.command(name, "--drain"))
    package = "django" if found == "migrate" else "django_sagaz"
    place = "django.core" if found == "migrate" else package
    assert (Path(importlib.import_module(place).__file__).parent / f"management/commands/{found}.py").exists()


@pytest.mark.parametrize(
    ("wording", "extra"),
    [(wording, extra) for wording in (*WORDINGS.values(), NEUTRAL) for extra in ("postgres", "celery")
     if (wording is not FASTAPI or extra != "celery")],
)  # fmt: skip
def test_every_extra_is_one_of_the_distribution_that_is_named(wording, extra):
    [distribution, found] = re.findall(r'^pip install "([\w-]+)\[(\w+)\]"$', wording.install(extra))[0]
    assert found in (metadata(distribution).get_all("Provides-Extra") or ())


# That the plugins give them to what they read.


def test_each_plugin_gives_its_words_to_the_settings_that_it_reads():
    from flask import Flask

    from fastapi_sagaz.lifespan import _resolve
    from flask_sagaz._settings import AppSettings

    for given in (None, {"STORAGE_URL": "memory://"}, Settings(storage_url="memory://")):
        assert _resolve(given)[0].wording is FASTAPI
    assert AppSettings(Flask("shop"), "memory://", worker=False).get().wording is FLASK
    assert read_settings({"STORAGE_URL": "memory://"})[0].wording is DJANGO


# That messages use these spellings.


def message(error: type[SagazError], call, *arguments, **options) -> str:
    with pytest.raises(error) as caught:
        call(*arguments, **options)
    return str(caught.value)


def too_large(wording: Wording) -> str:
    from sagaz_durable.serialization.codec import encode

    return message(SagazError, encode, {"x": "x" * 2000}, max_bytes=1024, wording=wording)


def overloaded(wording: Wording) -> str:
    from sagaz_durable.runtime.backpressure import Backlog

    return message(SagazError, Backlog(1, wording).admit, 2)


def no_broker(wording: Wording) -> str:
    from sagaz_durable.outbox.new_event import new_event

    return message(SettingsError, new_event, "t", {}, publishes=False, max_bytes=1024, wording=wording)


def stream_length(wording: Wording) -> str:
    from sagaz_durable._upstream.brokers import make_broker

    return message(SettingsError, make_broker, "redis://h:1/0?max_stream_length=x", wording)


def locked(wording: Wording) -> str:
    from sagaz_durable.stores.sqlite.database.errors import locked

    return str(locked("a.db", 5.0, False, wording))


def address(wording: Wording):
    from sagaz_durable.stores.postgresql.database.address import read_address

    return read_address("postgresql://h/d", wording)


def not_migrated(wording: Wording) -> str:
    from sagaz_durable.stores.postgresql.database.errors import not_migrated

    return str(not_migrated(address(wording), "why"))


def busy(wording: Wording) -> str:
    from sagaz_durable.stores.postgresql.database.errors import busy

    return str(busy(address(wording), 10, 5.0))


def foreign_storage(wording: Wording) -> str:
    from sagaz_durable._upstream.resources import settings_for

    config = SimpleNamespace(storage_manager=None, storage=type("RedisSagaStorage", (), {})())
    return message(SettingsError, settings_for, Settings(wording=wording), config)


def no_celery(wording: Wording) -> str:
    from sagaz_durable.runtime.assembly import check_dispatch

    settings = Settings(dispatch="celery", storage_url="sqlite:///x.db", wording=wording)
    return message(SettingsError, check_dispatch, settings, create_store(settings), None)


def celery_in_memory(wording: Wording) -> str:
    from sagaz_durable.runtime.assembly import check_dispatch

    settings = Settings(dispatch="celery", wording=wording)
    return message(SettingsError, check_dispatch, settings, create_store(settings), None)


def worker_on_memory(wording: Wording) -> str:
    from sagaz_durable.cli.worker import _check

    return message(SettingsError, _check, Stand(wording, embedded=True))


def worker_without_sagas(wording: Wording) -> str:
    from sagaz_durable.cli.worker import _check

    return message(SagazError, _check, Stand(wording, embedded=False))


def check_of_memory(wording: Wording) -> str:
    from sagaz_durable.operations.checking import _of_settings

    return " ".join(found.text for found in _of_settings(Stand(wording, embedded=True)))


def check_of_runs(wording: Wording) -> str:
    from sagaz_durable.operations.checking import Limits, _of_runs
    from sagaz_integration_core.contract.listings import StoreStats

    stats = StoreStats({"failed": 3}, 2, 100.0, 0, asking=2)
    return " ".join(found.text for found in _of_runs(stats, set(), Limits(max_failed=0, max_asking=0), wording))


def check_of_events(wording: Wording) -> str:
    from sagaz_durable.operations.checking import Limits, _of_events
    from sagaz_integration_core.contract.listings import StoreStats

    found = _of_events(StoreStats({}, 0, None, 1, dead_events=4), Limits(), wording)
    return " ".join(one.text for one in found)


def check_of_webhooks(wording: Wording) -> str:
    from sagaz_durable.operations.checking import Limits, _of_webhooks

    return " ".join(found.text for found in _of_webhooks(4, Limits(), wording))


def default_that_contradicts(wording: Wording) -> str:
    return message(SettingsError, Settings.load, prefixed({"SAGAZ_LEASE_SECONDS": 12}), wording=wording)


def storage_manager(wording: Wording) -> str:
    from sagaz_durable._upstream.resources import settings_for

    config = SimpleNamespace(storage_manager=SimpleNamespace(_saga_url="redis://h"))
    return message(SettingsError, settings_for, Settings(wording=wording), config)


def unsent_events(wording: Wording) -> str:
    from sagaz_durable.operations.erasure import refusal

    class Store:
        async def count_events(self, query):
            return 2

    run = SimpleNamespace(saga_id="s", status="completed", fingerprint="f")
    return asyncio.run(refusal(Store(), run, wording)) or ""


def logged(name: str, call, *arguments) -> str:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger(name).addHandler(handler)
    try:
        call(*arguments)
    finally:
        logging.getLogger(name).removeHandler(handler)
    return " ".join(said)


def warnings_at_start(wording: Wording) -> str:
    from sagaz_durable.runtime.start_warnings import warn_at_start

    runtime = Stand(wording, embedded=True)
    runtime.settings = replace(runtime.settings, metrics=True, explicit=frozenset({"metrics"}))
    return logged("sagaz_durable.runtime.start_warnings", warn_at_start, runtime)


def broker_that_refuses(wording: Wording) -> str:
    from sagaz_durable._upstream.broker_connection import BrokerRefused
    from sagaz_durable.outbox.relay import Relay

    relay = Relay(Stand(wording, embedded=True).store, Settings(wording=wording), SimpleNamespace(publish_seconds=1))
    return logged("sagaz_durable.outbox.relay", relay._away, BrokerRefused("no"))


class Stand:
    """What stands for a runtime."""

    def __init__(self, wording: Wording, *, embedded: bool) -> None:
        self.settings, self.registry = Settings(wording=wording), ()
        self.store = type("Store", (), {"embedded": embedded})


MESSAGES = {
    too_large: ["(MAX_CONTEXT_BYTES)"],
    overloaded: ["MAX_DUE allows", "see with <check> whether"],
    no_broker: ["Set BROKER_URL to"],
    stream_length: ["BROKER_URL: max_stream_length"],
    locked: ["wait longer with SQLITE_BUSY_SECONDS."],
    not_migrated: ["MIGRATE to true"],
    busy: ["Raise POOL_SIZE, or"],
    foreign_storage: ["with STORAGE_URL (postgresql"],
    no_celery: ["DISPATCH is celery", "eave DISPATCH out."],
    celery_in_memory: ["DISPATCH is celery", "Set STORAGE_URL (sqlite"],
    worker_on_memory: ["Set STORAGE_URL (sqlite", "inside the application: {worker}."],
    worker_without_sagas: ["Add the classes to {sagas}."],
    check_of_memory: ["set STORAGE_URL (memory"],
    check_of_runs: ["Start <worker>, or", "See <list --runs --status failed>."],
    check_of_events: ["See <events --status dead>, and <events --retry>."],
    check_of_webhooks: ["See <webhooks --outcome quarantined>, and <webhooks --replay>."],
    storage_manager: ["with STORAGE_URL."],
    unsent_events: ["were set aside: <events --retry>)"],
    warnings_at_start: ["METRICS: accepted, and without use yet", "Set STORAGE_URL: sqlite"],
    broker_that_refuses: ["options of BROKER_URL, or"],
    default_that_contradicts: ["RENEW_SECONDS=10 (the default)"],
}
"""Of each message what tells people what to do: SETTINGS, <commands> and {other words}."""


@frameworks
@pytest.mark.parametrize("tell", MESSAGES, ids=lambda tell: tell.__name__)
def test_a_message_has_the_words_of_the_framework_at_hand(wording, tell):
    said = tell(wording)
    for part in MESSAGES[tell]:
        part = part.format(worker=wording.worker, sagas=wording.sagas)
        part = re.sub(r"<(\w+)(?: ([^>]*))?>", lambda match: wording.command(match[1], match[2] or ""), part)
        part = re.sub(
            r"\b[A-Z]{3,}(_[A-Z]+)*\b",
            lambda match: wording.setting(match[0]) if match[0].lower() in RULES else match[0],
            part,
        )
        assert part in said
    others = [word for word in ("fastapi-sagaz", "flask sagaz", "manage.py") if word not in wording.commands]
    assert not any(word in said for word in others)
    assert ("SAGAZ_" if wording is DJANGO else "SAGAZ[") not in said.replace("SAGAZ_LEASE_SECONDS=12", "")


@frameworks
def test_a_missing_driver_is_told_with_the_frameworks_own_extra(wording, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("psycopg", "sagaz_durable.stores.postgresql."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    settings = replace(Settings(storage_url="postgresql://h/d"), wording=wording)
    assert wording.install("postgres") in message(SettingsError, create_store, settings)


@frameworks
def test_a_start_and_an_event_are_refused_in_the_words_of_the_settings(wording):
    from sagaz_durable.runtime.configuration import Configuration
    from sagaz_durable.runtime.new_run import new_run
    from sagaz_durable.runtime.publishing import checked_event

    given = Configuration(Settings(max_context_bytes=1024, max_due=1, broker_url="memory://", wording=wording))
    no_options = {"key": None, "headers": None, "idempotency_key": None}
    large, setting = {"x": "x" * 2000}, f"({wording.setting('max_context_bytes')})"
    assert setting in message(SagazError, new_run, given, Order, large)
    assert setting in message(SagazError, checked_event, given, "t", large, **no_options)
    assert f"{wording.setting('max_due')} allows 1" in message(SagazError, given.backlog.admit, 2)
    without = Configuration(Settings(wording=wording))
    broker = message(SettingsError, checked_event, without, "t", {}, **no_options)
    assert f"Set {wording.setting('broker_url')} to" in broker


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@frameworks
def test_a_locked_file_is_told_in_the_words_of_the_settings(wording, tmp_path):
    file = tmp_path / "sagaz.db"
    store = create_store(Settings(storage_url=f"sqlite:///{file}", sqlite_busy_seconds=0.1, wording=wording))

    command = [sys.executable, "-c", LOCK, str(file)]
    with asyncio.Runner() as runner:
        runner.run(store.open())
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout.readline() == "locked\n"
            said = message(StoreUnavailable, runner.run, store.prune(datetime.now(UTC), ["completed"], 1))
            other.stdin.close()
        runner.run(store.close())
    assert f"wait longer with {wording.setting('sqlite_busy_seconds')}." in said


@frameworks
def test_missing_tables_are_told_in_the_words_of_the_settings(wording, open_store):
    store = create_store(Settings(storage_url=open_store("postgres")["STORAGE_URL"], wording=wording))
    assert f"set {wording.setting('migrate')} to true" in message(StoreNotMigrated, asyncio.run, store.open())


def test_tables_are_made_by_the_command_that_makes_them():
    assert "Run `flask sagaz migrate`, or have" in not_migrated(FLASK)
    assert "Run `fastapi-sagaz migrate MODULE:APP`, or have" in not_migrated(FASTAPI)
    assert "Run the command migrate, or have" in not_migrated(NEUTRAL)
    # Django's own knows nothing of what is at a storage URL.
    assert 'Have the store do it when it opens: set SAGAZ["MIGRATE"] to true' in not_migrated(DJANGO)


# That no message in the sources names another framework's.

FOREIGN = {
    "sagaz_integration_core": r"fastapi-sagaz|flask sagaz|flask-sagaz|django-sagaz|manage\.py|SAGAZ\[",
    "sagaz_durable": r"fastapi.sagaz|flask.sagaz|django.sagaz|manage\.py|SAGAZ\[|SAGAZ_[A-Z]",
    "fastapi_sagaz": r"flask sagaz|flask-sagaz|django-sagaz|manage\.py|SAGAZ\[",
    "flask_sagaz": r"fastapi-sagaz|django-sagaz|manage\.py|SAGAZ\[",
    "django_sagaz": r"fastapi-sagaz|flask sagaz|flask-sagaz|SAGAZ_[A-Z]",
}
ALLOWED = (
    # Who comes with MySQL's address, or with another framework's application, is told where it belongs.
    "keeps runs only through Django's own DATABASES (django-sagaz)",
    "ASGI applications, as Quart's, are none; for FastAPI there is fastapi-sagaz.",
    # Sessions are given in the frameworks that have no transactions of their own.
    "can join a transaction: it is in no database. Use SAGAZ_STORAGE_URL=",
    "bound to the store's database, or let SAGAZ_STORAGE_URL name the session's",
)


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string in ``source`` that is no docstring; values in it as ``{}``."""
    tree = ast.parse(source)
    blocks = [node.body for node in ast.walk(tree) if isinstance(getattr(node, "body", None), list)]
    passed = {id(line.value) for block in blocks for line in block if isinstance(line, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in passed:
            continue
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in node.values}
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def foreign(package: str, source: str) -> list[str]:
    pattern = re.compile(FOREIGN[package])
    return [
        f"{line}: {text}"
        for line, text in messages(source)
        if pattern.search(text) and " " in text and not any(part in text for part in ALLOWED)
    ]


@pytest.mark.parametrize("package", sorted(FOREIGN))
def test_no_message_names_what_another_framework_has(package):
    [root] = ROOT.glob(f"*/*/src/{package}")
    found = [f"{file}:{line}" for file in root.rglob("*.py") for line in foreign(package, file.read_text())]
    assert found == []


def test_a_message_that_names_another_frameworks_command_is_found():
    assert foreign("sagaz_durable", 'def f(x):\n    """flask sagaz x"""\n    return f"{x}: run flask sagaz migrate"\n')
    assert foreign("django_sagaz", 'HINT = "set SAGAZ_MIGRATE"') == ["1: set SAGAZ_MIGRATE"]
    assert not foreign("flask_sagaz", '"""manage.py x"""\nHINT = "set SAGAZ_MIGRATE with flask sagaz migrate"')
