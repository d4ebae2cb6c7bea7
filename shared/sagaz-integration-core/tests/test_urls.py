"""Which addresses are understood, and what a user is told about one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagaz_integration_core.errors import SettingsError
from sagaz_integration_core.redaction import redact
from sagaz_integration_core.urls import parse_broker_url, parse_storage_url

quickly = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def refusal(parse, url) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(url)
    return str(caught.value)


def test_memory_is_one_word():
    assert parse_storage_url("memory://").kind == "memory"
    assert "expected memory://, sqlite:///" in refusal(parse_storage_url, "memory://x")


def test_a_relative_sqlite_file_belongs_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert parse_storage_url("sqlite:///data/my runs.db").path == tmp_path / "data" / "my runs.db"


def test_an_absolute_sqlite_file_has_four_slashes():
    url = parse_storage_url("sqlite:////var/lib/sagaz.db")

    assert (url.kind, url.path, url.dsn) == ("sqlite", Path("/var/lib/sagaz.db"), None)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/db",
        "postgres://u:p@h:5432/db",
        "postgresql://",
        "postgresql:///db?host=/tmp",
        "postgresql:///db?host=@abstract",
        "postgresql://u:p%40ss%2Fw%3Ard@h/db",
        "postgresql://u:p@[::1]:5432/db",
        "postgresql://[2001:db8::1]/db",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://u:p@one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql://u:p@h/db?options=-c%20statement_timeout%3D5s&sslmode=require",
    ],
)
def test_postgresql_addresses_are_left_as_they_are_for_libpq(url):
    parsed = parse_storage_url(url)

    assert (parsed.kind, parsed.dsn, parsed.path) == ("postgresql", url, None)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "expected memory://"),
        ("memory", "expected memory://"),
        ("sqlite://", "use memory://"),
        ("sqlite:///", "use memory://"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite://app.db", "a relative file has three: sqlite:///app.db"),
        ("sqlite:///app.db?mode=ro", "options and NUL are not taken"),
        ("sqlite:///data/", "it names a directory"),
        ("sqlite:app.db", "did you mean sqlite://?"),
        ("sqlite+aiosqlite:///app.db", "expected sqlite:// without +aiosqlite"),
        ("postgresql+psycopg://h/db", "expected postgresql:// without +psycopg"),
        ("postgresql+asyncpg://h/db", "expected postgresql:// without +asyncpg"),
        ("postgressql://h/db", "did you mean postgresql://?"),
        ("POSTGRESQL://h/db", "did you mean postgresql://?"),
        ("redis://h", "redis can carry events (as the broker URL) but not keep runs"),
        ("mysql://h/db", "through Django's own DATABASES"),
        ("mysql+pymysql://h/db", "through Django's own DATABASES"),
        ("app.db", "sqlite:///app.db"),
        ("/var/app.db", "sqlite:////var/app.db"),
        ("host=h password=p", "expected memory://"),
        ("postgresql://u:p@ss@h/db", "percent-encode"),
        ("postgresql://u:p/ss@h/db", "percent-encode"),
        ("postgresql://u:12/34@h/db", "percent-encode"),
        ("postgresql://u:p?ss@h/db", "percent-encode"),
        ("postgresql://u:100%@h/db", "percent-encode"),
        ("postgresql://u:@?x@h/db", "percent-encode"),
        ("postgresql://u:/=@h/db", "percent-encode"),
        ("postgresql://u:?/%]=@h/db", "percent-encode"),
        ("postgresql://u:a%00b@h/db", "percent-encode"),
        ("postgresql://u:p w@h/db", "percent-encode"),
        ("postgresql://h:port/db", "a numeric port"),
        ("postgresql://::1/db", "in brackets"),
    ],
)
def test_a_common_mistake_is_answered_with_the_nearest_valid_choice(url, advice):
    text = refusal(parse_storage_url, url)

    assert advice in text
    assert redact(url) in text


@pytest.mark.parametrize(
    ("url", "kind", "client_url"),
    [
        ("memory://", "memory", "memory://"),
        ("redis://:p@h:6379/0", "redis", "redis://:p@h:6379/0"),
        ("rediss://h", "redis", "rediss://h"),
        ("amqp://u:p@h:5672/%2F", "rabbitmq", "amqp://u:p@h:5672/%2F"),
        ("amqps://h", "rabbitmq", "amqps://h"),
        ("rabbitmq://h/v", "rabbitmq", "amqp://h/v"),
        ("kafka://a:9092,b:9092", "kafka", "kafka://a:9092,b:9092"),
    ],
)
def test_brokers(url, kind, client_url):
    parsed = parse_broker_url(url)

    assert (parsed.kind, parsed.url) == (kind, client_url)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("kafka://", "it names no host"),
        ("pyamqp://h", "did you mean amqp://?"),
        ("redis+socket:///tmp/r.sock", "Unix socket"),
        ("memory://x", "nothing after it"),
        ("nats://h", "expected redis://"),
        ("localhost:6379", "expected redis://"),
        ("redis://h:x", "a numeric port"),
    ],
)
def test_a_wrong_broker_is_answered_with_the_nearest_valid_choice(url, advice):
    assert advice in refusal(parse_broker_url, url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hunter2@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me:hun@ter2@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me:hun/ter2@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me:hun?ter#2@h/db", "postgresql://me:***@h/db"),
        ("postgresql://me@work:hunter2@h/db", "postgresql://me@work:***@h/db"),
        ("redis://:hunter2@h", "redis://:***@h"),
        ("me:hunter2@h", "me:***@h"),
        ("postgresql:/me:hunter2@h", "postgresql:***@h"),
        ("postgresql://h/db?user=a&password=hunter2&sslmode=on", "postgresql://h/db?user=a&password=***&sslmode=on"),
        ("postgresql://h/db?PassWord=hunter2", "postgresql://h/db?PassWord=***"),
        ("host=h password='hunter 2' dbname=x", "host=h password=*** dbname=x"),
        ("https://h/?api_key=hunter2&access_token=hunter2", "https://h/?api_key=***&access_token=***"),
        ("postgresql://me@h:5432/db", "postgresql://me@h:5432/db"),
        ("postgresql:///db?host=/tmp", "postgresql:///db?host=/tmp"),
        ("sqlite:////home/me@work/a.db", "sqlite:////home/me@work/a.db"),
        ("", ""),
        (None, "<NoneType>"),
        (b"x", "<bytes>"),
    ],
)
def test_passwords_are_hidden_and_nothing_else(url, shown):
    assert redact(url) == shown


def test_no_password_is_in_the_repr_of_an_address():
    assert repr(parse_storage_url("postgresql://me:hunter2@h/db")) == (
        "StorageURL(kind='postgresql', path=None, dsn='postgresql://me:***@h/db')"
    )
    assert "hunter2" not in repr(parse_broker_url("redis://:hunter2@h"))


@quickly
@given(st.text())
def test_hiding_passwords_never_fails(text):
    redact(text)


@quickly
@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"])))
def test_whatever_a_password_is_made_of_no_message_has_it(password):
    secret = f"q7{password}7q"
    url = f"postgresql://me:{secret}@h/db"

    assert secret not in redact(url)
    assert secret not in refusal(parse_storage_url, f"postgresql://me:{secret}@h:port/db")
    assert secret not in refusal(parse_storage_url, f"postgresql+asyncpg://me:{secret}@h/db")
    assert secret not in refusal(parse_broker_url, url)
